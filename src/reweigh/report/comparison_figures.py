"""Figures of runs: learning curves, profiles, intervals of final scores."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from reweigh.report.across import Across
from reweigh.report.collect import Dataset, Group
from reweigh.report.curves import draw_spans, spans_over_seeds
from reweigh.report.scores import HONEST, KINDS, Summary, comparable, seed_scores
from reweigh.report.style import COLORS, pyplot, save
from reweigh.statistics import performance_profile

_ACROSS = 5
_WIDTH = 0.86  # of a panel, in distances between panels
_LINES = ("-", "--", ":", "-.")
_UNIFORM, _OTHERS = COLORS[6], COLORS[:6]


def plot_curves(groups: Sequence[Group], path: Path) -> None:
    """A panel per choice of weights, with the curve of uniform weights behind it; one algorithm per row.

    Args:
        groups: with scores, of one dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    dataset, styles = groups[0].dataset, _styles({group.short: group.is_uniform for group in groups})
    rows, scores = _rows(groups), _score_range(groups)
    spans = {group: spans_over_seeds(group.curve[1]) for group in groups}
    across = max(map(len, rows))
    # At least as wide as the title and the legend.
    width, height = 0.9 + max(2.2 * across, 6.2), 0.9 + 1.9 * len(rows)
    figure, axes = plt.subplots(len(rows), 1, figsize=(width, height), squeeze=False, layout="none")
    figure.subplots_adjust(0.8 / width, 0.7 / height, 1, 1 - 0.6 / height, hspace=0.4)
    for row, axis in zip(rows, axes[:, 0], strict=True):
        algorithm, counts = row[0][0].algorithm, {len(group.finished) for group, _ in row}
        last = max(group.curve[0][-1] for group in groups if group.algorithm == algorithm)
        for place, (group, base) in enumerate(row):
            if base:
                style = {**styles[base.short], "label": "uniform weights"}
                draw_spans(axis, place + _WIDTH * base.curve[0] / last, spans[base], **style)
            draw_spans(axis, place + _WIDTH * group.curve[0] / last, spans[group], **styles[group.short])
            seeds = f" ({_counted([len(group.finished)])})" if len(counts) > 1 else ""
            title = textwrap.fill(group.short + seeds, 32)
            at = {"transform": axis.get_xaxis_transform(), "ha": "center", "va": "bottom", "fontsize": 8}
            axis.text(place + _WIDTH / 2, 1.02, title, **at)
        _draw_dataset(axis.axhline, dataset)
        _divide(axis, len(row), across, float(last))
        same = f" ({_counted(list(counts))})" if len(counts) == 1 else ""
        axis.set(xlim=(0, across), ylim=scores, ylabel=f"{algorithm}{same}\n{dataset.unit}")
    top = 1 - 0.1 / height
    figure.suptitle("IQM over seeds at each number of updates, 95 % interval", y=top, fontsize=10)
    figure.legend(*_handles(axes[:, 0]), loc="lower center", ncols=3)
    save(figure, path)


def _divide(axis: Any, panels: int, across: int, last: float) -> None:
    """Make one axis look like several side by side, each up to update `last` (real ones are slow)."""
    from matplotlib.ticker import EngFormatter

    shown, shares = EngFormatter(sep=""), (0.0, 0.5, 1.0)
    for place in range(across):
        axis.axvspan(place + (_WIDTH if place < panels else 0), place + 1, color="white", zorder=3)
    axis.vlines(
        range(panels), 0, 1, transform=axis.get_xaxis_transform(), colors="black", linewidth=0.8, zorder=4
    )
    ticks = [place + _WIDTH * share for place in range(panels) for share in shares]
    axis.set_xticks(ticks, [shown(share * last) for share in shares] * panels)
    axis.spines[["left", "bottom"]].set_visible(False)


def _score_range(groups: Sequence[Group]) -> tuple[float, float]:
    """The range of every seed's scores and the dataset's own, with a margin."""
    curves = [group.curve[1] for group in groups]
    dataset = groups[0].dataset
    if dataset.own:
        curves.append(dataset.score(np.array([dataset.own.returns.mean, dataset.own.returns.best])))
    low, high = min(map(np.min, curves)), max(map(np.max, curves))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _rows(groups: Sequence[Group]) -> list[list[tuple[Group, Group | None]]]:
    """Groups with the uniform group that each is compared with; at least one row per algorithm."""
    rows = []
    for algorithm in dict.fromkeys(group.algorithm for group in groups):
        own = [group for group in groups if group.algorithm == algorithm]
        uniform = [group for group in own if group.is_uniform]
        pairs = [(group, comparable(group, uniform)) for group in own if not group.is_uniform]
        shown = {base for _, base in pairs}
        pairs = [(group, None) for group in uniform if group not in shown] + pairs
        rows += [pairs[start : start + _ACROSS] for start in range(0, len(pairs), _ACROSS)]
    return rows


def legend_below(figure: Any, handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend under the axes, in as many columns as fit.

    Args:
        figure: with constrained layout.
        handles: of lines.
        names: their labels.
    """
    # Approximate inches of a character and of a line sample, so that names stay inside the figure.
    beside = int(figure.get_figwidth() / (0.09 * max(map(len, names)) + 0.6))
    figure.legend(handles, names, loc="outside lower center", ncols=max(1, min(6, beside, len(names))))


def _handles(axes: Iterable[Any]) -> tuple[list[Any], list[str]]:
    """Every legend entry once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        lines, names = axis.get_legend_handles_labels()
        handles = dict(zip(names, lines, strict=True)) | handles
    return list(handles.values()), list(handles)


def plot_profiles(groups: Sequence[Group], path: Path) -> None:
    """The share of seeds above each score, one panel per algorithm.

    Args:
        groups: with scores, of one dataset.
        path: of the figure.

    Raises:
        RunError: it cannot be written.
    """
    plt = pyplot()
    algorithms = list(dict.fromkeys(group.algorithm for group in groups))
    styles = _styles({group.short: group.is_uniform for group in groups})
    size = (max(6.5, 3.6 * len(algorithms)), 3.8)
    figure, axes = plt.subplots(1, len(algorithms), figsize=size, squeeze=False, sharey=True)
    for axis, algorithm in zip(axes[0], algorithms, strict=True):
        own = [group for group in groups if group.algorithm == algorithm]
        _draw_profiles(axis, {group.short: seed_scores(group)[HONEST[0]][:, None] for group in own}, styles)
        counted = _counted([len(group.finished) for group in own])
        axis.set(title=f"{algorithm} ({counted})", xlabel=f"{own[0].dataset.unit} (τ)", ylim=(-0.02, 1.02))
    axes[0, 0].set_ylabel(f"share of seeds above τ\n({KINDS[HONEST[0]]})")
    legend_below(figure, *_handles(axes[0]))
    save(figure, path)


def plot_intervals(groups: Sequence[Group], summaries: Sequence[dict[str, Summary]], path: Path) -> None:
    """One row per group: IQM with its interval, and one dot per seed.

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
        own = [by_kind[kind] for by_kind in summaries]
        # Without an interval it is a point, hidden behind the mark.
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
    """An algorithm on several datasets: IQM of each choice of weights with its interval, and profiles.

    Args:
        across: with at least one column that has equally many seeds on every dataset.
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
    low, high = [iqm.low for _, iqm in shown], [iqm.high for _, iqm in shown]
    left.hlines(rows, low, high, colors=colors, linewidth=5, alpha=0.35)
    left.scatter([iqm.estimate for _, iqm in shown], rows, marker="|", s=200, linewidths=2, c=colors)
    left.set(title="IQM over datasets and seeds, 95 % interval", xlabel="normalized score")
    left.set_ylim(-0.6, len(shown) - 0.4)
    left.set_yticks(rows, [column.label for column, _ in shown])
    left.grid(visible=False, axis="y")
    profiles = {column.label: column.scores for column, _ in shown if column.scores is not None}
    _draw_profiles(right, profiles, styles)
    right.set(title="performance profile", xlabel="normalized score (τ)", ylim=(-0.02, 1.02))
    right.set_ylabel("share of seeds above τ")
    legend_below(figure, *right.get_legend_handles_labels())
    figure.suptitle(f"{across.algorithm} on {len(across.datasets)} datasets ({KINDS[HONEST[0]]})")
    save(figure, path)


def _styles(uniform: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """A color and line style per name, by whether its weights are uniform; the same for every algorithm."""
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
    """The dataset's own mean and best episode, if known."""
    if dataset.own:
        for value, style, name in (
            (dataset.own.returns.mean, ":", "dataset: mean episode"),
            (dataset.own.returns.best, "--", "dataset: best episode"),
        ):
            at = float(dataset.score(np.array(value)))
            line(at, color="#666666", linestyle=style, linewidth=1, label=name, zorder=1)


def _counted(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}{'' if low == high else f' to {high}'} seed{'s' if high > 1 else ''}"


def _seeds(group: Group) -> str:
    if group.complete:
        return f"  ({_counted([len(group.finished)])})"
    return f"  ({len(group.finished)} of {group.num_seeds} seeds)"
