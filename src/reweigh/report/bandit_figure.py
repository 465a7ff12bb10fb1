"""The bandit's figure: the data as each iteration draws them, and where policies act."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reweigh.experiment import ComparedRun
from reweigh.report.style import COLORS, pyplot, save
from reweigh.studies.bandit import policy_actions
from reweigh.transitions import Transitions

_SHOWN = (0, 1, 2, 3, 4, 5)
_POINTS = 500


def plot_bandit(
    transitions: Transitions,
    weight: Float64[np.ndarray, "stages N"],
    compared: Sequence[ComparedRun],
    seeds: Sequence[int],
    path: Path,
) -> None:
    """Data by iteration with the average return above, policy actions by way of training below.

    Args:
        transitions: the bandit.
        weight: of every iteration, from the first.
        compared: trained arms.
        seeds: of each arm.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    figure, axes = plt.subplots(2, len(_SHOWN), figsize=(13, 4.8), sharex=True, sharey=True)
    for axis, iteration in zip(axes[0], _SHOWN, strict=True):
        own = np.ones(len(transitions)) if iteration == 0 else weight[iteration - 1]
        probability = own / own.sum()
        mean = float((probability * transitions.raw_reward).sum())
        _draw(axis, transitions, probability)
        axis.set_title(f"{'data' if iteration == 0 else f'iteration {iteration}'}: return {mean:.2f}")
    figure.colorbar(axes[0, 0].collections[0], ax=axes[0], label="reward")
    for axis, arm in zip(axes[1], compared, strict=False):
        _draw(axis, transitions, np.full(len(transitions), 1 / len(transitions)), alpha=0.15)
        action = policy_actions(arm, seeds)
        axis.scatter(*action.T, marker="x", s=60, color=COLORS[6], linewidths=2, zorder=3)
        axis.set_title(f"TD3+BC, {arm.label}")
    for axis in axes[1, len(compared) :]:
        axis.axis("off")
    # The unused columns below hold the legend.
    axes[1, -2].text(
        *(0.5, 0.5, "dots: transitions, by reward\ncrosses: what a trained\npolicy does, one a seed"),
        transform=axes[1, -2].transAxes,
        ha="center",
        va="center",
    )
    for axis in (*axes[0], *axes[1, : len(compared)]):
        axis.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xlabel="first action")
        axis.xaxis.set_tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("second action")
    save(figure, path)


def _draw(
    axis: Any, transitions: Transitions, probability: Float64[np.ndarray, " N"], alpha: float = 0.8
) -> None:
    """A sample of the data, colored by reward."""
    index = np.random.default_rng(0).choice(len(transitions), _POINTS, p=probability)
    axis.scatter(
        *transitions.action[index].T,
        c=transitions.raw_reward[index],
        s=8,
        alpha=alpha,
        linewidths=0,
        cmap="viridis",
        vmin=-3,
        vmax=6,
    )
