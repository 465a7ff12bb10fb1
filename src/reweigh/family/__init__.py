"""Datasets of several qualities in one's own environment: TD3 trained online, its record and its policies.

Online training is here for the sake of these files alone.
"""
