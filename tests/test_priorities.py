"""Weights from returns, what they do to a dataset, and the file that carries them."""

import dataclasses
import json
import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reweigh
from goldens import FOLDER, golden
from reweigh import (
    AW,
    RW,
    ConfigError,
    OperR,
    Oracle,
    RewardWeights,
    Shuffled,
    Top,
    Transitions,
    Uniform,
    WeightsError,
    load,
    probability_by_return,
    read_weights,
    summarize,
    write_weights,
)
from reweigh.datasets.rewards import transform_reward
from reweigh.priorities.by_return import (
    aw_probability,
    oper_r_probability,
    return_residual,
    rw_probability,
    shuffle_over_episodes,
    top_probability,
)
from reweigh.priorities.defaults import published_defaults
from reweigh.priorities.file import check_fits, weights_of
from reweigh.priorities.scaling import ess_fraction, find_setting, linear_probability
from reweigh.priorities.summary import auc
from reweigh.priorities.weigh import Scaling, weigh
from reweigh.report.weights_figure import along_episodes

METHODS = [
    Uniform(),
    OperR(),
    OperR(base=0.2),
    OperR(inverse=True),
    RW(),
    AW(),
    Top(),
    RewardWeights(),
    Shuffled(),
]


def authors_view(name: str) -> Transitions:
    return load(FOLDER / f"{name}.hdf5", episode_ends="discontinuity")


def make_data(returns, lengths, *, first=None, source=None, rewards=None) -> Transitions:
    """Episodes that end in a terminal, of given returns and lengths, each paid at its last row."""
    lengths = np.asarray(lengths)
    count, last = int(lengths.sum()), np.cumsum(lengths) - 1
    arrays = {
        "observations": np.zeros((count, 1), np.float32),
        "actions": np.zeros((count, 1), np.float32),
        "rewards": np.zeros(count, np.float32),
        "terminals": np.isin(np.arange(count), last),
        "timeouts": np.zeros(count, bool),
        "next_observations": np.zeros((count, 1), np.float32),
    }
    arrays["rewards"][last] = returns
    if rewards is not None:
        arrays["rewards"][:] = rewards
    if first is not None:
        arrays["observations"][last - lengths + 1, 0] = first
    if source is not None:
        arrays["source"] = np.asarray(source)
    return load(arrays)


@pytest.mark.parametrize("base", [0.0, 0.2])
@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_oper_r_equals_the_authors_code(name, base):
    expected, data = golden("02_oper_r"), authors_view(name)
    p = probability_by_return(data, OperR(base=base, kept_rows_only=True)).probability
    float32 = {"rtol": 2e-5, "atol": 1e-9}
    np.testing.assert_allclose(p, expected[f"{name}/base{base}/probs"][:, 0], **float32)
    np.testing.assert_allclose(p * len(p), expected[f"{name}/base{base}/weights"][:, 0], rtol=2e-5, atol=1e-5)
    iql = f"{name}/iql_base{base}"
    np.testing.assert_allclose(p, expected[f"{iql}/return-balance/probs"], **float32)
    np.testing.assert_allclose(p * len(p), expected[f"{iql}/reweight/weights"], rtol=2e-5, atol=1e-5)
    np.testing.assert_allclose(p, expected[f"{name}/onestep_base{base}/probs"], rtol=1e-9, atol=1e-12)
    inverse = probability_by_return(data, OperR(base=base, inverse=True, kept_rows_only=True)).probability
    np.testing.assert_allclose(inverse, expected[f"{iql}/inverse-return-balance/probs"], **float32)


@pytest.mark.parametrize("method", [OperR, RW, AW])
def test_equal_returns_where_the_authors_get_nan_give_uniform_weights_and_say_so(method):
    assert np.isnan(golden("02_oper_r")["equal/base0.0/probs"]).all()
    assert np.isnan(golden("06_dw_samplers")["equal/iql/raw/RW-0.1"]).all()
    found = probability_by_return(authors_view("equal"), method(kept_rows_only=True))
    np.testing.assert_array_equal(found.probability, 1 / 705)
    assert found.notes == ("all episode returns are equal: uniform weights.",)


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_rw_and_aw_equal_the_authors_iql_code(name):
    expected, data = golden("06_dw_samplers"), authors_view(name)
    np.testing.assert_array_equal(data.raw_index, expected[f"{name}/iql/raw_row"])
    np.testing.assert_array_equal(data.episodes.kept_length, expected[f"{name}/iql/episode_lengths"])
    returns = expected[f"{name}/iql/raw/episode_returns"].astype(np.float64)
    np.testing.assert_allclose(data.episodes.kept_return, returns, rtol=2e-5, atol=1e-5)
    residual = return_residual(returns, data.episodes.first_observation)
    np.testing.assert_allclose(residual, expected[f"{name}/iql/aw_residual"], rtol=1e-8, atol=1e-8)
    rw = probability_by_return(data, RW(kept_rows_only=True))
    np.testing.assert_allclose(rw.probability, expected[f"{name}/iql/raw/RW-0.1"], rtol=1e-4)
    aw = probability_by_return(data, AW(kept_rows_only=True))
    np.testing.assert_allclose(aw.probability, expected[f"{name}/iql/raw/AW-0.1"], rtol=1e-3)
    assert rw.notes == aw.notes == ()


def test_weights_of_scaled_and_shifted_rewards_equal_the_authors():
    expected = golden("06_dw_samplers")
    mix, sparse = authors_view("mix"), authors_view("sparse")
    # A common factor cancels in the min-max; a shift does not, because episodes differ in length.
    rw = probability_by_return(mix, RW(kept_rows_only=True)).probability
    np.testing.assert_allclose(rw, expected["mix/iql/scaled/RW-0.1"], rtol=1e-4)
    aw = probability_by_return(mix, AW(kept_rows_only=True)).probability
    np.testing.assert_allclose(aw, expected["mix/iql/scaled/AW-0.1"], rtol=1e-3)
    rw = published_defaults(RW(), domain="antmaze", paper="aw-iql")
    rw = probability_by_return(sparse, rw).probability
    np.testing.assert_allclose(rw, expected["sparse/iql/shift/RW-0.1"], rtol=1e-4)
    aw = published_defaults(AW(), domain="antmaze", paper="dw-iql")
    aw = probability_by_return(sparse, aw).probability
    np.testing.assert_allclose(aw, expected["sparse/iql/shift/AW-0.1"], rtol=1e-3)


def test_only_oper_and_the_iql_code_sum_kept_rows_alone():
    kept = {
        paper
        for paper in ("oper", "aw-iql", "aw-td3bc", "aw-cql", "dw-iql", "dw-td3bc", "dw-cql")
        if published_defaults(AW(), paper=paper).kept_rows_only
    }
    assert kept == {"oper", "aw-iql", "dw-iql"}


def chosen_returns(probability, episode, returns):
    return np.sort(returns[np.unique(episode[probability > 0])])


@pytest.mark.parametrize("name", ["mix", "sparse", "equal"])
def test_top_episodes_equal_the_authors_up_to_ties(name):
    data = authors_view(name)
    found = probability_by_return(data, Top(0.1, kept_rows_only=True)).probability
    expected = golden("06_dw_samplers")[f"{name}/iql/raw/Top-0.1"]
    if name == "mix":  # the only one without ties
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    returns = data.episodes.kept_return
    best = chosen_returns(found, data.episode, returns)
    np.testing.assert_array_equal(best, chosen_returns(expected, data.episode, returns))
    assert len(best) == int(0.1 * len(returns))
    np.testing.assert_allclose(found[found > 0], 1 / (found > 0).sum(), rtol=1e-12)
    partly = np.bincount(data.episode, found > 0) / np.bincount(data.episode)
    assert set(partly) == {0, 1}, "an episode counts whole or not at all"


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_rw_and_aw_equal_the_authors_cql_code_given_its_returns(name):
    expected = golden("06_dw_samplers")
    lengths = expected[f"{name}/cql/episode_lengths"]
    episode = np.repeat(np.arange(len(lengths)), lengths)[expected[f"{name}/cql/weighted/raw_row"]]
    returns = expected[f"{name}/cql/episode_returns"].astype(np.float64)
    residual = expected[f"{name}/cql/aw_residual"]
    with h5py.File(FOLDER / f"{name}.hdf5") as file:
        first = file["observations"][()][np.cumsum(lengths) - lengths]
    np.testing.assert_allclose(return_residual(returns, first), residual, rtol=1e-8, atol=1e-8)
    for temperature in (0.1, 0.2):
        rw = rw_probability(returns[episode], temperature=temperature).probability
        np.testing.assert_allclose(rw, expected[f"{name}/cql/weighted/RW-{temperature}"], rtol=1e-4)
        aw = rw_probability(residual[episode], temperature=temperature).probability
        np.testing.assert_allclose(aw, expected[f"{name}/cql/weighted/AW-{temperature}"], rtol=1e-3)


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_rw_aw_and_top_equal_the_authors_td3bc_code_given_its_returns(name):
    expected = golden("06_dw_samplers")
    lengths = expected[f"{name}/td3bc/episode_lengths"]
    episode = np.repeat(np.arange(len(lengths)), lengths)
    returns = expected[f"{name}/td3bc/episode_returns"].astype(np.float64)
    rw = rw_probability(returns[episode], temperature=0.1).probability
    np.testing.assert_allclose(rw, expected[f"{name}/td3bc/RW-0.1"], rtol=1e-4)
    aw = rw_probability(expected[f"{name}/cql/aw_residual"][episode], temperature=0.1).probability
    np.testing.assert_allclose(aw, expected[f"{name}/td3bc/AW-0.1"], rtol=1e-3)
    top, theirs = (
        top_probability(returns, episode, fraction=0.1).probability,
        expected[f"{name}/td3bc/Top-0.1"],
    )
    if name == "mix":  # the only one without ties
        np.testing.assert_allclose(top, theirs, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(
        chosen_returns(top, episode, returns), chosen_returns(theirs, episode, returns)
    )


@pytest.mark.parametrize("name", ["mix", "sparse", "equal"])
def test_reward_weights_equal_the_authors(name):
    expected, data = golden("06_dw_samplers"), authors_view(name)
    np.testing.assert_array_equal(data.raw_index, expected[f"{name}/cql/uniform/raw_row"])
    found = probability_by_return(data, RewardWeights(0.1)).probability
    np.testing.assert_allclose(found, expected[f"{name}/cql/uniform/RewW-0.1"], rtol=1e-4)


def test_oper_r_adds_the_base_to_the_min_max_return():
    data = make_data([0, 5, 10], [2, 1, 2])
    p = probability_by_return(data, OperR(base=0.2)).probability
    np.testing.assert_allclose(p, np.array([0.2, 0.2, 0.7, 1.2, 1.2]) / 3.5, rtol=1e-12)
    inverse = probability_by_return(data, OperR(base=0.2, inverse=True)).probability
    np.testing.assert_allclose(inverse, np.array([1.2, 1.2, 0.7, 0.2, 0.2]) / 3.5, rtol=1e-12)
    np.testing.assert_allclose(
        probability_by_return(data, OperR()).probability, [0, 0, 0.2, 0.4, 0.4], rtol=1e-12
    )


def test_rw_is_a_softmax_over_transitions_of_the_min_max_return():
    p = probability_by_return(make_data([0, 5, 10], [2, 1, 2]), RW(0.5)).probability
    e = np.e
    np.testing.assert_allclose(p, np.array([1, 1, e, e**2, e**2]) / (2 + e + 2 * e**2), rtol=1e-12)


def test_aw_subtracts_what_the_first_state_predicts():
    # G = s + (1, -1, -1, 1); the second part is orthogonal to s = (0, 1, 2, 3) and to a constant.
    data = make_data([1, 0, 1, 4], [1, 1, 1, 2], first=[0, 1, 2, 3])
    np.testing.assert_allclose(
        return_residual(data.episodes.whole_return, data.episodes.first_observation), [1, -1, -1, 1]
    )
    found = probability_by_return(data, AW(0.5))
    e2 = np.exp(2.0)
    np.testing.assert_allclose(found.probability, np.array([e2, 1, 1, e2, e2]) / (2 + 3 * e2), rtol=1e-12)
    assert found.notes == ()


def test_top_keeps_at_least_one_episode_and_the_earlier_of_equals():
    data = make_data([3, 9, 7, 7, 0, 7, 1, 2, 0, 5], [1, 2, 3, 1, 1, 1, 1, 1, 1, 1])
    p = probability_by_return(data, Top(0.29)).probability  # two of ten
    np.testing.assert_allclose(p, [0, 0.2, 0.2, 0.2, 0.2, 0.2, *[0] * 7], rtol=1e-12)
    p = probability_by_return(data, Top(0.01)).probability  # at least one
    np.testing.assert_allclose(p, [0, 0.5, 0.5, *[0] * 10], rtol=1e-12)
    np.testing.assert_allclose(probability_by_return(data, Top(1.0)).probability, 1 / 13, rtol=1e-12)


def test_top_of_equal_returns_says_that_it_keeps_the_first():
    found = probability_by_return(make_data([5, 5, 5, 5], [1, 1, 1, 1]), Top(0.5))
    np.testing.assert_allclose(found.probability, [0.5, 0.5, 0, 0])
    assert found.notes == ("all episode returns are equal: the first episodes of the file are kept.",)
    assert probability_by_return(make_data([5, 5], [1, 1]), Top(1.0)).notes == ()


def test_reward_weights_are_a_softmax_of_the_min_max_reward():
    data = make_data([0], [3], rewards=[-1, 0, 2])
    p = probability_by_return(data, RewardWeights(1 / 3)).probability
    np.testing.assert_allclose(p, np.exp([0, 1, 3]) / np.exp([0, 1, 3]).sum(), rtol=1e-7)
    flat = probability_by_return(make_data([0], [3], rewards=[2, 2, 2]), RewardWeights())
    np.testing.assert_allclose(flat.probability, 1 / 3)
    assert flat.notes == ("all rewards are equal: uniform weights.",)


def test_uniform_weights_are_all_alike():
    np.testing.assert_allclose(probability_by_return(make_data([1, 2], [2, 2]), Uniform()).probability, 0.25)


def test_returns_by_length_divide_by_the_length_they_were_summed_over():
    data = make_data([4, 6, 5], [4, 2, 1])  # 1, 3, 5 a row
    p = probability_by_return(data, OperR(by_length=True)).probability
    np.testing.assert_allclose(p, np.array([0, 0, 0, 0, 0.5, 0.5, 1]) / 2, rtol=1e-12)


def test_returns_count_dropped_rows_unless_told_otherwise():
    arrays = {
        "observations": np.zeros((7, 1), np.float32),
        "actions": np.zeros((7, 1), np.float32),
        "rewards": np.array([1, 7, 2, 0, 3, 1, 0], np.float32),
        "terminals": np.zeros(7, bool),
        "timeouts": np.array([0, 1, 0, 1, 0, 0, 0], bool),
    }
    data = load(arrays)  # rows 0 | 2 | 4, 5 are transitions; 1, 3 timeouts, 6 the last row
    whole = probability_by_return(data, OperR()).probability  # 8, 2, 4
    np.testing.assert_allclose(whole, np.array([6, 0, 2, 2]) / 10, rtol=1e-12)
    kept = probability_by_return(data, OperR(kept_rows_only=True)).probability  # 1, 2, 4
    np.testing.assert_allclose(kept, np.array([0, 1, 3, 3]) / 7, rtol=1e-12)
    kept = probability_by_return(data, OperR(kept_rows_only=True, by_length=True)).probability  # 1, 2, 2
    np.testing.assert_allclose(kept, np.array([0, 1, 1, 1]) / 3, rtol=1e-12)
    whole = probability_by_return(data, OperR(by_length=True)).probability  # 4, 1, 4/3
    np.testing.assert_allclose(whole, np.array([9, 0, 1, 1]) / 11, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_a_transform_of_the_reward_changes_no_weight(method):
    data = authors_view("mix")
    before = probability_by_return(data, method).probability
    for transform in ("minus-one", "return-range"):
        changed = transform_reward(data, transform)
        assert (changed.reward != data.reward).any()
        np.testing.assert_array_equal(probability_by_return(changed, method).probability, before)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mix", "sparse", "equal"])
def test_probabilities_are_non_negative_and_sum_to_one(name, method):
    p = probability_by_return(load(FOLDER / f"{name}.hdf5"), method).probability
    assert p.dtype == np.float64
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_aw_with_too_few_episodes_gives_rw_and_says_so():
    enough = make_data([1, 0, 4], [1, 1, 2], first=[0, 1, 2])
    assert probability_by_return(enough, AW()).notes == ()
    few = make_data([1, 4], [1, 2], first=[0, 1])
    found = probability_by_return(few, AW(0.3))
    np.testing.assert_array_equal(found.probability, probability_by_return(few, RW(0.3)).probability)
    expected = (
        "AW needs at least 3 episodes to predict returns from 1 observations, but there are 2: RW weights."
    )
    assert found.notes == (expected,)


def test_aw_where_the_first_state_tells_the_return_gives_rw_and_says_so():
    told = make_data([1, 3, 5, 9], [1, 1, 1, 1], first=[0, 1, 2, 4])
    found = probability_by_return(told, AW())
    np.testing.assert_array_equal(found.probability, probability_by_return(told, RW()).probability)
    assert len(found.notes) == 1
    assert "RW weights" in found.notes[0]


def test_aw_without_its_guard_keeps_the_least_squares_residual():
    # Four episodes, three numbers in a state: too few for the guard. The third repeats the first, so that
    # least squares does not interpolate.
    returns = np.array([1.0, 4.0, 2.0, 3.0])
    first = np.array([[0, 1, 0], [1, 0, 1], [2, 2, 2], [0, 2, 0]], np.float32)
    guarded = aw_probability(returns, first, np.arange(4), temperature=0.1)
    assert "RW weights" in guarded.notes[0]
    free = aw_probability(returns, first, np.arange(4), temperature=0.1, guard=False)
    assert free.notes == ()
    expected = rw_probability(return_residual(returns, first), temperature=0.1).probability
    np.testing.assert_allclose(free.probability, expected)
    assert not np.allclose(free.probability, guarded.probability)


@pytest.mark.parametrize(("kind", "raw"), [("power", lambda w: w**3), ("exp", lambda w: np.exp(3 * w))])
def test_a_transform_acts_on_the_methods_weights_with_its_strength(kind, raw):
    data = make_data([0, 5, 10], [2, 1, 2])
    p = probability_by_return(data, RW()).probability
    found, settings = weigh(data, RW(), Scaling(transform=kind, strength=3.0))
    expected = raw(p / p.mean())
    np.testing.assert_allclose(found.probability, expected / expected.sum(), rtol=1e-9)
    assert settings["strength"] == 3.0


def test_a_tiny_temperature_leaves_the_best_alone_and_a_large_one_all_alike():
    returns = np.array([0.0, 1.0, 1.0, 3.0])
    np.testing.assert_array_equal(rw_probability(returns, temperature=1e-6).probability, [0, 0, 0, 1])
    np.testing.assert_allclose(rw_probability(returns, temperature=1e6).probability, 0.25, rtol=1e-5)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=30), st.floats(0.05, 10))
def test_a_higher_return_never_weighs_less(returns, temperature):
    returns = np.array(returns, np.float64)
    for found in (oper_r_probability(returns), rw_probability(returns, temperature=temperature)):
        order = np.argsort(returns)
        assert (np.diff(found.probability[order]) >= 0).all()
        assert found.probability.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: OperR(base=-0.1),
        lambda: OperR(base=float("nan")),
        lambda: RW(temperature=0.0),
        lambda: AW(temperature=-1.0),
        lambda: RewardWeights(float("inf")),
        lambda: Top(0.0),
        lambda: Top(1.1),
    ],
)
def test_settings_out_of_range_are_refused_where_they_are_made(make):
    with pytest.raises(ConfigError, match="but found"):
        make()


def test_a_summary_has_the_spread_the_extremes_and_the_good_mass_of_the_weights():
    data = make_data([10, -2], [2, 2], source=[1, 1, 0, -1])
    found = summarize(np.array([0.4, 0.3, 0.3, 0.0]), data)
    expected = {
        "transitions": 4,
        "ess_fraction": 1 / 1.36,
        "std": 0.6,
        "share_at_zero": 0.25,
        "share_at_floor": 0.25,
        "largest": 1.6,
        "mean_return": 4,
        "weighted_return": 6.4,
        "good_share": 0.5,
        "good_mass": 0.7,
        "auc": 0.75,
    }
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("source", [None, [1, 1, 1, 1], [0, 0, -1, 0]])
def test_a_summary_speaks_of_sources_only_where_both_are_known(source):
    found = summarize(np.full(4, 0.25), make_data([1, 2], [2, 2], source=source))
    assert not {"good_mass", "good_share", "auc"} & set(found)
    assert found["ess_fraction"] == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-1, 0, 1])), min_size=2, max_size=30))
def test_auc_equals_the_share_of_pairs_won_with_ties_counting_half(rows):
    weight, source = (np.array(column) for column in zip(*rows, strict=True))
    good, bad = weight[source == 1], weight[source == 0]
    if not (len(good) and len(bad)):
        return
    pairs = [(g > b) + 0.5 * (g == b) for g in good for b in bad]
    assert auc(weight.astype(np.float64), source.astype(np.int8)) == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("target", [0.05, 0.3, 0.9])
def test_a_temperature_with_the_wanted_ess_is_found(target):
    data = load(FOLDER / "mix.hdf5")

    def at(temperature):
        return probability_by_return(data, RW(temperature)).probability

    assert ess_fraction(at(find_setting(at, target, rising=True))) == pytest.approx(target, rel=1e-6)


@pytest.mark.parametrize("target", [0.3, 0.9])
def test_a_standard_deviation_with_the_wanted_ess_is_found(target):
    weight = np.random.default_rng(0).lognormal(size=1000)

    def at(std):
        return linear_probability(weight, std=std, eps=0.1)

    assert ess_fraction(at(find_setting(at, target, rising=False))) == pytest.approx(target, rel=1e-6)


def test_an_ess_that_bounds_make_rise_again_is_found_where_it_is_first_passed():
    weight = np.abs(np.random.default_rng(0).standard_t(2, size=1000))

    def at(std):
        return linear_probability(weight, std=std, eps=0.1, eps_max=20.0)

    lowest, end = ess_fraction(at(20.0)), ess_fraction(at(1e6))
    target = (lowest + end) / 2
    assert lowest < target < end
    found = find_setting(at, target, rising=False)
    assert found < 20
    assert ess_fraction(at(found)) == pytest.approx(target, rel=1e-6)


def test_an_ess_out_of_reach_is_refused_with_the_range():
    data = make_data([0, 1], [1, 3])  # at best three of four rows

    def at(temperature):
        return probability_by_return(data, RW(temperature)).probability

    with pytest.raises(ConfigError, match=r"between 0.75 and 1, .* but found 0.5"):
        find_setting(at, 0.5, rising=True)
    for target in (0.0, 1.0, -1.0):
        with pytest.raises(ConfigError, match="strictly between 0 and 1"):
            find_setting(at, target, rising=True)


def made_weights(tmp_path: Path, name: str = "w.npz"):
    data = load(FOLDER / "sparse.hdf5")
    weights = weights_of(probability_by_return(data, RW()).probability, data, {"method": "rw", "note": "ä"})
    write_weights(tmp_path / name, weights)
    return data, weights, tmp_path / name


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_weights_file_reads_back_as_written(ending, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    data, weights, path = made_weights(tmp_path, f"w.{ending}")
    found = read_weights(path)
    np.testing.assert_allclose(found.weight, weights.weight, rtol=1e-14)
    np.testing.assert_array_equal(found.raw_index, data.raw_index)
    np.testing.assert_array_equal(found.episode, data.episode)
    assert found.meta == weights.meta
    assert found.meta["dataset_digest"] == data.info.digest
    assert found.weight.mean() == pytest.approx(1)
    np.testing.assert_allclose(found.probability, weights.probability, rtol=1e-13)
    check_fits(found, data, path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "no temporary file stays"


def test_priorities_of_seeds_and_stages_are_kept_in_the_order_of_the_index(tmp_path):
    _, weights, path = made_weights(tmp_path)
    count = len(weights.weight)
    priority = np.random.default_rng(0).normal(size=(3, 5, count))
    write_weights(path, dataclasses.replace(weights, priority=priority))
    np.testing.assert_array_equal(read_weights(path).priority, priority)
    order = np.random.default_rng(1).permutation(count)
    np.savez(path, index=order, weight=weights.weight[order], priority=priority[:, :, order])
    np.testing.assert_array_equal(read_weights(path).priority, priority)


def test_a_foreign_file_of_index_and_weight_alone_is_accepted_in_any_order(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, index=np.array([2, 0, 3, 1]), weight=np.array([30, 10, 40, 20]))
    found = read_weights(path)
    np.testing.assert_allclose(found.weight, [0.4, 0.8, 1.2, 1.6])
    np.testing.assert_array_equal(found.raw_index, -1)
    check_fits(found, make_data([1, 2], [2, 2]), path)
    np.savez(path, weight=np.array([10, 20, 30, 40], np.float32))
    np.testing.assert_allclose(read_weights(path).weight, [0.4, 0.8, 1.2, 1.6])


def test_weights_of_other_rows_are_refused_even_without_a_digest(tmp_path):
    data, path = make_data([1, 2], [2, 2]), tmp_path / "w.npz"
    np.savez(path, weight=np.ones(4), raw_index=data.raw_index)
    check_fits(read_weights(path), data, path)
    np.savez(path, weight=np.ones(4), raw_index=data.raw_index + np.array([0, 0, 1, 1]))
    with pytest.raises(WeightsError, match=r"weight 2 is of row 3.* transition 2 is row 2"):
        check_fits(read_weights(path), data, path)


def test_every_column_follows_the_order_of_the_index(tmp_path):
    order = np.array([2, 0, 1])
    np.savez(
        tmp_path / "w.npz",
        index=order,
        weight=order + 1.0,
        raw_index=10 * order,
        episode=order % 2,
    )
    found = read_weights(tmp_path / "w.npz")
    np.testing.assert_allclose(found.weight, [0.5, 1, 1.5])
    np.testing.assert_array_equal(found.raw_index, [0, 10, 20])
    np.testing.assert_array_equal(found.episode, [0, 1, 0])


def weights_refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_weights(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    "columns",
    [
        {"weight": [1.0, -0.5, 1.0]},
        {"weight": [1.0, np.nan, 1.0]},
        {"weight": [1.0, np.inf, 1.0]},
        {"weight": [1e308, 1e308, 1e308]},
        {"weight": [0.0, 0.0, 0.0]},
        {"weight": np.zeros(0)},
        {"weight": [[1.0, 2.0]]},
        {"weight": 3.0},
        {"weight": ["1", "2", "3"]},
        {"weight": [1j, 1, 1]},
        {"weights": [1.0, 1.0]},
        {"weight": [1.0, 1.0], "index": [0, 0]},
        {"weight": [1.0, 1.0], "index": [1, 2]},
        {"weight": [1.0, 1.0], "index": [0, 1, 2]},
        {"weight": [1.0, 1.0], "index": [[0, 1]]},
        {"weight": [1.0, 1.0], "index": 0},
        {"weight": [1.0, 1.0], "index": ["a", "b"]},
        {"weight": [1.0, 1.0], "raw_index": [3]},
        {"weight": [1.0, 1.0], "raw_index": ["a", "b"]},
        {"weight": [1.0, 1.0], "episode": [0.5, np.nan]},
        {"weight": [1.0, 1.0], "priority": [1.0, 1.0]},
        {"weight": [1.0, 1.0], "priority": [[[1.0, 1.0, 1.0]]]},
        {"weight": [1.0, 1.0], "meta": "no json"},
        {"weight": [1.0, 1.0], "meta": "[1, 2]"},
        {"weight": [1.0, 1.0], "meta": [1, 2]},
    ],
    ids=str,
)
def test_columns_that_are_no_weights_are_refused(columns, tmp_path):
    np.savez(tmp_path / "w.npz", **{name: np.array(column) for name, column in columns.items()})
    weights_refusal(tmp_path / "w.npz")


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_weights_file_that_is_cut_short_or_something_else_is_refused(ending, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    _, _, path = made_weights(tmp_path, f"w.{ending}")
    content = path.read_bytes()
    for length in np.linspace(0, len(content) - 1, 25).astype(int):
        path.write_bytes(content[:length])
        assert "cannot be read" in weights_refusal(path)
    path.write_text("index,weight\n0,1\n")
    assert "cannot be read" in weights_refusal(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "one.npy").rename(path)
    assert "cannot be read" in weights_refusal(path)
    path.unlink()
    assert "there is none" in weights_refusal(path)
    path.mkdir()
    assert "there is none" in weights_refusal(path)


@pytest.mark.parametrize("scale", [1e-16, 1.0, 1e12])
def test_the_scale_of_an_observation_changes_no_residual(scale):
    returns = np.array([0.0, 1, 4, 2, 7, 3, 8, 5])
    first = np.array([[1, 0, 0, 1, 0, 1, 1, 0], [3, 1, 4, 1, 5, 9, 2, 6]], np.float32).T
    plain = return_residual(returns, first)
    np.testing.assert_allclose(return_residual(returns, first * np.float32([1, scale])), plain, rtol=1e-6)


@pytest.mark.parametrize(
    "weight", [[-1, 1, 1, 1], [np.nan, 1, 1, 1], [0, 0, 0, 0], [1, 1, 1], [[1, 1, 1, 1]], [np.inf, 1, 1, 1]]
)
def test_weights_that_are_none_are_refused_before_they_are_written(weight):
    data = make_data([1, 2], [2, 2])
    with pytest.raises(WeightsError, match=r"^expected (finite, non-negative weights|one weight for each)"):
        weights_of(np.array(weight, np.float64), data, {})


def test_weights_of_ones_own_are_written_with_mean_1_whatever_their_scale():
    weights = weights_of(np.array([0, 7, 14, 7]), make_data([1, 2], [2, 2]), {})
    np.testing.assert_array_equal(weights.weight, [0, 1, 2, 1])


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_a_damaged_weights_file_reads_or_is_refused_and_nothing_else(ending, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    data = make_data([1, 2], [2, 2])
    path = tmp_path / f"w.{ending}"
    write_weights(path, weights_of(np.full(4, 0.25), data, {}))
    content, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except WeightsError:
            refused += 1
    assert refused > 10, "the damage does not reach what is read"


class Trap:
    """Loading its pickle creates a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("name", ["weight", "index", "meta", "other"])
def test_pickled_weights_are_refused_and_never_loaded(name, tmp_path):
    trap = np.array([Trap(tmp_path / "loaded")] * 2, object)
    np.savez(tmp_path / "w.npz", **{"weight": np.ones(2), name: trap})
    assert "cannot be read" in weights_refusal(tmp_path / "w.npz")
    (tmp_path / "w.npz").write_bytes(pickle.dumps(Trap(tmp_path / "loaded")))
    assert "cannot be read" in weights_refusal(tmp_path / "w.npz")
    assert not (tmp_path / "loaded").exists()


def test_weights_of_another_dataset_are_refused(tmp_path):
    data, weights, path = made_weights(tmp_path)
    with pytest.raises(WeightsError, match=r"expected 4 weights for arrays, but .*w.npz holds 1520"):
        check_fits(weights, make_data([1, 2], [2, 2]), path)
    same_count = load(FOLDER / "sparse.hdf5", episode_ends="discontinuity")
    assert len(same_count) == len(data)
    with pytest.raises(WeightsError, match=r"was made for .*sparse\.hdf5") as caught:
        check_fits(weights, same_count, path)
    assert "\n" not in str(caught.value)


def test_weights_are_written_and_read_with_public_names_alone(tmp_path):
    data = make_data([1, 2], [2, 2])
    path = str(tmp_path / "w.npz")
    weighting = reweigh.probability_by_return(data, reweigh.RW())
    reweigh.write_weights(path, reweigh.weights_of(weighting.probability, data, {"method": "rw"}))
    np.testing.assert_allclose(reweigh.read_weights(path).probability, weighting.probability)


def test_what_is_no_method_of_returns_is_refused_in_one_line():
    # In a process of its own: here annotations are enforced, and this one would be refused by them.
    code = (
        "import reweigh\n"
        "data = reweigh.load('builtin:bandit')\n"
        "try: reweigh.probability_by_return(data, reweigh.OperA())\n"
        "except reweigh.ConfigError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("expected weights from returns, as AW(), but found OperA.")


def test_a_weights_file_is_written_whole_or_not_at_all(tmp_path):
    _, weights, path = made_weights(tmp_path)
    before = path.read_bytes()
    with pytest.raises(WeightsError, match="cannot write"):
        write_weights(tmp_path / "absent" / "w.npz", weights)
    with pytest.raises(WeightsError, match=r"ending in \.npz or \.parquet"):
        write_weights(tmp_path / "w.csv", weights)
    with pytest.raises(TypeError):
        write_weights(path, dataclasses.replace(weights, meta={"no json": object()}))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.npz"]


def test_shuffled_weights_are_those_of_aw_in_another_order_of_the_episodes():
    data = make_data(range(40), np.arange(40) % 5 + 1, first=np.sin(np.arange(40)))
    aw, shuffled = (probability_by_return(data, method).probability for method in (AW(), Shuffled()))
    np.testing.assert_array_equal(np.sort(shuffled), np.sort(aw))
    correlation = [
        np.corrcoef(aw, probability_by_return(data, Shuffled(permutation_seed=seed)).probability)[0, 1]
        for seed in range(200)
    ]
    # Each is about 0 with a deviation of 1/sqrt(13 weighty episodes).
    assert abs(np.mean(correlation)) < 0.1
    assert np.std(correlation) > 0.05


def test_shuffled_weights_run_through_each_episode_without_a_break():
    probability, episode = np.arange(6.0), np.array([0, 0, 1, 2, 2, 2])
    # A seed whose order is 2, 0, 1: its rows 3, 4, 5, then 0, 1, then 2.
    seed = next(s for s in range(100) if np.random.default_rng(s).permutation(3).tolist() == [2, 0, 1])
    np.testing.assert_array_equal(shuffle_over_episodes(probability, episode, seed=seed), [3, 4, 5, 0, 1, 2])


def test_oracle_weighs_the_good_source_alone_and_refuses_data_without_labels():
    data = make_data([1, 2, 3], [2, 3, 1], source=[0, 0, 1, 1, 1, -1])
    p = probability_by_return(data, Oracle()).probability
    np.testing.assert_allclose(p, [0, 0, 1 / 3, 1 / 3, 1 / 3, 0])
    with pytest.raises(WeightsError, match="good source"):
        probability_by_return(make_data([1, 2, 3], [2, 3, 1]), Oracle())


def test_a_weights_file_of_a_newer_format_is_refused(tmp_path):
    path, data = tmp_path / "w.npz", make_data([1, 2], [2, 2])
    write_weights(path, weights_of(np.full(4, 0.25), data, {}))
    assert read_weights(path).meta["format_version"] == 1
    assert read_weights(path).meta["made_by"] == f"reweigh {reweigh.__version__}"
    columns = dict(np.load(path))
    meta = json.loads(str(columns["meta"])) | {"format_version": 2}
    np.savez(path, **columns | {"meta": np.array(json.dumps(meta))})
    with pytest.raises(WeightsError, match=r"expected a weights file of format 1 or older, but .* says 2"):
        read_weights(path)


def test_weights_that_are_constant_in_every_episode_lie_flat_along_an_episode():
    data = make_data([5, 1, 4, 2, 3], [1, 2, 3, 7, 40])
    weight = np.array([0.1, 3.0, 0.5, 2.0, 1.0])[data.episode]
    _, mean = along_episodes(weight, data)
    np.testing.assert_allclose(mean, weight.mean(), rtol=1e-12)
