"""What on this machine could cause problems, and what to do about it."""

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reweigh.datasets.memory import available_memory
from reweigh.errors import ConfigError, first_line
from reweigh.evaluation import make_environment
from reweigh.system.atomic import write_text

# Lowest required version, and the first that is known to differ (None: none yet).
REQUIRED: dict[str, tuple[str, str | None]] = {
    "jax": ("0.4.35", None),
    "equinox": ("0.11.10", None),
    "optax": ("0.2.4", None),
    "numpy": ("1.26", None),
    "scipy": ("1.11", None),
    "h5py": ("3.11", None),
    "gymnasium": ("1.0", None),
    "mujoco": ("3.1", "3.5"),
}
ENOUGH_MEMORY_GIB = 4.0
ENOUGH_DISK_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    what: str
    status: Literal["ok", "note", "problem"]
    found: str
    remedy: str = ""


def examine(folder: Path) -> list[Finding]:
    """Run all checks, in the order in which a new user would meet problems.

    Args:
        folder: where runs will be written.
    """
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _versions,
        _devices,
        _memory,
        lambda: _writing(folder),
        _environment,
        _rendering,
    ]
    return [finding for check in checks for finding in check()]


def _python() -> list[Finding]:
    system = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if os.name != "posix":
        return [Finding("Python", "problem", system, "Use Linux or macOS: runs are guarded by POSIX locks.")]
    return [Finding("Python", "ok", system)]


def _versions() -> list[Finding]:
    findings = []
    for package, (lowest, differs) in REQUIRED.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            findings.append(
                Finding(package, "problem", "not installed", f"pip install '{package}>={lowest}'")
            )
            continue
        if _numbers(version) < _numbers(lowest):
            remedy = f"pip install --upgrade '{package}>={lowest}'"
            findings.append(Finding(package, "problem", f"{version}, older than {lowest}", remedy))
        elif differs is not None and _numbers(version) >= _numbers(differs):
            remedy = (
                f"pip install '{package}>={lowest},<{differs}', with Python below 3.14 (scores on either "
                "side do not compare)"
            )
            findings.append(
                Finding(package, "note", f"{version}, other physics than below {differs}", remedy)
            )
        else:
            findings.append(Finding(package, "ok", version))
    return findings


def _devices() -> list[Finding]:
    import jax

    try:
        found = ", ".join(str(device) for device in jax.devices())
    except RuntimeError as error:
        text = first_line(error)
        return [Finding("devices", "problem", text, "Unset JAX_PLATFORMS, or pip install 'reweigh[gpu]'.")]
    if jax.default_backend() == "cpu" and shutil.which("nvidia-smi"):
        return [Finding("devices", "note", f"{found}, beside an NVIDIA GPU", "pip install 'reweigh[gpu]'")]
    return [Finding("devices", "ok", f"{found}; {os.cpu_count()} cores")]


def _memory() -> list[Finding]:
    available = available_memory()
    if available is None:
        words = "unknown on this system"
        return [Finding("free memory", "note", words, "A million rows need about 1 GiB a seed.")]
    free = available / 2**30
    status = "ok" if free >= ENOUGH_MEMORY_GIB else "note"
    remedy = "" if status == "ok" else "A million rows need about 1 GiB a seed: train fewer seeds at a time."
    return [Finding("free memory", status, f"{free:.1f} GiB", remedy)]


def _writing(folder: Path) -> list[Finding]:
    try:
        # A run would create missing folders in the nearest one that exists.
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryDirectory(dir=there) as temporary:
            write_text(Path(temporary) / "probe", "probe")
        free = shutil.disk_usage(there).free / 2**30
    except OSError as error:
        remedy = "Run in a folder that you may write in, or give one with --out."
        return [Finding("run folder", "problem", f"cannot write in {folder} ({error.strerror})", remedy)]
    status = "ok" if free >= ENOUGH_DISK_GIB else "note"
    remedy = "" if status == "ok" else "Free some space: checkpoints and datasets need it."
    return [Finding("run folder", status, f"{folder} can be written, {free:.0f} GiB free", remedy)]


def _environment() -> list[Finding]:
    try:
        environment = make_environment("Hopper-v4")
    except ConfigError as error:
        return [Finding("MuJoCo", "problem", str(error), "Install reweigh anew, which brings MuJoCo.")]
    try:
        environment.reset(seed=0)
        environment.step(environment.action_space.low)
    finally:
        environment.close()
    return [Finding("MuJoCo", "ok", "one step of Hopper-v4 taken")]


def _rendering() -> list[Finding]:
    if os.environ.get("DISPLAY") or platform.system() == "Darwin" or os.environ.get("MUJOCO_GL"):
        return [Finding("rendering", "ok", f"MUJOCO_GL={os.environ.get('MUJOCO_GL', 'not set')}")]
    remedy = "Only to render: set MUJOCO_GL=egl before Python starts. Training and scores need none."
    return [Finding("rendering", "note", "no display", remedy)]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
