"""A sweep on a Ray cluster: a Ray task starts one `reweigh train` on its node."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reweigh.errors import RunError, first_line
from reweigh.runs import RunFolder
from reweigh.sweeps.grid import Sweep, Task
from reweigh.sweeps.local import PLACES, Event, core_environment, gpu_environment
from reweigh.sweeps.progress import forget_failure, log_path, remember_failure, state_of
from reweigh.system.processes import INTERRUPTED

_CONNECT_TIMEOUT_S = 5


def run_on_ray(
    sweep: Sweep,
    tasks: Sequence[Task],
    listen: Callable[[Event], None],
    *,
    address: str | None,
    jobs_per_gpu: int | None = None,
) -> bool:
    """Train on a Ray cluster; return whether it was interrupted.

    Tasks of a lost node resume elsewhere from their checkpoints. Every node must see the run folders, and
    the cache if `$REWEIGH_CACHE` names it, under the same path.

    Args:
        sweep: of the tasks.
        tasks: tasks to run.
        listen: called with every event.
        address: of an existing cluster; None: one on this machine alone.
        jobs_per_gpu: tasks that share a GPU; None: one core each, no GPU.

    Raises:
        RunError: Ray is not installed, or there is no cluster.
    """
    ray = _connected(address)
    gpus = 1 / jobs_per_gpu if jobs_per_gpu else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_train_on_a_node)
    own = gpu_environment(jobs_per_gpu) if jobs_per_gpu else core_environment()
    own |= {name: os.environ[name] for name in PLACES if name in os.environ}
    (sweep.folder / "logs").mkdir(parents=True, exist_ok=True)
    waiting = {}
    stopped = False
    try:
        for task in tasks:
            if state_of(sweep, task) != "finished":
                forget_failure(sweep, task)
                log, folder = str(log_path(sweep, task).absolute()), str(task.run.absolute())
                job = remote.remote(list(task.command), folder, task.seed, log, os.getcwd(), own)
                waiting[job] = task
                listen(Event("queued", task))
        while waiting:
            (ended,), _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ended)
            try:
                code = ray.get(ended)
            except Exception as error:  # the node lacks this package, a folder or memory
                why = f"could not start on its node: {_last_line(error)}"
                listen(Event("failed", task, remember_failure(sweep, task, 1, why)))
                continue
            if code == 0:
                listen(Event("finished", task))
            elif code in (INTERRUPTED, -signal.SIGTERM):
                stopped = True
                listen(Event("stopped", task))
            else:
                listen(Event("failed", task, remember_failure(sweep, task, code)))
    except KeyboardInterrupt:  # trainings stop when their workers end with this process
        return True
    return stopped


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _connected(address: str | None) -> Any:
    """The ray module, connected."""
    try:
        import ray  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise RunError("expected ray, but it is not installed. Run: pip install 'reweigh[ray]'.") from error
    _check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        place = address or "this machine"
        raise RunError(
            f"expected a Ray cluster at {place}, but there is none ({first_line(error)}). "
            "Start one with ray start --head, or leave out --address."
        ) from error
    return ray


def _check_reachable(address: str | None) -> None:
    """Reject an address that does not answer; Ray would wait for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise RunError(
            f"expected a Ray cluster at {address}, but nobody answers ({error.strerror or error}). Start one "
            "with ray start --head, or leave out --address."
        ) from error


def _train_on_a_node(
    command: list[str], run: str, seed: int, log: str, here: str, own: dict[str, str]
) -> int:
    # The training of a lost node may still be saving the state from which this one resumes.
    while RunFolder(Path(run)).seed(seed).in_use:
        time.sleep(0.2)
    child = [sys.executable, "-m", "reweigh.sweeps.child", str(os.getpid()), *command]
    environment = os.environ | own
    with open(log, "ab") as file:
        return subprocess.run(
            child, cwd=here, env=environment, stdout=file, stderr=file, check=False
        ).returncode
