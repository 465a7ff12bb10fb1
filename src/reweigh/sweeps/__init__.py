"""Grids of runs, started here, on a cluster, or as commands."""
