"""Adam, and target networks that follow slowly."""

from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import Array, PyTree


class Trained(eqx.Module):
    """A network with its optimiser's state."""

    model: PyTree[Array]
    opt_state: PyTree[Array]


def trained(model: Any, optimizer: optax.GradientTransformation) -> Trained:
    """A network before its first step."""
    return Trained(model, optimizer.init(model))


def step(optimizer: optax.GradientTransformation, state: Trained, gradient: Any) -> Trained:
    """One step down the gradient."""
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.model)
    return Trained(optax.apply_updates(state.model, updates), opt_state)


def polyak(target: Any, online: Any, *, rate: float) -> Any:
    """`rate * online + (1 - rate) * target`.

    Args:
        target: the slow copy.
        online: the network that learns.
        rate: `τ` in [0, 1]; 1 copies the online network.
    """
    return jax.tree.map(lambda slow, fast: rate * fast + (1 - rate) * slow, target, online)


def copy_of(model: Any) -> Any:
    """A copy in memory of its own: a state whose target shares arrays with the model cannot be donated."""
    return jax.tree.map(lambda leaf: leaf.copy(), model)
