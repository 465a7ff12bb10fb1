"""A sweep in detached `screen` sessions, each of which runs `reweigh sweep` on a range of tasks."""

import math
import sys
import time
from collections.abc import Sequence

from reweigh.errors import RunError
from reweigh.sweeps.client import ask
from reweigh.sweeps.grid import Sweep
from reweigh.system.processes import usable_cores

_PATIENCE_S = 10


def start_screens(sweep: Sweep, tasks: range, again: Sequence[str], *, screens: int) -> list[str]:
    """Start detached `screen` sessions, each with its share of the tasks and cores.

    Args:
        sweep: its folder names the sessions.
        tasks: numbers of the tasks.
        again: the `reweigh sweep` command that runs them here.
        screens: number of sessions.

    Returns:
        The names of the sessions.

    Raises:
        RunError: there is no screen, or a session did not start.
    """
    share = math.ceil(len(tasks) / screens)
    again = [*again, "--jobs", str(max(usable_cores() // screens, 1))]
    names = []
    for number, first in enumerate(range(tasks.start, tasks.stop, share)):
        name = f"reweigh-{sweep.folder.name}-{number}"
        end = min(first + share, tasks.stop)
        command = [sys.executable, "-m", "reweigh", *again, "--tasks", f"{first}:{end}"]
        log = sweep.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        ask(["screen", "-dmS", name, "-L", "-Logfile", str(log), *command])
        # The log remains if a session fails to start its command or is already done.
        deadline = time.monotonic() + _PATIENCE_S
        while not log.exists():
            if time.monotonic() > deadline:
                raise RunError(f"expected screen to start {name}, but it left no log. Try --launch local.")
            time.sleep(0.05)
        names.append(name)
    return names
