"""From a file to `Transitions`: the only part that knows file formats."""
