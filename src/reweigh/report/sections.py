"""A report's blocks and rows on scores."""

import math
from collections.abc import Sequence

import numpy as np

from reweigh.report.cells import NONE, span_of, with_span
from reweigh.report.collect import Dataset, Group
from reweigh.report.document import Block, Table, Text
from reweigh.report.labels import weights_name
from reweigh.report.scores import (
    ACROSS_RESAMPLES,
    CURVE_RESAMPLES,
    HONEST,
    IMPROVEMENT_RESAMPLES,
    KINDS,
    SCORE_RESAMPLES,
    Help,
    Improvement,
    Summary,
)

_OWN = ("mean episode", "top decile of episodes", "best episode")
CSV_HEADER = (
    "dataset", "digest", "environment", "unit", "label", "algorithm", "weights", "rebalance", "terms",
    "score", "seeds", "seeds_asked", "complete", "iqm", "iqm_low", "iqm_high", "mean", "std", "seed_scores",
    "dataset_mean", "dataset_top_decile", "dataset_best",
)  # fmt: skip

HELP_HEADER = ("dataset", "label", "compared_with", "score", "probability", "low", "high")
CURVES_HEADER = ("dataset", "label", "seed", "update", "mean_return", "score")


def own_scores(dataset: Dataset) -> tuple[float, ...] | None:
    """Mean, top decile and best of a dataset's episodes, in the unit of its scores."""
    if dataset.own is None:
        return None
    own = (dataset.own.returns.mean, dataset.own.returns.top_decile, dataset.own.returns.best)
    return tuple(dataset.score(np.array(own)).tolist())


def about_dataset(dataset: Dataset, groups: Sequence[Group]) -> list[Block]:
    """Where scores were measured, and what limits them.

    Args:
        dataset: of the groups.
        groups: all its groups.
    """
    where = f"Evaluated in {dataset.env}." if dataset.env else "Never evaluated: no environment is known."
    if dataset.recorded:
        where += " Scores are normalized by the reference returns that the dataset itself names."
    blocks: list[Block] = []
    if dataset.own:
        own = dataset.own
        blocks.append(Text(f"{own.transitions} transitions in {own.episodes} episodes. {where}"))
    else:
        blocks.append(Text(f"{where} The dataset's own scores are left out: {dataset.missing}"))
    counts = {len(group.finished) for group in groups}
    if len(counts) > 1:
        text = f"Groups differ in their number of finished seeds: {min(counts)} to {max(counts)}."
        blocks.append(Text(text, warning=True))
    return blocks


def score_tables(
    dataset: Dataset, groups: Sequence[Group], summaries: Sequence[dict[str, Summary]]
) -> list[Table]:
    """A table per kind of score, a row per group, and the dataset's own episodes below.

    Args:
        dataset: of the groups.
        groups: all its groups.
        summaries: of their scores.
    """
    header = ("group", "seeds", "IQM", "95 % interval", "mean ± std", "every seed")
    own = own_scores(dataset)
    below = [(f"the dataset's {name}", NONE, f"{value:.1f}", NONE, NONE, NONE)
             for name, value in zip(_OWN, own or (), strict=False)]  # fmt: skip
    tables = []
    for kind, name in KINDS.items():
        rows = [
            _score_row(group, by_kind.get(kind)) for group, by_kind in zip(groups, summaries, strict=True)
        ]
        tables.append(
            Table(
                title=f"{dataset.label}: {dataset.unit}, {name}",
                header=header,
                rows=(*rows, *below),
                words=(0, 5),
                notes=_few_evaluations(groups) if kind == "last_ten" else (),
            )
        )
    return tables


def _score_row(group: Group, summary: Summary | None) -> tuple[str, ...]:
    label = _marked(group)
    count = f"{len(group.finished)}" if group.complete else f"{len(group.finished)} of {group.num_seeds}"
    if summary is None:
        return label, count, NONE, NONE, NONE, "not evaluated" if group.finished else NONE
    seeds = zip(group.finished, summary.scores, strict=True)
    deviation = NONE if summary.deviation is None else f"{summary.mean:.1f} ± {summary.deviation:.1f}"
    return (
        label,
        count,
        f"{summary.iqm:.1f}",
        span_of(summary.interval, 1),
        deviation,
        ", ".join(f"{seed.number}: {score:.1f}" for seed, score in seeds),
    )


def _marked(group: Group) -> str:
    return group.label if group.complete else f"{group.label} (unfinished)"


def _few_evaluations(groups: Sequence[Group]) -> tuple[str, ...]:
    few = [g.label for g in groups if g.scored and min(len(seed.update) for seed in g.finished) < 10]
    return (f"Fewer than ten evaluations, so the mean of all: {'; '.join(few)}.",) if few else ()


def help_table(dataset: Dataset, helped: Sequence[Help]) -> Table | None:
    """Probability of improvement over uniform weights, beside the controls; None: nothing to compare.

    Args:
        dataset: of the groups.
        helped: their comparisons.
    """
    if not helped:
        return None
    header = (
        "weights", "seeds", "compared with", "over uniform, last ten", "over uniform, last",
        "over shuffled, last ten",
    )  # fmt: skip
    rows = []
    for item in helped:
        name = _marked(item.group) + (" (control)" if item.group.is_control else "")
        base = next((one.over for one in item.over_uniform.values()), None)
        counts = (
            f"{len(item.group.finished)} and {len(base.finished)}" if base else f"{len(item.group.finished)}"
        )
        rows.append(
            (
                name,
                counts,
                base.short if base else "no comparable uniform runs",
                *(_improvement(item.over_uniform.get(kind)) for kind in HONEST),
                _improvement(item.over_shuffled),
            )
        )
    return Table(
        title=f"{dataset.label}: did it help? Probability that a seed beats one of the other [95 %]",
        header=header,
        rows=tuple(rows),
        words=(0, 2),
        notes=_chances(helped),
    )


def _improvement(improvement: Improvement | None) -> str:
    return NONE if improvement is None else with_span(improvement.estimate, improvement.interval, 2)


def _chances(helped: Sequence[Help]) -> tuple[str, ...]:
    """Notes, with the chance of 1.00 by luck for the numbers of seeds in the table."""
    sizes = {(len(h.group.finished), len(i.over.finished)) for h in helped for i in h.over_uniform.values()}
    chances = [f"1 in {math.comb(x + y, x)} for {x} and {y}" for x, y in sorted(sizes)]
    notes = [
        "0.5 is no difference. Shuffled weights are as uneven as AW's and know nothing, so weights that help "
        "should beat them too; oracle weights know which transitions come from the good source."
    ]
    improvements = [one for h in helped for one in (*h.over_uniform.values(), h.over_shuffled) if one]
    if any(one.interval is None for one in improvements):
        notes.append(
            "Without an interval: one of the two has a single seed, of whose spread nothing is known."
        )
    if chances:
        notes.append(
            "Where there is no difference, all seeds of one beat all of the other, 1.00, with chance "
            f"{', '.join(chances)} seeds."
        )
    return tuple(notes)


def csv_rows(group: Group, summaries: dict[str, Summary]) -> list[tuple[str, ...]]:
    """A row per kind of score, in the columns of `CSV_HEADER`, with all digits.

    Args:
        group: the group.
        summaries: of its scores, by kind; empty: rows without numbers.
    """
    dataset, settings = group.dataset, group.settings
    own = own_scores(dataset)
    rows = []
    for kind in KINDS:
        summary = summaries.get(kind)
        numbers = ("",) * 6
        if summary:
            span, seeds = summary.interval, zip(group.finished, summary.scores, strict=True)
            numbers = (
                _full(summary.iqm),
                _full(span.low if span else None),
                _full(span.high if span else None),
                _full(summary.mean),
                _full(summary.deviation),
                " ".join(f"{seed.number}:{_full(score)}" for seed, score in seeds),
            )
        rows.append(
            (
                dataset.label, dataset.digest or "", dataset.env or "", dataset.unit, group.label,
                group.algorithm, weights_name(settings), settings["rebalance.type"],
                settings["rebalance.terms"], kind, str(len(group.finished)), str(group.num_seeds),
                "yes" if group.complete else "no", *numbers, *map(_full, own or (None,) * 3),
            )
        )  # fmt: skip
    return rows


def help_rows(helped: Sequence[Help]) -> list[tuple[str, ...]]:
    """A row per comparison, in the columns of `HELP_HEADER`.

    Args:
        helped: of any datasets.
    """
    rows = []
    for item in helped:
        improvements = list(item.over_uniform.items())
        improvements += [(HONEST[0], item.over_shuffled)] if item.over_shuffled else []
        for kind, one in improvements:
            span = one.interval
            numbers = (one.estimate, span.low if span else None, span.high if span else None)
            group = item.group
            rows.append((group.dataset.label, group.label, one.over.label, kind, *map(_full, numbers)))
    return rows


def curve_rows(group: Group) -> list[tuple[str, ...]]:
    """A row per evaluation of every finished seed, in the columns of `CURVES_HEADER`.

    Args:
        group: the group.
    """
    return [
        (group.dataset.label, group.label, str(seed.number), str(update), _full(mean), _full(score))
        for seed in group.finished
        for update, mean, score in zip(
            seed.update, seed.mean_return, group.dataset.score(seed.mean_return), strict=True
        )
    ]


def _full(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"


def how_to_read() -> Text:
    """What the numbers mean."""
    return Text(
        "IQM is the interquartile mean over seeds (with fewer than four seeds the mean); "
        f"intervals are percentile bootstraps over seeds, {SCORE_RESAMPLES} resamples for scores, "
        f"{IMPROVEMENT_RESAMPLES} for probabilities, {ACROSS_RESAMPLES} for datasets together, "
        f"{CURVE_RESAMPLES} for learning curves. With few seeds they are too narrow: they hold the true IQM "
        "of normal scores in about 50 % (2 seeds), 75 % (3), 89 % (5) and 93 % (10) of cases. The normalized "
        "score is 0 for a random policy and 100 for D4RL's expert. The best evaluation is chosen on the very "
        "episodes that it reports, and is therefore not an estimate of what a policy will do."
    )
