"""How much memory is free, checked before reading something large."""

import os
from pathlib import Path


def available_memory() -> int | None:
    """Bytes that this process may still use, the least of machine and control group; None: unknown."""
    found = [_of_machine(), _of_group_v2(Path("/sys/fs/cgroup"))]
    known = [size for size in found if size is not None]
    return min(known) if known else None


def _of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":") for line in lines if ":" in line)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:  # other systems report total memory, not free memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _of_group_v2(folder: Path) -> int | None:
    """A container's limit minus its use; inactive file pages count as free, being reclaimable."""
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
        pages = int(dict(line.split() for line in lines)["inactive_file"])
    except (OSError, ValueError, KeyError):
        return None
    return max(0, limit - used + pages)
