"""Where results shared by several runs are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$REWEIGH_CACHE`, else `~/.cache/reweigh`; it may be removed at any time."""
    given = os.environ.get("REWEIGH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "reweigh"


def elsewhere(path: Path) -> str:
    """What to do if a run's folder, which may be in the cache, cannot be written.

    Args:
        path: of the folder.
    """
    in_cache = path.is_relative_to(cache_folder())
    return "Set REWEIGH_CACHE to a writable folder." if in_cache else "Choose another --out."
