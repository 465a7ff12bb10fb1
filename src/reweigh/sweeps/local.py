"""Run tasks in processes on this machine, a few at a time."""

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from reweigh.checks import check_count
from reweigh.datasets.d4rl import D4RL_VARIABLE
from reweigh.errors import ConfigError
from reweigh.sweeps.grid import Sweep, Task
from reweigh.sweeps.progress import (
    Standing,
    forget_failure,
    log_path,
    remember_failure,
    standing_of,
    state_of,
)
from reweigh.sweeps.requests import write_requests
from reweigh.system.processes import CORES, INTERRUPTED, signals_heard, usable_cores

# Variables that locate the cache and datasets; tasks on other machines need them too.
PLACES = ("REWEIGH_CACHE", D4RL_VARIABLE, "MINARI_DATASETS_PATH")
# JAX's variable for the share of a GPU's memory that it preallocates, and the total when tasks share one.
_MEMORY, _SHARED_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION", 0.9


@dataclass(frozen=True)
class Slot:
    """A place for one task at a time."""

    gpu: str | None = None
    """Its GPU, as CUDA names it; None: it is a core."""
    sharing: int = 1
    """Number of slots on that GPU."""

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of a task in it."""
        if self.gpu is None:
            return core_environment()
        return {"CUDA_VISIBLE_DEVICES": self.gpu} | gpu_environment(self.sharing)


def core_environment() -> dict[str, str]:
    """Environment variables of a task on one core; without them JAX would use any GPU it finds."""
    return {CORES: "1", "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}


def gpu_environment(sharing: int) -> dict[str, str]:
    """Variables that split a shared GPU's memory; by default each JAX process takes three quarters at once.

    Args:
        sharing: tasks that share the GPU.
    """
    if sharing == 1 or _MEMORY in os.environ:
        return {}
    return {_MEMORY: f"{_SHARED_MEMORY / sharing:.3f}"}


@dataclass(frozen=True)
class Event:
    """A change in the state of a task."""

    kind: Literal["queued", "started", "finished", "failed", "stopped"]
    task: Task
    error: str | None = None


def slots_of(jobs: int | None, gpus: Sequence[str] = (), jobs_per_gpu: int | None = None) -> list[Slot]:
    """Places for tasks: on the given GPUs, else on a Slurm job's GPUs, else on cores.

    Args:
        jobs: tasks at a time without `gpus`; None: one per core.
        gpus: the GPUs to use.
        jobs_per_gpu: tasks at a time on each; None: one.

    Raises:
        ConfigError: a count is below 1, or the arguments contradict one another.
    """
    if jobs_per_gpu is not None and not gpus:
        raise ConfigError("--jobs-per-gpu has no meaning without --gpus. Name the GPUs.")
    if gpus:
        jobs_per_gpu = 1 if jobs_per_gpu is None else jobs_per_gpu
        check_count("--jobs-per-gpu", jobs_per_gpu)
        if jobs is not None:
            raise ConfigError("--jobs and --gpus both say how many tasks at a time. Give one of them.")
        return [Slot(gpu, jobs_per_gpu) for _ in range(jobs_per_gpu) for gpu in gpus]
    count = jobs if jobs is not None else usable_cores()
    if count < 1:
        raise ConfigError(f"expected --jobs of at least 1, but found {count}.")
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "") if "SLURM_JOB_ID" in os.environ else ""
    granted = [gpu for gpu in shown.split(",") if gpu]
    if not granted:
        return [Slot()] * count
    sharing = math.ceil(count / len(granted))
    return [Slot(granted[number % len(granted)], sharing) for number in range(count)]


def run_sweep(
    sweep: Sweep,
    *,
    jobs: int | None = None,
    gpus: Sequence[str] = (),
    jobs_per_gpu: int | None = None,
    listen: Callable[[Event], None] = lambda event: None,
) -> list[Standing]:
    """Train every unfinished task of a sweep, as `reweigh sweep` does; return each one's progress.

    Tasks that failed before are tried again.

    Args:
        sweep: from `make_sweep` or `read_sweep`.
        jobs: tasks at a time; None: one per core.
        gpus: GPUs to use instead of cores.
        jobs_per_gpu: tasks at a time on each; None: one.
        listen: called with every event.

    Raises:
        ReweighError: the folder holds runs with other settings, or is not writable.
    """
    slots = slots_of(jobs, gpus, jobs_per_gpu)
    write_requests(sweep)
    run_locally(sweep, sweep.tasks, slots, listen)
    return [standing_of(sweep, task) for task in sweep.tasks]


def run_locally(
    sweep: Sweep, tasks: Sequence[Task], slots: Sequence[Slot], listen: Callable[[Event], None]
) -> bool:
    """Train every unfinished task; return whether a signal interrupted this.

    Each is its own `reweigh train`, which resumes from its checkpoint. It ends with this process, even if
    this is killed. Tasks that another process is training are waited for.

    Args:
        sweep: of the tasks.
        tasks: in starting order.
        slots: places for them.
        listen: called with every event.
    """
    waiting, free = list(tasks), list(slots)
    running: dict[Task, tuple[subprocess.Popen, Slot]] = {}
    (sweep.folder / "logs").mkdir(parents=True, exist_ok=True)
    signals: list[int] = []
    told = 0
    with signals_heard(lambda number, frame: signals.append(number)):
        while running or (waiting and not signals):
            while free and waiting and not signals:
                task = _next(sweep, waiting)
                if task is None:
                    break
                slot = free.pop(0)
                forget_failure(sweep, task)
                running[task] = (_start(sweep, task, slot), slot)
                listen(Event("started", task))
            if len(signals) > told:  # once per signal: a second one stops a training before it saves
                told = len(signals)
                for process, _ in running.values():
                    with contextlib.suppress(ProcessLookupError):
                        process.terminate()
            time.sleep(0.1)
            for task, (process, slot) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[task]
                free.append(slot)
                if code == 0:
                    listen(Event("finished", task))
                elif code == INTERRUPTED or (signals and code < 0):
                    listen(Event("stopped", task))
                else:
                    listen(Event("failed", task, remember_failure(sweep, task, code)))
    return bool(signals)


def _next(sweep: Sweep, waiting: list[Task]) -> Task | None:
    """Take the first task from `waiting` that is neither finished nor running; None: there is none."""
    for task in list(waiting):
        state = state_of(sweep, task)
        if state != "running":
            waiting.remove(task)
            if state != "finished":
                return task
    return None


def _start(sweep: Sweep, task: Task, slot: Slot) -> subprocess.Popen:
    child = [sys.executable, "-m", "reweigh.sweeps.child", str(os.getpid())]
    with open(log_path(sweep, task), "ab") as log:
        return subprocess.Popen(
            [*child, *task.command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | slot.environment,
            start_new_session=True,
        )
