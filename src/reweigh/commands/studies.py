"""`reweigh quickstart` and `bandit`: run their parts and print the results."""

import json
import os
import sys
from pathlib import Path

from reweigh.commands.progress import run_jobs
from reweigh.config import identity, to_dict
from reweigh.errors import RunError
from reweigh.experiment import claim, comparison_jobs
from reweigh.loading import load
from reweigh.report.bandit_figure import plot_bandit
from reweigh.report.quickstart_figure import plot_quickstart
from reweigh.runs import RunFolder, make_folder
from reweigh.studies import bandit, quickstart
from reweigh.system.processes import INTERRUPTED


def launch_quickstart(out: Path, seeds: list[int], *, quiet: bool, as_json: bool) -> int:
    """Train the arms of quickstart on every seed, print the table, draw the figure; return the exit code.

    Args:
        out: folder of the runs and the figure.
        seeds: of each arm.
        quiet: no progress bar.
        as_json: print the table as JSON.

    Raises:
        ReweighError: a training failed, or the folder cannot be written.
    """
    transitions = load(quickstart.DATA)
    data = quickstart.data_scores(transitions)
    compared = quickstart.arms(out)
    figure = out / "quickstart.png"
    if os.path.isdir(figure):
        raise RunError(f"cannot write {figure}, which is a folder. Choose another --out.")
    claim([(arm.config, arm.out) for arm in compared], seeds, transitions.info)
    jobs = comparison_jobs(compared, seeds)
    if not quiet:
        print(quickstart.introduction(transitions, data, len(compared) * len(seeds)), file=sys.stderr)
    if run_jobs(jobs, out, quiet=quiet):
        return INTERRUPTED
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
        ReweighError: a training failed, or the folder cannot be written.
    """
    transitions = load(f"builtin:bandit-{data_seed}")
    make_folder(out)
    compared = bandit.arms(out, data_seed, num_updates)
    # Needs no weights, so another study is recognized before its weights are overwritten.
    original = compared[0]
    folder = RunFolder(original.out)
    folder.refuse_other(to_dict(original.config), identity(original.config, transitions.info))
    weight = bandit.iterate(transitions, out)
    claim([(arm.config, arm.out) for arm in compared], seeds, transitions.info)
    if run_jobs(comparison_jobs(compared, seeds), out, quiet=quiet):
        return INTERRUPTED
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
