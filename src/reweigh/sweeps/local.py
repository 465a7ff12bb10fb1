"""Tasks in processes of this machine, a few at a time."""

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
from reweigh.datasets.d4rl import VARIABLE
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

# Where results and datasets are kept, as variables say it; tasks elsewhere must hear of them.
PLACES = ("REWEIGH_CACHE", VARIABLE, "MINARI_DATASETS_PATH")
# The share of a GPU's memory that a JAX program takes when it starts, and what all that share one take.
_MEMORY, _SHARED_MEMORY = "XLA_PYTHON_CLIENT_MEM_FRACTION", 0.9


@dataclass(frozen=True)
class Slot:
    """A place for one task at a time."""

    gpu: str | None = None
    """What CUDA shows it; None: it is a core's."""
    sharing: int = 1
    """Slots of that GPU."""

    @property
    def environment(self) -> dict[str, str]:
        """What a task in it is started with."""
        if self.gpu is None:
            return core_environment()
        return {"CUDA_VISIBLE_DEVICES": self.gpu} | gpu_environment(self.sharing)


def core_environment() -> dict[str, str]:
    """What a task that has one core is started with: without it JAX would take a GPU that it finds."""
    return {CORES: "1", "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu")}


def gpu_environment(sharing: int) -> dict[str, str]:
    """What a task on a GPU is started with: alone JAX takes three quarters of the memory, at once.

    Args:
        sharing: tasks that share the GPU.
    """
    if sharing == 1 or _MEMORY in os.environ:
        return {}
    return {_MEMORY: f"{_SHARED_MEMORY / sharing:.3f}"}


@dataclass(frozen=True)
class Event:
    """Something that happened to a task."""

    kind: Literal["queued", "started", "finished", "failed", "stopped"]
    task: Task
    error: str | None = None


def slots_of(jobs: int | None, gpus: Sequence[str] = (), jobs_per_gpu: int | None = None) -> list[Slot]:
    """Places for tasks: on GPUs so many each, else one a core, or spread over the GPUs of a Slurm job.

    Args:
        jobs: how many at a time; None: one a core.
        gpus: to be used.
        jobs_per_gpu: at a time on each; None: one.

    Raises:
        ConfigError: there would be none, or both ways of counting are given.
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
    """Train every task of a sweep that is not finished, as `reweigh sweep` does; say where each stands.

    Tasks that failed before are tried again.

    Args:
        sweep: from `make_sweep` or `read_sweep`.
        jobs: tasks at a time; None: one a core.
        gpus: to be used in place of cores.
        jobs_per_gpu: at a time on each; None: one.
        listen: called with every event.

    Raises:
        ReweighError: the folder holds runs of other settings, or cannot be written.
    """
    slots = slots_of(jobs, gpus, jobs_per_gpu)
    write_requests(sweep)
    run_locally(sweep, sweep.tasks, slots, listen)
    return [standing_of(sweep, task) for task in sweep.tasks]


def run_locally(
    sweep: Sweep, tasks: Sequence[Task], slots: Sequence[Slot], listen: Callable[[Event], None]
) -> bool:
    """Train every task that is not finished; return whether it was interrupted.

    Each is a `reweigh train` of its own, which goes on from its checkpoint. It ends with this process, also
    when this one is killed. A task that another process trains is waited for.

    Args:
        sweep: of the tasks.
        tasks: which, in the order of starting.
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
            if len(signals) > told:  # once a signal: a second one stops a training before its state is saved
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
    """The first task that is neither finished nor in anybody's hands, taken from those that wait."""
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
