"""Commands for other launchers: one line per task, plain or in a container."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from reweigh.datasets.minari import is_minari
from reweigh.sweeps.grid import Task
from reweigh.sweeps.local import PLACES
from reweigh.system.cache import cache_folder
from reweigh.system.processes import CORES


def as_commands(tasks: Sequence[Task]) -> list[str]:
    """One line per task, for a shell, GNU parallel or another scheduler."""
    return [shlex.join(["reweigh", *task.command]) for task in tasks]


def as_docker(tasks: Sequence[Task], image: str) -> list[str]:
    """`docker run` lines, one core each, that mount this folder, the cache, and what a task names.

    Args:
        tasks: the tasks.
        image: made from the shipped Dockerfile.
    """
    here, cache = Path.cwd(), cache_folder().absolute()
    lines = []
    for task in tasks:
        # Relative paths mean the same in the container, because it starts in the same folder.
        folders = [folder.absolute() for word in task.words for folder in _folders_named(word)]
        places = {"REWEIGH_CACHE": str(cache), **_places_named(task)}
        folders += [Path(place).absolute() for place in places.values() if os.path.isdir(place)]
        mounted = [here, *(Path(os.path.normpath(f)) for f in (cache, task.run.absolute().parent, *folders))]
        own = [f for i, f in enumerate(mounted) if not any(f.is_relative_to(other) for other in mounted[:i])]
        # Docker would create missing folders as root.
        made = shlex.join(["mkdir", "-p", *map(str, own)])
        volumes = " ".join(f"--volume {shlex.quote(f'{folder}:{folder}')}" for folder in own)
        variables = [
            word for name, value in {**places, CORES: "1"}.items() for word in ("--env", f"{name}={value}")
        ]
        settings = shlex.join([*variables, "--cpus", "1"])
        place = f"--workdir {shlex.quote(str(here))}"
        run = f"docker run --rm --user $(id -u):$(id -g) {volumes} {settings} {place} {image}"
        lines.append(f"{made} && {run} {shlex.join(task.command)}")
    return lines


def _folders_named(word: str) -> list[Path]:
    """The folders of the files that a command's word names, as a whole or in a part of it."""
    found = []
    for part in (word, *re.split(r"[=*+:]", word)):
        path = Path(part)
        if os.path.exists(part):
            found.append(path if path.is_dir() else path.parent)
        elif "%s" in path.name and path.parent.is_dir():  # one file per value seed
            found.append(path.parent)
    return found


def _places_named(task: Task) -> dict[str, str]:
    """The variables that locate datasets, with their values here."""
    found = {name: os.environ[name] for name in PLACES[1:] if name in os.environ}
    if any(map(is_minari, task.words)):
        found.setdefault("MINARI_DATASETS_PATH", str(Path.home() / ".minari" / "datasets"))
    return found
