"""Several runs on a CPU: one single-threaded process per job, at most one per core.

Per core, training these small networks is 1.4 times as fast on one core as on two, and with one thread
(`jax_setup`) a seed's numbers do not depend on how many run beside it.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from reweigh.errors import ReweighError, RunError
from reweigh.system.jax_setup import set_up_jax
from reweigh.system.processes import end_with_parent, signals_heard, usable_cores

if TYPE_CHECKING:  # JAX must be imported after `set_up_jax`
    from reweigh.running.resumable import Progress


@runtime_checkable
class Job(Protocol):
    """A resumable training that can be sent to another process."""

    @property
    def label(self) -> str:
        """Its name in a progress bar."""
        ...

    @property
    def num_updates(self) -> int:
        """Updates of each seed."""
        ...

    def run(self, report: Callable[["Progress"], None], should_stop: Callable[[], bool]) -> None:
        """Train what is not finished; raise `Interrupted` if stopped."""
        ...


@dataclass(frozen=True)
class Message:
    """A message from a worker."""

    job: int
    """Its index in the list of jobs."""
    kind: Literal["progress", "failed", "stopped", "done"]
    content: Any = None
    """A `Progress`, or why it failed."""


def train_in_processes(jobs: Sequence[Job], listen: Callable[[Message], None]) -> bool:
    """Train each job in its own process, as many at a time as there are cores.

    Args:
        jobs: what to train, in starting order.
        listen: called with every message.

    Returns:
        Whether a signal stopped some jobs; their state is saved.

    Raises:
        RunError: workers failed; raised after the others ended.
    """
    set_up_jax()
    pool = _Pool(jobs, listen)
    with signals_heard(pool.ask_to_stop):
        pool.run()
    if pool.failures:
        others = f" {len(pool.failures) - 1} more failed." if len(pool.failures) > 1 else ""
        raise RunError(pool.failures[0] + others)
    return pool.stopped or bool(pool.waiting)


class _Pool:
    """Jobs in worker processes, at most one per core."""

    def __init__(self, jobs: Sequence[Job], listen: Callable[[Message], None]):
        self.jobs, self.listen = jobs, listen
        self.context = multiprocessing.get_context("spawn")
        self.messages, self.stop = self.context.Queue(), self.context.Event()
        self.cores, self.waiting = usable_cores(), list(range(len(jobs)))
        self.running: dict[int, Any] = {}
        self.asked_to_stop = self.stopped = False
        self.failures: list[str] = []

    def run(self) -> None:
        while self.running or (self.waiting and not self.asked_to_stop):
            if self.asked_to_stop:
                self.stop.set()
            while len(self.running) < self.cores and self.waiting and not self.asked_to_stop:
                self.start(self.waiting.pop(0))
            with contextlib.suppress(queue.Empty):
                self.hear(self.messages.get(timeout=0.2))
            self.reap()
        while not self.messages.empty():
            self.hear(self.messages.get())

    def start(self, number: int) -> None:
        arguments = (number, self.jobs[number], self.messages, self.stop, os.getpid())
        process = self.context.Process(target=_work, args=arguments, daemon=True)
        process.start()
        self.running[number] = process

    def hear(self, message: Message) -> None:
        if message.kind == "stopped":
            self.stopped = True
        if message.kind == "failed":
            self.failures.append(message.content)
        self.listen(message)

    def reap(self) -> None:
        for number, process in list(self.running.items()):
            if not process.is_alive():
                del self.running[number]
                if process.exitcode != 0:
                    self.failures.append(
                        f"the process of {self.jobs[number].label} ended with {_how(process.exitcode)}. Run "
                        "the same command again to go on."
                    )

    def ask_to_stop(self, number: int, frame: Any) -> None:
        if self.asked_to_stop:  # a second signal acts at once: the workers ignore signals
            for process in self.running.values():
                process.kill()
            raise KeyboardInterrupt
        # Not `self.stop.set()`: its lock may be held by the very code that this interrupts.
        self.asked_to_stop = True


def _how(code: int) -> str:
    if code == -signal.SIGKILL:
        return "SIGKILL (out of memory?)"
    if code >= 0:
        return f"code {code}"
    names = {number.value: number.name for number in signal.Signals}
    return names.get(-code, f"signal {-code}")


def _work(number: int, job: Job, messages: Any, stop: Any, parent: int) -> None:
    """A worker's main function; it ends if its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)  # if the system does not support this, `orphaned` does it
    from reweigh.running.resumable import Interrupted

    def orphaned() -> bool:
        if os.getppid() != parent:
            os._exit(1)
        return stop.is_set()

    def report(progress: "Progress") -> None:
        messages.put(Message(number, "progress", progress))

    try:
        job.run(report, orphaned)
        messages.put(Message(number, "done"))
    except Interrupted:
        messages.put(Message(number, "stopped"))
    except ReweighError as error:
        messages.put(Message(number, "failed", str(error)))
    except Exception as error:  # a bug: the traceback helps to fix it
        traceback.print_exc()
        messages.put(Message(number, "failed", f"{job.label} ended unexpectedly: {error!r}."))
