"""What every algorithm must do, asked of one on a few made-up transitions."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from reweigh.datasets.normalizer import identity_normalizer
from reweigh.errors import ConfigError
from reweigh.policy import Policy, in_numpy
from reweigh.types import Algorithm, Batch, Minibatch, Shapes, State, TermWeight

_ROWS = 8


def check_algorithm(algorithm: Algorithm, shapes: Shapes | None = None) -> None:
    """Refuse an algorithm that breaks a rule which training relies on.

    The state holds arrays alone, and updates keep their shapes and types. A row of weight 0 changes nothing,
    nor does what follows a terminal. `act` and `actor` are the same policy.

    Args:
        algorithm: what a config's `make` returns.
        shapes: sizes of observations and actions; None: 3 and 2.

    Raises:
        ConfigError: the first rule that is broken.
    """
    shapes = shapes or Shapes(3, 2)
    data, equal = _made_up(shapes), jnp.ones(_ROWS)
    state = algorithm.init(jax.random.key(0), shapes)
    _require(
        all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state)),
        "a state of arrays alone, but found a leaf of another kind. Checkpoints cannot hold it.",
    )
    after = _updated(algorithm, state, data, equal, shapes)
    _require(
        _kind(after) == _kind(state),
        "updates that keep the shapes and types of the state, but they change. Compare what init and update "
        "return.",
    )
    _require(
        _is_finite(after), "finite numbers after one update, but found others. Look at the losses for them."
    )
    weight = equal.at[0].set(0.0)
    other = replace(data, action=data.action.at[0].set(0.1), reward=data.reward.at[0].set(50.0))
    without, without_other = (_updated(algorithm, state, rows, weight, shapes) for rows in (data, other))
    _require(
        _equal(without, without_other),
        "a row of weight 0 to change nothing, but it does. Make every loss weighted_mean(weight.TERM, ...).",
    )
    ended = (data.discount == 0)[:, None]
    other = replace(data, next_observation=jnp.where(ended, 1e3, data.next_observation))
    _require(
        _equal(after, _updated(algorithm, state, other, equal, shapes)),
        "what follows a terminal to change nothing, but it does. Use td_target, or mask next_observation "
        "where batch.discount is 0.",
    )
    if algorithm.act is not None:
        _check_policy(algorithm, after, data.observation, shapes)


def _check_policy(
    algorithm: Algorithm, state: State, observation: Float[Array, "B S"], shapes: Shapes
) -> None:
    assert algorithm.act is not None
    if algorithm.actor is None:
        raise ConfigError("expected `actor` beside `act`, but found None. Policies are saved by it.")
    action, network = algorithm.act(state, observation), algorithm.actor(state)
    _require(
        action.shape == (_ROWS, shapes.action_size),
        f"actions of shape {(_ROWS, shapes.action_size)} from `act`, but found {action.shape}.",
    )
    if network.best_of is not None:  # the best of several samples may change with the last bit of a value
        return
    bound = np.ones(shapes.action_size, np.float32)
    policy = Policy(in_numpy(network.layers), identity_normalizer(shapes.observation_size), -bound, bound)
    _require(
        np.allclose(policy(np.asarray(observation)), action, atol=1e-4),
        "`act` and `actor` to be the same policy, but their actions differ. The layers of `actor` end "
        "before the tanh.",
    )


def _made_up(shapes: Shapes) -> Batch:
    rng = np.random.default_rng(0)

    def normal(width: int) -> Float[Array, "B D"]:
        return jnp.asarray(rng.normal(size=(_ROWS, width)), jnp.float32)

    return Batch(
        observation=normal(shapes.observation_size),
        action=jnp.clip(normal(shapes.action_size), -0.9, 0.9),
        reward=normal(1)[:, 0],
        discount=jnp.asarray(np.arange(_ROWS) % 4 != 3, jnp.float32) * 0.99,
        next_observation=normal(shapes.observation_size),
        next_action=jnp.clip(normal(shapes.action_size), -0.9, 0.9),
    )


def _updated(
    algorithm: Algorithm, state: State, data: Batch, weight: Float[Array, " B"], shapes: Shapes
) -> State:
    """After one update of each kind."""
    minibatch = Minibatch(data, None, TermWeight(weight, weight, weight))
    for number, update in enumerate(algorithm.updates):
        noise = algorithm.noise(jax.random.key(number), _ROWS, shapes)
        state, _ = update(state, minibatch, noise)
    return state


def _kind(state: State) -> object:
    return jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), state), jax.tree.structure(state)


def _is_finite(state: State) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(state))


def _equal(one: State, other: State) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def _require(holds: bool, expected_and_remedy: str) -> None:
    if not holds:
        raise ConfigError(f"expected {expected_and_remedy}")
