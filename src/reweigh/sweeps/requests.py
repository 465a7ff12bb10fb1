"""FOLDER/reweigh-tasks.json: what sweeps request, to detect missing runs and changed settings."""

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reweigh.errors import RunError
from reweigh.sweeps.grid import Sweep
from reweigh.system.atomic import held, parse_json, write_text

# Not tasks.json, which other tools use too: reports search for this name around runs.
_NAME, _LOCK = "reweigh-tasks.json", "reweigh-tasks.lock"


# Levels from a sweep's folder to a seed's: FOLDER/DATASET/GROUP/seed-K.
_LEVELS = 3


@dataclass(frozen=True)
class RequestedRun:
    """What sweeps request of one run."""

    words: tuple[str, ...]
    """Arguments of `reweigh train`, without seed and folder."""
    seeds: tuple[int, ...]


def merged_requests(sweep: Sweep) -> dict[str, RequestedRun]:
    """All requests known for a sweep's folder, including this sweep's tasks.

    Args:
        sweep: the current one.

    Returns:
        What is requested of each run, by the run's path in the folder.

    Raises:
        RunError: the record is damaged, or has other settings for a run, whose finished seeds would pass for
            this sweep's.
    """
    known = read_requests(sweep.folder)
    for task in sweep.tasks:
        run = str(task.run.relative_to(sweep.folder))
        before = known.get(run, RequestedRun(task.words, ()))
        if before.words != task.words:
            raise RunError(
                f"expected {run} in {sweep.folder} to have the settings that it had before "
                f"({shlex.join(before.words)}), but found {shlex.join(task.words)}. Choose another --out, or "
                "give the group another name."
            )
        known[run] = RequestedRun(task.words, tuple(sorted({*before.seeds, task.seed})))
    return known


def write_requests(sweep: Sweep) -> None:
    """Record what a sweep requests, keeping earlier requests in its folder.

    Args:
        sweep: the current one.

    Raises:
        RunError: the record has other settings for a run, or cannot be read or written.
    """
    if merged_requests(sweep) == read_requests(sweep.folder):
        return
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
        # Another sweep may start in this folder now; neither may overwrite the other's requests.
        with held(sweep.folder / _LOCK, wait=True):
            requested = merged_requests(sweep)
            plain = {
                run: {"words": list(one.words), "seeds": list(one.seeds)} for run, one in requested.items()
            }
            write_text(sweep.folder / _NAME, json.dumps({"runs": plain}, indent=2) + "\n")
    except OSError as error:
        raise RunError(f"cannot write in {sweep.folder} ({error.strerror}). Choose another --out.") from error


def read_requests(folder: Path) -> dict[str, RequestedRun]:
    """What sweeps requested in a folder; empty if there were none.

    Args:
        folder: of a sweep.

    Raises:
        RunError: the record is damaged.
    """
    path = folder / _NAME
    if not os.path.exists(path):
        return {}
    try:
        runs: Any = parse_json(path.read_text(encoding="utf-8"))["runs"]
        for one in runs.values():
            words_are_text = all(type(word) is str for word in one["words"])
            if not (words_are_text and all(type(seed) is int for seed in one["seeds"])):
                raise ValueError("words must be text, seeds numbers")
        return {run: RequestedRun(tuple(one["words"]), tuple(one["seeds"])) for run, one in runs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"expected what a sweep asks for at {path}, but it cannot be read. Remove it, and start the "
            "sweep again."
        ) from error


def requested_below(roots: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """The seeds that sweeps request at or below some folders, by the run's real path.

    Args:
        roots: folders of sweeps, folders that hold some at any depth, or folders or runs inside one.

    Raises:
        RunError: a record is damaged.
    """
    requested = {}
    for root in roots:
        own = Path(os.path.realpath(root))
        for above in own.parents[:_LEVELS]:
            runs = {os.path.realpath(above / run): one.seeds for run, one in read_requests(above).items()}
            requested |= {run: seeds for run, seeds in runs.items() if Path(run).is_relative_to(own)}
        for place, folders, files in os.walk(root):
            if _NAME in files:
                requested |= {
                    os.path.realpath(os.path.join(place, run)): one.seeds
                    for run, one in read_requests(Path(place)).items()
                }
            if _NAME in files or "config.json" in files:
                folders.clear()
    return requested
