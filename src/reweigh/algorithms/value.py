"""The value of the policy that recorded the data, the baseline of OPER-A's advantages.

One loss serves every target: `Batch` holds its reward, discount and next state (`reweigh.datasets.views`).
"""

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import no_noise
from reweigh.checks import check_choices, check_range, check_widths
from reweigh.losses import squared_error, td_target, twin_squared_error, weighted_mean
from reweigh.networks import MLP, TwinQ, make_mlp, make_twin_q
from reweigh.optim import Trained, polyak, step, trained
from reweigh.types import Algorithm, Metrics, Minibatch, Shapes


@dataclass(frozen=True)
class ValueConfig:
    """Settings of the value networks."""

    critic: Literal["v", "doublev", "vq"] = "doublev"
    """One network; the smaller of two; or one fitted to the smaller of two action values."""
    target_rate: float = 0.005
    """`τ` of the slow copies, in (0, 1]."""
    learning_rate: float = 3e-4
    """Adam's; decays to 0 over each stage by a cosine."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "in (0, 1]", "target_rate")
        check_range(self, "above 0", "learning_rate")
        check_widths(self.hidden)


class Value(eqx.Module):
    """`V(s)`, the smallest of one or two heads."""

    heads: tuple[MLP, ...]

    def each(self, observation: Float[Array, "*B S"]) -> tuple[Float[Array, "*B"], ...]:
        """Every head's value.

        Args:
            observation: `s`, with or without a batch axis.
        """
        return tuple(head(observation)[..., 0] for head in self.heads)

    def __call__(self, observation: Float[Array, "*B S"]) -> Float[Array, "*B"]:
        """The value that targets and advantages use."""
        smallest, *others = self.each(observation)
        for other in others:
            smallest = jnp.minimum(smallest, other)
        return smallest


class ValueState(eqx.Module):
    """The value with its slow copy, and for `vq` the action values with theirs."""

    value: Trained
    target: Value
    critic: Trained | None
    target_critic: TwinQ | None


def make_value(config: ValueConfig, num_updates: int) -> Algorithm:
    """Policy evaluation as pure functions; it has no policy to act with.

    Args:
        config: its settings.
        num_updates: updates over which the learning rate falls to 0.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, num_updates))

    def init(key: PRNGKeyArray, shapes: Shapes) -> ValueState:
        value_key, critic_key = jax.random.split(key)
        observation_size, action_size = shapes
        keys = jax.random.split(value_key, 2 if config.critic == "doublev" else 1)
        value = Value(tuple(make_mlp(k, observation_size, config.hidden, 1) for k in keys))
        critic = (
            make_twin_q(critic_key, observation_size + action_size, config.hidden)
            if config.critic == "vq"
            else None
        )
        return ValueState(
            trained(value, optimizer),
            value,
            None if critic is None else trained(critic, optimizer),
            critic,
        )

    def critic_update(state: Trained, minibatch: Minibatch, target: Array) -> tuple[Trained, Metrics]:
        batch = minibatch.evaluation

        def objective(critic: TwinQ) -> Float[Array, ""]:
            q1, q2 = critic(batch.observation, batch.action)
            return weighted_mean(minibatch.weight.evaluation, twin_squared_error(q1, q2, target))

        loss, gradient = jax.value_and_grad(objective)(state.model)
        return step(optimizer, state, gradient), {"critic/loss": loss}

    def value_update(state: Trained, minibatch: Minibatch, target: Array) -> tuple[Trained, Metrics]:
        def objective(value: Value) -> tuple[Float[Array, ""], Float[Array, ""]]:
            heads = value.each(minibatch.evaluation.observation)
            losses = [weighted_mean(minibatch.weight.evaluation, squared_error(v, target)) for v in heads]
            return jnp.stack(losses).sum(), heads[0].mean()

        (loss, mean), gradient = jax.value_and_grad(objective, has_aux=True)(state.model)
        return step(optimizer, state, gradient), {"value/loss": loss, "value/mean": mean}

    def update(state: ValueState, minibatch: Minibatch, noise: tuple[()]) -> tuple[ValueState, Metrics]:
        del noise
        batch = minibatch.evaluation
        target = td_target(batch.reward, batch.discount, state.target(batch.next_observation))
        critic, target_critic, metrics = state.critic, state.target_critic, {}
        if critic is not None and target_critic is not None:
            q = jnp.minimum(*target_critic(batch.observation, batch.action))
            critic, metrics = critic_update(critic, minibatch, target)
            target_critic = polyak(target_critic, critic.model, rate=config.target_rate)
            target = q
        value, value_metrics = value_update(state.value, minibatch, target)
        slow = polyak(state.target, value.model, rate=config.target_rate)
        return ValueState(value, slow, critic, target_critic), metrics | value_metrics

    return Algorithm(init, no_noise, (update,))


def next_stage(config: ValueConfig, num_updates: int, previous: ValueState) -> ValueState:
    """The first state of a stage: the networks carry over, optimizer and schedule restart.

    Args:
        config: settings of the value networks.
        num_updates: of the new stage.
        previous: the last state of the stage before.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, num_updates))
    critic = previous.critic
    return ValueState(
        trained(previous.value.model, optimizer),
        previous.target,
        None if critic is None else trained(critic.model, optimizer),
        previous.target_critic,
    )
