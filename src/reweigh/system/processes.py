"""What trainings ask of the system: cores, signals, an end together with their parent."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

from reweigh.checks import check_count
from reweigh.errors import ConfigError

CORES = "REWEIGH_CORES"
"""The variable that says how many cores trainings may keep busy."""
INTERRUPTED = 130
"""What `reweigh` ends with when it was stopped and has saved its state."""
BROKEN_PIPE = 141
"""The same when nobody reads its output any more: what a shell says of a program that this signal ended."""
_PR_SET_PDEATHSIG = 1


def usable_cores() -> int:
    """How many single-threaded trainings may run at a time: one a core, at most `$REWEIGH_CORES`.

    Raises:
        ConfigError: the variable holds no number of at least 1.
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
    """Ctrl-C and a polite kill call a handler, instead of ending this process.

    Args:
        handler: of the signal's number and the interrupted frame.
    """
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def end_with_parent(number: int) -> None:
    """Have Linux send this process a signal when its parent ends, also one that was killed.

    Elsewhere nothing happens: ask `os.getppid` now and then.

    Args:
        number: of the signal.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
