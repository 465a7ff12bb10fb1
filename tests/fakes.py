"""Small data in which every field encodes its row."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from reweigh.algorithms.bc import BCConfig, make_bc
from reweigh.algorithms.cql import CQLConfig, make_cql
from reweigh.algorithms.iql import IQLConfig, make_iql
from reweigh.algorithms.onestep import OnestepConfig, make_improvement, make_sarsa
from reweigh.algorithms.td3_bc import TD3BCConfig, make_td3_bc
from reweigh.types import Algorithm, Batch, Minibatch, Shapes, TermWeight

SHAPES = Shapes(3, 2)

ALGORITHMS = {
    "bc": make_bc(BCConfig(hidden=(16,), learning_rate=1e-3)),
    "bc-truncated": make_bc(BCConfig(policy="truncated", hidden=(16,))),
    "bc-deterministic": make_bc(BCConfig(policy="deterministic", hidden=(16,))),
    "td3-bc": make_td3_bc(TD3BCConfig(hidden=(16,))),
    "cql": make_cql(CQLConfig(hidden=(16,), num_actions=3)),
    "iql": make_iql(IQLConfig(hidden=(16,)), 100),
    "onestep": make_improvement(OnestepConfig(hidden=(16,), learning_rate=1e-3)),
    "onestep-imitation": make_improvement(
        OnestepConfig(hidden=(16,), learning_rate=1e-3, improvement="imitation", policy="squashed")
    ),
}
# They learn no policy.
EVALUATIONS = {"sarsa": make_sarsa(OnestepConfig(hidden=(16,), learning_rate=1e-3))}


def make_data(rows: int = 64, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    observation = rng.normal(size=(rows, 3)).astype(np.float32)
    observation[:, 0] = np.arange(rows) / rows
    terminal = np.arange(rows) % 8 == 7
    return Batch(
        observation=jnp.asarray(observation),
        action=jnp.asarray(rng.uniform(-0.9, 0.9, (rows, 2)), jnp.float32),
        reward=jnp.asarray(rng.normal(size=rows), jnp.float32),
        discount=jnp.asarray(np.where(terminal, 0, 0.99), jnp.float32),
        next_observation=jnp.asarray(np.roll(observation, -1, axis=0)),
        next_action=jnp.asarray(rng.uniform(-0.9, 0.9, (rows, 2)), jnp.float32),
    )


def tiny_data(count: int) -> Batch:
    """One number a row in every field: its row."""
    column = jnp.arange(float(count))
    return Batch(column[:, None], column[:, None], column, column, column[:, None], column[:, None])


def make_minibatch(data: Batch, weight=None, policy: Batch | None = None) -> Minibatch:
    ones = jnp.ones(len(data.reward), data.reward.dtype)
    weight = ones if weight is None else weight
    return Minibatch(data, policy, TermWeight(weight, weight, weight))


@cache
def compiled(update):
    return jax.jit(update)


def run_period(algorithm: Algorithm, state, minibatch: Minibatch, seed: int = 0):
    """One update of each kind."""
    for number, update in enumerate(algorithm.updates):
        noise = algorithm.noise(jax.random.key(100 * seed + number), len(minibatch.evaluation.reward), SHAPES)
        state, _ = compiled(update)(state, minibatch, noise)
    return state


def assert_same(one, other):
    for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(left, right)


def differ(one, other) -> bool:
    return any(
        not np.array_equal(left, right)
        for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )
