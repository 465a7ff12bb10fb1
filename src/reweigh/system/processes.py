"""System services for trainings: cores, signals, ending with the parent process."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from reweigh.checks import check_count
from reweigh.errors import ConfigError

CORES = "REWEIGH_CORES"
"""The variable that limits how many cores trainings use."""
INTERRUPTED = 130
"""Exit code of `reweigh` when interrupted; trainings have saved their state."""
BROKEN_PIPE = 141
"""Exit code when its output is no longer read, as a shell reports a program ended by SIGPIPE."""
_PR_SET_PDEATHSIG = 1


def usable_cores() -> int:
    """How many single-threaded trainings may run at a time: one per core, at most `$REWEIGH_CORES`.

    Raises:
        ConfigError: the variable is not a number of at least 1.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get(CORES)
    if limit is None:
        return own
    if not limit.isdecimal():
        raise ConfigError(f"expected a number of cores in ${CORES}, but found {limit!r}. Unset it.")
    check_count(f"${CORES}", int(limit))
    return min(own, int(limit))


@contextlib.contextmanager
def signals_heard(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Call a handler on SIGINT and SIGTERM, instead of ending this process.

    Args:
        handler: takes the signal's number and the interrupted frame.
    """
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def end_with_parent(number: int) -> None:
    """Have Linux send this process a signal when its parent ends, even if it is killed.

    Does nothing on other systems: poll `os.getppid` there.

    Args:
        number: of the signal.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
