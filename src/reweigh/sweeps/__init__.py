"""A grid of runs, started here, on a cluster, or as commands."""
