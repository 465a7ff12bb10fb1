"""From weights to probabilities: against the authors' numbers, by hand, and by what must always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldens import golden
from reweigh import ConfigError
from reweigh.priorities.scaling import (
    ess_fraction,
    exponential_probability,
    linear_probability,
    power_probability,
)

GOLDEN = golden("03_replace_weights")
LINEAR = [name for name in GOLDEN if "/linear/" in name]

whole_numbers = st.lists(st.integers(-1000, 1000), min_size=2, max_size=40).map(
    lambda numbers: np.array(numbers, np.float64)
)
positive_numbers = st.lists(st.integers(0, 1000), min_size=2, max_size=40).map(
    lambda numbers: np.array(numbers, np.float64) + (np.arange(len(numbers)) == 0)
)


def settings_of(name: str) -> dict[str, float | None]:
    """`std2.0_eps0_max20` -> settings; the authors' eps of 0 is ours of None: no floor at all."""
    std, eps, eps_max = name.rpartition("/")[2].split("_")
    return {
        "std": None if std == "stdNone" else float(std.removeprefix("std")),
        "eps": None if eps == "eps0" else float(eps.removeprefix("eps")),
        "eps_max": None if eps_max == "maxNone" else float(eps_max.removeprefix("max")),
    }


@pytest.mark.parametrize("name", LINEAR)
def test_linear_probabilities_equal_the_authors_wherever_theirs_are_probabilities(name):
    code, _, data, _ = name.split("/")
    weight, expected = GOLDEN[f"in/{data}"][:, 0], GOLDEN[name][:, 0]
    settings = settings_of(name) | {"clip_without_std": code == "iql"}
    if expected.min() < 0:
        with pytest.raises(ConfigError, match=f"makes {(expected < 0).sum()} of 500 negative"):
            linear_probability(weight, **settings)
        return
    found = linear_probability(weight, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("code", ["td3", "iql"])
@pytest.mark.parametrize("data", ["A", "B"])
def test_exponential_probabilities_equal_the_authors(data, code):
    found = exponential_probability(GOLDEN[f"in/{data}"][:, 0], inverse_temperature=1.0)
    np.testing.assert_allclose(found, GOLDEN[f"{code}/exp/{data}/lambda1.0"][:, 0], rtol=1e-9, atol=1e-12)


def test_linear_shifts_stretches_clips_and_normalizes_in_this_order():
    weight = np.array([5.0, 6.0, 8.0])
    np.testing.assert_allclose(linear_probability(weight), [0, 0.25, 0.75])
    np.testing.assert_allclose(linear_probability(weight, eps=0.3), np.array([0.1, 0.25, 0.75]) / 1.1)
    np.testing.assert_allclose(linear_probability(weight, eps_max=1.5), np.array([0, 0.25, 0.5]) / 0.75)
    z = np.array([-4, -1, 5]) / np.sqrt(14)
    np.testing.assert_allclose(linear_probability(weight, std=0.5), (1 + 0.5 * z) / 3)
    clipped = np.array([0.1, 1 + z[1], 1 + z[2]])
    np.testing.assert_allclose(linear_probability(weight, std=1.0, eps=0.1), clipped / clipped.sum())


@given(whole_numbers, st.floats(0.01, 10), st.floats(0.01, 1))
def test_linear_weights_equal_the_closed_form(weight, std, eps):
    p = linear_probability(weight, std=std, eps=eps)
    if np.ptp(weight) == 0:
        np.testing.assert_array_equal(p, 1 / len(weight))
        return
    z = (weight - weight.mean()) / weight.std()
    clipped = np.maximum(1 + std * z, eps)
    np.testing.assert_allclose(len(weight) * p, clipped / clipped.mean(), rtol=1e-9)


@given(whole_numbers, st.floats(0, 3), st.floats(0.01, 0.9), st.sampled_from([None, 1.5, 20.0]))
def test_linear_weights_respect_the_floor_the_ceiling_and_the_order(weight, std, eps, eps_max):
    p = linear_probability(weight, std=std, eps=eps, eps_max=eps_max)
    assert p.sum() == pytest.approx(1)
    # Between floor and ceiling lies a factor that the last normalization keeps.
    if eps_max is not None:
        assert p.max() <= p.min() * eps_max / eps * (1 + 1e-9)
    assert p.min() > 0
    if np.ptp(weight) > 0:
        assert (np.diff(p[np.argsort(weight)]) >= 0).all()
    for other in np.flatnonzero(weight == weight[0]):
        assert p[other] == p[0]


@given(whole_numbers)
def test_a_shift_or_a_positive_factor_of_the_weights_changes_no_linear_probability(weight):
    p = linear_probability(weight, std=2.0, eps=0.1)
    moved = linear_probability(4 * weight + 7, std=2.0, eps=0.1)
    np.testing.assert_allclose(moved, p, rtol=1e-9, atol=1e-12)


def test_the_default_std_of_2_is_about_1_after_its_floor_of_a_tenth():
    weight = 2.0 * len(GOLDEN["in/A"]) * linear_probability(np.arange(1000.0), std=2.0, eps=0.1)
    assert 0.8 < (weight / weight.mean()).std() < 1.2


def test_an_exponential_is_in_units_of_the_mean_magnitude():
    weight = np.array([1.0, 0.0, -2.0])  # mean of magnitudes 1
    np.testing.assert_allclose(
        exponential_probability(weight, inverse_temperature=0.5),
        np.exp([0.5, 0, -1]) / np.exp([0.5, 0, -1]).sum(),
    )
    np.testing.assert_array_equal(exponential_probability(weight, inverse_temperature=0.0), 1 / 3)
    np.testing.assert_array_equal(exponential_probability(np.zeros(2), inverse_temperature=1.0), 0.5)


def test_a_large_exponent_does_not_overflow():
    found = exponential_probability(np.array([1.0, 2.0, 3.0]), inverse_temperature=1e6)
    np.testing.assert_array_equal(found, [0, 0, 1])


@given(whole_numbers, st.floats(0, 50))
def test_exponential_probabilities_sum_to_one_and_keep_the_order(weight, inverse_temperature):
    p = exponential_probability(weight, inverse_temperature=inverse_temperature)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1)
    assert (np.diff(p[np.argsort(weight)]) >= 0).all()


def test_a_power_keeps_zeros_at_zero_unless_it_is_zero():
    weight = np.array([0.0, 1.0, 3.0])
    np.testing.assert_allclose(power_probability(weight, power=2.0), [0, 0.1, 0.9])
    np.testing.assert_allclose(power_probability(weight, power=1.0), [0, 0.25, 0.75])
    np.testing.assert_allclose(power_probability(weight, power=0.0), [0, 0.5, 0.5])
    np.testing.assert_allclose(power_probability(np.array([1.0, 4.0]), power=0.5), [1 / 3, 2 / 3])
    np.testing.assert_allclose(power_probability(np.array([1e200, 3e200]), power=3.0), [1 / 28, 27 / 28])


@pytest.mark.parametrize("weight", [[1.0, -0.1], [0.0, 0.0]])
def test_a_power_of_negative_or_no_weights_is_refused(weight):
    with pytest.raises(ConfigError, match="non-negative weights, not all 0"):
        power_probability(np.array(weight), power=2.0)


@given(positive_numbers, st.floats(0, 8))
def test_power_probabilities_sum_to_one_and_keep_the_order_and_the_zeros(weight, power):
    p = power_probability(weight, power=power)
    assert p.sum() == pytest.approx(1)
    assert (p[weight == 0] == 0).all()
    order = np.argsort(weight)
    assert (np.diff(p[order]) >= 0).all()


def test_the_ess_fraction_is_one_over_n_times_the_sum_of_squares():
    assert ess_fraction(np.full(7, 1 / 7)) == pytest.approx(1)
    assert ess_fraction(np.array([0.0, 0.0, 1.0, 0.0])) == pytest.approx(0.25)
    assert ess_fraction(np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx(0.5)
    assert ess_fraction(np.array([0.75, 0.25])) == pytest.approx(0.8)


@given(positive_numbers)
def test_the_ess_fraction_lies_between_one_row_and_all(weight):
    assert 1 / len(weight) - 1e-12 <= ess_fraction(weight / weight.sum()) <= 1 + 1e-12
