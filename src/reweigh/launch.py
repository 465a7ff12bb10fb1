"""`reweigh train`: processes on a CPU or one program on an accelerator, a progress bar, and a last table."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reweigh.config import RunConfig
from reweigh.experiment import Interrupted, train
from reweigh.experiment import Progress as Seen
from reweigh.parallel import Message, train_in_processes
from reweigh.preparation import check
from reweigh.runs import RunFolder
from reweigh.transitions import Transitions


def launch(config: RunConfig, seeds: list[int], out: Path, *, quiet: bool, as_json: bool) -> int:
    """Train every seed and print what came out; return the exit code.

    Args:
        config: the run.
        seeds: which.
        out: the run's folder.
        quiet: no progress bar.
        as_json: print the results as JSON.

    Raises:
        ReweighError: something does not do.
    """
    folder = RunFolder(out)
    before = [seed for seed in seeds if folder.seed(seed).finished]
    transitions, notes = check(config)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not quiet:
        print(_description(config, transitions), file=sys.stderr)
    del transitions
    with _bars(config, seeds, quiet) as listen:
        if jax.default_backend() == "cpu":
            stopped = bool(train_in_processes(config, seeds, out, listen))
        else:
            stopped = _train_here(config, seeds, out, listen)
    if stopped:
        print(f"Stopped; the state is saved in {out}. Run the same command again to go on.", file=sys.stderr)
        return 130
    if len(before) == len(seeds):
        print(f"Nothing to do: all seeds in {out} are finished.", file=sys.stderr)
    results = [{"seed": seed, **folder.seed(seed).result()} for seed in seeds]
    if as_json:
        print(json.dumps({"run": str(out), "seeds": results}, indent=2))
    else:
        _print_results(out, results)
    return 0


def _description(config: RunConfig, transitions: Transitions) -> str:
    """What is about to be trained, in two lines."""
    method, weights = config.rebalance, config.rebalance.weights
    how = f"{method.kind} by {weights.method}" if weights.method != "uniform" else "uniform"
    scored = f"scored in {config.data.env or transitions.info.env}"
    if not config.evaluation.enabled:
        scored = "not scored: no environment is known, or evaluation is off"
    observations = "normalized observations" if config.normalize_observations else "observations as recorded"
    return (
        f"{config.algorithm.name} on {len(transitions)} transitions of {config.data.spec}, {how}, {scored};\n"
        f"{config.num_updates} updates of {config.batch_size}, {observations}, reward: {config.reward}."
    )


def _train_here(config: RunConfig, seeds: list[int], out: Path, listen: Callable[[Message], None]) -> bool:
    """All seeds in this process; true when stopped by a signal."""
    asked: list[int] = []
    before = {
        n: signal.signal(n, lambda number, frame: asked.append(number))
        for n in (signal.SIGINT, signal.SIGTERM)
    }

    def report(progress: Seen) -> None:
        content = (progress.update, progress.updates_per_second, progress.score)
        listen(Message(progress.seed, "progress", content))

    try:
        train(config, seeds, out, report=report, should_stop=lambda: bool(asked))
    except Interrupted:
        return True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return False


class _bars:  # noqa: N801 - used as a function
    """A bar a seed on standard error, where that is a terminal; else a line now and then."""

    def __init__(self, config: RunConfig, seeds: list[int], quiet: bool):
        self.total, self.quiet = config.num_updates, quiet
        console = Console(stderr=True)
        self.plain = not quiet and not console.is_terminal
        self.last_line = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]} updates/s, score {task.fields[score]}"),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or self.plain,
        )
        self.tasks = {
            seed: self.progress.add_task(f"seed {seed}", total=self.total, rate="-", score="-")
            for seed in seeds
        }

    def __enter__(self) -> Callable[[Message], None]:
        self.progress.start()
        return self.listen

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def listen(self, message: Message) -> None:
        if message.kind == "done":
            self.progress.update(self.tasks[message.seed], completed=self.total)
        if message.kind != "progress":
            return
        update, rate, score = message.content
        shown = "-" if score is None else f"{score:.1f}"
        self.progress.update(self.tasks[message.seed], completed=update, rate=f"{rate:.0f}", score=shown)
        if self.plain and time.monotonic() - self.last_line > 30:
            self.last_line = time.monotonic()
            text = f"seed {message.seed}: update {update} of {self.total}, {rate:.0f}/s, score {shown}"
            print(text, file=sys.stderr, flush=True)


def _print_results(out: Path, results: list[dict[str, Any]]) -> None:
    key = next((name for name in ("last_ten_score", "last_ten_return") if name in results[0]), None)
    print(f"run: {out}")
    for result in results:
        rate = result.get("updates_per_second")
        speed = f", {rate:.0f} updates/s" if rate else ""
        score = f"mean of the last ten evaluations {result[key]:.1f}" if key else "not scored"
        print(f"seed {result['seed']}: {score}{speed}")
    if key and len(results) > 1:
        values = [result[key] for result in results]
        mean = sum(values) / len(values)
        deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        words = "normalized score" if key.endswith("score") else "return"
        print(f"{words}: {mean:.1f} ± {deviation:.1f} (mean ± standard deviation over {len(values)} seeds)")
