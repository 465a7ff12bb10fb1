"""Ways to start a sweep elsewhere: each starts `reweigh train`, or `reweigh sweep` on a range of tasks."""

import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reweigh.datasets.d4rl import VARIABLE
from reweigh.datasets.minari import is_minari
from reweigh.errors import ConfigError, RunError
from reweigh.runs import RunFolder
from reweigh.sweeps.grid import Sweep, Task
from reweigh.sweeps.local import Event, core_environment, gpu_environment
from reweigh.sweeps.progress import forget_failure, log_path, remember_failure, state_of
from reweigh.system.atomic import write_text
from reweigh.system.cache import cache_folder
from reweigh.system.processes import CORES, INTERRUPTED, usable_cores

# Where results and datasets are kept, as variables say it.
_PLACES = ("REWEIGH_CACHE", VARIABLE, "MINARI_DATASETS_PATH")
_COMMON_ARRAY_LIMIT = 1000  # Slurm's MaxArraySize, where nobody has raised it
_CLIENT_TIMEOUT_S = 60
_CONNECT_TIMEOUT_S = 5
_SCREEN_PATIENCE_S = 10

SLURM_TEMPLATE = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task={jobs}
#SBATCH --mem-per-cpu=4G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
#SBATCH --output="{folder}/slurm/%A_%a.log"
# At a preemption or the time limit every training saves its state; the job is queued again and goes on.
cd {here}
first=$(({first} + SLURM_ARRAY_TASK_ID * {chunk}))
end=$((first + {chunk} < {end} ? first + {chunk} : {end}))
{command} --tasks "$first:$end" --jobs {jobs} &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM
wait $child
code=$?
while kill -0 $child 2>/dev/null; do
  wait $child
  code=$?
done
job="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
# A job that somebody has canceled is stopped in the same way, and stays so.
if [ $code -eq 130 ] && scontrol show job --oneliner "$job" | grep -q JobState=RUNNING; then
  scontrol requeue "$job"
  sleep 60
fi
exit $code
"""


def as_commands(tasks: Sequence[Task]) -> list[str]:
    """A line a task, for a shell, GNU parallel or another scheduler."""
    return [shlex.join(["reweigh", *task.command]) for task in tasks]


def as_docker(tasks: Sequence[Task], image: str) -> list[str]:
    """`docker run` lines, one core each, that mount this folder, the cache, and what else a task names.

    Args:
        tasks: which.
        image: made from the shipped Dockerfile.
    """
    here, cache = Path.cwd(), cache_folder().absolute()
    lines = []
    for task in tasks:
        # Relative paths mean in the container what they mean here: they start from the same folder.
        folders = [folder.absolute() for word in task.words for folder in _folders_named(word)]
        places = {"REWEIGH_CACHE": str(cache), **_places_named(task)}
        folders += [Path(place).absolute() for place in places.values() if os.path.isdir(place)]
        mounted = [here, *(Path(os.path.normpath(f)) for f in (cache, task.run.absolute().parent, *folders))]
        own = [f for i, f in enumerate(mounted) if not any(f.is_relative_to(other) for other in mounted[:i])]
        # Docker would make what is not there, and make it root's.
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
    """The folders of the files that a word of a command names: whole, or as a part of weights."""
    found = []
    for part in (word, *re.split(r"[=*+:]", word)):
        path = Path(part)
        if os.path.exists(part):
            found.append(path if path.is_dir() else path.parent)
        elif "%s" in path.name and path.parent.is_dir():  # a file a value seed
            found.append(path.parent)
    return found


def _places_named(task: Task) -> dict[str, str]:
    """The variables that say where datasets are, as they are set here."""
    found = {name: os.environ[name] for name in _PLACES[1:] if name in os.environ}
    if any(map(is_minari, task.words)):
        found.setdefault("MINARI_DATASETS_PATH", str(Path.home() / ".minari" / "datasets"))
    return found


def slurm_script(
    sweep: Sweep, tasks: range, again: Sequence[str], *, chunk: int, jobs: int, template: str = SLURM_TEMPLATE
) -> str:
    """The script of a job array, a job for every few tasks.

    Args:
        sweep: whose folder gets the logs.
        tasks: their numbers.
        again: the `reweigh sweep` that runs them here.
        chunk: tasks a job.
        jobs: tasks at a time in a job, one a core.
        template: with names in braces.

    Raises:
        ConfigError: the template names something else.
    """
    names = {
        "name": re.sub(r"\s+", "-", sweep.folder.name),
        "first": tasks.start,
        "end": tasks.stop,
        "last": math.ceil(len(tasks) / chunk) - 1,
        "folder": sweep.folder.absolute(),
        "here": shlex.quote(os.getcwd()),
        "chunk": chunk,
        "jobs": jobs,
        "command": shlex.join([sys.executable, "-m", "reweigh", *again]),
    }
    try:
        return template.format(**names)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"expected only {', '.join(names)} in braces in the template, but found {error}. Double the "
            "braces of the shell."
        ) from error


def slurm_template(sweep: Sweep, given: Path | None) -> str:
    """A template of one's own, else that of an earlier submission, else the shipped one.

    Args:
        sweep: whose folder keeps it.
        given: a file in place of both.

    Raises:
        ConfigError: it cannot be read.
    """
    path = given or _template_path(sweep)
    if given is None and not path.exists():
        return SLURM_TEMPLATE
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a template at {path}, but it cannot be read.") from error


def submit_to_slurm(sweep: Sweep, script: str, template: str, options: Sequence[str]) -> str:
    """Queue a job array.

    Args:
        sweep: whose folder gets the script, and its template, to be edited.
        script: from `slurm_script`.
        template: that it was made of.
        options: of `sbatch`, which stand above the script's own.

    Returns:
        What sbatch said.

    Raises:
        RunError: there is no sbatch, or it refused.
    """
    path = _template_path(sweep).with_name("sweep.sbatch")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, script)
    write_text(_template_path(sweep), template)
    try:
        return _client(["sbatch", *options, str(path)])
    except RunError as error:
        jobs = re.search(r"^#SBATCH --array=0-(\d+)", script, re.MULTILINE)
        if jobs is None or int(jobs[1]) < _COMMON_ARRAY_LIMIT:
            raise
        raise RunError(
            f"{error} Most clusters take arrays of up to {_COMMON_ARRAY_LIMIT} jobs, and this one has "
            f"{int(jobs[1]) + 1}: raise --chunk, or submit ranges with --tasks."
        ) from error


def _template_path(sweep: Sweep) -> Path:
    return sweep.folder / "slurm" / "template.sbatch"


def start_screens(sweep: Sweep, tasks: range, again: Sequence[str], *, screens: int) -> list[str]:
    """Detached `screen` sessions, each with its share of the tasks and of the cores.

    Args:
        sweep: whose folder names them.
        tasks: their numbers.
        again: the `reweigh sweep` that runs them here.
        screens: how many.

    Returns:
        The names of the sessions.

    Raises:
        RunError: there is no screen, or a session did not start.
    """
    share = math.ceil(len(tasks) / screens)
    again = [*again, "--jobs", str(max(usable_cores() // screens, 1))]
    names = []
    for number, first in enumerate(range(tasks.start, tasks.stop, share)):
        name = f"reweigh-{sweep.folder.name}-{number}"
        end = min(first + share, tasks.stop)
        command = [sys.executable, "-m", "reweigh", *again, "--tasks", f"{first}:{end}"]
        log = sweep.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        _client(["screen", "-dmS", name, "-L", "-Logfile", str(log), *command])
        # The log outlives a session that could not start its command, or whose work is done already.
        deadline = time.monotonic() + _SCREEN_PATIENCE_S
        while not log.exists():
            if time.monotonic() > deadline:
                raise RunError(f"expected screen to start {name}, but it left no log. Try --launch local.")
            time.sleep(0.05)
        names.append(name)
    return names


def run_on_ray(
    sweep: Sweep,
    tasks: Sequence[Task],
    listen: Callable[[Event], None],
    *,
    address: str | None,
    jobs_per_gpu: int | None = None,
) -> bool:
    """Train on a Ray cluster; return whether it was interrupted.

    The tasks of a lost node go on elsewhere from their checkpoints. Every node must see the run folders, and
    the cache if `$REWEIGH_CACHE` names it, under the same path.

    Args:
        sweep: of the tasks.
        tasks: which.
        listen: called with every event.
        address: of an existing cluster; None: one of this machine alone.
        jobs_per_gpu: tasks that share a GPU; None: a core each.

    Raises:
        RunError: Ray is not installed, or there is no cluster.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports] - an extra
    except ImportError as error:
        raise RunError("expected ray, but it is not installed. Run: pip install 'reweigh[ray]'.") from error
    _check_reachable(address)
    try:
        ray.init(address=address, log_to_driver=False, ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RunError(
            f"expected a Ray cluster at {address}, but there is none ({str(error).splitlines()[0]}). Start "
            "one with ray start --head, or leave out --address."
        ) from error

    gpus = 1 / jobs_per_gpu if jobs_per_gpu else 0
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_train_on_a_node)
    own = gpu_environment(jobs_per_gpu) if jobs_per_gpu else core_environment()
    own |= {name: os.environ[name] for name in _PLACES if name in os.environ}
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
            except Exception as error:  # what a node lacks: this package, a folder, memory
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
    except KeyboardInterrupt:  # the trainings hear of it when their workers end with this process
        return True
    return stopped


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _check_reachable(address: str | None) -> None:
    """Refuse the address of a machine that does not answer, for which Ray would wait for minutes."""
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
    # Of a lost node's task: its training may still be saving the state that this one goes on from.
    while RunFolder(Path(run)).seed(seed).in_use:
        time.sleep(0.2)
    child = [sys.executable, "-m", "reweigh.sweeps.child", str(os.getpid()), *command]
    environment = os.environ | own
    with open(log, "ab") as file:
        return subprocess.run(
            child, cwd=here, env=environment, stdout=file, stderr=file, check=False
        ).returncode


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
