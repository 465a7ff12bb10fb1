"""Ways to start a sweep elsewhere: each starts `reweigh train`, or `reweigh sweep` on a range of tasks."""

import math
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reweigh.atomic import write_text
from reweigh.errors import ConfigError, RunError
from reweigh.processes import CORES, usable_cores
from reweigh.runs import RunFolder
from reweigh.sweeps.grid import Sweep, Task
from reweigh.sweeps.local import Event
from reweigh.sweeps.progress import forget_failure, log_path, remember_failure, standing_of

_CLIENT_TIMEOUT_S = 60

SLURM_TEMPLATE = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={jobs}
#SBATCH --mem-per-cpu=4G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --output={folder}/slurm/%A_%a.log
# Edit the lines above for your cluster: a sweep that finds this file uses it as it stands.
# At a preemption or the time limit every training saves its state; the job is queued again and goes on.
cd {here}
first=$((SLURM_ARRAY_TASK_ID * {chunk}))
{command} --tasks "$first:$((first + {chunk}))" --jobs {jobs} &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM
wait $child
code=$?
while kill -0 $child 2>/dev/null; do
  wait $child
  code=$?
done
if [ $code -eq 130 ]; then
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
  sleep 60
fi
exit $code
"""


def as_commands(tasks: Sequence[Task]) -> list[str]:
    """A line a task, for a shell, GNU parallel or another scheduler."""
    return [shlex.join(["reweigh", *task.command]) for task in tasks]


def as_docker(tasks: Sequence[Task], image: str) -> list[str]:
    """`docker run` lines that mount this folder.

    Args:
        tasks: which.
        image: made from the shipped Dockerfile.
    """
    here = shlex.quote(os.getcwd())
    run = f"docker run --rm --user $(id -u):$(id -g) --volume {here}:{here} --workdir {here} {image}"
    return [f"{run} {shlex.join(task.command)}" for task in tasks]


def submit_to_slurm(
    sweep: Sweep, count: int, again: Sequence[str], *, chunk: int, jobs: int, template: Path | None
) -> str:
    """Queue a job array, a job for every few tasks.

    Args:
        sweep: whose folder gets the script and the logs.
        count: of tasks.
        again: the `reweigh sweep` that runs them here.
        chunk: tasks a job.
        jobs: tasks at a time in a job, one a core.
        template: a script in place of the shipped one; in braces it may name what that one names.

    Returns:
        What sbatch said.

    Raises:
        ConfigError: the template names something else.
        RunError: there is no sbatch, or it refused.
    """
    script = sweep.folder / "slurm" / "sweep.sbatch"
    script.parent.mkdir(parents=True, exist_ok=True)
    if template is not None or not script.exists():
        text = SLURM_TEMPLATE
        if template is not None:
            try:
                text = template.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"expected a template at {template}, but it cannot be read.") from error
        names = {
            "name": sweep.folder.name,
            "last": math.ceil(count / chunk) - 1,
            "folder": sweep.folder.absolute(),
            "here": shlex.quote(os.getcwd()),
            "chunk": chunk,
            "jobs": jobs,
            "command": shlex.join([sys.executable, "-m", "reweigh", *again]),
        }
        try:
            write_text(script, text.format(**names))
        except (KeyError, IndexError, ValueError) as error:
            raise ConfigError(
                f"expected only {', '.join(names)} in braces in {template}, but found {error}. Double the "
                "braces of the shell."
            ) from error
    return _client(["sbatch", str(script)])


def start_screens(sweep: Sweep, count: int, again: Sequence[str], *, screens: int) -> list[str]:
    """Detached `screen` sessions, each with its share of the tasks and of the cores.

    Args:
        sweep: whose folder names them.
        count: of tasks.
        again: the `reweigh sweep` that runs them here.
        screens: how many.

    Returns:
        The names of the sessions.

    Raises:
        RunError: there is no screen, or a session did not start.
    """
    share = math.ceil(count / screens)
    again = [*again, "--jobs", str(max(usable_cores() // screens, 1))]
    names = []
    for number, first in enumerate(range(0, count, share)):
        name = f"reweigh-{sweep.folder.name}-{number}"
        command = [sys.executable, "-m", "reweigh", *again, "--tasks", f"{first}:{first + share}"]
        log = sweep.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        _client(["screen", "-dmS", name, "-L", "-Logfile", str(log), *command])
        names.append(name)
        # A session that could not start its command is gone at once; one whose work is done may be gone too.
        if not log.exists():
            raise RunError(f"expected screen to start {name}, but it left no log. Try --launch local.")
    return names


def run_on_ray(
    sweep: Sweep, tasks: Sequence[Task], listen: Callable[[Event], None], *, address: str | None
) -> None:
    """Train on a Ray cluster, one core a task; those of a lost node go on elsewhere from their checkpoints.

    Every node must see the run folders under the same path.

    Args:
        sweep: of the tasks.
        tasks: which.
        listen: called with every event.
        address: of an existing cluster; None: one of this machine alone.

    Raises:
        RunError: Ray is not installed.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise RunError("expected ray, but it is not installed. Run: pip install 'reweigh[ray]'.") from error
    ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)

    remote = ray.remote(num_cpus=1, max_retries=-1)(_train_on_a_node)
    (sweep.folder / "logs").mkdir(parents=True, exist_ok=True)
    waiting = {}
    for task in tasks:
        if standing_of(sweep, task).state != "finished":
            forget_failure(sweep, task)
            log = str(log_path(sweep, task).absolute())
            folder = str(task.run.absolute())
            waiting[remote.remote(list(task.command), folder, task.seed, log, os.getcwd())] = task
            listen(Event("started", task))
    while waiting:
        (ended,), _ = ray.wait(list(waiting), num_returns=1)
        task, code = waiting.pop(ended), ray.get(ended)
        if code == 0:
            listen(Event("finished", task))
        else:
            listen(Event("failed", task, remember_failure(sweep, task, code)))


def _train_on_a_node(command: list[str], run: str, seed: int, log: str, here: str) -> int:
    # Of a lost node's task: its training may still be saving the state that this one goes on from.
    while RunFolder(Path(run)).seed(seed).in_use:
        time.sleep(0.2)
    child = [sys.executable, "-m", "reweigh.sweeps.child", str(os.getpid()), *command]
    own = os.environ | {CORES: "1"}
    with open(log, "ab") as file:
        return subprocess.run(child, cwd=here, env=own, stdout=file, stderr=file, check=False).returncode


def _client(command: list[str]) -> str:
    """Run a scheduler's client.

    Raises:
        RunError: it is missing, hangs or refuses.
    """
    if shutil.which(command[0]) is None:
        raise RunError(f"expected {command[0]} on the PATH, but there is none. Use another --launch.")
    try:
        found = subprocess.run(
            command, capture_output=True, text=True, timeout=_CLIENT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"expected {command[0]} to answer within {_CLIENT_TIMEOUT_S} s, but it did not."
        ) from error
    if found.returncode != 0:
        said = (found.stderr or found.stdout).strip().splitlines()
        raise RunError(
            f"expected {command[0]} to accept the sweep, but it said: {said[-1] if said else '-'}."
        )
    return found.stdout.strip()
