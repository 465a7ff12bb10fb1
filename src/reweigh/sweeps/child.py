"""`python -m reweigh.sweeps.child PARENT COMMAND...`: a task that ends with the process that started it.

A separate program, because its system calls are not safe between fork and exec in a process with threads.
"""

import os
import signal
import sys

from reweigh.system.processes import end_with_parent


def main(parent: int, command: list[str]) -> None:
    """Bind this process to its parent's lifetime, and become `reweigh COMMAND`.

    Args:
        parent: its process ID.
        command: arguments of `reweigh`.
    """
    end_with_parent(signal.SIGTERM)
    # If the parent died before the request above, no signal will come.
    if os.name == "posix" and os.getppid() != parent:
        sys.exit(128 + signal.SIGTERM)
    os.execv(sys.executable, [sys.executable, "-m", "reweigh", *command])


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
