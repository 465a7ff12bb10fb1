"""Jobs on this machine: processes on a CPU or one program on an accelerator, each with a progress bar."""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reweigh.running.parallel import Job, Message, train_in_processes
from reweigh.running.resumable import Interrupted
from reweigh.running.resumable import Progress as Seen
from reweigh.system.processes import signals_heard


def run_jobs(jobs: Sequence[Job], saved: Path, *, quiet: bool) -> bool:
    """Run the jobs with progress bars; if a signal stops them, say so and return true.

    Args:
        jobs: one process each on a CPU, as many at a time as there are cores.
        saved: the folder that holds their state.
        quiet: no progress bar.

    Raises:
        ReweighError: a job failed.
    """
    with _Bars(jobs, quiet) as bars:
        if jax.default_backend() == "cpu":
            stopped = train_in_processes(jobs, bars.listen)
        else:
            stopped = any(_stopped_here(number, job, bars.listen) for number, job in enumerate(jobs))
    if stopped:
        print(
            f"Stopped; the state is saved in {saved}. Run the same command again to go on.", file=sys.stderr
        )
    return stopped


def _stopped_here(number: int, job: Job, listen: Callable[[Message], None]) -> bool:
    """Run a job in this process; true if stopped by a signal."""
    signals: list[int] = []
    with signals_heard(lambda number, frame: signals.append(number)):
        try:
            job.run(lambda progress: listen(Message(number, "progress", progress)), lambda: bool(signals))
        except Interrupted:
            return True
        listen(Message(number, "done"))
    return False


class _Bars:
    """A bar per job on standard error if that is a terminal; else a line now and then."""

    def __init__(self, jobs: Sequence[Job], quiet: bool):
        self.jobs = jobs
        console = Console(stderr=True)
        self.plain = not quiet and not console.is_terminal
        self.last_line = time.monotonic()
        self.finished = 0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]} updates/s{task.fields[score]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or self.plain,
        )
        self.tasks: dict[int, Any] = {}

    def __enter__(self) -> "_Bars":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def listen(self, message: Message) -> None:
        number, job = message.job, self.jobs[message.job]
        if message.kind == "done":
            self.finished += 1
            if number in self.tasks:
                self.progress.update(self.tasks[number], completed=job.num_updates)
        if message.kind != "progress":
            return
        seen: Seen = message.content
        score = "" if seen.score is None else f", score {seen.score:.1f}"
        if number not in self.tasks:
            self.tasks[number] = self.progress.add_task(job.label, total=job.num_updates, rate="-", score="")
        rate = "-" if seen.updates_per_second is None else f"{seen.updates_per_second:.0f}"
        self.progress.update(self.tasks[number], completed=seen.update, rate=rate, score=score)
        if self.plain and time.monotonic() - self.last_line > 30:
            self.last_line = time.monotonic()
            text = f"{job.label}: update {seen.update} of {job.num_updates}, {rate}/s{score}"
            if len(self.jobs) > 1:
                text += f" ({self.finished} of {len(self.jobs)} finished)"
            print(text, file=sys.stderr, flush=True)
