"""Small studies that are shipped with the library, each a config, its jobs and its table."""
