"""Behaviour cloning: copy the actions of the data.

The Gaussian form is the one of OPER's study (its Onestep code base). Its only loss counts as constraint.
"""

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults, check_widths, no_noise, require
from reweigh.losses import gaussian_log_likelihood, weighted_mean
from reweigh.networks import MLP, make_mlp
from reweigh.optim import Trained, step, trained
from reweigh.types import ActorNetwork, Algorithm, Batch, Metrics, Minibatch, Shapes

LOG_STD_MIN, LOG_STD_MAX = -5.0, 0.0


@dataclass(frozen=True)
class BCConfig:
    """Settings of behaviour cloning."""

    policy: Literal["normal", "truncated", "deterministic"] = "normal"
    """Normal with state-dependent deviation, the same truncated to [-1, 1], or mean squared error."""
    hidden: tuple[int, ...] = (1024, 1024)
    """Widths of the hidden layers."""
    learning_rate: float = 1e-4
    """Of Adam."""

    name: ClassVar[str] = "bc"
    defaults: ClassVar[RunDefaults] = RunDefaults(num_updates=500_000, batch_size=512)

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        policies = ("normal", "truncated", "deterministic")
        require(self.policy in policies, "policy", f"to be one of {policies}", self.policy)
        require(0 < self.learning_rate < inf, "learning_rate", "above 0", self.learning_rate)
        check_widths(self.hidden)


class BCState(eqx.Module):
    """The policy."""

    policy: Trained


def mean_and_log_std(output: Float[Array, "B O"]) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
    """Split a network's output into `tanh(m)` and `-5 + 2.5 (tanh(l) + 1)`."""
    mean, spread = jnp.split(output, 2, axis=-1)
    log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(spread) + 1)
    return jnp.tanh(mean), log_std


def truncated_log_likelihood(
    action: Float[Array, "B A"], mean: Float[Array, "B A"], log_std: Float[Array, "B A"]
) -> Float[Array, " B"]:
    """Log density of a diagonal normal truncated to [-1, 1], whose mass there is at least 1e-8."""
    std = jnp.exp(log_std)
    mass = norm.cdf((1 - mean) / std) - norm.cdf((-1 - mean) / std)
    return (norm.logpdf(action, mean, std) - jnp.log(jnp.maximum(mass, 1e-8))).sum(axis=-1)


def behavior_loss(policy: MLP, batch: Batch, kind: str) -> Float[Array, " B"]:
    """`-log π(a|s)`, or `mean_d (π(s) - a)^2` of the deterministic form."""
    output = policy(batch.observation)
    if kind == "deterministic":
        return ((jnp.tanh(output) - batch.action) ** 2).mean(axis=-1)
    likelihood = truncated_log_likelihood if kind == "truncated" else gaussian_log_likelihood
    return -likelihood(batch.action, *mean_and_log_std(output))


def make_bc(config: BCConfig, num_updates: int) -> Algorithm:
    """Behaviour cloning as pure functions.

    Args:
        config: its settings.
        num_updates: not used; every algorithm is made alike.
    """
    del num_updates
    optimizer = optax.adam(config.learning_rate)

    def init(key: PRNGKeyArray, shapes: Shapes) -> BCState:
        outputs = shapes.action_size * (1 if config.policy == "deterministic" else 2)
        return BCState(trained(make_mlp(key, shapes.observation_size, config.hidden, outputs), optimizer))

    def update(state: BCState, minibatch: Minibatch, noise: tuple[()]) -> tuple[BCState, Metrics]:
        del noise

        def objective(policy: MLP) -> Float[Array, ""]:
            loss = behavior_loss(policy, minibatch.policy_batch, config.policy)
            return weighted_mean(minibatch.weight.constraint, loss)

        loss, gradient = jax.value_and_grad(objective)(state.policy.model)
        return BCState(step(optimizer, state.policy, gradient)), {"actor/loss": loss}

    def actor(state: BCState) -> ActorNetwork:
        *hidden, (kernel, bias) = state.policy.model.layers
        size = kernel.shape[-1] if config.policy == "deterministic" else kernel.shape[-1] // 2
        return ActorNetwork((*hidden, (kernel[..., :size], bias[..., :size])), squash=True)

    def act(state: BCState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        return jnp.tanh(MLP(actor(state).layers)(observation))

    return Algorithm(init, no_noise, (update,), act, actor)
