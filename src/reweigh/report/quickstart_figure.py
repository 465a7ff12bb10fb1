"""Quickstart's figure: the spread of episodes, which ones the weights favor, and the training result."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reweigh.experiment import ComparedRun
from reweigh.report.curves import draw_curve, learning_curve, seeds_label
from reweigh.report.style import COLORS, pyplot, save
from reweigh.report.weights_figure import draw_against_return
from reweigh.running.preparation import compute_weights
from reweigh.runs import RunFolder
from reweigh.transitions import Transitions


def plot_quickstart(
    compared: Sequence[ComparedRun], seeds: Sequence[int], transitions: Transitions, path: Path
) -> None:
    """Three panels: episode returns by source, weight by return, learning curves with intervals.

    Args:
        compared: the arms, trained.
        seeds: of each arm.
        transitions: the dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    figure, (data, weights, curves) = plt.subplots(1, 3, figsize=(12, 3.6))
    episodes = transitions.episodes
    # An episode's source is that of its first kept transition.
    first = np.unique(transitions.episode, return_index=True)[1]
    good = transitions.source[first] == 1
    share = [
        np.full(int(part.sum()), episodes.kept_length[part] / len(transitions)) for part in (~good, good)
    ]
    data.hist(
        [episodes.whole_return[~good], episodes.whole_return[good]],
        bins=40,
        weights=share,
        stacked=True,
        color=["#999999", COLORS[2]],
        label=["random actions", "good policy"],
    )
    data.set(title="The data", xlabel="episode return", ylabel="share of transitions", yscale="log")
    data.legend()
    for number, arm in enumerate(compared):
        weighting = compute_weights(transitions, arm.config.rebalance.weights)
        weight = weighting.probability * len(transitions)
        draw_against_return(weights, weight, transitions, COLORS[number], arm.label)
    weights.set(title="What the weights make of it", xlabel="episode return", ylabel="weight (mean 1)")
    weights.set_yscale("symlog", linthresh=1e-3)
    weights.legend()
    for number, arm in enumerate(compared):
        update, scores, _ = learning_curve(RunFolder(arm.out), only=seeds)
        draw_curve(curves, update, scores, color=COLORS[number], label=seeds_label(arm.label, scores))
    curves.set(title="Training: IQM over seeds, 95 % interval", xlabel="updates", ylabel="normalized score")
    curves.set_ylim(bottom=0)
    curves.legend()
    save(figure, path)
