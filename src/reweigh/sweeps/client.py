"""Calls of schedulers' command-line clients."""

import shutil
import subprocess

from reweigh.errors import RunError

_TIMEOUT_S = 60


def ask(command: list[str]) -> str:
    """Run a scheduler's client; return what it prints.

    Args:
        command: its name and arguments.

    Raises:
        RunError: it is missing, hangs or fails.
    """
    if shutil.which(command[0]) is None:
        raise RunError(f"expected {command[0]} on the PATH, but there is none. Use another --launch.")
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"expected {command[0]} to answer within {_TIMEOUT_S} s, but it did not.") from error
    if found.returncode != 0:
        said = (found.stderr or found.stdout).strip().splitlines()
        raise RunError(
            f"expected {command[0]} to accept the sweep, but it said: {said[-1] if said else '-'}."
        )
    return found.stdout.strip()
