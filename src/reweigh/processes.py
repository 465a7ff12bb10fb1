"""What trainings ask of the system: cores, signals, an end together with their parent."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

_PR_SET_PDEATHSIG = 1


def available_cores() -> list[int]:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


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


def stay_on_core(core: int) -> None:
    """Compute on one core alone, where the system lets processes choose.

    Args:
        core: its number.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setaffinity(0, {core})
