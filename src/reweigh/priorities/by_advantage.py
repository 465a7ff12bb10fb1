"""One stage of OPER-A: learn the value of the weighted data, then weigh by advantages."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from reweigh.algorithms.value import Value, ValueConfig, ValueState, make_value, next_stage
from reweigh.datasets.normalizer import fit_normalizer
from reweigh.datasets.rewards import transform_reward
from reweigh.datasets.views import TargetView, monte_carlo_view, n_step_view, next_observation_of
from reweigh.priorities.advantage import advantage, next_weight, rescaled
from reweigh.priorities.oper_a import ValueLearning
from reweigh.rebalance.static import resample, resample_tables
from reweigh.sampling import AliasTable
from reweigh.transitions import Transitions
from reweigh.types import Batch, Stage

# States per call of the value network: enough to fill the machine, few enough for its memory.
_CHUNK = 2**15


class ValueProblem:
    """A dataset as value learning sees it: normalized states, and the columns of its target."""

    def __init__(self, transitions: Transitions, learning: ValueLearning):
        self.transitions, self.learning = transitions, learning
        self.normalizer = fit_normalizer(transitions.observation)
        monte_carlo = learning.target == "monte-carlo"
        self.target = self._view(monte_carlo=monte_carlo, steps=learning.steps)
        if learning.advantage == "gae":
            self.judged = self._view(monte_carlo=False, steps=1)
        else:
            self.judged = self._view(monte_carlo=learning.advantage == "monte-carlo", steps=learning.steps)
        self.observation = self.normalizer(transitions.observation)
        if learning.solver == "fast":
            # Weights do not depend on the unit of advantages, and networks learn values near 1 faster.
            spread = float(monte_carlo_view(transitions, learning.discount).reward.std()) or 1.0
            self.target = replace(self.target, reward=self.target.reward / spread)
            self.judged = replace(self.judged, reward=self.judged.reward / spread)

    def _view(self, *, monte_carlo: bool, steps: int) -> TargetView:
        learning = self.learning
        summed = monte_carlo or steps > 1
        transform = "none" if summed and learning.unshifted_sums else learning.reward
        seen = transform_reward(self.transitions, transform)
        if monte_carlo:
            return monte_carlo_view(seen, learning.discount)
        return n_step_view(
            seen,
            steps,
            learning.discount,
            timeouts_end=learning.timeouts_end,
            constant_power=learning.constant_power,
        )

    def batch(self) -> Batch:
        """The whole dataset on the device."""
        transitions = self.transitions
        return Batch(
            observation=jnp.asarray(self.observation),
            action=jnp.asarray(transitions.action),
            reward=jnp.asarray(self.target.reward, jnp.float32),
            discount=jnp.asarray(self.target.discount, jnp.float32),
            next_observation=jnp.asarray(self.normalizer(next_observation_of(transitions, self.target))),
            next_action=jnp.asarray(transitions.next_action),
        )

    def advantage(self, value: Value) -> Float64[np.ndarray, " N"]:
        """`A` of every transition.

        Args:
            value: with the parameters after a stage, not their slow copy.
        """
        learning = self.learning
        following = self.normalizer(next_observation_of(self.transitions, self.judged))
        return advantage(
            self.transitions,
            self.judged,
            values_of(value, self.observation),
            values_of(value, following),
            trace_decay=learning.trace_decay if learning.advantage == "gae" else None,
            discount=learning.discount,
        )

    def weigh(self, weight: Float64[np.ndarray, " N"], value: Value) -> Float64[np.ndarray, " N"]:
        """The weights after a stage.

        Args:
            weight: weights before it.
            value: value learned in it.
        """
        after = next_weight(weight, self.advantage(value))
        if self.learning.rescale_std is not None:
            after = rescaled(after, std=self.learning.rescale_std, eps=self.learning.rescale_eps)
        return after


def value_stage(learning: ValueLearning, number: int) -> Stage:
    """A stage of the published recipe.

    Args:
        learning: its settings.
        number: from 1; later stages continue with the previous networks.
    """
    config = value_config(learning)
    num_updates = learning.updates_of(number)

    def start(key: jax.Array, previous: ValueState) -> ValueState:
        del key  # The networks carry over.
        return next_stage(config, num_updates, previous)

    return Stage(
        algorithm=make_value(config, num_updates),
        rebalance=resample(learning.batch_size),
        num_updates=num_updates,
        start=None if number == 1 else start,
    )


def value_config(learning: ValueLearning) -> ValueConfig:
    """Settings of the networks.

    Args:
        learning: OPER-A's; its solver selects the rates.
    """
    fast = learning.solver == "fast"
    return ValueConfig(
        critic=learning.critic,
        target_rate=learning.fast_target_rate if fast else learning.target_rate,
        learning_rate=learning.fast_learning_rate if fast else learning.learning_rate,
        hidden=learning.hidden,
    )


def stage_tables(weight: Float64[np.ndarray, " N"] | None) -> AliasTable | None:
    """The alias table that a stage draws with; None: uniform.

    Args:
        weight: of the stage before, at least 0 each, any sum above 0; None in the first stage.

    Raises:
        WeightsError: the weights are invalid.
    """
    return resample_tables(None if weight is None else weight / weight.sum())


@jax.jit
def _values(value: Value, observation: jax.Array) -> jax.Array:
    return value(observation)


def values_of(value: Value, observation: Float[np.ndarray, "N S"]) -> Float64[np.ndarray, " N"]:
    """`V(s)` of every state, a chunk at a time.

    Args:
        value: the network.
        observation: normalized.
    """
    count = len(observation)
    values = np.empty(count)
    for start in range(0, count, _CHUNK):
        part = observation[start : start + _CHUNK]
        # Always the same shape, so that it is compiled once.
        padded = np.zeros((min(_CHUNK, count), observation.shape[1]), observation.dtype)
        padded[: len(part)] = part
        values[start : start + len(part)] = np.asarray(_values(value, jnp.asarray(padded)))[: len(part)]
    return values
