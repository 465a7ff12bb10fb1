"""What a result depends on besides its config: command, date, versions, commit, machine."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax


def environment_record() -> dict[str, Any]:
    """Command, date, versions, commit and machine, for RUN/environment.json."""
    packages = ("reweigh", "jax", "jaxlib", "equinox", "optax", "numpy", "gymnasium", "mujoco", "h5py")
    extras = ("gymnasium-robotics", "minari")
    versions: dict[str, str | None] = {}
    for package in (*packages, *extras):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package in packages:
                versions[package] = None
    return {
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
        "python": platform.python_version(),
        "commit": _commit(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "devices": [str(device) for device in jax.devices()],
    }


def _program() -> str:
    """The program's name; `python -m reweigh` counts as `reweigh`."""
    name = Path(sys.argv[0]).name
    return "reweigh" if name == "__main__.py" else name


def _commit() -> str | None:
    """The commit of the git repository that holds the package, if any."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
