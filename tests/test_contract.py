"""What every algorithm must do, under every way of weighting."""

import dataclasses
from functools import cache
from itertools import combinations, pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fakes import ALGORITHMS, EVALUATIONS, SHAPES, assert_same, differ, make_data, make_minibatch, run_period
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.policy import Policy
from reweigh.rebalance.static import resample, resample_tables, reweight, reweight_tables
from reweigh.training import make_trainer, run_keys
from reweigh.types import Minibatch, Stage, TermWeight

LEARNERS = ALGORITHMS | EVALUATIONS
every_algorithm = pytest.mark.parametrize("name", LEARNERS)
# One of each file: enough where the loop around an algorithm is tested.
one_of_each = pytest.mark.parametrize("name", ["bc", "td3-bc", "iql", "cql", "onestep", "sarsa"])
every_policy = pytest.mark.parametrize("name", ALGORITHMS)

WAYS = {
    "coupled": resample(16),
    "decoupled": resample(16, terms="policy"),
    "turned": resample(16, terms="evaluation"),
    "reweight": reweight(16),
}


@cache
def trainer_of(name, way, weighted, num_seeds):
    """Compiled once for all tests of the same program."""
    weight = np.ones(64) if weighted or way == "reweight" else None
    tables = (reweight_tables if way == "reweight" else resample_tables)(weight)
    stage = Stage(LEARNERS[name], WAYS[way], 10)
    return make_trainer(stage, SHAPES, 16, tables, make_data(), num_seeds=num_seeds)


def trained(name, way="coupled", weight=None, *, seeds=None, data=None, cuts=(0, 10)):
    data = make_data() if data is None else data
    trainer = trainer_of(name, way, weight is not None, None if seeds is None else len(seeds))
    tables = (reweight_tables if way == "reweight" else resample_tables)(weight)
    init_key, key = run_keys(seeds or [0], vmapped=seeds is not None)
    state, sums = trainer.init(init_key), trainer.zero_metrics()
    for start, stop in pairwise(cuts):
        state, sums = trainer.run(key, state, sums, tables, data, start=start, count=stop - start)
    return state, sums


@every_algorithm
def test_a_transition_of_weight_zero_is_ignored(name):
    algorithm, data = LEARNERS[name], make_data(8)
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
def test_a_terminals_next_observation_and_next_action_change_nothing(name):
    algorithm, data = LEARNERS[name], make_data(8)
    ended = (data.discount == 0)[:, None]
    garbage = dataclasses.replace(
        data,
        next_observation=jnp.where(ended, jnp.inf, data.next_observation),
        next_action=jnp.where(ended, jnp.inf, data.next_action),
    )
    state = algorithm.init(jax.random.key(0), SHAPES)
    after = run_period(algorithm, state, make_minibatch(data))
    assert_same(after, run_period(algorithm, state, make_minibatch(garbage)))


@one_of_each
def test_equal_probabilities_train_as_uniform_draws(name):
    assert_same(trained(name), trained(name, weight=np.full(64, 0.25)))


@one_of_each
def test_equal_weights_train_as_no_weights(name):
    # Other programs, so equal to rounding.
    plain, equal = trained(name), trained(name, "reweight", np.full(64, 0.25))
    for left, right in zip(jax.tree.leaves(plain), jax.tree.leaves(equal), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


@one_of_each
def test_seeds_side_by_side_equal_seeds_alone(name):
    weight = np.arange(64.0)
    together, _ = trained(name, weight=weight, seeds=[0, 7])
    alone, _ = trained(name, weight=weight)
    for left, right in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(left[0], right, rtol=1e-5, atol=1e-5)
    assert differ(jax.tree.map(lambda leaf: leaf[0], together), jax.tree.map(lambda leaf: leaf[1], together))


@one_of_each
def test_training_in_two_calls_equals_one_call(name):
    weight = np.arange(64.0)
    assert_same(trained(name, weight=weight), trained(name, weight=weight, cuts=(0, 4, 10)))


@every_algorithm
@pytest.mark.parametrize("way", ["coupled", "reweight"])
def test_the_loop_returns_the_types_that_it_takes_so_that_it_is_compiled_once(name, way):
    tables = (reweight_tables if way == "reweight" else resample_tables)(np.ones(64))
    trainer = make_trainer(Stage(LEARNERS[name], WAYS[way], 10), SHAPES, 16, tables, make_data())
    first = jax.eval_shape(lambda key: (trainer.init(key), trainer.zero_metrics()), jax.random.key(0))

    def run(state, sums):
        return trainer.run(jax.random.key(0), state, sums, tables, make_data(), start=0, count=2)

    # A weak type, which `==` does not see, is one that a Python number gives way to.
    for before, after in zip(*map(jax.tree.leaves, (first, jax.eval_shape(run, *first))), strict=True):
        assert (before.shape, before.dtype, before.weak_type) == (after.shape, after.dtype, after.weak_type)


@every_policy
def test_the_exported_policy_acts_as_the_trained_one(name):
    algorithm, data = LEARNERS[name], make_data(8)
    state = run_period(algorithm, algorithm.init(jax.random.key(0), SHAPES), make_minibatch(data))
    network = algorithm.actor(state)
    ones = np.ones(2, np.float32)
    layers = tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in network.layers)
    policy = Policy(layers, identity_normalizer(3), -ones, ones)
    expected = algorithm.act(state, data.observation)
    np.testing.assert_allclose(policy(np.asarray(data.observation)), expected, atol=1e-6)


@one_of_each
def test_only_rows_with_weight_are_ever_trained_on(name):
    weight = np.zeros(64)
    weight[:8] = 1.0
    poisoned = jax.tree.map(lambda column: column.at[8:].set(jnp.nan), make_data())
    assert_same(trained(name, weight=weight), trained(name, weight=weight, data=poisoned))


@pytest.mark.parametrize("name", ["td3-bc", "iql", "cql"])
def test_decoupled_evaluation_learns_from_uniform_batches(name):
    only_first = np.zeros(64)
    only_first[0] = 1.0
    decoupled, sums = trained(name, "decoupled", only_first)
    turned, _ = trained(name, "turned", only_first)
    assert differ(decoupled.algorithm.critic, turned.algorithm.critic)
    assert np.isfinite(sums.total["critic/loss"])
    # A critic that sees one row alone does not care what the others hold.
    poisoned = dataclasses.replace(make_data(), reward=make_data().reward.at[1:].set(jnp.nan))
    turned, _ = trained(name, "turned", only_first, data=poisoned)
    decoupled, _ = trained(name, "decoupled", only_first, data=poisoned)
    assert np.isfinite(jax.tree.leaves(turned.algorithm.critic.model)[0]).all()
    assert np.isnan(jax.tree.leaves(decoupled.algorithm.critic.model)[0]).any()


# Which networks each term teaches. The table of docs/rebalancing.md is this one in words.
TEACHES = {
    "bc": {"constraint": {"policy"}},
    "bc-truncated": {"constraint": {"policy"}},
    "bc-deterministic": {"constraint": {"policy"}},
    "td3-bc": {"evaluation": {"critic"}, "improvement": {"actor"}, "constraint": {"actor"}},
    # One loss of the actor is both at once and reads `improvement`; configs keep them equal.
    "iql": {"evaluation": {"value", "critic"}, "improvement": {"actor"}},
    "cql": {"evaluation": {"critic"}, "improvement": {"actor", "log_alpha"}, "constraint": {"critic"}},
    "onestep": {"improvement": {"policy"}},
    "onestep-imitation": {"improvement": {"policy"}, "constraint": {"policy"}},
    "sarsa": {"evaluation": {"critic"}},
}
# Within one update the actor learns from the critic's, or the value's, new parameters.
FOLLOWS = {"td3-bc": {"critic": {"actor"}}, "iql": {"value": {"actor"}}}
TERMS = ("evaluation", "improvement", "constraint")
SUBSETS = [subset for size in (1, 2, 3) for subset in combinations(TERMS, size)]


@pytest.mark.parametrize("apart", [False, True], ids=["one batch", "two batches"])
@every_algorithm
def test_every_subset_of_terms_teaches_its_networks_and_no_others(name, apart):
    algorithm, data = LEARNERS[name], make_data(8)
    policy = make_data(8, seed=1) if apart else None
    state = algorithm.init(jax.random.key(0), SHAPES)
    plain = run_period(algorithm, state, make_minibatch(data, policy=policy))
    ones, weight = jnp.ones(8), jnp.arange(8.0)
    networks = set().union(*TEACHES[name].values())
    for subset in SUBSETS:
        terms = TermWeight(*(weight if term in subset else ones for term in TERMS))
        after = run_period(algorithm, state, Minibatch(data, policy, terms))
        expected = set().union(*(TEACHES[name].get(term, set()) for term in subset))
        for network in set(expected):
            expected |= FOLLOWS.get(name, {}).get(network, set())
        moved = {part for part in networks if differ(getattr(plain, part), getattr(after, part))}
        assert moved == expected, f"{subset}"


@pytest.mark.parametrize("evaluation", [True, False], ids=["evaluation's changes", "policy's changes"])
@every_algorithm
def test_each_batch_teaches_the_terms_it_belongs_to(name, evaluation):
    algorithm, data = LEARNERS[name], make_data(8)
    state = algorithm.init(jax.random.key(0), SHAPES)
    policy = make_data(8, seed=1)
    plain = run_period(algorithm, state, make_minibatch(data, policy=policy))
    first, second = (make_data(8, seed=2), policy) if evaluation else (data, make_data(8, seed=2))
    after = run_period(algorithm, state, make_minibatch(first, policy=second))
    # Where the evaluation's batch changes, what evaluation teaches moves; else what the others teach.
    terms = ("evaluation",) if evaluation else ("improvement", "constraint")
    expected = set().union(*(TEACHES[name].get(term, set()) for term in terms))
    for network in set(expected):
        expected |= FOLLOWS.get(name, {}).get(network, set())
    networks = set().union(*TEACHES[name].values())
    moved = {part for part in networks if differ(getattr(plain, part), getattr(after, part))}
    assert moved == expected
