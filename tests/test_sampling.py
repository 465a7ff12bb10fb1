"""The alias table, row by row against the probabilities it was built from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from fakes import tiny_data
from goldens import golden
from reweigh import WeightsError, build_alias_table, draw_indices, table_probability
from reweigh.rebalance.static import resample, resample_tables, reweight, reweight_tables

MILLION = 1_000_000


def distributions(count: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    u = rng.random(count)
    episode = np.repeat(rng.normal(size=count // 10), 10)
    scaled = (episode - episode.min()) / np.ptp(episode)
    return {
        "flat": np.ones(count),
        "exp(10u)": np.exp(10 * u),
        "softmax of episode advantages": np.exp(scaled / 0.1),
        "Pareto tail": rng.pareto(1.1, count),
        "99 % zeros": np.where(u < 0.99, 0, u),
        "one row in all but nothing": np.where(np.arange(count) == count // 3, 1e6, 1e-6),
        "nearly flat": 1 + 1e-4 * rng.normal(size=count),
        "a few values, all rounded the same way": rng.integers(0, 2, count) + 1e-3,
    }


@pytest.mark.parametrize("name", distributions(100))
def test_a_million_rows_have_exactly_their_probabilities(name):
    p = distributions(MILLION)[name]
    p = p / p.sum()
    found = table_probability(build_alias_table(p))
    np.testing.assert_allclose(found, p, rtol=1e-9, atol=0)
    assert found.sum() == pytest.approx(1, abs=1e-9)


@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-12, 1e12)), min_size=1, max_size=40).filter(any))
def test_a_few_rows_have_exactly_their_probabilities(probability):
    p = np.array(probability)
    found = table_probability(build_alias_table(p))
    # Thresholds are multiples of 2^-64: a row below that of the average is beyond them.
    np.testing.assert_allclose(found, p / p.sum(), rtol=1e-9, atol=2.0**-63 / len(p))
    assert (found[p == 0] == 0).all()


@pytest.mark.parametrize("weight", [[1, 2, 3], [2, 1, 3], [0, 1, 2], [1, 1, 0, 2], [2, 0, 1, 1]])
def test_a_row_of_just_the_mean_keeps_it(weight):
    p = np.array(weight, np.float64)
    found = table_probability(build_alias_table(p))
    np.testing.assert_allclose(found, p / p.sum(), rtol=1e-15, atol=0)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40).filter(any))
def test_counts_as_weights_have_exactly_their_probabilities(weight):
    p = np.array(weight, np.float64)
    found = table_probability(build_alias_table(p))
    np.testing.assert_allclose(found, p / p.sum(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("count", "value"),
    [(1, 1.0), (2, 0.5), (3, 1 / 3), (7, 1e-300), (1000, 1e300), (65_537, 1 / 65_537), (MILLION, 0.1)],
)
def test_equal_weights_draw_what_no_table_draws(count, value):
    table = build_alias_table(np.full(count, value))
    drawn = draw_indices(jax.random.key(0), table, 1000, count)
    np.testing.assert_array_equal(drawn, draw_indices(jax.random.key(0), None, 1000, count))
    assert len(np.unique(drawn)) > min(count, 1000) // 2


def test_a_row_of_probability_zero_is_never_drawn():
    count = 1000
    rng = np.random.default_rng(1)
    p = np.where(np.arange(count) % 3 == 0, 0.0, rng.random(count))
    p[[1, 2]] = 1e-9, 500.0
    table = build_alias_table(p)
    assert (table_probability(table)[p == 0] == 0).all()
    drawn = np.asarray(draw_indices(jax.random.key(2), table, MILLION, count))
    assert (p[drawn] > 0).all()
    assert (drawn == 2).mean() == pytest.approx(p[2] / p.sum(), abs=0.005)


@pytest.mark.parametrize("coin", [0, 2**32 - 1])
def test_not_even_an_extreme_coin_draws_a_row_of_probability_zero(coin, monkeypatch):
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: jnp.full(shape, coin, dtype))
    p = np.where(np.arange(100) % 3 == 0, 0.0, np.arange(100.0))
    drawn = np.asarray(draw_indices(jax.random.key(0), build_alias_table(p), 10_000, 100))
    assert (p[drawn] > 0).all()
    assert len(np.unique(drawn)) > 20


def test_all_but_one_row_at_zero_leave_that_one():
    for position in range(5):
        p = np.zeros(5)
        p[position] = 1e-200
        drawn = draw_indices(jax.random.key(position), build_alias_table(p), 1000, 5)
        np.testing.assert_array_equal(drawn, position)


@pytest.mark.parametrize("name", distributions(100))
def test_a_million_draws_pass_a_chi_square_test(name):
    count = 500
    p = distributions(count)[name]
    p = p / p.sum()
    drawn = np.asarray(draw_indices(jax.random.key(4), build_alias_table(p), MILLION, count))
    frequency = np.bincount(drawn, minlength=count)
    seen = p * MILLION >= 5
    observed, expected = frequency[seen], p[seen] * MILLION
    assert frequency[~seen].sum() <= p[~seen].sum() * MILLION + 6 * np.sqrt(p[~seen].sum() * MILLION)
    if seen.sum() > 1:
        statistic = ((observed - expected) ** 2 / expected).sum()
        assert scipy.stats.chi2.sf(statistic, seen.sum() - 1) > 1e-3


def test_a_chi_square_test_tells_weighted_draws_from_even_ones():
    p = distributions(500)["exp(10u)"]
    drawn = np.asarray(draw_indices(jax.random.key(4), None, MILLION, 500))
    expected = p / p.sum() * MILLION
    statistic = ((np.bincount(drawn, minlength=500) - expected) ** 2 / expected).sum()
    assert scipy.stats.chi2.sf(statistic, 499) < 1e-12


def test_the_same_key_draws_the_same_rows_and_another_key_others():
    table = build_alias_table(distributions(1000)["exp(10u)"])
    one, same, other = (
        np.asarray(jax.jit(lambda key: draw_indices(key, table, 256, 1000))(jax.random.key(seed)))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        ([0.5, -0.5, 1.0], r"item 1 of 3 is -0\.5"),
        ([0.5, 0.5, np.nan], "item 2 of 3 is nan"),
        ([np.inf, 0.5], "item 0 of 2 is inf"),
        ([0.0, 0.0], r"positive finite sum, but it is 0\.0"),
        ([], r"of shape \(N,\), but found \(0,\)"),
    ],
)
def test_what_is_no_distribution_is_refused(probability, expected):
    with pytest.raises(WeightsError, match=expected) as caught:
        build_alias_table(np.array(probability, np.float64))
    assert "\n" not in str(caught.value)


def test_a_sum_beyond_float64_is_refused():
    with pytest.raises(WeightsError, match="but it is inf"):
        build_alias_table(np.full(3, 1e308))


def test_progressive_resampling_begins_uniform_and_ends_weighted():
    probability = np.array([0.0, 0.0, 0.0, 1.0])
    rebalance = resample(2000, progressive_updates=100)
    data = tiny_data(4)
    tables = resample_tables(probability)

    def share_of_last(update):
        drawn = rebalance.draw(jax.random.key(0), tables, data, jnp.int32(update)).evaluation.reward
        return float((drawn == 3).mean())

    assert share_of_last(0) == pytest.approx(1 / 4, abs=0.04)
    assert share_of_last(50) == pytest.approx(1 / 2 + 1 / 8, abs=0.04)
    assert share_of_last(100) == share_of_last(1000) == 1


def test_progressive_weights_go_from_one_to_their_own_as_in_the_authors_code():
    arrays = golden("03_replace_weights")
    final = arrays["iql/progressive/t8of8"][:, 0]
    tables = reweight_tables(final / final.sum())
    rebalance = reweight(256, progressive_updates=8)
    for update, key in ((0, "t0"), (3, "t3of8"), (8, "t8of8"), (20, "t8of8")):
        batch = rebalance.draw(jax.random.key(1), tables, tiny_data(len(final)), jnp.int32(update))
        row = batch.evaluation.reward.astype(int)
        np.testing.assert_allclose(
            batch.weight.constraint, arrays[f"iql/progressive/{key}"][row, 0], rtol=1e-5
        )
