"""A dataset's runs in pictures: learning curves and profiles by algorithm, intervals of final scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reweigh.report.across import Across
from reweigh.report.collect import Dataset, Group
from reweigh.report.curves import draw_curve
from reweigh.report.scores import HONEST, KINDS, Summary, seed_scores
from reweigh.report.style import COLORS, pyplot, save
from reweigh.statistics import performance_profile

_LINES = ("-", "--", ":", "-.")
_UNIFORM, _OTHERS = COLORS[6], COLORS[:6]


def plot_curves(groups: Sequence[Group], path: Path) -> None:
    """Learning curves above, performance profiles below; a column an algorithm.

    Args:
        groups: with scores, of one dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    dataset = groups[0].dataset
    algorithms = list(dict.fromkeys(group.algorithm for group in groups))
    size = (max(6.5, 4.3 * len(algorithms)), 6.6)
    figure, axes = plt.subplots(2, len(algorithms), figsize=size, squeeze=False, sharey="row")
    styles = _styles({group.short: group.is_uniform for group in groups})
    for (above, below), algorithm in zip(axes.T, algorithms, strict=True):
        own = [group for group in groups if group.algorithm == algorithm]
        for group in own:
            draw_curve(above, *group.curve(), label=group.short, **styles[group.short])
        _draw_dataset(above.axhline, dataset)
        above.set(title=f"{algorithm} ({_counted([len(group.finished) for group in own])})", xlabel="updates")
        profiles = {group.short: seed_scores(group)[HONEST[0]][:, None] for group in own}
        _draw_profiles(below, profiles, styles)
        below.set(xlabel=f"{dataset.unit} (τ)", ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel(f"{dataset.unit}:\nIQM over seeds, 95 % interval")
    axes[1, 0].set_ylabel(f"share of seeds above τ\n({KINDS[HONEST[0]]})")
    handles: dict[str, Any] = {}
    for axis in axes[0]:
        lines, names = axis.get_legend_handles_labels()
        handles |= dict(zip(names, lines, strict=True))
    for name in [name for name in handles if name.startswith("dataset: ")]:
        handles[name] = handles.pop(name)  # after the weights
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    save(figure, path)


def plot_intervals(groups: Sequence[Group], summaries: Sequence[dict[str, Summary]], path: Path) -> None:
    """A row a group: IQM with its interval, and a dot a seed.

    Args:
        groups: with scores, of one dataset.
        summaries: of their scores.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    dataset = groups[0].dataset
    height = 1.5 + 0.3 * len(groups)
    figure, axes = plt.subplots(1, len(HONEST), figsize=(10, height), sharey=True, sharex=True)
    styles = _styles({group.short: group.is_uniform for group in groups})
    rows = np.arange(len(groups))[::-1]
    colors = np.array([styles[group.short]["color"] for group in groups])
    counts = [len(group.finished) for group in groups]
    for axis, kind in zip(axes, HONEST, strict=True):
        own = [found[kind] for found in summaries]
        # A point where there is no interval: nothing of it shows behind the mark.
        low = [one.interval.low if one.interval else one.iqm for one in own]
        high = [one.interval.high if one.interval else one.iqm for one in own]
        axis.hlines(rows, low, high, colors=colors, linewidth=5, alpha=0.35)
        axis.scatter([one.iqm for one in own], rows, marker="|", s=200, linewidths=2, c=colors)
        scores = np.concatenate([one.scores for one in own])
        axis.scatter(scores, np.repeat(rows, counts), s=6, c=np.repeat(colors, counts))
        _draw_dataset(axis.axvline, dataset)
        axis.set(title=KINDS[kind], xlabel=dataset.unit)
        axis.grid(visible=False, axis="y")
    axes[0].set_ylim(-0.6, len(groups) - 0.4)
    axes[0].set_yticks(rows, [f"{group.label}{_seeds(group)}" for group in groups])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, path)


def plot_across(across: Across, path: Path) -> None:
    """An algorithm on the datasets that all of its weights have: IQM with its interval, and profiles.

    Args:
        across: with a column that has as many seeds on every dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    shown = [(column, column.iqm) for column in across.columns if column.iqm]
    styles = _styles({column.label: column.is_uniform for column, _ in shown})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, max(3.2, 1.4 + 0.3 * len(shown))))
    rows = np.arange(len(shown))[::-1]
    colors = [styles[column.label]["color"] for column, _ in shown]
    low, high = [found.low for _, found in shown], [found.high for _, found in shown]
    left.hlines(rows, low, high, colors=colors, linewidth=5, alpha=0.35)
    left.scatter([found.estimate for _, found in shown], rows, marker="|", s=200, linewidths=2, c=colors)
    left.set(title="IQM over datasets and seeds, 95 % interval", xlabel="normalised score")
    left.set_ylim(-0.6, len(shown) - 0.4)
    left.set_yticks(rows, [column.label for column, _ in shown])
    left.grid(visible=False, axis="y")
    profiles = {column.label: column.scores for column, _ in shown if column.scores is not None}
    _draw_profiles(right, profiles, styles)
    right.set(title="performance profile", xlabel="normalised score (τ)", ylim=(-0.02, 1.02))
    right.set_ylabel("share of seeds above τ")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=min(6, len(shown)))
    figure.suptitle(f"{across.algorithm} on {len(across.datasets)} datasets ({KINDS[HONEST[0]]})")
    save(figure, path)


def _styles(uniform: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """A colour and a line for each name, by whether it weighs nothing; the same under every algorithm."""
    styles: dict[str, dict[str, Any]] = {}
    used = 0
    for name, weighs_nothing in uniform.items():
        if weighs_nothing:
            color, line = _UNIFORM, _LINES[sum(s["color"] == _UNIFORM for s in styles.values()) % len(_LINES)]
        else:
            color, line = _OTHERS[used % len(_OTHERS)], _LINES[used // len(_OTHERS) % len(_LINES)]
            used += 1
        styles[name] = {"color": color, "linestyle": line}
    return styles


def _draw_profiles(
    axis: Any, scores: Mapping[str, Float64[np.ndarray, "R T"]], styles: dict[str, dict[str, Any]]
) -> None:
    low, high = min(map(np.min, scores.values())), max(map(np.max, scores.values()))
    margin = 0.05 * (high - low) or 1.0
    tau = np.linspace(low - margin, high + margin, 401)
    for name, own in scores.items():
        axis.step(tau, performance_profile(own, tau), where="post", label=name, **styles[name])


def _draw_dataset(line: Any, dataset: Dataset) -> None:
    """The dataset's own mean and best episode, where they are known."""
    if dataset.own:
        for value, style, name in (
            (dataset.own.mean, ":", "dataset: mean episode"),
            (dataset.own.best, "--", "dataset: best episode"),
        ):
            at = float(dataset.score(np.array(value)))
            line(at, color="#666666", linestyle=style, linewidth=1, label=name, zorder=1)


def _counted(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}{'' if low == high else f' to {high}'} seed{'s' if high > 1 else ''}"


def _seeds(group: Group) -> str:
    if group.complete:
        return f"  ({_counted([len(group.finished)])})"
    return f"  ({len(group.finished)} of {group.asked} seeds)"
