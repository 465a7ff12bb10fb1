"""A sweep as a Slurm job array: each job runs `reweigh sweep` on a range of tasks."""

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from reweigh.errors import ConfigError, RunError
from reweigh.sweeps.client import ask
from reweigh.sweeps.grid import Sweep
from reweigh.system.atomic import write_text

_LAST_ARRAY_INDEX = 1000  # Slurm's default MaxArraySize of 1001 excludes itself

SLURM_TEMPLATE = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array={array}
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


def slurm_script(
    sweep: Sweep,
    tasks: range,
    again: Sequence[str],
    *,
    chunk: int,
    jobs: int,
    wanted: Collection[int] | None = None,
    template: str = SLURM_TEMPLATE,
) -> str:
    """The script of a job array.

    Args:
        sweep: its folder gets the logs.
        tasks: numbers of the tasks.
        wanted: at least one of them, those left to train; chunks without any get no job. None: all.
        again: the `reweigh sweep` command that runs them here.
        chunk: tasks per job.
        jobs: tasks at a time in a job, one per core.
        template: with names in braces.

    Raises:
        ConfigError: the template uses other names.
    """
    starts = range(tasks.start, tasks.stop, chunk)
    wanted = set(tasks if wanted is None else wanted)
    needed = [job for job, start in enumerate(starts) if not wanted.isdisjoint(range(start, start + chunk))]
    names = {
        "name": re.sub(r"\s+", "-", sweep.folder.name),
        "first": tasks.start,
        "end": tasks.stop,
        "array": _ranges(needed),
        "last": len(starts) - 1,
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


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers as Slurm writes them: `0-3,7`."""
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and number == pieces[-1][-1] + 1:
            pieces[-1] = [pieces[-1][0], number]
        else:
            pieces.append([number])
    return ",".join("-".join(map(str, piece)) for piece in pieces)


def slurm_template(sweep: Sweep, given: Path | None) -> str:
    """The user's template, else that of an earlier submission, else the shipped one.

    Args:
        sweep: its folder keeps a template for editing.
        given: the user's template; None: none.

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


def submit_to_slurm(sweep: Sweep, script: str, template: str | None, options: Sequence[str]) -> str:
    """Queue a job array.

    Args:
        sweep: its folder gets the script.
        script: from `slurm_script`.
        template: to leave beside the script, for editing, unless one is there; None: leave none.
        options: of `sbatch`, which override the script's own.

    Returns:
        The output of sbatch.

    Raises:
        RunError: sbatch is missing, hangs or fails.
    """
    path = _template_path(sweep).with_name("sweep.sbatch")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, script)
    if template is not None and not _template_path(sweep).exists():
        write_text(_template_path(sweep), template)
    try:
        return ask(["sbatch", *options, str(path)])
    except RunError as error:
        last = re.search(r"^#SBATCH --array=(?:[\d,-]*[,-])?(\d+)", script, re.MULTILINE)
        if last is None or int(last[1]) <= _LAST_ARRAY_INDEX:
            raise
        raise RunError(
            f"{error} Most clusters number the jobs of an array from 0 to {_LAST_ARRAY_INDEX}, and the last "
            f"one here is {last[1]}: raise --chunk, or submit ranges with --tasks."
        ) from error


def _template_path(sweep: Sweep) -> Path:
    return sweep.folder / "slurm" / "template.sbatch"
