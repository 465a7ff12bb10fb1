"""Multilayer perceptrons, their initializations, and the twin critic."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

Masks = tuple[Float[Array, "B H"], ...]
"""Dropout masks, one per hidden layer: 0 for a dropped unit, `1 / (1 - share)` otherwise."""

LayerInit = Callable[[PRNGKeyArray, int, int], tuple[Array, Array]]
"""(key, inputs, outputs) -> kernel (inputs, outputs), bias (outputs,). The key is consumed."""


def fan_in_uniform(key: PRNGKeyArray, inputs: int, outputs: int) -> tuple[Array, Array]:
    """Kernel and bias uniform in ±1/sqrt(inputs), as in PyTorch's linear layer.

    Args:
        key: consumed.
        inputs: of the layer.
        outputs: of the layer.
    """
    kernel_key, bias_key = jax.random.split(key)
    bound = inputs**-0.5
    kernel = jax.random.uniform(kernel_key, (inputs, outputs), minval=-bound, maxval=bound)
    return kernel, jax.random.uniform(bias_key, (outputs,), minval=-bound, maxval=bound)


def orthogonal(scale: float) -> LayerInit:
    """Orthogonal kernel times `scale`, zero bias, as in IQL's code (`scale` sqrt 2).

    Args:
        scale: of the kernel.
    """

    def init(key: PRNGKeyArray, inputs: int, outputs: int) -> tuple[Array, Array]:
        return jax.nn.initializers.orthogonal(scale)(key, (inputs, outputs)), jnp.zeros(outputs)

    return init


def lecun_normal(key: PRNGKeyArray, inputs: int, outputs: int) -> tuple[Array, Array]:
    """Truncated normal kernel with variance 1/inputs, zero bias, as in Flax's dense layer.

    Args:
        key: consumed.
        inputs: of the layer.
        outputs: of the layer.
    """
    return jax.nn.initializers.lecun_normal()(key, (inputs, outputs)), jnp.zeros(outputs)


def small_uniform(key: PRNGKeyArray, inputs: int, outputs: int) -> tuple[Array, Array]:
    """Uniform kernel with variance 0.01/inputs, zero bias, as in JaxCQL's last layers.

    Args:
        key: consumed.
        inputs: of the layer.
        outputs: of the layer.
    """
    init = jax.nn.initializers.variance_scaling(1e-2, "fan_in", "uniform")
    return init(key, (inputs, outputs)), jnp.zeros(outputs)


class MLP(eqx.Module):
    """`x -> ReLU(x W + b)` layer after layer, the last one linear."""

    layers: tuple[tuple[Float[Array, "... _ _"], Float[Array, "... _"]], ...]
    """Kernel (inputs, outputs) and bias (outputs,) of each."""

    def __call__(self, x: Float[Array, "*B I"], masks: Masks = ()) -> Float[Array, "*B O"]:
        """Apply to the last axis; `masks` multiply the hidden units; empty: no dropout."""
        for number, (kernel, bias) in enumerate(self.layers[:-1]):
            x = jax.nn.relu(x @ kernel + _like(bias, x))
            if masks:
                x = x * masks[number]
        kernel, bias = self.layers[-1]
        return x @ kernel + _like(bias, x)


class TwinQ(eqx.Module):
    """Two estimates of the value of a state and action."""

    first: MLP
    second: MLP

    def __call__(
        self, observation: Float[Array, "*B S"], action: Float[Array, "*B A"]
    ) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
        """`Q1(s, a), Q2(s, a)`."""
        x = jnp.concatenate([observation, action], axis=-1)
        return self.first(x)[..., 0], self.second(x)[..., 0]


def make_mlp(
    key: PRNGKeyArray,
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    *,
    init: LayerInit = fan_in_uniform,
    last_init: LayerInit | None = None,
) -> MLP:
    """An MLP of independent layers.

    Args:
        key: consumed.
        inputs: size of the input, at least 1.
        hidden: widths of the hidden layers; empty: a single linear layer.
        outputs: size of the output, at least 1.
        init: how a layer starts.
        last_init: how the last one starts; None: like the others.
    """
    sizes = (inputs, *hidden, outputs)
    keys = jax.random.split(key, len(sizes) - 1)
    inits = [init] * len(hidden) + [last_init or init]
    return MLP(tuple(f(k, i, o) for f, k, i, o in zip(inits, keys, sizes[:-1], sizes[1:], strict=True)))


def make_twin_q(
    key: PRNGKeyArray,
    inputs: int,
    hidden: Sequence[int],
    *,
    init: LayerInit = fan_in_uniform,
    last_init: LayerInit | None = None,
) -> TwinQ:
    """Two independent critics.

    Args:
        key: consumed.
        inputs: size of state and action together.
        hidden: widths of the hidden layers.
        init: how a layer starts.
        last_init: how the last one starts; None: like the others.
    """
    first, second = (
        make_mlp(k, inputs, hidden, 1, init=init, last_init=last_init) for k in jax.random.split(key)
    )
    return TwinQ(first, second)


def first_half(mlp: MLP) -> tuple[tuple[Any, Any], ...]:
    """The layers of a network without the second half of its outputs, which are log deviations.

    Args:
        mlp: with an even number of outputs, on the device or on the host.
    """
    *hidden, (kernel, bias) = mlp.layers
    half = bias.shape[-1] // 2
    return (*hidden, (kernel[..., :half], bias[..., :half]))


def values_of_actions(
    critic: MLP, observation: Float[Array, "B S"], action: Float[Array, "B n A"]
) -> Float[Array, "B n"]:
    """`Q(s, a_k)` of several actions per state; the state's part of the first layer is computed once.

    Args:
        critic: takes `(s, a)`.
        observation: `s`.
        action: `a_1 ... a_n` in [-1, 1] at each state.
    """
    states = observation.shape[-1]
    (kernel, bias), *rest = critic.layers
    of_state = observation @ kernel[:states] + _like(bias, observation)
    x = of_state[:, None, :] + action @ kernel[states:]
    return MLP(tuple(rest))(jax.nn.relu(x))[..., 0]


def _like(bias: Array, x: Array) -> Array:
    """The bias with as many axes as `x`, because ranks are never promoted silently."""
    return bias.reshape((1,) * (x.ndim - 1) + bias.shape)
