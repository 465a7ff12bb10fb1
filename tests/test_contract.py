"""What every algorithm must do, under every way of weighting."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fakes import ALGORITHMS, EVALUATIONS, SHAPES, assert_same, differ, make_data, make_minibatch, run_period
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.policy import Policy
from reweigh.rebalance.static import resample, resample_tables, reweight, reweight_tables
from reweigh.training import make_trainer, run_keys
from reweigh.types import Stage

LEARNERS = ALGORITHMS | EVALUATIONS
every_algorithm = pytest.mark.parametrize("name", LEARNERS)
every_policy = pytest.mark.parametrize("name", ALGORITHMS)


def trained(name, rebalance, tables, *, updates=10, seeds=None, data=None):
    data = make_data() if data is None else data
    stage = Stage(name, LEARNERS[name](), rebalance, updates)
    count = None if seeds is None else len(seeds)
    trainer = make_trainer(stage, SHAPES, 16, tables, data, num_seeds=count)
    init_key, key = run_keys(seeds or [0], vmapped=seeds is not None)
    state, sums = trainer.init(init_key), trainer.zero_metrics()
    return trainer.run(key, state, sums, tables, data, start=0, count=updates)


@every_algorithm
def test_a_transition_of_weight_zero_is_ignored(name):
    algorithm, data = LEARNERS[name](), make_data(8)
    weight = jnp.ones(8).at[0].set(0.0)
    changed = dataclasses.replace(
        data,
        action=data.action.at[0].set(0.1),
        reward=data.reward.at[0].set(50.0),
        next_observation=data.next_observation.at[0].set(3.0),
    )
    state = algorithm.init(jax.random.key(0), SHAPES)
    after = run_period(algorithm, state, make_minibatch(data, weight))
    after_changed = run_period(algorithm, state, make_minibatch(changed, weight))
    assert_same(after, after_changed)
    assert differ(after, run_period(algorithm, state, make_minibatch(changed)))


@every_algorithm
def test_a_terminals_next_observation_changes_nothing(name):
    algorithm, data = LEARNERS[name](), make_data(16)
    ended = data.discount == 0
    garbage = jnp.where(ended[:, None], jnp.inf, data.next_observation)
    state = algorithm.init(jax.random.key(0), SHAPES)
    after = run_period(algorithm, state, make_minibatch(data))
    changed = dataclasses.replace(data, next_observation=garbage)
    assert_same(after, run_period(algorithm, state, make_minibatch(changed)))


@every_algorithm
def test_equal_probabilities_train_as_uniform_draws(name):
    plain = trained(name, resample(16), resample_tables(None))
    equal = trained(name, resample(16), resample_tables(np.full(64, 0.25)))
    assert_same(plain, equal)


@every_algorithm
def test_equal_weights_train_as_no_weights(name):
    plain = trained(name, resample(16), resample_tables(None))
    equal = trained(name, reweight(16), reweight_tables(np.full(64, 0.25)))
    # Other programs, so equal to rounding.
    for left, right in zip(jax.tree.leaves(plain), jax.tree.leaves(equal), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


@every_algorithm
def test_seeds_side_by_side_equal_seeds_alone(name):
    tables = resample_tables(np.arange(64.0))
    together, _ = trained(name, resample(16), tables, seeds=[0, 7])
    alone, _ = trained(name, resample(16), tables)
    for left, right in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(left[0], right, rtol=1e-5, atol=1e-5)
    assert differ(jax.tree.map(lambda leaf: leaf[0], together), jax.tree.map(lambda leaf: leaf[1], together))


@every_algorithm
def test_training_in_two_calls_equals_one_call(name):
    tables, data = resample_tables(np.arange(64.0)), make_data()
    stage = Stage(name, LEARNERS[name](), resample(16), 10)
    trainer = make_trainer(stage, SHAPES, 16, tables, data)
    init_key, key = jax.random.split(jax.random.key(0))
    start, zero = trainer.init(init_key), trainer.zero_metrics()
    whole = trainer.run(key, start, zero, tables, data, start=0, count=10)
    state, sums = trainer.run(key, start, zero, tables, data, start=0, count=4)
    assert_same(whole, trainer.run(key, state, sums, tables, data, start=4, count=6))


@every_policy
def test_the_exported_policy_acts_as_the_trained_one(name):
    algorithm, data = LEARNERS[name](), make_data()
    state = run_period(algorithm, algorithm.init(jax.random.key(0), SHAPES), make_minibatch(data))
    network = algorithm.actor(state)
    ones = np.ones(2, np.float32)
    layers = tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in network.layers)
    policy = Policy(layers, network.squash, identity_normalizer(3), -ones, ones)
    expected = algorithm.act(state, data.observation)
    np.testing.assert_allclose(policy(np.asarray(data.observation)), expected, atol=1e-6)


@every_algorithm
def test_only_rows_with_weight_are_ever_trained_on(name):
    weight = np.zeros(64)
    weight[:8] = 1.0
    data = make_data()
    poisoned = jax.tree.map(lambda column: column.at[8:].set(jnp.nan), data)
    tables = resample_tables(weight)
    assert_same(
        trained(name, resample(16), tables, data=data), trained(name, resample(16), tables, data=poisoned)
    )


@pytest.mark.parametrize("name", ["td3-bc", "iql", "cql"])
@pytest.mark.parametrize("term", ["evaluation", "improvement", "constraint"])
def test_each_term_is_weighted_only_where_it_is_switched_on(name, term):
    tables = reweight_tables(np.arange(64.0))
    switches = {"evaluation": False, "improvement": False, "constraint": False}
    plain, _ = trained(name, reweight(16, **switches), tables)
    weighted, _ = trained(name, reweight(16, **(switches | {term: True})), tables)
    actor_moved = differ(plain.algorithm.actor, weighted.algorithm.actor)
    critic_moved = differ(plain.algorithm.critic, weighted.algorithm.critic)
    if name == "iql" and term == "constraint":
        # One loss is improvement and constraint at once and reads the first; configs keep them equal.
        assert not actor_moved
    elif name == "cql" and term == "constraint":
        # The conservative gap belongs to the critics; the actor follows them one update later.
        assert critic_moved
    elif term == "evaluation":
        assert critic_moved
    else:
        assert actor_moved
        # The critics of TD3+BC and CQL learn from the actor's actions, IQL's from the data alone.
        assert critic_moved == (name != "iql")


@pytest.mark.parametrize("name", ["td3-bc", "iql", "cql"])
def test_decoupled_evaluation_learns_from_uniform_batches(name):
    only_first = np.zeros(64)
    only_first[0] = 1.0
    state, sums = trained(name, resample(16, terms="policy"), resample_tables(only_first))
    uniform, _ = trained(name, resample(16), resample_tables(only_first))
    assert differ(state.algorithm.critic, uniform.algorithm.critic)
    turned, _ = trained(name, resample(16, terms="evaluation"), resample_tables(only_first))
    assert differ(state.algorithm.critic, turned.algorithm.critic)
    assert np.isfinite(sums.total["critic/loss"])
