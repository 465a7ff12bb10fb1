"""Several runs on a CPU: one single-threaded process a core and seed, started before JAX is imported.

One core trains these small networks 1.4 times as fast per core as two do together, and a seed that always
has one thread (`jax_setup`) gives the same numbers however many run beside it.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from reweigh.errors import ReweighError, RunError
from reweigh.system.jax_setup import set_up_jax
from reweigh.system.processes import end_with_parent, signals_heard, usable_cores

if TYPE_CHECKING:  # JAX must be imported after `set_up_jax`
    from reweigh.running.resumable import Progress


@runtime_checkable
class Job(Protocol):
    """Something that trains for a while, resumable: it can be sent to another process."""

    @property
    def label(self) -> str:
        """What a progress bar calls it."""
        ...

    @property
    def num_updates(self) -> int:
        """Of each seed."""
        ...

    def run(self, report: Callable[["Progress"], None], should_stop: Callable[[], bool]) -> None:
        """Train what is not finished; raise `Interrupted` when stopped."""
        ...


@dataclass(frozen=True)
class Message:
    """From a worker: `progress` (with a `Progress`), `failed` (with a text), `stopped` or `done`."""

    job: int
    """Its place in the list of jobs."""
    kind: str
    content: Any = None


def train_in_processes(jobs: Sequence[Job], listen: Callable[[Message], None]) -> bool:
    """Train each job in a process of its own, as many at a time as there are cores.

    Args:
        jobs: what to train, in the order of starting.
        listen: called with every message.

    Returns:
        Whether a signal stopped some, with their state saved.

    Raises:
        RunError: workers failed, after the others ended.
    """
    set_up_jax()
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    stop = context.Event()
    cores, waiting = usable_cores(), list(range(len(jobs)))
    running: dict[int, Any] = {}
    stopped = False
    failures: list[str] = []

    def ask_to_stop(number: int, frame: Any) -> None:
        if stop.is_set():  # the second time is heard at once: workers themselves are deaf to signals
            for process in running.values():
                process.kill()
            raise KeyboardInterrupt
        stop.set()

    def hear(message: Message) -> None:
        nonlocal stopped
        stopped = stopped or message.kind == "stopped"
        if message.kind == "failed":
            failures.append(message.content)
        listen(message)

    with signals_heard(ask_to_stop):
        while running or (waiting and not stop.is_set()):
            while len(running) < cores and waiting and not stop.is_set():
                number = waiting.pop(0)
                arguments = (number, jobs[number], messages, stop, os.getpid())
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                running[number] = process
            with contextlib.suppress(queue.Empty):
                hear(messages.get(timeout=0.2))
            for number, process in list(running.items()):
                if not process.is_alive():
                    del running[number]
                    if process.exitcode != 0:
                        failures.append(
                            f"the process of {jobs[number].label} ended with code {process.exitcode} "
                            "(killed, or out of memory?). Run the same command again to go on."
                        )
    while not messages.empty():
        hear(messages.get())
    if failures:
        others = f" {len(failures) - 1} more failed." if len(failures) > 1 else ""
        raise RunError(failures[0] + others)
    return stopped or bool(waiting)


def _work(number: int, job: Job, messages: Any, stop: Any, parent: int) -> None:
    """A worker's life. It stops by itself when its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and says so
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)  # where the system does not, `orphaned` sees to it
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
    except Exception as error:  # a fault of ours: the traceback is for whoever mends it
        traceback.print_exc()
        messages.put(Message(number, "failed", f"{job.label} ended unexpectedly: {error!r}."))
