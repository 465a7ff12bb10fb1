"""Small studies shipped with the library."""
