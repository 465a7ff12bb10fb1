"""Where results that several runs share are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$REWEIGH_CACHE`, or else `~/.cache/reweigh`; it may be removed at any time."""
    given = os.environ.get("REWEIGH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "reweigh"


def elsewhere(path: Path) -> str:
    """What to do where a run's folder cannot be written: some of them are kept in the cache.

    Args:
        path: of the folder.
    """
    in_cache = path.is_relative_to(cache_folder())
    return "Set REWEIGH_CACHE to a writable folder." if in_cache else "Choose another --out."
