"""TD3+BC: a deterministic policy that maximizes value near the data (Fujimoto & Gu, arXiv 2106.06860)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults
from reweigh.checks import check_choices, check_range, check_widths, require
from reweigh.losses import td_target, twin_squared_error, weighted_mean
from reweigh.networks import MLP, TwinQ, make_mlp, make_twin_q
from reweigh.optim import Trained, polyak, step, trained
from reweigh.types import ActorNetwork, Algorithm, Batch, Metrics, Minibatch, Shapes

# If every reward is 0, so is every value, and `α / mean|Q|` would be infinite.
SMALLEST_Q = 1e-8
LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0

ConstraintClip = Literal["none", "hard", "square-root"]


@dataclass(frozen=True)
class TD3BCConfig:
    """Settings of TD3+BC."""

    alpha: float = 2.5
    """`α`, weight of value against cloning in the actor's loss; 0 is behavior cloning."""
    policy_noise: float = 0.2
    """Standard deviation of the noise on target actions."""
    noise_clip: float = 0.5
    """Largest magnitude of that noise."""
    target_rate: float = 0.005
    """`τ` of the target networks, in (0, 1]."""
    learning_rate: float = 3e-4
    """Adam's, for actor and critics."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    constraint_clip: ConstraintClip = "none"
    """Raise constraint weights below 1 to 1 (hard) or their square root; OPER's code has both."""
    learned_spread: bool = False
    """The actor's loss sees `tanh(m(s)) + σ z` with one learned `log σ` in [-5, 2] (OPER's bandit)."""

    name: ClassVar[str] = "td3-bc"
    defaults: ClassVar[RunDefaults] = RunDefaults(normalize_observations=True)

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "of at least 0", "alpha", "policy_noise")
        require(self.noise_clip >= 0, "noise_clip", "of at least 0", self.noise_clip)
        check_range(self, "in (0, 1]", "target_rate")
        check_range(self, "above 0", "learning_rate")
        check_widths(self.hidden)

    def make(self, num_updates: int) -> Algorithm:
        """The algorithm."""
        return make_td3_bc(self)


class SpreadActor(eqx.Module):
    """A mean for each state, and the same deviation in all states."""

    mlp: MLP
    log_std: Float[Array, " A"]


def mean_network(actor: MLP | SpreadActor) -> MLP:
    """The mean's network, which acts.

    Args:
        actor: with or without a learned spread.
    """
    return actor.mlp if isinstance(actor, SpreadActor) else actor


def sampled_action(
    actor: MLP | SpreadActor, observation: Float[Array, "B S"], noise: Float[Array, "B A"]
) -> Float[Array, "B A"]:
    """The action in the actor's loss: the mean, or with a learned spread a draw around it.

    Args:
        actor: with or without a learned spread.
        observation: `s`.
        noise: standard normal; unused without a spread.
    """
    mean = jnp.tanh(mean_network(actor)(observation))
    if isinstance(actor, MLP):
        return mean
    std = jnp.exp(jnp.clip(actor.log_std, LOG_STD_MIN, LOG_STD_MAX))
    return mean + std.reshape(1, -1) * noise


class TD3BCState(eqx.Module):
    """Actor and twin critics, each with a slow copy."""

    actor: Trained
    critic: Trained
    target_actor: MLP | SpreadActor
    target_critic: TwinQ


def smoothed_target(
    state: TD3BCState, batch: Batch, noise: Float[Array, "B A"], config: TD3BCConfig
) -> Float[Array, " B"]:
    """`y = r + γ (1-d) min_k Q'_k(s', clip(π'(s') + clip(ε, -c, c), -1, 1))` (TD3, Section 5.3).

    Args:
        state: holds the slow copies `π'` and `Q'`.
        batch: the evaluation batch: rewards, `γ (1-d)` and `s'`.
        noise: standard normal; `ε` is `policy_noise` times it.
        config: holds `policy_noise` and `c`; 0 means no smoothing.
    """
    smoothing = jnp.clip(config.policy_noise * noise, -config.noise_clip, config.noise_clip)
    next_action = jnp.clip(
        jnp.tanh(mean_network(state.target_actor)(batch.next_observation)) + smoothing, -1, 1
    )
    next_q = jnp.minimum(*state.target_critic(batch.next_observation, next_action))
    return td_target(batch.reward, batch.discount, next_q)


def clipped_constraint_weight(weight: Float[Array, " B"], kind: ConstraintClip) -> Float[Array, " B"]:
    """Raise weights below 1, so that transitions keep their constraint.

    Args:
        weight: constraint weights, each at least 0.
        kind: `hard` raises to 1, `square-root` to `sqrt(w)` (0 stays 0); `none` changes nothing.
    """
    if kind == "hard":
        return jnp.maximum(weight, 1)
    if kind == "square-root":
        return jnp.where(weight < 1, jnp.sqrt(weight), weight)
    return weight


def actor_objective(
    actor: MLP | SpreadActor,
    critic: TwinQ,
    minibatch: Minibatch,
    noise: Float[Array, "B A"],
    config: TD3BCConfig,
) -> tuple[Float[Array, ""], Metrics]:
    r"""Seek value, and stay near the data (Section 5).

    .. math:: \frac{1}{B} \sum_i -λ w_i Q_1(s_i, π(s_i)) + w_i' \frac{1}{A} |π(s_i) - a_i|^2,
        \quad λ = α / \frac{1}{B} \sum_i |Q_1(s_i, π(s_i))|

    Args:
        actor: `π`.
        critic: `Q`, whose second network is unused.
        minibatch: its improvement weights `w` and constraint weights `w'` apply.
        noise: standard normal, for a learned spread.
        config: holds `α` (0 is behavior cloning) and how `w'` is clipped; no gradient passes through `λ`.
    """
    batch, weight = minibatch.policy_batch, minibatch.weight
    action = sampled_action(actor, batch.observation, noise)
    q, _ = critic(batch.observation, action)
    scale = config.alpha / jnp.maximum(jax.lax.stop_gradient(jnp.abs(q).mean()), SMALLEST_Q)
    improvement = -scale * weighted_mean(weight.improvement, q)
    distance = ((action - batch.action) ** 2).mean(axis=-1)
    constraint = weighted_mean(clipped_constraint_weight(weight.constraint, config.constraint_clip), distance)
    loss = improvement + constraint
    return loss, {"actor/loss": loss, "actor/constraint_loss": constraint, "actor/q_scale": scale}


def with_new_actor(state: TD3BCState, actor: Trained, rate: float) -> TD3BCState:
    """The state after an actor step, with both slow copies updated.

    Args:
        state: before it, but after the critic's step.
        actor: after its step.
        rate: of both slow copies, in (0, 1]; 1 copies outright.
    """
    return TD3BCState(
        actor,
        state.critic,
        polyak(state.target_actor, actor.model, rate=rate),
        polyak(state.target_critic, state.critic.model, rate=rate),
    )


def make_td3_bc(config: TD3BCConfig) -> Algorithm:
    """TD3+BC as pure functions; the actor and the targets change at every second update.

    Args:
        config: its settings.
    """
    optimizer = optax.adam(config.learning_rate)

    def init(key: PRNGKeyArray, shapes: Shapes) -> TD3BCState:
        actor_key, critic_key = jax.random.split(key)
        inputs = shapes.observation_size + shapes.action_size
        actor: MLP | SpreadActor = make_mlp(
            actor_key, shapes.observation_size, config.hidden, shapes.action_size
        )
        if config.learned_spread:
            actor = SpreadActor(actor, jnp.zeros(shapes.action_size))
        critic = make_twin_q(critic_key, inputs, config.hidden)
        return TD3BCState(trained(actor, optimizer), trained(critic, optimizer), actor, critic)

    def noise(key: PRNGKeyArray, batch_size: int, shapes: Shapes) -> Float[Array, "B A"]:
        return jax.random.normal(key, (batch_size, shapes.action_size))

    def critic_update(
        state: TD3BCState, minibatch: Minibatch, noise: Float[Array, "B A"]
    ) -> tuple[TD3BCState, Metrics]:
        batch = minibatch.evaluation
        target = smoothed_target(state, batch, noise, config)

        def objective(critic: TwinQ) -> tuple[Float[Array, ""], Float[Array, ""]]:
            q1, q2 = critic(batch.observation, batch.action)
            return weighted_mean(minibatch.weight.evaluation, twin_squared_error(q1, q2, target)), q1.mean()

        (loss, q_mean), gradient = jax.value_and_grad(objective, has_aux=True)(state.critic.model)
        critic = step(optimizer, state.critic, gradient)
        state = TD3BCState(state.actor, critic, state.target_actor, state.target_critic)
        return state, {"critic/loss": loss, "critic/q_mean": q_mean}

    def critic_and_actor_update(
        state: TD3BCState, minibatch: Minibatch, noise: Float[Array, "B A"]
    ) -> tuple[TD3BCState, Metrics]:
        state, metrics = critic_update(state, minibatch, noise)
        gradient, actor_metrics = jax.grad(actor_objective, has_aux=True)(
            state.actor.model, state.critic.model, minibatch, noise, config
        )
        actor = step(optimizer, state.actor, gradient)
        return with_new_actor(state, actor, config.target_rate), metrics | actor_metrics

    def actor(state: TD3BCState) -> ActorNetwork:
        return ActorNetwork(mean_network(state.actor.model).layers)

    def act(state: TD3BCState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        return jnp.tanh(mean_network(state.actor.model)(observation))

    return Algorithm(init, noise, (critic_update, critic_and_actor_update), act, actor)
