import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldens import FOLDER, golden
from reweigh.datasets.episodes import return_to_go
from reweigh.datasets.load import load
from reweigh.datasets.rewards import transform_reward
from reweigh.datasets.views import (
    episode_end,
    generalized_advantage,
    monte_carlo_view,
    n_step_view,
    next_observation_of,
)
from reweigh.errors import ConfigError, WeightsError
from reweigh.priorities.advantage import advantage, iterated_by_reward, next_weight, rescaled

GAMMA = 0.99


def transitions_of(name):
    return load(FOLDER / f"{name}.hdf5", episode_ends="discontinuity")


def small(rewards, terminals, timeouts=None):
    count = len(rewards)
    arrays = {
        "observations": np.arange(count, dtype=np.float32)[:, None],
        "actions": np.zeros((count, 1), np.float32),
        "rewards": np.asarray(rewards, np.float32),
        "terminals": np.asarray(terminals, bool),
        "timeouts": np.zeros(count, bool) if timeouts is None else np.asarray(timeouts, bool),
        "next_observations": np.arange(count, dtype=np.float32)[:, None] + 1,
    }
    return load(arrays)


# By hand: rewards 1, 2, 4 and a terminal; then 8, 16 and a timeout. γ = 1/2.
HAND = {"rewards": [1, 2, 4, 8, 16], "terminals": [0, 0, 1, 0, 0], "timeouts": [0, 0, 0, 0, 1]}


def test_two_steps_by_hand_end_at_a_terminal_and_value_the_state_after_a_timeout():
    view = n_step_view(small(**HAND), 2, 0.5)
    np.testing.assert_array_equal(view.reward, [1 + 1, 2 + 2, 4, 8 + 8, 16])
    np.testing.assert_array_equal(view.discount, [0.25, 0, 0, 0.25, 0.5])
    np.testing.assert_array_equal(view.last, [1, 2, 2, 4, 4])


def test_more_steps_than_an_episode_has_give_its_discounted_rest():
    data = small(**HAND)
    view, rest = n_step_view(data, 9, 0.5), monte_carlo_view(data, 0.5)
    np.testing.assert_array_equal(view.reward, [1 + 1 + 1, 2 + 2, 4, 8 + 8, 16])
    np.testing.assert_array_equal(view.reward, rest.reward)
    np.testing.assert_array_equal(view.discount, [0, 0, 0, 0.25, 0.5])
    np.testing.assert_array_equal(rest.discount, 0)


def test_the_number_of_steps_may_be_any():
    data = small(**HAND)
    np.testing.assert_array_equal(n_step_view(data, 10**12, 0.5).reward, n_step_view(data, 9, 0.5).reward)


def test_the_published_form_ends_at_timeouts_and_keeps_the_power():
    data = small(**HAND)
    ended = n_step_view(data, 2, 0.5, timeouts_end=True)
    np.testing.assert_array_equal(ended.discount, [0.25, 0, 0, 0, 0])
    powered = n_step_view(data, 2, 0.5, constant_power=True)
    np.testing.assert_array_equal(powered.discount, [0.25, 0, 0, 0.25, 0.25])


def test_one_step_bootstraps_through_timeouts_in_the_published_form_too():
    data = small(**HAND)
    np.testing.assert_array_equal(
        n_step_view(data, 1, 0.5, timeouts_end=True).discount, [0.5, 0.5, 0, 0.5, 0.5]
    )


def test_no_steps_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        n_step_view(small(**HAND), 0, 0.5)


def test_after_a_terminal_a_state_follows_itself():
    data = small(**HAND)
    following = next_observation_of(data, n_step_view(data, 2, 0.5))
    np.testing.assert_array_equal(following[:, 0], [2, 1, 2, 5, 5])


@st.composite
def episodes(draw):
    lengths = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    kinds = draw(
        st.lists(st.sampled_from(["terminal", "timeout"]), min_size=len(lengths), max_size=len(lengths))
    )
    count = sum(lengths)
    rewards = draw(st.lists(st.floats(-3, 3, width=32), min_size=count, max_size=count))
    terminals, timeouts = np.zeros(count, bool), np.zeros(count, bool)
    for end, kind in zip(np.cumsum(lengths) - 1, kinds, strict=True):
        (terminals if kind == "terminal" else timeouts)[end] = True
    return small(rewards, terminals, timeouts) if count > 1 else small([1, 2], [0, 1])


@given(episodes(), st.integers(1, 9), st.floats(0, 1))
def test_n_step_targets_equal_a_loop(data, n, discount):
    rng = np.random.default_rng(0)
    value = rng.normal(size=len(data))
    view = n_step_view(data, n, discount)
    found = view.reward + view.discount * value[view.last]
    for t in range(len(data)):
        target, k = 0.0, 0
        while True:
            row = t + k
            target += discount**k * float(data.reward[row])
            k += 1
            last_of_episode = row + 1 == len(data) or data.episode[row + 1] != data.episode[row]
            if data.terminal[row]:
                break
            if k == n or last_of_episode:
                target += discount**k * value[row]
                break
        assert found[t] == pytest.approx(target, rel=1e-9, abs=1e-9)


@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_gae_equals_a_loop_and_at_lambda_one_the_bootstrapped_rest(data, discount, trace_decay):
    rng = np.random.default_rng(1)
    difference = rng.normal(size=len(data))
    end = episode_end(data)
    found = generalized_advantage(difference, end, discount=discount, trace_decay=trace_decay)
    running = 0.0
    for t in reversed(range(len(data))):
        running = difference[t] + (0.0 if end[t] else discount * trace_decay * running)
        assert found[t] == pytest.approx(running, rel=1e-9, abs=1e-9)
    bootstrapped = generalized_advantage(difference, end, discount=discount, trace_decay=1.0)
    np.testing.assert_allclose(bootstrapped, return_to_go(difference, end, discount), atol=1e-9)


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_advantages_equal_the_authors_code(name):
    arrays, data = golden("04a_oper_a_advantage"), transitions_of(name)
    v, v_next, v_n5 = (arrays[f"in/{name}/{key}"][:, 0] for key in ("v", "v_next", "v_n5"))
    # The sparse set is AntMaze's: its one-step and GAE targets see r - 1, the others the reward itself.
    shifted = transform_reward(data, "minus-one") if name == "sparse" else data
    one, five = (
        n_step_view(shifted, 1, GAMMA),
        n_step_view(data, 5, GAMMA, timeouts_end=True, constant_power=True),
    )
    found = {
        "nstep1": advantage(data, one, v, v_next),
        "nstep5": advantage(data, five, v, v_n5),
        "gae1": advantage(data, one, v, v_next, trace_decay=0.95, discount=GAMMA),
        "mc1": advantage(data, monte_carlo_view(data, GAMMA), v, v_next),
    }
    for key, values in found.items():
        np.testing.assert_allclose(
            values, arrays[f"{name}/{key}/adv"][:, 0], rtol=2e-6, atol=5e-5, err_msg=key
        )


def test_without_the_shift_the_sparse_set_agrees_too():
    arrays, data = golden("04a_oper_a_advantage"), transitions_of("sparse")
    v, v_next, v_n5 = (arrays[f"in/sparse/{key}"][:, 0] for key in ("v", "v_next", "v_n5"))
    one = n_step_view(data, 1, GAMMA)
    five = n_step_view(data, 5, GAMMA, timeouts_end=True, constant_power=True)
    for key, found in {
        "nstep1": advantage(data, one, v, v_next),
        "nstep5": advantage(data, five, v, v_n5),
        "gae1": advantage(data, one, v, v_next, trace_decay=0.95, discount=GAMMA),
        "mc1": advantage(data, monte_carlo_view(data, GAMMA), v, v_next),
    }.items():
        expected = arrays[f"sparse_noshift/{key}/adv"][:, 0]
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=5e-5, err_msg=key)


def test_five_stages_of_weights_equal_the_authors_code():
    arrays = golden("04b_oper_a_iterations")
    for variant, stretch in (("plain", None), ("scale_std2.0_eps0.1", (2.0, 0.1))):
        weight = np.ones(arrays["in/adv"].shape[1])
        for stage, values in enumerate(arrays["in/adv"][:, :, 0]):
            weight = next_weight(weight, values)
            if stretch:
                weight = rescaled(weight, std=stretch[0], eps=stretch[1])
            np.testing.assert_allclose(weight, arrays[f"{variant}/weight_iter{stage + 1}"][:, 0], rtol=1e-10)
            assert weight.std() == pytest.approx(arrays[f"{variant}/weight_std"][stage], rel=1e-10)


def test_a_stage_multiplies_weights_by_the_advantage_above_the_lowest():
    # A - min A = 0, 1, 3; times w = 2, 1/2, 1/2 gives 0, 1/2, 3/2, whose mean is 2/3.
    found = next_weight(np.array([2.0, 0.5, 0.5]), np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_allclose(found, [0, 0.75, 2.25])


def test_equal_advantages_change_nothing():
    weight = np.array([0.5, 1.5])
    np.testing.assert_array_equal(next_weight(weight, np.array([3.0, 3.0])), weight)


def test_a_stage_without_a_survivor_and_infinite_advantages_are_refused():
    with pytest.raises(WeightsError, match="keep a positive weight"):
        next_weight(np.array([0.0, 2.0]), np.array([1.0, 0.0]))
    with pytest.raises(WeightsError, match="1 of 2 are not"):
        next_weight(np.ones(2), np.array([np.nan, 0.0]))


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.integers(1, 6))
def test_without_states_weights_are_powers_of_the_reward_above_the_smallest(rewards, stages):
    reward = np.array(rewards)
    above = reward - reward.min()
    if above.max() < 1e-3:
        return
    found = iterated_by_reward(reward, stages)
    for j, weight in enumerate(found, start=1):
        expected = (above / above.max()) ** j
        np.testing.assert_allclose(weight, len(reward) * expected / expected.sum(), rtol=1e-9, atol=1e-12)


def test_the_bandit_equals_the_authors_notebook():
    arrays = golden("05_bandit")
    found = iterated_by_reward(arrays["in/rewards"], 10)
    for j, weight in enumerate(found, start=1):
        expected = arrays[f"weight{j}"]
        np.testing.assert_allclose(weight / weight.sum(), expected / expected.sum(), rtol=1e-9)
    returns = (found * arrays["in/rewards"]).mean(axis=1)
    np.testing.assert_allclose(returns, arrays["average_return"][1:], rtol=1e-7)
