"""Commands that draw and report."""

import argparse
import json
import sys
from pathlib import Path

from reweigh.commands.common import fetch_all, out_path, rebuilt
from reweigh.errors import ConfigError
from reweigh.loading import load_data
from reweigh.options.arguments import data_asked
from reweigh.priorities.file import WeightsFile, check_fits, read_weights
from reweigh.priorities.oper_a import OperA, ValueLearning
from reweigh.transitions import Transitions


def plot(arguments: argparse.Namespace) -> int:
    """Draw weights or learning curves."""
    from reweigh.report.curves import plot_runs
    from reweigh.report.style import ENDINGS
    from reweigh.report.weights_figure import plot_weights
    from reweigh.runs import RunFolder

    out = out_path(arguments.out, ENDINGS, arguments.files)
    if arguments.what == "runs":
        reading = (arguments.env, arguments.clip_actions, arguments.max_episode_steps, arguments.episode_ends)
        if arguments.data or any(reading):
            raise ConfigError("--data has no meaning for plot runs, nor has how it is read. Leave them out.")
        plot_runs([RunFolder(Path(name)) for name in arguments.files], out)
        print(out)
        return 0
    named = []
    for name in arguments.files:
        weights = read_weights(Path(name))
        data = arguments.data or weights.meta.get("dataset")
        if not isinstance(data, str):
            raise ConfigError(f"expected the dataset of {name}, but the file names none. Give --data.")
        fetch_all([data])
        transitions, _ = load_data(data_asked(arguments, data))
        check_fits(weights, transitions, Path(name))
        named.append((Path(name).stem, weights, transitions))
    if arguments.what == "weights":
        plot_weights(named, out)
    else:
        if len(named) > 1:
            raise ConfigError(f"expected one weights file to plot {arguments.what}, but found {len(named)}.")
        _plot_learned(arguments.what, named[0][1], named[0][2], out)
    print(out)
    return 0


def _plot_learned(what: str, weights: WeightsFile, transitions: Transitions, out: Path) -> None:
    """Plot OPER-A's iterations, or the kinds of advantages of its last value."""
    from reweigh.report.stages_figure import plot_advantages, plot_stages

    if what == "stages":
        plot_stages(weights, transitions, out)
        return
    from reweigh.running.value_runs import advantages_of_kinds

    settings = weights.meta.get("settings")
    learned = weights.meta.get("method") == OperA.method
    if not (learned and isinstance(settings, dict) and settings.get("value_seeds")):
        raise ConfigError("expected weights that weigh --method oper-a learned, but found others.")
    learning = rebuilt(ValueLearning, settings.get("learning"), "the weights file")
    plot_advantages(advantages_of_kinds(transitions, learning, settings["value_seeds"][0]), out)


def report(arguments: argparse.Namespace) -> int:
    """Write tables, figures and a page about runs."""
    from reweigh.report.full_report import write_report

    out = Path(arguments.out)
    roots = [Path(name) for name in arguments.runs]
    groups = write_report(roots, out, allow_unfinished=arguments.allow_unfinished)
    unfinished = [f"{group.dataset.label}: {group.label}" for group in groups if not group.complete]
    for label in unfinished:
        print(f"note: {label} has unfinished seeds, which are in no number.", file=sys.stderr)
    if arguments.json:
        seeds = sum(len(group.finished) for group in groups)
        found = {"out": arguments.out, "groups": len(groups), "seeds": seeds, "unfinished": unfinished}
        print(json.dumps(found, indent=2))
    else:
        print(out / "report.html")
    return 0
