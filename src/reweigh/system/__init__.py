"""What this library asks of the machine: whole files, locks, the cache, processes, JAX's environment."""
