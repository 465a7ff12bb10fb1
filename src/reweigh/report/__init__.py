"""Runs and weights -> figures and tables."""
