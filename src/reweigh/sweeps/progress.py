"""A sweep's progress, read from its run folders and logs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from reweigh.errors import RunError
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder
from reweigh.sweeps.grid import Sweep, Task
from reweigh.system.atomic import parse_json, write_text

State = Literal["finished", "running", "failed", "waiting"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Standing:
    """Progress of one task."""

    task: Task
    state: State
    update: int = 0
    """Last reported update."""
    score: float | None = None
    """Mean of the last ten evaluations (until finished: the last one); normalized if possible."""
    updates_per_second: float | None = None
    error: str | None = None
    """Why it failed."""


def log_path(sweep: Sweep, task: Task) -> Path:
    """Where a task's output is kept."""
    return sweep.folder / "logs" / f"{task.slug}.log"


def failure_path(sweep: Sweep, task: Task) -> Path:
    """Where a failure is recorded until the task is retried."""
    return sweep.folder / "logs" / f"{task.slug}.failed.json"


def remember_failure(sweep: Sweep, task: Task, code: int, why: str | None = None) -> str:
    """Record that a task failed; return why.

    Args:
        sweep: of the task.
        task: the failed task.
        code: exit code of its process; negative: killed by that signal.
        why: the reason; None: the last line that it printed.
    """
    log = log_path(sweep, task)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    error = why or (said[-1] if said else f"ended with code {code} and said nothing")
    if code < 0:
        error = f"killed by signal {-code}"
    write_text(failure_path(sweep, task), json.dumps({"code": code, "error": error}) + "\n")
    return error


def forget_failure(sweep: Sweep, task: Task) -> None:
    """Remove the record of a failure, because the task is retried."""
    failure_path(sweep, task).unlink(missing_ok=True)


def state_of(sweep: Sweep, task: Task) -> State:
    """Whether a task is finished, running, failed or waiting, without reading the run's results.

    Args:
        sweep: of the task.
        task: the task.
    """
    seed = RunFolder(task.run).seed(task.seed)
    if seed.finished:
        return "finished"
    if seed.in_use:
        return "running"
    return "failed" if failure_path(sweep, task).exists() else "waiting"


def standing_of(sweep: Sweep, task: Task) -> Standing:
    """Progress of a task.

    Args:
        sweep: of the task.
        task: the task.

    Raises:
        RunError: the task's result, progress, evaluations, policy or failure record is damaged.
    """
    seed, state = RunFolder(task.run).seed(task.seed), state_of(sweep, task)
    if state == "finished":
        result = seed.result()
        score = result.get("last_ten_score", result.get("last_ten_return"))
        updates = int(result.get("num_updates") or 0)
        return Standing(task, state, updates, score, result.get("updates_per_second"))
    update, rate = seed.progress()
    if state == "failed":
        failure = failure_path(sweep, task)
        try:
            error = parse_json(failure.read_text(encoding="utf-8"))["error"]
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise RunError(f"expected a failure's record at {failure}, but it cannot be read.") from problem
        return Standing(task, state, update, updates_per_second=rate, error=str(error))
    return Standing(task, state, update, _last_score(seed), rate)


def _last_score(seed: SeedFolder) -> float | None:
    """The last evaluation of an unfinished seed, if there is one."""
    returns = seed.load_returns()
    if not len(returns.update):
        return None
    policy = seed.load_policy()
    env = policy.meta.get("env")
    return returns.last_score(policy.reference_in(env) if env else None)
