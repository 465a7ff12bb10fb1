"""The library's use of the machine: atomic files, locks, the cache, processes, JAX's environment."""
