"""Several datasets together: one column per choice of weights, one row per dataset, and summaries below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from reweigh.report.cells import NONE, with_span
from reweigh.report.collect import Dataset, Group
from reweigh.report.document import Table
from reweigh.report.labels import Settings, labels, nearest
from reweigh.report.scores import ACROSS_RESAMPLES, HONEST, KINDS, seed_scores
from reweigh.statistics import Interval, improvement_interval, interval, iqm

_KIND = HONEST[0]


@dataclass(frozen=True)
class Column:
    """An algorithm's runs with one choice of weights."""

    label: str
    """Without the algorithm."""
    groups: tuple[Group, ...]
    """One per dataset."""
    scores: Float64[np.ndarray, "R T"] | None
    """None: the datasets differ in number of seeds."""
    iqm: Interval | None
    """Of these scores."""
    over_uniform: Interval | None
    """Probability that a seed beats one with uniform weights; None: nothing is comparable."""

    @property
    def is_uniform(self) -> bool:
        """Weights are uniform."""
        return self.groups[0].is_uniform

    @property
    def complete(self) -> bool:
        """Every seed on every dataset is finished."""
        return all(group.complete for group in self.groups)


@dataclass(frozen=True)
class Across:
    """One algorithm on several datasets, with the choices of weights that all of them have."""

    algorithm: str
    datasets: tuple[Dataset, ...]
    columns: tuple[Column, ...]


def compare_across(groups: Sequence[Group]) -> list[Across]:
    """Each algorithm's weights on the datasets whose scores are normalized; returns have no common scale.

    Weights that only some datasets have are compared separately on those, with all other weights that these
    have, so that no comparison has gaps.

    Args:
        groups: of any datasets, in the order of `group_runs`. Weights from files count as the same if only
            their paths differ, because every dataset needs its own file.

    Returns:
        By algorithm, those with the most datasets first; algorithms that have the same weights on no two
        datasets are omitted.
    """
    scored = [group for group in groups if group.scored and group.dataset.reference]
    compared = []
    for algorithm in dict.fromkeys(group.algorithm for group in scored):
        compared += _across(algorithm, _alike([group for group in scored if group.algorithm == algorithm]))
    return compared


def _alike(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups by their settings, with no dataset twice in a list."""
    alike = []
    for same in _by_settings(groups, paths=False):
        once = len({group.dataset for group in same}) == len(same)
        alike += [same] if once else _by_settings(same, paths=True)
    return alike


def _by_settings(groups: Sequence[Group], *, paths: bool) -> list[list[Group]]:
    alike: dict[tuple[object, ...], list[Group]] = {}
    for group in groups:
        settings = group.settings if paths else _pathless(group.settings)
        alike.setdefault(tuple(sorted(settings.items())), []).append(group)
    return list(alike.values())


def _pathless(settings: Settings) -> Settings:
    return {name: value for name, value in settings.items() if not name.endswith(".path")}


def _across(algorithm: str, alike: Sequence[Sequence[Group]]) -> list[Across]:
    alike = [same for same in alike if len(same) > 1]
    names = [label.removeprefix(f"{algorithm}, ") for label in labels([_shared(same) for same in alike])]
    having = [frozenset(group.dataset for group in same) for same in alike]
    compared = []
    for places in sorted(dict.fromkeys(having), key=len, reverse=True):
        inside = {
            name: [group for group in same if group.dataset in places]
            for name, same, own in zip(names, alike, having, strict=True)
            if own >= places
        }
        # A single column is shown only if there is nothing else to show.
        if len(inside) > 1 or len(alike) == 1:
            datasets = tuple(group.dataset for group in next(iter(inside.values())))
            compared.append(Across(algorithm, datasets, _columns(inside)))
    return compared


def _shared(groups: Sequence[Group]) -> Settings:
    """The settings that all of them share."""
    return groups[0].settings if len(_by_settings(groups, paths=True)) == 1 else _pathless(groups[0].settings)


def _columns(inside: Mapping[str, Sequence[Group]]) -> tuple[Column, ...]:
    scores = {name: _scores(groups) for name, groups in inside.items()}
    settings = {name: _shared(groups) for name, groups in inside.items()}
    uniform = [name for name, groups in inside.items() if groups[0].is_uniform]
    columns = []
    for name, own in scores.items():
        base = nearest(settings[name], [settings[other] for other in uniform])
        over = None if base is None or uniform[base] == name else scores[uniform[base]]
        columns.append(
            Column(
                label=name,
                groups=tuple(inside[name]),
                scores=own,
                iqm=None if own is None else interval(own, "iqm", seed=0, num_resamples=ACROSS_RESAMPLES),
                over_uniform=None
                if own is None or over is None
                else improvement_interval(own, over, seed=0, num_resamples=ACROSS_RESAMPLES),
            )
        )
    return tuple(columns)


def _scores(groups: Sequence[Group]) -> Float64[np.ndarray, "R T"] | None:
    scores = [seed_scores(group)[_KIND] for group in groups]
    return np.stack(scores, axis=1) if len({len(own) for own in scores}) == 1 else None


def across_table(across: Across) -> Table:
    """One row per dataset, and summaries below.

    Args:
        across: of one algorithm.
    """
    columns = across.columns
    names = [column.label + ("" if column.complete else " (unfinished)") for column in columns]
    cells = np.array(
        [[iqm(seed_scores(group)[_KIND][:, None]) for group in column.groups] for column in columns]
    )
    uneven = [column.label for column in columns if column.scores is None]
    notes = [
        "Intervals resample the seeds of every dataset, and no datasets: they are about other seeds of these "
        "datasets, not about other datasets."
    ]
    if uneven:
        notes.append(f"Without an interval, for their datasets differ in seeds: {', '.join(uneven)}.")
    uniform = [column for column in columns if column.is_uniform]
    comparable = uniform and all(column.scores is not None for column in uniform)
    alone = [c.label for c in columns if c.scores is not None and c.over_uniform is None and not c.is_uniform]
    if alone and comparable:
        notes.append(f"No uniform runs have the other settings (see Settings) of: {', '.join(alone)}.")
    return Table(
        title=f"{across.algorithm} on {len(across.datasets)} datasets: normalized score, {KINDS[_KIND]}, "
        "IQM over seeds",
        header=("dataset", *names),
        rows=(
            *(
                (dataset.label, *map(_score, row))
                for dataset, row in zip(across.datasets, cells.T, strict=True)
            ),
            ("mean of these", *map(_score, cells.mean(axis=1))),
            ("IQM over datasets and seeds [95 %]", *(_said(column, column.iqm, 1) for column in columns)),
            (
                "probability that a seed beats one of uniform weights [95 %]",
                *(_said(column, column.over_uniform, 2) for column in columns),
            ),
        ),
        notes=tuple(notes),
    )


def _score(value: float) -> str:
    return f"{value:.1f}"


def _said(column: Column, found: Interval | None, digits: int) -> str:
    """An estimate with its interval, omitted for a single seed."""
    if found is None or column.scores is None:
        return NONE
    return with_span(found.estimate, found if len(column.scores) > 1 else None, digits)
