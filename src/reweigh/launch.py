"""`reweigh train`: processes on a CPU or one program on an accelerator, a progress bar, and a last table."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reweigh import bandit, quickstart
from reweigh.config import DataConfig, DensityRatio, Mixture, Resample, RunConfig, Weights
from reweigh.errors import RunError
from reweigh.experiment import claim, comparison_jobs, stage_lengths, train_jobs
from reweigh.family.config import FamilyConfig
from reweigh.family.make import FamilyJob, claim_family, finished_family
from reweigh.parallel import Job, Message, train_in_processes
from reweigh.preparation import check, check_data, check_weights_files
from reweigh.priorities.oper_a import OperA
from reweigh.report.bandit_figure import plot_bandit
from reweigh.report.quickstart_figure import plot_quickstart
from reweigh.runs import RunFolder, make_folder
from reweigh.session import Interrupted
from reweigh.session import Progress as Seen
from reweigh.statistics import interval
from reweigh.transitions import Transitions
from reweigh.value_runs import ValueJob, is_learned, learning_folder

# Fewer effective rows in a batch than this, and a handful of transitions trains the agent.
_FEWEST_ROWS = 4.0
# The largest weight of a batch this close to 1 moves no loss that anybody could measure.
_UNIFORM = 1e-3


def launch(
    config: RunConfig,
    seeds: list[int],
    out: Path,
    *,
    quiet: bool,
    as_json: bool,
    domain: str | None = None,
) -> int:
    """Train every seed and print what came out; return the exit code.

    Args:
        config: the run.
        seeds: which.
        out: the run's folder.
        quiet: no progress bar.
        as_json: print the results as JSON.
        domain: whose settings the run was given, to be said.

    Raises:
        ReweighError: something does not do.
    """
    folder = RunFolder(out)
    before = [seed for seed in seeds if folder.seed(seed).finished]
    transitions, _ = check_data(config)
    check_weights_files(transitions, config.rebalance.weights)
    claim([(config, out)], seeds, transitions.info)
    for method in learned_methods(config.rebalance.weights):
        if not learn_priorities(config.data, transitions, method, quiet=quiet):
            return 130
    transitions, notes = check(config)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if not quiet:
        print(_description(config, transitions, domain), file=sys.stderr)
    del transitions
    stopped = run_jobs(train_jobs(config, seeds, out), quiet=quiet)
    if stopped:
        print(f"Stopped; the state is saved in {out}. Run the same command again to go on.", file=sys.stderr)
        return 130
    if len(before) == len(seeds):
        print(f"Nothing to do: all seeds in {out} are finished.", file=sys.stderr)
    for note in ratio_notes(config, folder, seeds):
        print(f"note: {note}", file=sys.stderr)
    results = [{"seed": seed, **folder.seed(seed).result()} for seed in seeds]
    if as_json:
        print(json.dumps({"run": str(out), "seeds": results}, indent=2))
    else:
        _print_results(out, results)
    return 0


def ratio_notes(config: RunConfig, folder: RunFolder, seeds: Sequence[int]) -> list[str]:
    """What there is to say of learned density ratios that have collapsed, or that do nothing.

    Args:
        config: the run.
        folder: of it.
        seeds: which.

    Raises:
        RunError: the metrics of a seed are damaged.
    """
    if not isinstance(config.rebalance, DensityRatio):
        return []
    notes = []
    for seed in seeds:
        last = folder.seed(seed).last_metrics()
        count, largest = last["ratio/ess"] * config.batch_size, last["ratio/largest"]
        if count < _FEWEST_ROWS:
            notes.append(
                f"the weights of seed {seed} have collapsed: a batch of {config.batch_size} counts as "
                f"{count:.1f} rows. Raise ratio.divergence or ratio.temperature."
            )
        elif largest < 1 + _UNIFORM:
            notes.append(
                f"the weights of seed {seed} are uniform to rounding (the largest is {largest:.6f}): this is "
                "training without weights. Lower ratio.divergence or ratio.flow."
            )
    return notes


def learned_methods(weights: Weights) -> list[OperA]:
    """The weights that must be learned before training can begin."""
    if isinstance(weights, Mixture):
        return learned_methods(weights.first) + learned_methods(weights.second)
    return [weights] if isinstance(weights, OperA) else []


def learn_priorities(data: DataConfig, transitions: Transitions, method: OperA, *, quiet: bool) -> bool:
    """Learn what the cache lacks of OPER-A's values, one process a seed on a CPU; false when interrupted.

    Args:
        data: the dataset, for other processes.
        transitions: the same, loaded.
        method: which learning and seeds.
        quiet: no progress bar.

    Raises:
        ReweighError: something does not do.
    """
    folder = learning_folder(transitions, method.learning)
    missing = [seed for seed in method.value_seeds if not is_learned(folder, method.learning, seed)]
    if not missing:
        return True
    if not quiet:
        print(f"learning values for oper-a, kept in {folder}:", file=sys.stderr)
    if run_jobs([ValueJob(data, method.learning, seed) for seed in missing], quiet=quiet):
        print(
            f"Stopped; the state is saved in {folder}. Run the same command again to go on.", file=sys.stderr
        )
        return False
    return True


def launch_family(config: FamilyConfig, out: Path, history: str, *, quiet: bool, as_json: bool) -> int:
    """Train online, write the datasets, print what they are; return the exit code.

    Args:
        config: the family.
        out: its folder.
        history: the command that makes it.
        quiet: no progress bar.
        as_json: print the table as JSON.

    Raises:
        ReweighError: something does not do.
    """
    claim_family(config, out)
    if finished_family(config, out) is not None:
        print(f"Nothing to do: the datasets in {out} are finished.", file=sys.stderr)
    else:
        if not quiet:
            print(
                f"td3 in {config.env}: {config.num_steps} steps, the first {config.start_steps} random; then "
                f"{config.rollout_steps} rows of random, medium and expert.",
                file=sys.stderr,
            )
        if run_jobs([FamilyJob(config, out, history)], quiet=quiet):
            print(
                f"Stopped; the state is saved in {out}. Run the same command again to go on.", file=sys.stderr
            )
            return 130
    found = finished_family(config, out)
    if found is None:
        raise RunError(f"expected finished datasets in {out}, but some were removed. Run the command again.")
    if as_json:
        print(json.dumps({"out": str(out), **found}, indent=2))
        return 0
    print(f"{'dataset':<14} {'rows':>8} {'episodes':>8} {'mean return':>12}  policy")
    for name, made in found["datasets"].items():
        policy = f"of step {made['step']}: {made['evaluation']:.1f} without noise" if "step" in made else ""
        row = f"{name:<14} {made['rows']:>8} {made['episodes']:>8} {made['mean_return']:>12.1f}  {policy}"
        print(row.rstrip())
    print(f"folder: {out}")
    return 0


def launch_quickstart(out: Path, seeds: list[int], *, quiet: bool, as_json: bool) -> int:
    """Train the arms of quickstart on every seed, print the table, draw the figure; return the exit code.

    Args:
        out: folder of the runs and the figure.
        seeds: of each arm.
        quiet: no progress bar.
        as_json: print the table as JSON.

    Raises:
        ReweighError: something does not do.
    """
    transitions = quickstart.load_shipped()
    data = quickstart.data_scores(transitions)
    compared = quickstart.arms(out)
    figure = out / "quickstart.png"
    if os.path.isdir(figure):
        raise RunError(f"cannot write {figure}, which is a folder. Choose another --out.")
    claim([(arm.config, arm.out) for arm in compared], seeds, transitions.info)
    jobs = comparison_jobs(compared, seeds)
    if not quiet:
        print(quickstart.introduction(transitions, data, len(compared) * len(seeds)), file=sys.stderr)
    if run_jobs(jobs, quiet=quiet):
        print(f"Stopped; the state is saved in {out}. Run the same command again to go on.", file=sys.stderr)
        return 130
    rows = quickstart.results(compared, seeds, transitions)
    plot_quickstart(compared, seeds, transitions, figure)
    if as_json:
        print(json.dumps({"figure": str(figure), **quickstart.as_json(data, rows)}, indent=2))
        return 0
    print(quickstart.as_text(data, rows))
    print(f"figure: {figure}    runs: {out}/{{{','.join(arm.out.name for arm in compared)}}}\n")
    print(quickstart.EPILOGUE)
    return 0


def launch_bandit(
    out: Path, data_seed: int, seeds: list[int], num_updates: int, *, quiet: bool, as_json: bool
) -> int:
    """Iterate the bandit's priorities, train on them, print and draw; return the exit code.

    Args:
        out: folder of the weights, runs and figure.
        data_seed: of the dataset.
        seeds: of each way of training.
        num_updates: of each policy.
        quiet: no progress bar.
        as_json: print the numbers as JSON.

    Raises:
        ReweighError: something does not do.
    """
    transitions = bandit.load_bandit(data_seed)
    make_folder(out)
    weight = bandit.iterate(transitions, out)
    compared = bandit.arms(out, data_seed, num_updates)
    claim([(arm.config, arm.out) for arm in compared], seeds, transitions.info)
    if run_jobs(comparison_jobs(compared, seeds), quiet=quiet):
        print(f"Stopped; the state is saved in {out}. Run the same command again to go on.", file=sys.stderr)
        return 130
    plot_bandit(transitions, weight, compared, seeds, out / "bandit.png")
    reward = transitions.raw_reward
    returns = [float(reward.mean()), *(float((row * reward).mean()) for row in weight)]
    actions = {arm.label: bandit.policy_actions(arm, seeds) for arm in compared}
    if as_json:
        found = {"average_return": returns, "actions": {k: v.tolist() for k, v in actions.items()}}
        print(json.dumps({"figure": str(out / "bandit.png"), **found}, indent=2))
        return 0
    print("average return of the data, and after each iteration: " + " ".join(f"{r:.2f}" for r in returns))
    for label, found in actions.items():
        rewards = [bandit.expected_reward(action) for action in found]
        shown = ["no arm" if value is None else f"{value:g}" for value in rewards]
        print(f"TD3+BC, {label}: reward of the arm that each seed's policy pulls: {', '.join(shown)}")
    print(f"figure: {out / 'bandit.png'}    weights: {out / 'weights.npz'}")
    return 0


def _description(config: RunConfig, transitions: Transitions, domain: str | None) -> str:
    """What is about to be trained, in two lines, or three where a domain's settings are used."""
    method, weights = config.rebalance, config.rebalance.weights
    how = f"{method.kind} by {weights.method}" if weights.method != "uniform" else "uniform"
    if isinstance(method, DensityRatio):
        how = f"density-ratio weights, batches drawn {weights.method}"
    if not isinstance(method, Resample):
        terms = [name for name in ("evaluation", "improvement", "constraint") if getattr(method, name)]
        how += f" on {', '.join(terms)}" if len(terms) < 3 else ""
    elif method.terms != "all" and weights.method != "uniform":
        how += f" for {method.terms}"
    scored = f"scored in {config.data.env or transitions.info.env}"
    if not config.evaluation.enabled:
        scored = "not scored: no environment is known, or evaluation is off"
    observations = "normalized observations" if config.normalize_observations else "observations as recorded"
    lengths = " + ".join(map(str, stage_lengths(config)))
    return (
        f"{config.algorithm.name} on {len(transitions)} transitions of {config.data.spec}, {how}, {scored};\n"
        f"{lengths} updates of {config.batch_size}, {observations}, reward: {config.reward}."
        + (f"\nSettings of D4RL's domain {domain} (--preset none leaves them out)." if domain else "")
    )


def run_jobs(jobs: Sequence[Job], *, quiet: bool) -> bool:
    """Run every job that is not finished, with progress bars; true when stopped by a signal.

    Args:
        jobs: on a CPU each gets a process, as many at a time as there are cores.
        quiet: no progress bar.

    Raises:
        ReweighError: something does not do.
    """
    with _Bars(jobs, quiet) as bars:
        if jax.default_backend() == "cpu":
            return bool(train_in_processes(jobs, bars.listen))
        return any(_stopped_here(number, job, bars.listen) for number, job in enumerate(jobs))


def _stopped_here(number: int, job: Job, listen: Callable[[Message], None]) -> bool:
    """Run a job in this process; true when stopped by a signal."""
    asked: list[int] = []
    before = {
        n: signal.signal(n, lambda number, frame: asked.append(number))
        for n in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        job.run(lambda progress: listen(Message(number, "progress", progress)), lambda: bool(asked))
        listen(Message(number, "done"))
    except Interrupted:
        return True
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    return False


class _Bars:
    """A bar a job on standard error, where that is a terminal; else a line now and then."""

    def __init__(self, jobs: Sequence[Job], quiet: bool):
        self.jobs = jobs
        console = Console(stderr=True)
        self.plain = not quiet and not console.is_terminal
        self.last_line = time.monotonic()
        self.done = 0
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
            self.done += 1
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
                text += f" ({self.done} of {len(self.jobs)} finished)"
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
        values = np.array([[result[key]] for result in results])
        found = interval(values, "iqm", seed=0)
        words = "normalized score" if key.endswith("score") else "return"
        print(
            f"{words}: {found.estimate:.1f} (IQM over {len(values)} seeds; 95 % bootstrap interval "
            f"{found.low:.1f} to {found.high:.1f})"
        )
