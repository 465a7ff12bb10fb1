"""The nouns of training, with their shapes. Every state and batch has arrays alone as leaves."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

Metrics = dict[str, Float[Array, "..."]]
"""`part/quantity` -> a number, averaged over updates before it is recorded."""

State = Any
"""An algorithm's or a rebalancing method's own module of arrays."""

Noise = Any
"""Every random number of one update, as a module or tuple of arrays."""

Tables = Any
"""What drawing needs beside the data: alias tables, weights."""


class Batch(eqx.Module):
    """`B` transitions."""

    observation: Float[Array, "B S"]
    action: Float[Array, "B A"]
    reward: Float[Array, " B"]
    discount: Float[Array, " B"]
    """`γ^k (1 - terminal)`, which multiplies the value of `next_observation`: 0 at a terminal."""
    next_observation: Float[Array, "B S"]
    next_action: Float[Array, "B A"]


class TermWeight(eqx.Module):
    """What multiplies each term of an objective before the mean over the batch."""

    evaluation: Float[Array, " B"]
    improvement: Float[Array, " B"]
    constraint: Float[Array, " B"]


class Minibatch(eqx.Module):
    """What one update sees."""

    evaluation: Batch
    """Policy evaluation learns from this one."""
    policy: Batch | None
    """Improvement and constraint learn from this one; None: from `evaluation` too (coupled)."""
    weight: TermWeight
    """`weight.evaluation` belongs to `evaluation`, the others to the policy batch."""
    index: Int[Array, " B"] | None = None
    """Rows of `evaluation` in the data, where the rebalancing method wants to know them."""

    @property
    def policy_batch(self) -> Batch:
        """The batch of improvement and constraint."""
        return self.evaluation if self.policy is None else self.policy


class Shapes(NamedTuple):
    """What a network must know of the data."""

    observation_size: int
    action_size: int


class BestOfSamples(NamedTuple):
    """A policy that picks, of several actions of a normal, the one of highest value."""

    kind: str
    """Of the normal: `normal` (samples clipped to [-1, 1]), `truncated` or `squashed`."""
    critic: tuple[tuple[Array, Array], ...]
    """Layers of `Q(s, a)`."""
    noise: Float[Array, "n A"]
    """The standard normal draws behind the actions, at every state the same."""


class ActorNetwork(NamedTuple):
    """A deterministic policy that NumPy can evaluate: an MLP, then `tanh`."""

    layers: tuple[tuple[Array, Array], ...]
    """Kernel (in, out) and bias (out,) of each layer, ReLU between them."""
    best_of: BestOfSamples | None = None
    """The layers give mean and deviation (`reweigh.algorithms.bc`), and the best of some samples acts."""


class Algorithm(NamedTuple):
    """A paper as pure functions."""

    init: Callable[[PRNGKeyArray, Shapes], State]
    """(key, shapes) -> state. The key is consumed."""
    noise: Callable[[PRNGKeyArray, int, Shapes], Noise]
    """(key, batch size, shapes) -> the random numbers of one update. The key is consumed."""
    updates: tuple[Callable[[State, Minibatch, Noise], tuple[State, Metrics]], ...]
    """One period, without randomness of its own: IQL (update,), TD3+BC (critic, critic and actor)."""
    act: Callable[[State, Float[Array, "*B S"]], Float[Array, "*B A"]] | None = None
    """(state, observation) -> the deterministic action in [-1, 1]; None: it learns no policy."""
    actor: Callable[[State], ActorNetwork] | None = None
    """state -> the same policy as layers."""


class Rebalance(NamedTuple):
    """How data come to count unequally."""

    init: Callable[[PRNGKeyArray, Shapes], State]
    """(key, shapes) -> what it learns; static weights learn nothing: an empty tuple."""
    draw: Callable[[PRNGKeyArray, Tables, Batch, Array], Minibatch]
    """(key, tables, the whole data as one batch, update) -> minibatch. Key consumed, tables passed."""
    learn: Callable[[State, Tables, Minibatch], tuple[State, TermWeight, Metrics]]
    """(state, tables, minibatch) -> its own step, and the weights from before that step."""


class Stage(NamedTuple):
    """A stretch of training with one objective; an algorithm of several stages is several of these."""

    algorithm: Algorithm
    rebalance: Rebalance
    num_updates: int
    start: Callable[[PRNGKeyArray, State], State] | None = None
    """(key, what the stages before have learned) -> first state; None: `algorithm.init`."""


class TrainState(eqx.Module):
    """Everything that training changes."""

    algorithm: State
    rebalance: State


def rows_of(batch: Batch, index: Array) -> Batch:
    """The rows `index` of a batch.

    Args:
        batch: any number of rows.
        index: which rows; one may come again.
    """
    return jax.tree.map(lambda column: column[index], batch)
