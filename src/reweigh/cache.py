"""Where results that several runs share are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """`$REWEIGH_CACHE`, or else `~/.cache/reweigh`; it may be removed at any time."""
    given = os.environ.get("REWEIGH_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "reweigh"
