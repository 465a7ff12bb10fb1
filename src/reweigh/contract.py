"""Checks an algorithm against the rules of all algorithms, on a few made-up transitions."""

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
    """Reject an algorithm that breaks a rule on which training relies.

    The state holds arrays of numbers only; updates compile, and keep the shapes and types of the state. Rows
    of weight 0 change nothing, in either batch of a decoupled run; nor does what follows a terminal. `act`
    and `actor` are the same policy.

    Args:
        algorithm: what a config's `make` returns.
        shapes: sizes of observations and actions; None: 3 and 2.

    Raises:
        ConfigError: a rule is broken; the message names the first.
    """
    shapes = shapes or Shapes(3, 2)
    trial = _Trial(algorithm, shapes)
    state, after = trial.state, trial.after(trial.evaluation, trial.policy)
    _require(
        _kind(after) == _kind(state),
        "updates that keep the shapes and types of the state, but they change. Compare what init and update "
        "return.",
    )
    _require(_is_finite(after), "finite numbers after one update, but found others. Check the losses.")
    unequal = trial.equal.at[0].set(0.0)
    weighted = "Make every loss weighted_mean(weight.TERM, ...) over the batch of its term."
    _require(
        _equal(
            trial.after(trial.evaluation, trial.policy, evaluation_weight=unequal),
            trial.after(_first_changed(trial.evaluation), trial.policy, evaluation_weight=unequal),
        ),
        f"a row of weight 0 in the batch of evaluation to change nothing, but it does. {weighted}",
    )
    _require(
        _equal(
            trial.after(trial.evaluation, trial.policy, policy_weight=unequal),
            trial.after(trial.evaluation, _first_changed(trial.policy), policy_weight=unequal),
        ),
        f"a row of weight 0 in the policy's batch to change nothing, but it does. {weighted}",
    )
    _require(
        _equal(after, trial.after(_beyond_terminals_changed(trial.evaluation), trial.policy)),
        "what follows a terminal to change nothing, but it does. Use td_target, or mask next_observation "
        "where batch.discount is 0.",
    )
    if algorithm.act is not None:
        _check_policy(algorithm, after, trial.policy.observation, shapes)


class _Trial:
    """A first state, made-up transitions, and one update of each kind on them."""

    def __init__(self, algorithm: Algorithm, shapes: Shapes):
        self.algorithm, self.shapes = algorithm, shapes
        self.state = algorithm.init(jax.random.key(0), shapes)
        _require(
            all(_is_numbers(leaf) for leaf in jax.tree.leaves(self.state)),
            "a state of JAX arrays of numbers, but found another leaf. Checkpoints hold only those.",
        )
        self.evaluation, self.policy = _made_up(shapes, seed=0), _made_up(shapes, seed=1)
        self.equal = jnp.ones(_ROWS)
        self.updates = [jax.jit(update) for update in algorithm.updates]

    def after(
        self,
        evaluation: Batch,
        policy: Batch,
        *,
        evaluation_weight: Float[Array, " B"] | None = None,
        policy_weight: Float[Array, " B"] | None = None,
    ) -> State:
        of_evaluation = self.equal if evaluation_weight is None else evaluation_weight
        of_policy = self.equal if policy_weight is None else policy_weight
        minibatch = Minibatch(evaluation, policy, TermWeight(of_evaluation, of_policy, of_policy))
        state = self.state
        for number, update in enumerate(self.updates):
            noise = self.algorithm.noise(jax.random.key(number), _ROWS, self.shapes)
            state, _ = update(state, minibatch, noise)
        return state


def _first_changed(data: Batch) -> Batch:
    return replace(data, action=data.action.at[0].set(0.1), reward=data.reward.at[0].set(50.0))


def _beyond_terminals_changed(data: Batch) -> Batch:
    ended = (data.discount == 0)[:, None]
    return replace(data, next_observation=jnp.where(ended, 1e3, data.next_observation))


def _is_numbers(leaf: object) -> bool:
    return isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


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
    if network.best_of is not None:  # rounding may change which sample is best
        return
    bound = np.ones(shapes.action_size, np.float32)
    policy = Policy(in_numpy(network.layers), identity_normalizer(shapes.observation_size), -bound, bound)
    _require(
        np.allclose(policy(np.asarray(observation)), action, atol=1e-4),
        "`act` and `actor` to be the same policy, but their actions differ. The layers of `actor` end "
        "before the tanh.",
    )


def _made_up(shapes: Shapes, seed: int) -> Batch:
    rng = np.random.default_rng(seed)

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
