"""Datasets of several qualities in any environment: TD3 trained online, its record and its policies.

Online training serves only to make these files.
"""
