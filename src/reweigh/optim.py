"""Optimizer steps, and target networks that follow slowly."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree


class Trained(eqx.Module):
    """A network with its optimizer's state."""

    model: PyTree[Array]
    opt_state: PyTree[Array]


def trained(model: Any, optimizer: optax.GradientTransformation) -> Trained:
    """A network before its first step.

    Args:
        model: the network.
        optimizer: initializes the state.
    """
    return Trained(model, optimizer.init(model))


def step(optimizer: optax.GradientTransformation, state: Trained, gradient: Any) -> Trained:
    """One step down the gradient.

    Args:
        optimizer: that made the state.
        state: before the step.
        gradient: of the loss, shaped like the network.
    """
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


def value_and_grad_by_parts(
    objective: Callable[..., tuple[Array, Any]], model: Any, rows: Any, *, rows_at_once: int
) -> tuple[tuple[Array, Any], Any]:
    """As `jax.value_and_grad(objective, has_aux=True)(model, rows)`, but on a CPU a few rows at a time.

    If each row needs many activations (CQL values 31 actions per state), a whole batch's do not fit the
    processor's cache, and moving them takes as long as computing them. Accelerators run all rows at once.

    Args:
        objective: (model, rows) -> a mean over the rows, and other means over them.
        model: what to differentiate by.
        rows: arrays whose first axis is the batch.
        rows_at_once: rows per part; a batch that is not a multiple of it is not split.
    """
    gradient = jax.value_and_grad(objective, has_aux=True)
    count = len(jax.tree.leaves(rows)[0])
    parts = count // rows_at_once
    if jax.default_backend() != "cpu" or parts < 2 or count % rows_at_once:
        return gradient(model, rows)
    cut = jax.tree.map(lambda leaf: leaf.reshape(parts, rows_at_once, *leaf.shape[1:]), rows)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, gradient(model, part)), None

    shapes = jax.eval_shape(gradient, model, jax.tree.map(lambda leaf: leaf[0], cut))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, cut)
    return jax.tree.map(lambda leaf: leaf / parts, total)
