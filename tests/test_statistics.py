import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from reweigh import statistics
from reweigh.errors import ConfigError
from reweigh.statistics import (
    STATISTICS,
    Interval,
    improvement_interval,
    interval,
    intervals,
    iqm,
    mean,
    median,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
    standard_deviation,
    stratified_bootstrap,
)

# Two runs of four tasks.
SCORES = np.array([[0.0, 10.0, 50.0, 120.0], [20.0, 30.0, 70.0, 100.0]])

POINTS = {
    "mean": mean,
    "median": median,
    "iqm": iqm,
    "optimality_gap": optimality_gap,
    "standard_deviation": standard_deviation,
}

# Whole numbers, so that ties are common and sums are exact.
matrices = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.integers(-50, 150).map(float),
)


@st.composite
def pairs(draw):
    runs_x, runs_y, tasks = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    elements = st.integers(-3, 3).map(float)
    return tuple(draw(arrays(np.float64, (runs, tasks), elements=elements)) for runs in (runs_x, runs_y))


def random_scores(runs: int, tasks: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(rng.uniform(0, 100, tasks), rng.uniform(1, 30, tasks), (runs, tasks))


# Numbers worked by hand.


def test_the_mean_is_over_runs_and_tasks():
    # (0 + 10 + 50 + 120 + 20 + 30 + 70 + 100) / 8 = 400 / 8
    assert mean(SCORES) == 50


def test_the_standard_deviation_counts_runs_within_tasks_only():
    # Two runs at distance d have variance d^2 / 2 (ddof 1). All four distances are 20: sqrt(200).
    assert standard_deviation(SCORES) == pytest.approx(math.sqrt(200))
    # Distances 0 and 2: sqrt((0 + 2) / 2) = 1, however far the tasks are apart.
    assert standard_deviation(np.array([[0.0, 1000.0], [0.0, 1002.0]])) == 1


def test_the_standard_deviation_of_one_task_is_that_of_its_runs():
    # Mean 4; squares 9 + 1 + 16 = 26; 26 / (3 - 1) = 13
    assert standard_deviation(np.array([[1.0], [3.0], [8.0]])) == pytest.approx(math.sqrt(13))


def test_the_median_is_over_tasks_of_the_mean_over_runs():
    # Task means 10, 20, 60, 110; the median of four is the mean of the middle two, (20 + 60) / 2.
    assert median(SCORES) == 40
    # Of one task it is the mean of the runs, (0 + 0 + 9) / 3, where the median of the runs is 0.
    assert median(np.array([[0.0], [0.0], [9.0]])) == 3


def test_the_interquartile_mean_leaves_out_a_quarter_on_both_sides():
    # Sorted 0 10 | 20 30 50 70 | 100 120; 8 / 4 = 2 go on each side; (20 + 30 + 50 + 70) / 4
    assert iqm(SCORES) == 42.5
    # 6 scores: floor(6 / 4) = 1 goes on each side: (1 + 2 + 3 + 4) / 4
    assert iqm(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 99.0]])) == 2.5
    # 3 scores: nothing goes: (0 + 0 + 9) / 3
    assert iqm(np.array([[0.0], [0.0], [9.0]])) == 3


def test_the_optimality_gap_counts_nothing_above_gamma():
    # 120 counts as 100: 100 - (400 - 20) / 8 = 52.5
    assert optimality_gap(SCORES) == 52.5
    # At 40: 0 10 40 40 20 30 40 40 sum to 220; 40 - 220 / 8 = 12.5
    assert optimality_gap(SCORES, gamma=40.0) == 12.5


def test_the_performance_profile_is_the_share_strictly_above():
    # Above -1: 8 of 8; above 0: 7; above 50: 70 100 120; above 99.9: 2; above 100: 1; above 120: none.
    profile = performance_profile(SCORES, np.array([-1, 0, 50, 99.9, 100, 120]))
    np.testing.assert_array_equal(profile, np.array([8, 7, 3, 2, 1, 0]) / 8)


def test_the_probability_of_improvement_counts_a_tie_as_half_a_win():
    x = np.array([[1.0, 5.0], [3.0, 5.0]])
    y = np.array([[2.0, 5.0], [3.0, 9.0], [0.0, 1.0]])
    # Task 1: 1 beats 0; 3 beats 2 and 0 and ties with 3: 1 + 2.5 = 3.5 of 6.
    # Task 2: each 5 ties with 5, loses to 9, beats 1: 1.5 + 1.5 = 3 of 6.
    assert probability_of_improvement(x, y) == pytest.approx((3.5 / 6 + 3 / 6) / 2)


def test_tasks_count_alike_in_the_probability_of_improvement():
    # Won, won, lost: 2/3, not weighted by how much.
    assert probability_of_improvement(
        np.array([[1.0, 1.0, 0.0]]), np.array([[0.9, 0.9, 99.0]])
    ) == pytest.approx(2 / 3)


def test_two_runs_of_one_task_have_the_bootstrap_worked_by_hand():
    # Resampled means of 0 and 10: 0 (1/4), 5 (1/2), 10 (1/4).
    scores = np.array([[0.0], [10.0]])
    assert interval(scores, "mean", seed=0) == Interval(5.0, 0.0, 10.0, 0.95)
    # A quarter of the mass is left outside on each side below 50%: just inside, all is 5.
    assert interval(scores, "mean", seed=0, level=0.45) == Interval(5.0, 5.0, 5.0, 0.45)


def test_one_run_a_task_of_two_gives_the_improvement_interval_worked_by_hand():
    # X draws 0 or 10, Y is 5: the share of wins over two draws is 0 (1/4), 1/2 (1/2), 1 (1/4).
    found = improvement_interval(np.array([[0.0], [10.0]]), np.array([[5.0]]), seed=0)
    assert found == Interval(0.5, 0.0, 1.0, 0.95)


# Other people's code, and slow twins.


@given(matrices)
def test_the_interquartile_mean_equals_scipys_trimmed_mean(scores):
    assert iqm(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None), rel=1e-12, abs=1e-12)


@given(pairs())
def test_the_probability_of_improvement_equals_scipys_mann_whitney_u(pair):
    x, y = pair
    share = [
        scipy.stats.mannwhitneyu(one, other, method="asymptotic").statistic / (len(x) * len(y))
        for one, other in zip(x.T, y.T, strict=True)
        if len(np.unique(np.append(one, other))) > 1
    ]
    # SciPy warns where every number of a task is the same: all are ties.
    share += [0.5] * (x.shape[1] - len(share))
    assert probability_of_improvement(x, y) == pytest.approx(np.mean(share))


def naive_resamples(scores: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    resamples = []
    for _ in range(count):
        columns = [rng.choice(scores[:, task], len(scores)) for task in range(scores.shape[1])]
        resamples.append(np.stack(columns, axis=1))
    return resamples


def assert_quantiles_of(values: np.ndarray, found: Interval):
    """As many naive values lie below each end as should, within four standard errors."""
    tail = (1 - found.level) / 2
    error = 4 * math.sqrt(tail * (1 - tail) / len(values))
    assert (values <= found.low).mean() == pytest.approx(tail, abs=error)
    assert (values >= found.high).mean() == pytest.approx(tail, abs=error)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("level", [0.95, 0.5])
def test_intervals_are_those_of_a_slow_naive_bootstrap(name, level):
    scores = random_scores(5, 6)
    found = interval(scores, name, seed=1, level=level, num_resamples=20_000)
    values = np.array([POINTS[name](resample) for resample in naive_resamples(scores, 1000, 2)])
    assert found.estimate == POINTS[name](scores)
    assert_quantiles_of(values, found)


def test_improvement_intervals_are_those_of_a_slow_naive_bootstrap():
    x, y = random_scores(4, 6, seed=0), random_scores(7, 6, seed=0)[::-1] + 3
    found = improvement_interval(x, y, seed=1)
    values = np.array(
        [
            probability_of_improvement(one, other)
            for one, other in zip(naive_resamples(x, 1000, 3), naive_resamples(y, 1000, 4), strict=True)
        ]
    )
    assert found.estimate == probability_of_improvement(x, y)
    # The values are multiples of 1 / (6 * 4 * 7), so that quantiles are compared instead of shares.
    assert np.quantile(values, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.015)


def test_every_resample_is_equally_likely():
    # 2 runs of 2 tasks: 2^4 = 16 resamples. Their counts fit a uniform law.
    gathered = []

    def remember(batch):
        gathered.append(batch.reshape(len(batch), 4).copy())
        return batch.mean(axis=(1, 2))

    stratified_bootstrap(np.array([[0.0, 2.0], [1.0, 3.0]]), remember, seed=0, num_resamples=32_000)
    drawn = np.concatenate(gathered[1:])
    counts = [
        (drawn == np.array(resample)).all(axis=1).sum()
        for resample in itertools.product([0, 1], [2, 3], [0, 1], [2, 3])
    ]
    assert sum(counts) == len(drawn) == 32_000
    assert scipy.stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("shape", [(5, 7), (300, 3), (1000, 270)])
def test_resamples_never_mix_tasks_and_reach_every_run(shape):
    runs, tasks = shape
    # A score tells its task and its run; 300 runs do not fit into one byte of an index.
    scores = np.arange(tasks)[None, :] * 10_000.0 + np.arange(runs)[:, None]
    seen = np.zeros(shape, bool)
    calls = []

    def check(batch):
        calls.append(len(batch))
        if len(calls) == 1:  # the scores themselves, for the estimate
            return batch.mean(axis=(1, 2))
        assert batch.dtype == np.float64
        np.testing.assert_array_equal(batch // 10_000, np.broadcast_to(np.arange(tasks), batch.shape))
        run = (batch % 10_000).astype(int)
        seen[run, np.arange(tasks)] = True
        return batch.mean(axis=(1, 2))

    stratified_bootstrap(scores, check, seed=0, num_resamples=30)
    assert seen.all()


def test_tasks_are_resampled_independently_of_one_another():
    gathered = []

    def remember(batch):
        gathered.append(batch[:, 0, :].copy())
        return batch.mean(axis=(1, 2))

    scores = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    stratified_bootstrap(scores, remember, seed=0, num_resamples=20_000)
    first, second = np.concatenate(gathered[1:]).T
    table = np.array([[((first == i) & (second == j)).sum() for j in range(3)] for i in range(3)])
    assert scipy.stats.chi2_contingency(table).pvalue > 0.001


def test_resampled_means_vary_as_the_closed_form_says():
    # Var = sum_t var_t / (R T^2), with the variance of the runs of a task at ddof 0.
    scores = random_scores(5, 8)
    gathered = []

    def remember(batch):
        gathered.append(batch.mean(axis=(1, 2)))
        return gathered[-1]

    stratified_bootstrap(scores, remember, seed=0)
    expected = scores.var(axis=0).sum() / (5 * 8**2)
    values = np.concatenate(gathered[1:])
    assert values.var() == pytest.approx(expected, rel=0.03)
    assert values.mean() == pytest.approx(scores.mean(), abs=4 * math.sqrt(expected / len(values)))


def test_intervals_of_many_runs_hold_the_truth_about_as_often_as_they_say():
    # 20 normal runs of 5 tasks: 2 Phi(1.96 sqrt(19 / 20)) - 1 = 0.944, give or take 0.011 over 400.
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(400):
        found = interval(rng.normal(50, 10, (20, 5)), "mean", seed=seed, num_resamples=400)
        held += found.low <= 50 <= found.high
    assert 0.90 < held / 400 < 0.98


# Seeds.


def test_equal_seeds_give_equal_intervals_and_other_seeds_others():
    scores = random_scores(5, 6)
    for make in (
        lambda seed: interval(scores, "iqm", seed=seed),
        # Few resamples: the statistic takes few values, and so do quantiles of many.
        lambda seed: improvement_interval(scores, scores + 1, seed=seed, num_resamples=20),
    ):
        assert make(0) == make(0)
        assert make(0) != make(1)


def test_the_seed_is_the_only_source_of_randomness():
    scores = random_scores(5, 6)
    np.random.seed(0)  # noqa: NPY002
    first = interval(scores, "mean", seed=3)
    np.random.seed(1)  # noqa: NPY002
    assert interval(scores, "mean", seed=3) == first


def test_the_scores_are_left_as_they_were():
    scores = random_scores(5, 6)
    before = scores.copy()
    for name in STATISTICS:
        interval(scores, name, seed=0, num_resamples=10)
    improvement_interval(scores, scores, seed=0, num_resamples=10)
    np.testing.assert_array_equal(scores, before)


def test_chunks_hold_every_resample_once(monkeypatch):
    # Chunks of one, of three with a rest of one, and of all.
    for chunk in (1, 12, 10**6):
        monkeypatch.setattr(statistics, "_CHUNK", chunk)
        sizes = []

        def remember(batch, sizes=sizes):
            sizes.append(len(batch))
            return batch.mean(axis=(1, 2))

        stratified_bootstrap(np.ones((2, 2)), remember, seed=0, num_resamples=10)
        assert sum(sizes[1:]) == 10
        assert max(sizes[1:]) == {1: 1, 12: 3, 10**6: 10}[chunk]


# Properties of the mathematics.


@given(matrices, st.randoms(use_true_random=False))
def test_the_order_of_runs_within_tasks_and_of_tasks_changes_nothing(scores, random):
    columns = [random.sample(list(column), len(column)) for column in scores.T]
    random.shuffle(columns)
    shuffled = np.array(columns).T
    for name, statistic in POINTS.items():
        if name != "standard_deviation" or len(scores) > 1:
            assert statistic(shuffled) == pytest.approx(statistic(scores), abs=1e-9)
    tau = np.array([-10.0, 0.0, 33.0])
    np.testing.assert_array_equal(performance_profile(shuffled, tau), performance_profile(scores, tau))


@given(matrices, st.integers(1, 8), st.integers(-100, 100))
def test_scaling_and_shifting_scores_does_the_same_to_the_number(scores, scale, shift):
    for statistic in (mean, median, iqm):
        assert statistic(scale * scores + shift) == pytest.approx(scale * statistic(scores) + shift, abs=1e-9)
    if len(scores) > 1:
        changed = standard_deviation(scale * scores + shift)
        assert changed == pytest.approx(scale * standard_deviation(scores), abs=1e-9)


@given(matrices)
def test_centres_lie_between_the_lowest_and_the_highest_score(scores):
    for statistic in (mean, median, iqm):
        assert scores.min() - 1e-9 <= statistic(scores) <= scores.max() + 1e-9


@given(matrices)
def test_the_area_under_the_profile_is_what_the_optimality_gap_leaves(scores):
    scores = np.maximum(scores, 0)
    # Scores are whole numbers: the profile is constant between them, and sums are areas.
    area = performance_profile(scores, np.arange(100.0)).sum()
    assert 100 - optimality_gap(scores) == pytest.approx(area, abs=1e-9)


@given(matrices)
def test_the_profile_falls_from_all_to_none(scores):
    profile = performance_profile(scores, np.arange(-51.0, 152.0))
    assert (np.diff(profile) <= 0).all()
    assert profile[0] == 1
    assert profile[-1] == 0


@given(pairs())
def test_the_chances_of_two_algorithms_sum_to_one(pair):
    x, y = pair
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)
    assert probability_of_improvement(x, x) == 0.5


@given(pairs())
def test_only_the_order_of_scores_counts_for_the_probability_of_improvement(pair):
    x, y = pair
    assert probability_of_improvement(x**3 + 5, y**3 + 5) == probability_of_improvement(x, y)


@given(matrices, st.integers(-100, 100))
def test_intervals_move_with_the_scores_and_contain_narrower_ones(scores, shift):
    wide = interval(scores, "iqm", seed=0, num_resamples=50)
    narrow = interval(scores, "iqm", seed=0, num_resamples=50, level=0.5)
    assert wide.low <= narrow.low <= narrow.high <= wide.high
    moved = interval(scores + shift, "iqm", seed=0, num_resamples=50)
    for part in ("estimate", "low", "high"):
        assert getattr(moved, part) == pytest.approx(getattr(wide, part) + shift, abs=1e-9)


@pytest.mark.parametrize("name", STATISTICS)
@pytest.mark.parametrize("tasks", [1, 9])
def test_of_one_run_the_interval_is_the_point(name, tasks):
    scores = random_scores(1, tasks)
    point = POINTS[name](scores)
    assert interval(scores, name, seed=0) == Interval(point, point, point, 0.95)


def test_of_one_run_each_the_improvement_interval_is_the_point():
    x, y = random_scores(1, 9, seed=0), random_scores(1, 9, seed=1)
    point = probability_of_improvement(x, y)
    found = improvement_interval(x, y, seed=0)
    assert (found.low, found.high) == pytest.approx((point, point))


def test_identical_runs_have_an_interval_of_no_width():
    scores = np.tile([[10.0, 20.0, 60.0]], (5, 1))
    assert interval(scores, "mean", seed=0) == Interval(30.0, 30.0, 30.0, 0.95)


def test_ones_own_statistic_is_resampled_too():
    scores = random_scores(5, 6)
    own = stratified_bootstrap(scores, lambda batch: 100 - np.minimum(batch, 100).mean(axis=(1, 2)), seed=0)
    assert own == interval(scores, "optimality_gap", seed=0)


def test_whole_numbers_and_single_precision_are_scores_too():
    assert iqm(SCORES.astype(int)) == iqm(SCORES.astype(np.float32)) == iqm(SCORES)


def test_an_interval_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Interval(1.0, 0.0, 2.0, 0.95).low = 1.0


# What is refused.

BAD_SCORES = {
    "no runs": (np.zeros((0, 3)), r"shape \(0, 3\)"),
    "no tasks": (np.zeros((3, 0)), r"shape \(3, 0\)"),
    "a vector": (np.zeros(3), r"shape \(3,\)"),
    "three axes": (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
    "NaN": (np.array([[1.0, np.nan]]), "1 of 2 that are NaN"),
    "infinity": (np.array([[np.inf], [-np.inf], [0.0]]), "2 of 3 that are NaN or infinite"),
    "text": (np.array([["a"]]), "type <U1"),
    "truth": (np.array([[True]]), "type bool"),
}

EVERY_FUNCTION = {
    **POINTS,
    "performance_profile": lambda scores: performance_profile(scores, np.zeros(1)),
    "improvement of": lambda scores: probability_of_improvement(scores, np.ones((1, 1))),
    "improvement over": lambda scores: probability_of_improvement(np.ones((1, 1)), scores),
    "improvement_interval": lambda scores: improvement_interval(scores, np.ones((1, 1)), seed=0),
    "interval": lambda scores: interval(scores, "iqm", seed=0),
}


def assert_refused(call, message: str):
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)
    assert "found" in str(caught.value)


@pytest.mark.parametrize("function", EVERY_FUNCTION)
@pytest.mark.parametrize("kind", BAD_SCORES)
def test_what_is_no_matrix_of_scores_is_refused(function, kind):
    scores, message = BAD_SCORES[kind]
    assert_refused(lambda: EVERY_FUNCTION[function](scores), message)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"level": 0.0}, "level strictly between 0 and 1, but found 0.0"),
        ({"level": 1.0}, "level strictly between 0 and 1, but found 1.0"),
        ({"level": 95.0}, "level strictly between 0 and 1, but found 95.0"),
        ({"level": math.nan}, "level strictly between 0 and 1, but found nan"),
        ({"num_resamples": 1}, "num_resamples of at least 2, but found 1"),
        ({"seed": -1}, "seed of at least 0, but found -1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    for scores in (SCORES, SCORES[:1]):
        with pytest.raises(ConfigError, match=message):
            interval(scores, "mean", **{"seed": 0} | settings)
        with pytest.raises(ConfigError, match=message):
            improvement_interval(scores, scores, **{"seed": 0} | settings)


def test_other_refusals_say_what_to_do():
    assert_refused(lambda: standard_deviation(SCORES[:1]), "at least 2 runs")
    assert_refused(
        lambda: interval(SCORES, "mode", seed=0), "among mean, median, iqm, optimality_gap.*'mode'"
    )
    assert_refused(lambda: optimality_gap(SCORES, gamma=math.inf), "finite gamma, but found inf")
    assert_refused(lambda: performance_profile(SCORES, np.zeros((2, 2))), r"shape \(2, 2\)")
    assert_refused(lambda: performance_profile(SCORES, np.array([math.nan])), "1 of 1 that are NaN")
    for function in (probability_of_improvement, lambda x, y: improvement_interval(x, y, seed=0)):
        with pytest.raises(ConfigError, match=r"the same tasks .* x has 4 and y has 3"):
            function(SCORES, SCORES[:, :3])
    with pytest.raises(ConfigError, match=r"expected a statistic of shape \(1,\)"):
        stratified_bootstrap(SCORES, lambda batch: batch.mean(axis=0), seed=0)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("runs", [1, 2, 5, 9])
def test_intervals_of_many_sets_are_those_of_each_alone(statistic, runs):
    scores = random_scores(4, runs)
    found = intervals(scores, statistic, seed=3, num_resamples=500, level=0.9)
    for row, own in zip(scores, found, strict=True):
        alone = interval(row[:, None], statistic, seed=3, num_resamples=500, level=0.9)
        np.testing.assert_allclose(dataclasses.astuple(own), dataclasses.astuple(alone), rtol=1e-12)


def test_intervals_do_not_depend_on_how_many_are_computed_at_a_time():
    scores = random_scores(12, 5)
    assert 1 < statistics._CHUNK // 50_000 < 12, "so that some are computed together, and not all"
    whole = intervals(scores, "iqm", seed=0, num_resamples=50_000)
    parts = [intervals(row[None], "iqm", seed=0, num_resamples=50_000)[0] for row in scores]
    assert whole == parts


@pytest.mark.parametrize("statistic", ["standard_deviation", ""])
def test_intervals_refuse_statistics_that_they_do_not_know(statistic):
    with pytest.raises(ConfigError, match="among"):
        intervals(SCORES, statistic, seed=0)
