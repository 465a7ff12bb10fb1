"""OPER-A's wiring: which rows, networks and settings its targets, advantages and weights are made of."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fakes import SHAPES, assert_same, differ, make_data, make_minibatch
from reweigh.algorithms.value import Value, ValueState
from reweigh.datasets.load import load
from reweigh.networks import MLP
from reweigh.optim import trained
from reweigh.priorities.advantage import next_weight, rescaled
from reweigh.priorities.by_advantage import ValueProblem, value_stage
from reweigh.priorities.oper_a import OperA, ValueLearning, probability_by_advantage
from reweigh.running.value_runs import _Weighing
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.types import TrainState

# Two episodes, of three rows up to a timeout and of two up to a terminal. States have mean 10 and deviation
# sqrt 20; every next state is another number, so that none passes for its neighbor.
STATE = np.array([5.0, 15, 5, 15, 10])
NEXT = np.array([15.0, 5, 20, 10, 99])
REWARD = np.array([1.0, 2, 4, 8, 16])
SCALE = np.sqrt(20) + 1e-3


def problem(**settings) -> ValueProblem:
    return ValueProblem(
        load(
            {
                "observations": STATE[:, None].astype(np.float32),
                "next_observations": NEXT[:, None].astype(np.float32),
                "actions": np.zeros((5, 1), np.float32),
                "rewards": REWARD.astype(np.float32),
                "terminals": np.array([0, 0, 0, 0, 1], bool),
                "timeouts": np.array([0, 0, 1, 0, 0], bool),
            }
        ),
        ValueLearning(discount=0.5, **settings),
    )


# Reward, discount and next state of every row, by hand; None where the discount is 0.
TARGETS = [
    ({}, [1, 2, 4, 8, 16], [0.5, 0.5, 0.5, 0.5, 0], [15, 5, 20, 10, None]),
    ({"steps": 2}, [2, 4, 4, 16, 16], [0.25, 0.25, 0.5, 0, 0], [5, 20, 20, None, None]),
    ({"steps": 2, "timeouts_end": True}, [2, 4, 4, 16, 16], [0.25, 0, 0, 0, 0], [5, None, None, None, None]),
    (
        {"steps": 2, "constant_power": True},
        [2, 4, 4, 16, 16],
        [0.25, 0.25, 0.25, 0, 0],
        [5, 20, 20, None, None],
    ),
    ({"target": "monte-carlo"}, [3, 4, 4, 16, 16], [0, 0, 0, 0, 0], [None] * 5),
    ({"reward": "minus-one"}, [0, 1, 3, 7, 15], [0.5, 0.5, 0.5, 0.5, 0], [15, 5, 20, 10, None]),
]


@pytest.mark.parametrize(("settings", "reward", "discount", "following"), TARGETS)
def test_a_target_sums_the_rewards_and_bootstraps_at_the_state_that_its_settings_say(
    settings, reward, discount, following
):
    batch = problem(**settings).batch()
    np.testing.assert_allclose(batch.observation[:, 0], (STATE - 10) / SCALE, rtol=1e-5)
    np.testing.assert_allclose(batch.reward, reward, rtol=1e-6)
    np.testing.assert_allclose(batch.discount, discount, rtol=1e-6)
    for row, state in enumerate(following):
        if state is not None:
            assert batch.next_observation[row, 0] == pytest.approx((state - 10) / SCALE, rel=1e-5)


def linear_value(slope: float) -> Value:
    """`V(s)`, a line through 0 of the normalized state."""
    return Value((MLP(((jnp.array([[slope]]), jnp.zeros(1)),)),))


def by_hand(reward, discount, following, slope=3.0):
    """`A = r + discount V(s') - V(s)`, with 0 for a next state that does not count."""
    after = np.array([0.0 if state is None else (state - 10) / SCALE for state in following])
    return np.array(reward) + np.array(discount) * slope * after - slope * (STATE - 10) / SCALE


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        *((settings, by_hand(*columns)) for settings, *columns in TARGETS if "target" not in settings),
        ({"advantage": "monte-carlo"}, by_hand([3, 4, 4, 16, 16], [0] * 5, [None] * 5)),
        # Fitting several steps and judging by GAE takes one-step differences for the advantage.
        ({"advantage": "gae", "steps": 2, "trace_decay": 0.0}, by_hand(*TARGETS[0][1:])),
    ],
)
def test_an_advantage_compares_the_state_with_the_target_that_its_settings_say(settings, expected):
    np.testing.assert_allclose(problem(**settings).advantage(linear_value(3.0)), expected, rtol=1e-5)


def test_gaes_advantage_adds_later_differences_up_to_the_end_of_the_episode():
    d = by_hand(*TARGETS[0][1:])
    decay = 0.5 * 0.8
    first = d[1] + decay * d[2]
    expected = [d[0] + decay * first, first, d[2], d[3] + decay * d[4], d[4]]
    found = problem(advantage="gae", trace_decay=0.8).advantage(linear_value(3.0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_weights_after_a_stage_are_stretched_if_that_is_asked_for():
    value, before = linear_value(3.0), np.array([0.5, 1.5, 1.0, 1.2, 0.8])
    plain = next_weight(before, problem().advantage(value))
    np.testing.assert_allclose(problem().weigh(before, value), plain, rtol=1e-6)
    found = problem(rescale_std=3.0, rescale_eps=0.2).weigh(before, value)
    np.testing.assert_allclose(found, rescaled(plain, std=3.0, eps=0.2), rtol=1e-6)
    assert differ(found, plain)


def test_a_stage_ends_by_weighing_with_the_learned_network_and_not_its_slow_copy(tmp_path):
    seen, folder = problem(), SeedFolder(tmp_path, 0)
    folder.path.mkdir()
    learned, slow = linear_value(3.0), linear_value(-2.0)
    state = TrainState(ValueState(trained(learned, optax.adam(1.0)), slow, None, None), None)
    before = np.array([0.5, 1.5, 1.0, 1.2, 0.8])
    for weight, multiplied in ((None, np.ones(5)), (before, before)):
        _Weighing(seen, weight).finish(folder, state, Returns(), None)
        found = folder.load_arrays("weight")["weight"]
        np.testing.assert_allclose(found, seen.weigh(multiplied, learned), rtol=1e-12)
        assert differ(found, seen.weigh(multiplied, slow))


def run_stage(number: int, learning: ValueLearning, state=None):
    """The states of a stage, from before its first update."""
    algorithm, minibatch = value_stage(learning, number).algorithm, make_minibatch(make_data())
    update = jax.jit(algorithm.updates[0])
    states = [algorithm.init(jax.random.key(0), SHAPES) if state is None else state]
    for _ in range(learning.updates_of(number)):
        states.append(update(states[-1], minibatch, ())[0])
    return states


def moved(one, other) -> float:
    leaves = zip(jax.tree.leaves(one.value.model), jax.tree.leaves(other.value.model), strict=True)
    return max(float(jnp.abs(a - b).max()) for a, b in leaves)


def test_each_stage_goes_on_with_the_networks_and_lets_its_own_rate_fall_to_nothing():
    learning = ValueLearning(stages=2, first_stage_updates=12, stage_updates=6, hidden=(8,))
    assert value_stage(learning, 1).start is None
    first = run_stage(1, learning)
    start = value_stage(learning, 2).start
    assert start is not None
    begun = start(jax.random.key(1), first[-1])
    assert_same(begun.value.model, first[-1].value.model)
    assert_same(begun.target, first[-1].target)
    second = run_stage(2, learning, begun)
    for states in (first, second):
        assert moved(states[-1], states[-2]) < 0.15 * moved(states[1], states[0])
    # The rate starts again: Adam's first step is the learning rate.
    assert moved(second[1], second[0]) == pytest.approx(3e-4, rel=0.01)


PRIORITY = np.array([[[0.0, 1, 2, 5]], [[2.0, 3, 4, 7]]])  # two seeds, one stage
Z = (np.array([1.0, 2, 3, 6]) - 3) / np.sqrt(3.5)


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        ({"std": 2.0, "eps": 0.1}, np.maximum(1 + 2 * Z, 0.1)),
        ({"std": 0.5, "eps": 0.1}, 1 + 0.5 * Z),
        ({"std": 2.0, "eps": 0.1, "eps_max": 1.5}, np.clip(1 + 2 * Z, 0.1, 1.5)),
        # Without a deviation: shifted to 0 and divided by the sum, so that the lowest is 0 before the clip.
        ({"std": None, "eps": 0.3}, np.maximum([0, 0.5, 1, 2.5], 0.3)),
        ({"std": None, "eps": 0.3, "clip_without_std": False}, np.array([0, 0.5, 1, 2.5])),
    ],
)
def test_oper_as_probabilities_are_stretched_and_clipped_as_its_settings_say(settings, weight):
    found = probability_by_advantage(PRIORITY, OperA(learning=ValueLearning(stages=1), **settings))
    np.testing.assert_allclose(found, weight / weight.sum(), rtol=1e-9)
