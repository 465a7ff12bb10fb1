"""Figures of how OPER-A's iterations change weights, and of other advantages from the same value."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from reweigh.errors import WeightsError
from reweigh.priorities.by_return import OperR, probability_by_return
from reweigh.priorities.file import WeightsFile
from reweigh.priorities.oper_a import average_over_seeds, seed_agreement
from reweigh.priorities.summary import ranks
from reweigh.report.style import COLORS, pyplot, save
from reweigh.transitions import Transitions


def plot_stages(weights: WeightsFile, transitions: Transitions, path: Path) -> None:
    """Three panels: deviation by iteration (OPER-R's dashed), histograms, agreement of value seeds.

    Args:
        weights: with the priority of every stage and value seed.
        transitions: their dataset.
        path: of the figure.

    Raises:
        WeightsError: the weights have no stages.
        RunError: the figure cannot be written.
    """
    if weights.priority is None:
        raise WeightsError("expected weights of several iterations (oper-a), but found others. Plot weights.")
    priority = weights.priority
    plt = pyplot()
    figure, (spread, histogram, agreement) = plt.subplots(1, 3, figsize=(12, 3.6))
    iteration = np.arange(1, priority.shape[1] + 1)
    mean = [average_over_seeds(priority[:, j], "mean") for j in range(len(iteration))]
    for row in priority:
        spread.plot(iteration, row.std(axis=-1), color=COLORS[0], alpha=0.3)
    spread.plot(iteration, [w.std() for w in mean], color=COLORS[0], marker=".", label="mean over seeds")
    by_return = probability_by_return(transitions, OperR()).probability * len(transitions)
    spread.axhline(float(by_return.std()), color=COLORS[1], linestyle="--", label="OPER-R")
    spread.set(
        title="Deviation of mean-1 weights", xlabel="iteration", ylabel="standard deviation", ylim=(0, None)
    )
    spread.legend()
    spread.set_xticks(iteration)
    agreement.set_xticks(iteration)
    limit = max(2.0, float(np.quantile(mean[-1], 0.999)))
    for number, weight in enumerate(mean):
        color = plt.get_cmap("viridis")(number / len(mean))
        histogram.hist(
            np.minimum(weight, limit),
            bins=80,
            weights=np.full(len(weight), 1 / len(weight)),
            histtype="step",
            color=color,
            label=f"iteration {number + 1}",
        )
    histogram.set(
        title="Weights by iteration",
        xlabel=f"weight (mean 1; {limit:.3g} and more at the right end)",
        ylabel="share",
        yscale="log",
    )
    histogram.legend()
    if len(priority) > 1:
        found = [seed_agreement(priority[:, j]) for j in range(len(iteration))]
        agreement.plot(iteration, found, color=COLORS[0], marker=".")
    agreement.set(
        title="Do value seeds agree?", xlabel="iteration", ylabel="mean Spearman correlation", ylim=(0, 1)
    )
    save(figure, path)


def plot_advantages(named: Sequence[tuple[str, Float64[np.ndarray, " N"]]], path: Path) -> None:
    """One histogram per kind, side by side, with its rank correlation to the first.

    Args:
        named: labels and advantages, all of the same value and dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    figure, axes = plt.subplots(1, len(named), figsize=(3.2 * len(named), 3.2))
    first = ranks(named[0][1])
    for number, (axis, (label, values)) in enumerate(zip(axes, named, strict=True)):
        low, high = np.quantile(values, [0.001, 0.999])
        axis.hist(np.clip(values, low, high), bins=80, color=COLORS[number], alpha=0.8)
        rank_correlation = float(np.corrcoef(first, ranks(values))[0, 1])
        axis.set(
            title=f"{label}: std {values.std():.2g}, rank corr. {rank_correlation:.2f}",
            xlabel="advantage (0.1 % cut at either end)",
        )
        axis.set_yticks([])
    save(figure, path)
