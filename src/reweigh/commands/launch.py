"""`reweigh train`: learn what the weights need, train every seed, and print the results."""

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.commands.progress import run_jobs
from reweigh.config import DataConfig, DensityRatio, RunConfig, Weights, parts_of
from reweigh.experiment import claim, stage_lengths, train_jobs
from reweigh.priorities.oper_a import OperA
from reweigh.report.ratios import ratio_note
from reweigh.running.preparation import check_data, check_weights_files, compute_weights
from reweigh.running.value_runs import ValueJob, is_being_learned, is_learned, learning_folder
from reweigh.runs import RunFolder
from reweigh.statistics import interval
from reweigh.system.processes import INTERRUPTED
from reweigh.transitions import Transitions


def launch(
    config: RunConfig,
    seeds: list[int],
    out: Path,
    *,
    quiet: bool,
    as_json: bool,
    domain: str | None = None,
) -> int:
    """Train every seed and print the results; return the exit code.

    Args:
        config: the run.
        seeds: its seeds.
        out: the run's folder.
        quiet: no progress bar.
        as_json: print the results as JSON.
        domain: the domain whose settings the run uses, for messages.

    Raises:
        ReweighError: data, weights or folder cannot be used, or a training failed.
    """
    folder = RunFolder(out)
    unfinished = [seed for seed in seeds if not folder.seed(seed).finished]
    transitions, notes = check_data(config)
    check_weights_files(transitions, config.rebalance.weights)
    claim([(config, out)], seeds, transitions.info)
    with contextlib.ExitStack() as held:
        for seed in unfinished:
            held.enter_context(folder.seed(seed).commanded())
        for method in learned_methods(config.rebalance.weights):
            if not learn_priorities(config.data, transitions, method, quiet=quiet):
                return INTERRUPTED
        for note in notes + compute_weights(transitions, config.rebalance.weights).notes:
            print(f"note: {note}", file=sys.stderr)
        if not quiet:
            print(_description(config, transitions, domain), file=sys.stderr)
        del transitions
        if unfinished and run_jobs(train_jobs(config, unfinished, out), out, quiet=quiet):
            return INTERRUPTED
    if not unfinished:
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
    """Notes on learned density ratios that have collapsed or have no effect.

    Args:
        config: the run.
        folder: its folder.
        seeds: its seeds.

    Raises:
        RunError: the metrics of a seed are damaged.
    """
    if not isinstance(config.rebalance, DensityRatio):
        return []
    said = [ratio_note(seed, folder.seed(seed).last_metrics(), config.batch_size) for seed in seeds]
    return [words for words in said if words]


def learned_methods(weights: Weights) -> list[OperA]:
    """The weights that must be learned before training."""
    return [part for part in parts_of(weights) if isinstance(part, OperA)]


def learn_priorities(data: DataConfig, transitions: Transitions, method: OperA, *, quiet: bool) -> bool:
    """Learn OPER-A's values that the cache lacks, one process per seed on a CPU; false if interrupted.

    Args:
        data: the dataset, for other processes.
        transitions: the same, loaded.
        method: gives learning settings and seeds.
        quiet: no progress bar.

    Raises:
        ReweighError: a training failed.
    """
    folder = learning_folder(transitions, method.learning)
    missing = [seed for seed in method.value_seeds if not is_learned(folder, method.learning, seed)]
    if not missing:
        return True
    # Values begun by another task come last, so that tasks share the work instead of waiting.
    missing.sort(key=lambda seed: is_being_learned(folder, method.learning, seed))
    if not quiet:
        total = len(missing) * method.learning.num_updates
        fast = len(missing) * replace(method.learning, solver="fast").num_updates
        faster = f" (solver=fast takes {fast})" if total > 10 * fast else ""
        print(f"learning values for oper-a in {total} updates{faster}, kept in {folder}:", file=sys.stderr)
    return not run_jobs([ValueJob(data, method.learning, seed) for seed in missing], folder, quiet=quiet)


def _description(config: RunConfig, transitions: Transitions, domain: str | None) -> str:
    """What is about to be trained, in two lines, or three if a domain's settings are used."""
    method, weights = config.rebalance, config.rebalance.weights
    how = f"{method.kind} by {weights.method}" if weights.method != "uniform" else "uniform"
    if isinstance(method, DensityRatio):
        how = f"density-ratio weights, batches drawn {weights.method}"
    if method.weighted_terms != "all" and how != "uniform":
        how += f" on {method.weighted_terms}"
    scored = f"scored in {transitions.info.env}"
    if not config.evaluation.enabled:
        known = transitions.info.env is not None
        scored = (
            f"not scored: {'evaluation is off' if known else 'no environment is known; name it with --env'}"
        )
    observations = "normalized observations" if config.normalize_observations else "observations as recorded"
    lengths = " + ".join(map(str, stage_lengths(config)))
    return (
        f"{config.algorithm.name} on {len(transitions)} transitions of {config.data.spec}, {how}, {scored};\n"
        f"{lengths} updates of {config.batch_size}, {observations}, reward: {config.reward}."
        + (f"\nSettings of D4RL's domain {domain} (--preset none leaves them out)." if domain else "")
    )


def _print_results(out: Path, results: list[dict[str, Any]]) -> None:
    unit = "score" if any("last_ten_score" in result for result in results) else "return"
    scores = []
    print(f"run: {out}")
    for result in results:
        rate = result.get("updates_per_second")
        speed = f", {rate:.0f} updates/s" if rate else ""
        said = "not scored"
        if f"last_ten_{unit}" in result:
            scores.append(result[f"last_ten_{unit}"])
            said = f"mean of the last ten evaluations {scores[-1]:.1f}"
        print(f"seed {result['seed']}: {said}{speed}")
    if len(scores) > 1:
        iqm = interval(np.array(scores)[:, None], "iqm", seed=0)
        words = "normalized score" if unit == "score" else "return"
        print(
            f"{words}: {iqm.estimate:.1f} (IQM over {len(scores)} seeds; 95 % bootstrap interval "
            f"{iqm.low:.1f} to {iqm.high:.1f})"
        )
