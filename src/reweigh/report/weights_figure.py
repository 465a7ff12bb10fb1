"""Figures of weights: how they are spread, and which episodes they favor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reweigh.priorities.file import WeightsFile
from reweigh.priorities.summary import summarize
from reweigh.report.style import COLORS, pyplot, save
from reweigh.transitions import Transitions

# Beyond this, points are sampled: a million dots show no more and take minutes.
_MOST_POINTS = 5000


def plot_weights(named: Sequence[tuple[str, WeightsFile, Transitions]], path: Path) -> None:
    """Four panels: histograms (linear and logarithmic), weight against return, weight along an episode.

    Args:
        named: labels, weights and their datasets.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5))
    limit = max(2.0, *(float(np.quantile(weights.weight, 0.999)) for _, weights, _ in named))
    for number, (label, weights, transitions) in enumerate(named):
        color = COLORS[number % len(COLORS)]
        summary = summarize(weights.probability, transitions)
        text = f"{label}: ESS/N {summary['ess_fraction']:.3g}, std {summary['std']:.2g}"
        if "auc" in summary:
            text += f", AUC {summary['auc']:.3f}, good mass {summary['good_mass']:.2f}"
        _histograms(axes[0], weights.weight, limit, text, color)
        draw_against_return(axes[1, 0], weights.weight, transitions, color)
        axes[1, 1].plot(*along_episodes(weights.weight, transitions), color=color, marker=".")
    axes[0, 0].set(
        title="Weights (share of transitions)",
        xlabel=f"weight (mean 1; {limit:.3g} and more at the right end)",
        ylabel="share",
    )
    axes[0, 1].set(title="The same, logarithmic", xlabel="log10 weight", ylabel="share", yscale="log")
    axes[1, 0].set(title="Mean weight of each episode", xlabel="episode return", ylabel="weight")
    axes[1, 0].set_yscale("symlog", linthresh=1e-3)
    axes[1, 1].set(
        title="Along an episode (mean over transitions)",
        xlabel="share of the episode",
        ylabel="weight",
    )
    axes[1, 1].set_ylim(bottom=0)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center")
    save(figure, path)


def _histograms(axes: Any, weight: np.ndarray, limit: float, text: str, color: str) -> None:
    share = np.full(len(weight), 1 / len(weight))
    style = {"histtype": "step", "color": color, "linewidth": 1.5}
    axes[0].hist(np.minimum(weight, limit), bins=60, range=(0, limit), weights=share, label=text, **style)
    positive = weight > 0
    axes[1].hist(np.log10(weight[positive]), bins=60, weights=share[positive], **style)


def draw_against_return(
    axis: Any,
    weight: Float64[np.ndarray, " N"],
    transitions: Transitions,
    color: str,
    label: str | None = None,
) -> None:
    """One dot per episode: its mean weight against its return.

    Args:
        axis: to draw on.
        weight: mean 1.
        transitions: the dataset.
        color: of the dots.
        label: for the legend.
    """
    episodes = transitions.episodes
    mean = np.bincount(transitions.episode, weights=weight, minlength=len(episodes))
    mean /= episodes.kept_length
    rng = np.random.default_rng(0)
    shown = rng.permutation(len(episodes))[:_MOST_POINTS]
    axis.scatter(
        episodes.whole_return[shown], mean[shown], s=6, alpha=0.5, color=color, linewidths=0, label=label
    )


def along_episodes(
    weight: Float64[np.ndarray, " N"], transitions: Transitions
) -> tuple[Float64[np.ndarray, " P"], Float64[np.ndarray, " P"]]:
    """Twenty places along an episode, from 0 to 1, and the mean weight there, episodes weighted by length.

    Every episode has one row at each place. If rows were sorted into cells, short episodes would be in some
    cells but not in others, and weights that are constant in every episode would not look constant.

    Args:
        weight: mean 1.
        transitions: the dataset.
    """
    length = transitions.episodes.kept_length
    first = np.cumsum(length) - length
    place = (np.arange(20) + 0.5) / 20
    row = first[:, None] + (place * length[:, None]).astype(np.int64)
    return place, np.average(weight[row], axis=0, weights=length)
