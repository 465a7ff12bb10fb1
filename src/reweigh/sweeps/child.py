"""`python -m reweigh.sweeps.child PARENT CORE COMMAND...`: a task that ends with the process that started it.

A program of its own, because what it asks of the system cannot be asked between fork and exec of a process
with threads.
"""

import os
import signal
import sys

from reweigh.processes import end_with_parent, stay_on_core


def main(parent: int, core: str, command: list[str]) -> None:
    """Bind this process to its parent's life and to a core, and become `reweigh COMMAND`.

    Args:
        parent: its process ID.
        core: the one that may be used; "any": whatever the system gives.
        command: arguments of `reweigh`.
    """
    end_with_parent(signal.SIGTERM)
    if core != "any":
        stay_on_core(int(core))
    # A parent that died before the request above leaves nobody to send the signal.
    if os.name == "posix" and os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-m", "reweigh", *command])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
