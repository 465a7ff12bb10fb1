"""Behavior cloning: copy the actions of the data.

The Gaussian form is the one of OPER's study (its Onestep code base). Its only loss counts as the constraint.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.scipy.stats import norm
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults, no_noise
from reweigh.checks import check_choices, check_range, check_widths
from reweigh.losses import gaussian_log_likelihood, tanh_normal_log_likelihood, weighted_mean
from reweigh.networks import MLP, first_half, make_mlp
from reweigh.optim import Trained, step, trained
from reweigh.types import ActorNetwork, Algorithm, Batch, Metrics, Minibatch, Shapes

LOG_STD_MIN, LOG_STD_MAX = -5.0, 0.0
# `arctanh` is infinite at the bounds.
SQUASHED_LIMIT = 1 - 1e-4

PolicyKind = Literal["normal", "truncated", "squashed"]


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavior cloning."""

    policy: Literal["normal", "truncated", "squashed", "deterministic"] = "normal"
    """Normal with state-dependent deviation; truncated to [-1, 1]; its `tanh`; or squared error."""
    hidden: tuple[int, ...] = (1024, 1024)
    """Widths of the hidden layers."""
    learning_rate: float = 1e-4
    """Adam's."""

    name: ClassVar[str] = "bc"
    defaults: ClassVar[RunDefaults] = RunDefaults(num_updates=500_000, batch_size=512)

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "above 0", "learning_rate")
        check_widths(self.hidden)

    def make(self, num_updates: int) -> Algorithm:
        """The algorithm."""
        return make_bc(self)


class BCState(eqx.Module):
    """The policy."""

    policy: Trained


class Gaussian(NamedTuple):
    """One diagonal normal per state, before any truncation or squashing."""

    mean: Float[Array, "B A"]
    log_std: Float[Array, "B A"]


def gaussian(policy: MLP, observation: Float[Array, "B S"], kind: PolicyKind) -> Gaussian:
    """Mean `tanh m` (squashed: `m`, since the sample is squashed), `log σ = -5 + 2.5 (tanh l + 1)`.

    Args:
        policy: gives `m` and `l`, both (B, A).
        observation: `s`, normalized as the policy was trained.
        kind: distribution; `normal` and `truncated` have means in (-1, 1).
    """
    mean, spread = jnp.split(policy(observation), 2, axis=-1)
    log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (jnp.tanh(spread) + 1)
    return Gaussian(mean if kind == "squashed" else jnp.tanh(mean), log_std)


def log_likelihood(
    kind: PolicyKind, around: Gaussian, action: Float[Array, "B *n A"]
) -> Float[Array, "B *n"]:
    """`log π(a|s)` of one or several actions per state.

    Args:
        kind: distribution.
        around: mean and `log σ` at each state.
        action: `a` in [-1, 1]; for `squashed`, clipped to just inside, where the density is finite.
    """
    mean, log_std = _like(around, action)
    if kind == "normal":
        return gaussian_log_likelihood(action, mean, log_std)
    std = jnp.exp(log_std)
    if kind == "squashed":
        raw = jnp.arctanh(jnp.clip(action, -SQUASHED_LIMIT, SQUASHED_LIMIT))
        return tanh_normal_log_likelihood(raw, (raw - mean) / std, log_std)
    _, mass = _truncation(mean, std)
    return (norm.logpdf(action, mean, std) - jnp.log(jnp.maximum(mass, 1e-8))).sum(axis=-1)


def sample(kind: PolicyKind, around: Gaussian, noise: Float[Array, "B *n A"]) -> Float[Array, "B *n A"]:
    """Actions from standard normal draws, differentiable; those of the plain normal may leave [-1, 1].

    Args:
        kind: distribution.
        around: mean and `log σ` at each state.
        noise: standard normal, in the shape of the actions.
    """
    mean, log_std = _like(around, noise)
    std = jnp.exp(log_std)
    if kind == "truncated":
        below, mass = _truncation(mean, std)
        share = jnp.clip(below + norm.cdf(noise) * mass, 1e-6, 1 - 1e-6)
        return jnp.clip(mean + std * norm.ppf(share), -1, 1)
    action = mean + std * noise
    return jnp.tanh(action) if kind == "squashed" else action


def behavior_loss(
    policy: MLP, batch: Batch, kind: PolicyKind | Literal["deterministic"]
) -> Float[Array, " B"]:
    """`-log π(a|s)`, or `mean_d (π(s) - a)^2` for a deterministic policy.

    Args:
        policy: gives mean and spread, or only the action if deterministic.
        batch: the policy's, with `s` and `a`.
        kind: distribution, or `deterministic`.
    """
    if kind == "deterministic":
        return ((jnp.tanh(policy(batch.observation)) - batch.action) ** 2).mean(axis=-1)
    return -log_likelihood(kind, gaussian(policy, batch.observation, kind), batch.action)


def make_bc(config: BCConfig) -> Algorithm:
    """Behavior cloning as pure functions.

    Args:
        config: its settings.
    """
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
        policy = state.policy.model
        return ActorNetwork(policy.layers if config.policy == "deterministic" else first_half(policy))

    def act(state: BCState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        return jnp.tanh(MLP(actor(state).layers)(observation))

    return Algorithm(init, no_noise, (update,), act, actor)


def _like(around: Gaussian, action: Float[Array, "B *n A"]) -> Gaussian:
    """Add an axis of samples if the actions have one."""
    if action.ndim == around.mean.ndim:
        return around
    return Gaussian(*(jnp.broadcast_to(part[:, None, :], action.shape) for part in around))


def _truncation(mean: Float[Array, "*B"], std: Float[Array, "*B"]) -> tuple[Array, Array]:
    """A normal's mass below -1 and inside [-1, 1]."""
    below = norm.cdf((-1 - mean) / std)
    return below, norm.cdf((1 - mean) / std) - below
