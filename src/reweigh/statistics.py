"""Array in, number and interval out: what can be said about an algorithm from a few runs on a few tasks.

Scores are arrays (runs, tasks) on the scale of `normalized_score`, 0 = random and 100 = expert. The terms
are those of Agarwal et al., https://arxiv.org/abs/2108.13264, and of their library rliable, where 1 = expert.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from reweigh.errors import ConfigError

# (resamples, runs, tasks) -> (resamples,)
BatchStatistic = Callable[[np.ndarray], np.ndarray]

# Scores in one chunk of resamples, few enough for the processor's cache.
_CHUNK = 2**18


@dataclass(frozen=True)
class Interval:
    """A number with a bootstrap interval."""

    estimate: float
    """Of the scores themselves; may lie outside the interval if the statistic is biased."""
    low: float
    high: float
    level: float
    """How often such intervals should contain the true number, in (0, 1)."""


def mean(scores: np.ndarray) -> float:
    r"""Mean over runs and tasks.

    .. math:: \frac{1}{R T} \sum_{r,t} x_{r,t}

    Args:
        scores: `x`, (runs, tasks).

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix.
    """
    return _of_one(_mean, scores)


def standard_deviation(scores: np.ndarray) -> float:
    r"""How far runs of the same task lie apart; differences between tasks do not count.

    .. math:: \sqrt{\frac{1}{T} \sum_t \frac{1}{R-1} \sum_r (x_{r,t} - \bar x_t)^2}

    For one task it is the sample standard deviation (`ddof=1`) of the runs. `interval` does not
    offer it: resamples repeat runs and so vary less; with few runs the interval would lie below the number.

    Args:
        scores: `x`, (runs, tasks), at least 2 runs.

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or there is only one run.
    """
    scores = _checked(scores)
    if len(scores) < 2:
        raise ConfigError("expected at least 2 runs for a standard deviation, but found 1. Add seeds.")
    return float(np.sqrt(scores.var(axis=0, ddof=1).mean()))


def median(scores: np.ndarray) -> float:
    r"""Median over tasks of the mean over runs, as rliable's `aggregate_median`.

    .. math:: \mathrm{median}_t \frac{1}{R} \sum_r x_{r,t}

    For one task it is the mean of the runs, not their median. Nearly half of the tasks may score 0 without
    changing it.

    Args:
        scores: `x`, (runs, tasks).

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix.
    """
    return _of_one(_median, scores)


def iqm(scores: np.ndarray) -> float:
    r"""Interquartile mean: the mean of the middle half of all runs of all tasks.

    .. math:: \frac{1}{n - 2c} \sum_{i=c+1}^{n-c} x_{(i)}, \quad n = R T, \quad c = \lfloor n / 4 \rfloor

    Equal to `scipy.stats.trim_mean(x, 0.25, axis=None)`, as rliable's `aggregate_iqm`. With fewer than 4
    scores nothing is cut and it is the mean.

    Args:
        scores: `x`, (runs, tasks).

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix.
    """
    return _of_one(_iqm, scores)


def optimality_gap(scores: np.ndarray, *, gamma: float = 100.0) -> float:
    r"""How far runs fall short of `γ` on average (lower is better); scores above it count as equal to it.

    .. math:: γ - \frac{1}{R T} \sum_{r,t} \min(x_{r,t}, γ)

    As rliable's `aggregate_optimality_gap`, except for the scale.

    Args:
        scores: `x`, (runs, tasks).
        gamma: `γ`, a score that is good enough, in the unit of the scores. 100 is D4RL's expert.

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or `gamma` is not finite.
    """
    if not np.isfinite(gamma):
        raise ConfigError(f"expected a finite gamma, but found {gamma}. 100 is the expert's score.")
    return _of_one(lambda batch: gamma - np.minimum(batch, gamma).mean(axis=(1, 2)), scores)


def performance_profile(scores: np.ndarray, tau: np.ndarray) -> Float64[np.ndarray, " K"]:
    r"""Share of runs, over all tasks, that score above each threshold.

    .. math:: \hat F(τ) = \frac{1}{R T} \sum_{r,t} 1(x_{r,t} > τ)

    The run-score distribution of Agarwal et al. The area under it from 0 to `γ` is `γ` minus the optimality
    gap, if no score is negative.

    Args:
        scores: `x`, (runs, tasks).
        tau: `τ`, (thresholds,), in any order.

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or `tau` is not a finite vector.
    """
    scores = _checked(scores)
    tau = np.asarray(tau, np.float64)
    if tau.ndim != 1 or not np.isfinite(tau).all():
        raise ConfigError(
            f"expected finite thresholds of shape (thresholds,), but found {_shape_or_bad(tau)}. "
            "Use numpy.linspace(0, 100, 101)."
        )
    return 1 - np.searchsorted(np.sort(scores, axis=None), tau, side="right") / scores.size


def probability_of_improvement(x: np.ndarray, y: np.ndarray) -> float:
    r"""Chance that a run of X beats a run of Y on a task drawn at random; a tie is half a win.

    .. math:: \frac{1}{T R_x R_y} \sum_{t,i,j} 1(x_{i,t} > y_{j,t}) + \tfrac12 1(x_{i,t} = y_{j,t})

    Each task's term is the Mann-Whitney U statistic over the number of pairs, as in rliable. It says how
    often X wins, not by how much: 0.5 is no difference, 1 always.

    Args:
        x: (runs, tasks) of X.
        y: (runs, tasks) of Y, the same tasks in the same order; the number of runs may differ.

    Raises:
        ConfigError: the scores are not finite, non-empty matrices, or their tasks differ in number.
    """
    x, y = _checked_pair(x, y)
    return float(_wins(x, y).mean())


def stratified_bootstrap(
    scores: np.ndarray,
    statistic: BatchStatistic,
    *,
    seed: int,
    num_resamples: int = 50_000,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of any statistic; `interval` takes the common ones by name.

    A resample draws as many runs as there are, with replacement, independently for each task; tasks are not
    resampled. So the interval is about other runs of these tasks, not about other tasks.

    With few runs it is too narrow: the variance of resampled means is (R-1)/R of what it should be. With
    `R = 5` normal runs, about 0.92 of the intervals at 0.95 contain the true mean of many tasks, about 0.83
    that of one task. With one run the spread is unknown, and the interval is a point. Resamples depend only
    on the seed and the shape of the scores: algorithms compared with one seed share them.

    Args:
        scores: (runs, tasks).
        statistic: resampled scores (resamples, runs, tasks), float64, -> one number each, (resamples,).
        seed: fixes the resamples, at least 0.
        num_resamples: at least 2.
        level: share of the resampled statistics inside, in (0, 1); equal shares are cut off on each side.

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or a setting is out of range.
    """
    scores = _checked(scores)
    _check_settings(seed, num_resamples, level)
    estimate = _applied(statistic, scores[None])[0]
    if len(scores) == 1:
        return Interval(float(estimate), float(estimate), float(estimate), level)
    rng = np.random.default_rng(seed)
    values = [
        _applied(statistic, scores.ravel().take(_draw(rng, count, *scores.shape)))
        for count in _chunks(num_resamples, scores.size)
    ]
    return _percentile(estimate, np.concatenate(values), level)


def interval(
    scores: np.ndarray, statistic: str, *, seed: int, num_resamples: int = 50_000, level: float = 0.95
) -> Interval:
    """A statistic with its stratified bootstrap interval.

    Args:
        scores: (runs, tasks).
        statistic: `mean`, `median`, `iqm` or `optimality_gap` (from 100).
        seed: fixes the resamples, at least 0.
        num_resamples: at least 2.
        level: share of the resampled statistics inside, in (0, 1).

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or a setting is out of range.
    """
    if statistic not in STATISTICS:
        raise ConfigError(f"expected a statistic among {', '.join(STATISTICS)}, but found {statistic!r}.")
    return stratified_bootstrap(
        scores, STATISTICS[statistic], seed=seed, num_resamples=num_resamples, level=level
    )


def intervals(
    scores: np.ndarray, statistic: str, *, seed: int, num_resamples: int = 50_000, level: float = 0.95
) -> list[Interval]:
    """`interval` for many sets of runs of one task each, at little more than the cost of one.

    The sets share their resamples. Resamples with the same runs are computed once: of five runs there are
    only 126 different ones.

    Args:
        scores: (sets, runs), one set per row, all of the same size.
        statistic: as for `interval`.
        seed: as for `interval`, whose results these match.
        num_resamples: at least 2.
        level: share of the resampled statistics inside, in (0, 1).

    Raises:
        ConfigError: the scores are not a finite, non-empty matrix, or a setting is out of range.
    """
    if statistic not in STATISTICS:
        raise ConfigError(f"expected a statistic among {', '.join(STATISTICS)}, but found {statistic!r}.")
    scores = _checked(scores)
    _check_settings(seed, num_resamples, level)
    compute, (sets, runs) = STATISTICS[statistic], scores.shape
    estimate = _applied(compute, scores[:, :, None])
    if runs == 1:
        return [Interval(value, value, value, level) for value in estimate.tolist()]
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, count, runs, 1)[:, :, 0] for count in _chunks(num_resamples, runs)]
    held, times = np.unique(np.sort(np.concatenate(drawn), axis=1), axis=0, return_counts=True)
    step = max(1, _CHUNK // max(held.size, num_resamples))
    found = []
    for start in range(0, sets, step):
        part = scores[start : start + step, held]
        values = _applied(compute, part.reshape(-1, runs, 1)).reshape(len(part), -1)
        ends = np.quantile(np.repeat(values, times, axis=1), [(1 - level) / 2, (1 + level) / 2], axis=1)
        found.append(ends)
    low, high = np.concatenate(found, axis=1)
    return [
        Interval(float(own), float(below), float(above), level)
        for own, below, above in zip(estimate, low, high, strict=True)
    ]


def improvement_interval(
    x: np.ndarray, y: np.ndarray, *, seed: int, num_resamples: int = 50_000, level: float = 0.95
) -> Interval:
    """`probability_of_improvement` with its interval; X and Y are resampled independently.

    Args:
        x: (runs, tasks) of X.
        y: (runs, tasks) of Y, the same tasks in the same order; the number of runs may differ.
        seed: fixes the resamples, at least 0.
        num_resamples: at least 2.
        level: share of the resampled statistics inside, in (0, 1).

    Raises:
        ConfigError: the scores are not finite, non-empty matrices, their tasks differ in number, or a setting
            is out of range.
    """
    x, y = _checked_pair(x, y)
    _check_settings(seed, num_resamples, level)
    wins = _wins(x, y)
    rng = np.random.default_rng(seed)
    values = []
    for count in _chunks(num_resamples, x.size + y.size):
        # A resample matters only through its counts of each run, so no pairs need to be gathered.
        drawn_x = _multiplicity(_draw(rng, count, *x.shape), x.shape)
        drawn_y = _multiplicity(_draw(rng, count, *y.shape), y.shape)
        values.append((np.matmul(drawn_x, wins) * drawn_y).sum(axis=(0, 2)) / wins.size)
    return _percentile(wins.mean(), np.concatenate(values), level)


def _mean(batch: Float64[np.ndarray, "B R T"]) -> Float64[np.ndarray, " B"]:
    return batch.mean(axis=(1, 2))


def _median(batch: Float64[np.ndarray, "B R T"]) -> Float64[np.ndarray, " B"]:
    return np.median(batch.mean(axis=1), axis=1)


def _iqm(batch: Float64[np.ndarray, "B R T"]) -> Float64[np.ndarray, " B"]:
    pooled = batch.reshape(len(batch), -1)
    cut = pooled.shape[1] // 4
    # A full sort, because NumPy sorts short rows in half the time of partitioning them.
    return np.sort(pooled, axis=1)[:, cut : pooled.shape[1] - cut].mean(axis=1)


def _optimality_gap(batch: Float64[np.ndarray, "B R T"]) -> Float64[np.ndarray, " B"]:
    return 100 - np.minimum(batch, 100).mean(axis=(1, 2))


STATISTICS: dict[str, BatchStatistic] = {
    "mean": _mean,
    "median": _median,
    "iqm": _iqm,
    "optimality_gap": _optimality_gap,
}
"""The statistics that `interval` takes by name."""


def _of_one(statistic: BatchStatistic, scores: np.ndarray) -> float:
    return float(statistic(_checked(scores)[None])[0])


def _applied(statistic: BatchStatistic, batch: Float64[np.ndarray, "B R T"]) -> Float64[np.ndarray, " B"]:
    values = np.asarray(statistic(batch), np.float64)
    if values.shape != batch.shape[:1]:
        raise ConfigError(
            f"expected a statistic of shape {batch.shape[:1]} for scores of shape {batch.shape}, but found "
            f"{values.shape}. Reduce the last two axes and keep the first."
        )
    return values


def _wins(x: Float64[np.ndarray, "Rx T"], y: Float64[np.ndarray, "Ry T"]) -> Float64[np.ndarray, "T Rx Ry"]:
    """1 where a run of X beats one of Y, 0.5 where they tie."""
    one, other = x.T[:, :, None], y.T[:, None, :]
    return (one > other) + 0.5 * (one == other)


def _chunks(num_resamples: int, size: int) -> Iterator[int]:
    """Numbers of resamples to hold at once, from a fixed chunk size, because the indices depend on it."""
    step = max(1, _CHUNK // size)
    for start in range(0, num_resamples, step):
        yield min(step, num_resamples - start)


def _draw(rng: np.random.Generator, count: int, runs: int, tasks: int) -> Int[np.ndarray, "B R T"]:
    """Positions in the flat (runs, tasks) scores: any run, but each task in its own column."""
    run = rng.integers(runs, size=(count, runs, tasks), dtype=np.min_scalar_type(runs - 1).type)
    position = run * np.intp(tasks)
    position += np.arange(tasks)
    return position


def _multiplicity(position: Int[np.ndarray, "B R T"], shape: tuple[int, ...]) -> Float64[np.ndarray, "T B R"]:
    """How often each resample contains each run of each task."""
    count, size = len(position), shape[0] * shape[1]
    position += np.arange(count)[:, None, None] * size
    held = np.bincount(position.ravel(), minlength=count * size).reshape(count, *shape)
    return held.transpose(2, 0, 1).astype(np.float64)


def _percentile(estimate: float, values: Float64[np.ndarray, " B"], level: float) -> Interval:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(estimate), float(low), float(high), level)


def _check_settings(seed: int, num_resamples: int, level: float) -> None:
    if seed < 0:
        raise ConfigError(f"expected seed of at least 0, but found {seed}.")
    if num_resamples < 2:
        raise ConfigError(f"expected num_resamples of at least 2, but found {num_resamples}.")
    if not 0 < level < 1:
        raise ConfigError(f"expected level strictly between 0 and 1, but found {level}. 0.95 is usual.")


def _checked(scores: np.ndarray) -> Float64[np.ndarray, "R T"]:
    scores = np.asarray(scores)
    if scores.dtype.kind not in "fiu":
        raise ConfigError(f"expected scores that are numbers, but found type {scores.dtype}.")
    scores = scores.astype(np.float64)
    if scores.ndim != 2 or scores.size == 0 or not np.isfinite(scores).all():
        raise ConfigError(
            f"expected finite scores of shape (runs, tasks), none empty, but found {_shape_or_bad(scores)}. "
            "Run what is missing; one task alone is scores[:, None]."
        )
    return scores


def _checked_pair(
    x: np.ndarray, y: np.ndarray
) -> tuple[Float64[np.ndarray, "Rx T"], Float64[np.ndarray, "Ry T"]]:
    x, y = _checked(x), _checked(y)
    if x.shape[1] != y.shape[1]:
        raise ConfigError(
            f"expected the same tasks in both arrays, but x has {x.shape[1]} and y has {y.shape[1]}. "
            "Compare on the tasks that both have."
        )
    return x, y


def _shape_or_bad(array: np.ndarray) -> str:
    bad = int((~np.isfinite(array)).sum())
    return f"{bad} of {array.size} that are NaN or infinite" if bad else f"shape {array.shape}"
