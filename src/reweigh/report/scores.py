"""Scores of groups: three separate kinds, with intervals, and improvement over uniform weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reweigh.report.collect import Dataset, Group
from reweigh.report.labels import nearest
from reweigh.statistics import Interval, improvement_interval, intervals, standard_deviation

KINDS = {
    "last_ten": "mean of the last ten evaluations",
    "last": "last evaluation",
    "best": "best evaluation, optimistic: chosen on what it reports",
}
"""The kinds of score, and their names."""

HONEST = ("last_ten", "last")
"""Those not selected on the episodes that they report."""

SCORE_RESAMPLES = 50_000
IMPROVEMENT_RESAMPLES = 10_000
ACROSS_RESAMPLES = 10_000
CURVE_RESAMPLES = 2000


@dataclass(frozen=True)
class Summary:
    """One kind of score of a group's finished seeds."""

    scores: Float64[np.ndarray, " seeds"]
    iqm: float
    interval: Interval | None
    """Of the IQM; None: one seed, whose spread is unknown."""
    mean: float
    deviation: float | None
    """Of the sample; None: one seed."""


@dataclass(frozen=True)
class Improvement:
    """How often a run of one group beats one of another."""

    over: Group
    estimate: float
    interval: Interval | None
    """None: a group has only one seed."""


@dataclass(frozen=True)
class Help:
    """The effect of weights, compared with no weights and with uninformed weights."""

    group: Group
    over_uniform: dict[str, Improvement]
    """By kind of score; empty: no run with uniform weights is comparable."""
    over_shuffled: Improvement | None
    """By the mean of the last ten evaluations; None: no such run is comparable."""


def summarize_scores(groups: Sequence[Group]) -> list[dict[str, Summary]]:
    """Every kind of score of every group; nothing for a group without scores.

    Args:
        groups: of any datasets.
    """
    summaries: list[dict[str, Summary]] = [{} for _ in groups]
    by_size: dict[int, list[tuple[int, str, np.ndarray]]] = {}
    for number, group in enumerate(groups):
        if group.scored:
            for kind, scores in seed_scores(group).items():
                by_size.setdefault(len(scores), []).append((number, kind, scores))
    for size, rows in by_size.items():
        matrix = np.stack([scores for *_, scores in rows])
        spans = intervals(matrix, "iqm", seed=0, num_resamples=SCORE_RESAMPLES)
        for (number, kind, scores), span in zip(rows, spans, strict=True):
            summaries[number][kind] = Summary(
                scores=scores,
                iqm=span.estimate,
                interval=span if size > 1 else None,
                mean=float(scores.mean()),
                deviation=standard_deviation(scores[:, None]) if size > 1 else None,
            )
    return summaries


def seed_scores(group: Group) -> dict[str, Float64[np.ndarray, " seeds"]]:
    """Each kind of score of every finished seed.

    Args:
        group: with scores.
    """
    means = [seed.mean_return for seed in group.finished]
    returns = {
        "last_ten": [mean[-10:].mean() for mean in means],
        "last": [mean[-1] for mean in means],
        "best": [mean.max() for mean in means],
    }
    return {kind: group.dataset.score(np.array(values)) for kind, values in returns.items()}


def did_it_help(groups: Sequence[Group]) -> list[Help]:
    """Compare every group with non-uniform weights, on its own dataset and algorithm.

    Args:
        groups: of any datasets.
    """
    places: dict[tuple[Dataset, str], list[Group]] = {}
    for group in groups:
        if group.scored:
            places.setdefault((group.dataset, group.algorithm), []).append(group)
    helped = []
    for beside in places.values():
        uniform = [group for group in beside if group.is_uniform]
        shuffled = [g for g in beside if g.settings["rebalance.weights.type"] == "shuffled"]
        for group in beside:
            if not group.is_uniform:
                control = None if group in shuffled else comparable(group, shuffled)
                base = comparable(group, uniform)
                helped.append(
                    Help(
                        group=group,
                        over_uniform={kind: _improvement(group, base, kind) for kind in HONEST}
                        if base
                        else {},
                        over_shuffled=_improvement(group, control, HONEST[0]) if control else None,
                    )
                )
    return helped


def comparable(group: Group, others: Sequence[Group]) -> Group | None:
    """The group that differs only in its weights; None: there is none, or several.

    Args:
        group: the group to compare.
        others: groups of the same dataset and algorithm.
    """
    place = nearest(group.settings, [other.settings for other in others])
    return None if place is None else others[place]


def _improvement(group: Group, over: Group, kind: str) -> Improvement:
    x, y = seed_scores(group)[kind][:, None], seed_scores(over)[kind][:, None]
    span = improvement_interval(x, y, seed=0, num_resamples=IMPROVEMENT_RESAMPLES)
    return Improvement(over, span.estimate, span if min(len(x), len(y)) > 1 else None)
