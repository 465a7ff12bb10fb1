"""Implicit Q-learning: values of the data's best actions, without querying others.

Kostrikov, Nair & Levine, arXiv 2110.06169.
"""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults, no_noise
from reweigh.checks import check_range, check_widths, require
from reweigh.losses import (
    expectile_loss,
    exponential_advantage,
    gaussian_log_likelihood,
    td_target,
    twin_squared_error,
    weighted_mean,
)
from reweigh.networks import MLP, Masks, TwinQ, make_mlp, make_twin_q, orthogonal
from reweigh.optim import Trained, polyak, step, trained
from reweigh.types import ActorNetwork, Algorithm, Batch, Metrics, Minibatch, Shapes

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0


@dataclass(frozen=True)
class IQLConfig:
    """Settings of IQL."""

    expectile: float = 0.7
    """`τ` of the value loss, strictly between 0 and 1; 0.5 is SARSA's mean."""
    inverse_temperature: float = 3.0
    """`β` in `exp(β A)`; 0 is behavior cloning."""
    advantage_limit: float = 100.0
    """Largest `exp(β A)`."""
    cap_after_weighting: bool = False
    """Cap `w exp(β A)` instead of `exp(β A)`, as in OPER's code."""
    target_rate: float = 0.005
    """`τ` of the target critic, in (0, 1]."""
    learning_rate: float = 3e-4
    """Adam's; the actor's decays to 0 over the run by a cosine."""
    dropout: float = 0.0
    """Share of the actor's hidden units dropped in each actor update, in [0, 1)."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""

    name: ClassVar[str] = "iql"
    defaults: ClassVar[RunDefaults] = RunDefaults(action_limit=1 - 1e-5, locomotion_reward="return-range")

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_range(self, "strictly between 0 and 1", "expectile")
        check_range(self, "of at least 0", "inverse_temperature")
        require(self.advantage_limit > 0, "advantage_limit", "above 0", self.advantage_limit)
        check_range(self, "in (0, 1]", "target_rate")
        check_range(self, "above 0", "learning_rate")
        check_range(self, "in [0, 1)", "dropout")
        check_widths(self.hidden)

    def make(self, num_updates: int) -> Algorithm:
        """The algorithm."""
        return make_iql(self, num_updates)


class Actor(eqx.Module):
    """Normal around `tanh(mlp(s))`, with the same deviation in all states."""

    mlp: MLP
    log_std: Float[Array, " A"]

    def log_likelihood(
        self, observation: Float[Array, "B S"], action: Float[Array, "B A"], masks: Masks = ()
    ) -> Float[Array, " B"]:
        """`log π(a|s)`; the normal itself is not squashed.

        Args:
            observation: `s`.
            action: `a` in [-1, 1].
            masks: dropout masks, one per hidden layer; empty: no dropout.
        """
        mean = jnp.tanh(self.mlp(observation, masks))
        log_std = jnp.clip(self.log_std, LOG_STD_MIN, LOG_STD_MAX)
        return gaussian_log_likelihood(action, mean, jnp.broadcast_to(log_std, mean.shape))


class IQLState(eqx.Module):
    """State value, twin action values with a slow copy, and the policy."""

    actor: Trained
    value: Trained
    critic: Trained
    target_critic: TwinQ


def value_loss(
    value: Float[Array, " B"], target_q: Float[Array, " B"], *, expectile: float
) -> Float[Array, " B"]:
    """`L_2^τ(min_k Q'_k(s, a) - V(s))` (Equation 5).

    Args:
        value: `V(s)`.
        target_q: `min_k Q'_k(s, a)` of the data's action.
        expectile: `τ` in (0, 1): 0.5 is the mean, towards 1 the best action of the data.
    """
    return expectile_loss(target_q - value, expectile=expectile)


def actor_objective(
    log_likelihood: Float[Array, " B"],
    advantage: Float[Array, " B"],
    weight: Float[Array, " B"],
    config: IQLConfig,
) -> Float[Array, ""]:
    """Weighted mean of `-exp(β A) log π(a|s)` (Equation 7), capped before or after weighting.

    Args:
        log_likelihood: `log π(a|s)` of the data's action.
        advantage: `A = min_k Q'_k(s, a) - V(s)`; no gradient passes.
        weight: improvement weights, each at least 0.
        config: holds `β` (0 copies every action equally), the cap, and whether it is applied after weighting.
    """
    if config.cap_after_weighting:
        copied = weight * jnp.exp(config.inverse_temperature * advantage)
        # 0 times an overflow is NaN.
        copied = jnp.where(weight > 0, jnp.minimum(copied, config.advantage_limit), 0.0)
        return weighted_mean(copied, -log_likelihood)
    copied = exponential_advantage(
        advantage, inverse_temperature=config.inverse_temperature, limit=config.advantage_limit
    )
    return weighted_mean(weight, -copied * log_likelihood)


def make_iql(config: IQLConfig, num_updates: int) -> Algorithm:
    """IQL as pure functions: V, then the actor with the new V, then Q, then the slow copy.

    Args:
        config: its settings.
        num_updates: updates over which the actor's learning rate falls to 0.
    """
    optimizer = optax.adam(config.learning_rate)
    actor_optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, num_updates))

    def init(key: PRNGKeyArray, shapes: Shapes) -> IQLState:
        actor_key, value_key, critic_key = jax.random.split(key, 3)
        observation_size, action_size = shapes
        layer = orthogonal(2**0.5)
        mlp = make_mlp(actor_key, observation_size, config.hidden, action_size, init=layer)
        value = make_mlp(value_key, observation_size, config.hidden, 1, init=layer)
        critic = make_twin_q(critic_key, observation_size + action_size, config.hidden, init=layer)
        return IQLState(
            trained(Actor(mlp, jnp.zeros(action_size)), actor_optimizer),
            trained(value, optimizer),
            trained(critic, optimizer),
            critic,
        )

    def noise(key: PRNGKeyArray, batch_size: int, shapes: Shapes) -> Masks:
        del shapes
        keys = jax.random.split(key, len(config.hidden))
        kept = 1 - config.dropout
        return tuple(
            jax.random.bernoulli(k, kept, (batch_size, width)) / jnp.float32(kept)
            for k, width in zip(keys, config.hidden, strict=True)
        )

    def value_update(state: IQLState, minibatch: Minibatch, target_q: Array) -> tuple[Trained, Metrics]:
        batch = minibatch.evaluation

        def objective(value: MLP) -> tuple[Float[Array, ""], Float[Array, ""]]:
            v = value(batch.observation)[:, 0]
            loss = value_loss(v, target_q, expectile=config.expectile)
            return weighted_mean(minibatch.weight.evaluation, loss), v.mean()

        (loss, mean), gradient = jax.value_and_grad(objective, has_aux=True)(state.value.model)
        return step(optimizer, state.value, gradient), {"value/loss": loss, "value/mean": mean}

    def actor_update(
        state: IQLState, batch: Batch, weight: Array, advantage: Array, masks: Masks
    ) -> tuple[Trained, Metrics]:
        def objective(actor: Actor) -> Float[Array, ""]:
            log_likelihood = actor.log_likelihood(batch.observation, batch.action, masks)
            return actor_objective(log_likelihood, advantage, weight, config)

        loss, gradient = jax.value_and_grad(objective)(state.actor.model)
        metrics = {"actor/loss": loss, "actor/advantage_mean": advantage.mean()}
        return step(actor_optimizer, state.actor, gradient), metrics

    def critic_update(state: IQLState, minibatch: Minibatch, next_v: Array) -> tuple[Trained, Metrics]:
        batch = minibatch.evaluation
        target = td_target(batch.reward, batch.discount, next_v)

        def objective(critic: TwinQ) -> tuple[Float[Array, ""], Float[Array, ""]]:
            q1, q2 = critic(batch.observation, batch.action)
            return weighted_mean(minibatch.weight.evaluation, twin_squared_error(q1, q2, target)), q1.mean()

        (loss, q_mean), gradient = jax.value_and_grad(objective, has_aux=True)(state.critic.model)
        return step(optimizer, state.critic, gradient), {"critic/loss": loss, "critic/q_mean": q_mean}

    def update(state: IQLState, minibatch: Minibatch, noise: Masks) -> tuple[IQLState, Metrics]:
        batch = minibatch.policy_batch

        def slow_q(rows: Batch) -> Float[Array, " B"]:
            return jnp.minimum(*state.target_critic(rows.observation, rows.action))

        q_evaluation = slow_q(minibatch.evaluation)
        q_policy = q_evaluation if minibatch.policy is None else slow_q(batch)
        value, value_metrics = value_update(state, minibatch, q_evaluation)
        # One call of twice the size for V(s) and V(s') makes a whole update 2 % faster on a CPU.
        states = jnp.concatenate([batch.observation, minibatch.evaluation.next_observation])
        v, next_v = jnp.split(value.model(states)[:, 0], 2)
        # One loss is both improvement and constraint; a config in which they differ is rejected.
        actor, actor_metrics = actor_update(state, batch, minibatch.weight.improvement, q_policy - v, noise)
        critic, critic_metrics = critic_update(state, minibatch, next_v)
        target_critic = polyak(state.target_critic, critic.model, rate=config.target_rate)
        state = IQLState(actor, value, critic, target_critic)
        return state, value_metrics | actor_metrics | critic_metrics

    def actor(state: IQLState) -> ActorNetwork:
        return ActorNetwork(state.actor.model.mlp.layers)

    def act(state: IQLState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        return jnp.tanh(state.actor.model.mlp(observation))

    return Algorithm(init, noise if config.dropout else no_noise, (update,), act, actor)
