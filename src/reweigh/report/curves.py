"""Learning curves: one line per run, with the interval over its seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from reweigh.datasets.scores import normalized_score
from reweigh.errors import RunError
from reweigh.report.scores import CURVE_RESAMPLES
from reweigh.report.style import COLORS, pyplot, save
from reweigh.runs import RunFolder
from reweigh.statistics import Interval, intervals


def learning_curve(
    folder: RunFolder, only: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Scores of a run's seeds at the updates at which all of them were evaluated.

    Args:
        folder: of the run.
        only: these seeds; None: all.

    Returns:
        Updates (V,), mean scores of each seed (V, seeds), and whether scores are normalized.

    Raises:
        RunError: a seed has no evaluations, no update is common to all, or returns are not finite.
    """
    seeds = [seed for seed in folder.seeds() if only is None or seed.seed in only]
    returns = [seed.load_returns() for seed in seeds]
    if not returns or min(len(r.update) for r in returns) == 0:
        raise RunError(
            f"expected evaluated seeds in {folder.path}, but at least one has no evaluation. "
            "Name a run that was trained with its environment."
        )
    common = returns[0].update
    for other in returns[1:]:
        common = np.intersect1d(common, other.update)
    if not len(common):
        raise RunError(
            f"expected seeds evaluated at the same updates in {folder.path}, but no update is common to all. "
            "Plot seeds of one run."
        )
    if not all(np.isfinite(r.episode_return).all() for r in returns):
        raise RunError(
            f"expected finite returns in {folder.path}, but found NaN or infinity. Train it again, or leave "
            "it out."
        )
    policy = seeds[0].load_policy()
    env = policy.meta.get("env")
    reference = policy.reference_in(env) if env else None
    columns = [r.episode_return[np.isin(r.update, common)].mean(axis=1) for r in returns]
    scores = np.stack(columns, axis=1)
    return common, normalized_score(scores, reference) if reference else scores, reference is not None


def draw_curve(
    axis: Any, update: Int[np.ndarray, " V"], scores: Float[np.ndarray, "V seeds"], **style: Any
) -> None:
    """IQM over seeds at every evaluation, with a 95 % bootstrap interval.

    Args:
        axis: to draw on.
        update: of each evaluation.
        scores: of each seed.
        style: of the line: `color`, and other arguments of `axis.plot`.
    """
    draw_spans(axis, update, spans_over_seeds(scores), **style)


def spans_over_seeds(scores: Float[np.ndarray, "V seeds"]) -> list[Interval]:
    """IQM at every evaluation, with its interval.

    Args:
        scores: of each seed.
    """
    return intervals(scores, "iqm", seed=0, num_resamples=CURVE_RESAMPLES)


def draw_spans(
    axis: Any, x: Float[np.ndarray, " V"] | Int[np.ndarray, " V"], found: Sequence[Interval], **style: Any
) -> None:
    """A line with a band.

    Args:
        axis: to draw on.
        x: position of each evaluation.
        found: its interval.
        style: as for `draw_curve`.
    """
    mark = "." if len(x) == 1 else ""
    axis.plot(x, [one.estimate for one in found], marker=mark, **style)
    low, high = [one.low for one in found], [one.high for one in found]
    axis.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)


def seeds_label(label: str, scores: Float[np.ndarray, "V seeds"]) -> str:
    """A legend's label with the number of seeds."""
    seeds = scores.shape[1]
    return f"{label} ({seeds} seed{'s' if seeds > 1 else ''})"


def plot_runs(folders: Sequence[RunFolder], path: Path) -> None:
    """IQM of each run over its seeds at every evaluation, with a 95 % bootstrap interval.

    Args:
        folders: the runs.
        path: of the figure.

    Raises:
        RunError: a folder is not a run or has no evaluations, or the figure cannot be written.
    """
    plt = pyplot()
    for folder in folders:
        folder.config()  # fails early if this is not a run
    curves = [learning_curve(folder) for folder in folders]
    if len({normalized for *_, normalized in curves}) > 1:
        raise RunError("expected runs that are all normalized or all not. Plot them apart.")
    figure, axis = plt.subplots(figsize=(6.5, 4))
    for number, (folder, (update, scores, normalized)) in enumerate(zip(folders, curves, strict=True)):
        label = seeds_label(folder.path.name, scores)
        draw_curve(axis, update, scores, color=COLORS[number % len(COLORS)], label=label)
        axis.set(xlabel="updates", ylabel="normalized score" if normalized else "return")
    axis.set_title("IQM over seeds, 95 % bootstrap interval")
    axis.legend()
    save(figure, path)
