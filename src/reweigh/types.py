"""The types of training, with their shapes; all leaves of states and batches are arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float, Int, PRNGKeyArray

Metrics = dict[str, Float[Array, "..."]]
"""`part/quantity` -> a number, averaged over updates before recording."""

State = Any
"""An algorithm's or a rebalancing method's own module of arrays."""

Noise = Any
"""Every random number of one update, as a module or tuple of arrays."""

Tables = Any
"""What drawing needs besides the data: alias tables, weights."""


class Batch(eqx.Module):
    """`B` transitions."""

    observation: Float[Array, "B S"]
    action: Float[Array, "B A"]
    reward: Float[Array, " B"]
    discount: Float[Array, " B"]
    """`γ^k (1 - terminal)`, the factor of the value of `next_observation`: 0 at a terminal."""
    next_observation: Float[Array, "B S"]
    next_action: Float[Array, "B A"]


class TermWeight(eqx.Module):
    """Factors of each term of an objective, before the mean over the batch."""

    evaluation: Float[Array, " B"]
    improvement: Float[Array, " B"]
    constraint: Float[Array, " B"]


class Minibatch(eqx.Module):
    """What one update sees."""

    evaluation: Batch
    """For policy evaluation."""
    policy: Batch | None
    """For improvement and constraint; None: they use `evaluation` too (coupled)."""
    weight: TermWeight
    """`weight.evaluation` belongs to `evaluation`, the others to the policy batch."""
    index: Int[Array, " B"] | None = None
    """Rows of `evaluation` in the data, if the rebalancing method needs them."""

    @property
    def policy_batch(self) -> Batch:
        """The batch of improvement and constraint."""
        return self.evaluation if self.policy is None else self.policy


class Shapes(NamedTuple):
    """The sizes that networks need from the data."""

    observation_size: int
    action_size: int


class BestOfSamples(NamedTuple):
    """Picks the sample with the highest value from a normal policy."""

    kind: str
    """Distribution: `normal` (samples clipped to [-1, 1]), `truncated` or `squashed`."""
    critic: tuple[tuple[Array, Array], ...]
    """Layers of `Q(s, a)`."""
    noise: Float[Array, "n A"]
    """The standard normal draws behind the actions, the same at every state."""


class ActorNetwork(NamedTuple):
    """A deterministic policy that NumPy can evaluate: an MLP, then `tanh` or `best_of`."""

    layers: tuple[tuple[Array, Array], ...]
    """Kernel (in, out) and bias (out,) of each layer, ReLU between them."""
    best_of: BestOfSamples | None = None
    """The layers then give mean and deviation (`reweigh.algorithms.bc`), and the best sample acts."""


class Algorithm(NamedTuple):
    """A paper as pure functions."""

    init: Callable[[PRNGKeyArray, Shapes], State]
    """(key, shapes) -> state. The key is consumed."""
    noise: Callable[[PRNGKeyArray, int, Shapes], Noise]
    """(key, batch size, shapes) -> the random numbers of one update. The key is consumed."""
    updates: tuple[Callable[[State, Minibatch, Noise], tuple[State, Metrics]], ...]
    """One period, with no randomness of its own: IQL (update,), TD3+BC (critic, critic and actor)."""
    act: Callable[[State, Float[Array, "*B S"]], Float[Array, "*B A"]] | None = None
    """(state, observation) -> the deterministic action in [-1, 1]; None: it learns no policy."""
    actor: Callable[[State], ActorNetwork] | None = None
    """state -> the same policy as layers."""


class Rebalance(NamedTuple):
    """How data are made to count unequally."""

    init: Callable[[PRNGKeyArray, Shapes], State]
    """(key, shapes) -> its learned state; an empty tuple for static weights."""
    draw: Callable[[PRNGKeyArray, Tables, Batch, Array], Minibatch]
    """(key, tables, the whole data as one batch, update) -> minibatch. The key is consumed."""
    learn: Callable[[State, Tables, Minibatch], tuple[State, TermWeight, Metrics]]
    """(state, tables, minibatch) -> (state after its own step, weights from before it, metrics)."""


class Stage(NamedTuple):
    """A stretch of training with one objective; some algorithms have several."""

    algorithm: Algorithm
    rebalance: Rebalance
    num_updates: int
    start: Callable[[PRNGKeyArray, State], State] | None = None
    """(key, result of the stages before) -> first state; None: `algorithm.init`."""


class TrainState(eqx.Module):
    """Everything that training changes."""

    algorithm: State
    rebalance: State


def rows_of(batch: Batch, index: Array) -> Batch:
    """The rows `index` of a batch.

    Args:
        batch: any number of rows.
        index: the rows, possibly repeated.
    """
    return jax.tree.map(lambda column: column[index], batch)
