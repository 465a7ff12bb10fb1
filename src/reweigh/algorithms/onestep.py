"""Onestep RL: clone the data's policy, evaluate it, improve it once.

Brandfonbrener et al., arXiv 2106.08909, as in OPER's study. Three stages: the clone is from
`reweigh.algorithms.bc`; the other two are here, each its own `Algorithm`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults, no_noise
from reweigh.algorithms.bc import (
    SQUASHED_LIMIT,
    BCConfig,
    BCState,
    PolicyKind,
    gaussian,
    log_likelihood,
    make_bc,
    sample,
)
from reweigh.checks import check_choices, check_count, check_range, check_widths, require
from reweigh.losses import exponential_advantage, squared_error, td_target, weighted_mean
from reweigh.networks import MLP, first_half, make_mlp, values_of_actions
from reweigh.optim import Trained, polyak, step, trained
from reweigh.types import ActorNetwork, Algorithm, Batch, BestOfSamples, Metrics, Minibatch, Shapes, State

Improvement = Literal["exp-weight", "reverse-kl", "imitation", "greedy", "easy-bcq"]


@dataclass(frozen=True)
class OnestepConfig:
    """Settings of Onestep RL; the run's `num_updates` is the length of the last stage."""

    improvement: Improvement = "exp-weight"
    """How the policy improves on the clone; `easy-bcq` only picks among the clone's samples."""
    inverse_temperature: float = 1.0
    """exp-weight: `1/T` in `exp((Q - b) / T)`; 0 is behavior cloning."""
    advantage_limit: float = 100.0
    """exp-weight: largest `exp((Q - b) / T)`."""
    regularization: float = 1.0
    """reverse-kl, imitation: `α`, weight of staying near the clone or the data; 0: only `Q` counts."""
    num_samples: int = 10
    """Samples of the clone for `b` (exp-weight) or to pick from (easy-bcq); of the policy (reverse-kl)."""
    policy: PolicyKind = "normal"
    """Distribution of the clone and of the policy, which starts as its copy."""
    behavior_updates: int = 500_000
    """Length of the first stage."""
    critic_updates: int = 2_000_000
    """Length of the second stage; even, because the target network changes at every second update."""
    target_rate: float = 0.005
    """`τ` of the target network, in (0, 1]."""
    learning_rate: float = 1e-4
    """Adam's, in all stages."""
    hidden: tuple[int, ...] = (1024, 1024)
    """Widths of the hidden layers, in all stages."""

    name: ClassVar[str] = "onestep"
    defaults: ClassVar[RunDefaults] = RunDefaults(num_updates=100_000, batch_size=512)

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "of at least 0", "inverse_temperature", "regularization")
        require(self.advantage_limit > 0, "advantage_limit", "above 0", self.advantage_limit)
        check_count("num_samples", self.num_samples)
        check_count("behavior_updates", self.behavior_updates)
        check_count("critic_updates", self.critic_updates)
        even = self.critic_updates >= 2 and self.critic_updates % 2 == 0
        require(even, "critic_updates", "to be even and at least 2", self.critic_updates)
        check_range(self, "in (0, 1]", "target_rate")
        check_range(self, "above 0", "learning_rate")
        check_widths(self.hidden)

    def make(self, num_updates: int) -> Algorithm:
        """The last stage."""
        return make_improvement(self)

    @property
    def behavior(self) -> BCConfig:
        """The first stage."""
        return BCConfig(policy=self.policy, hidden=self.hidden, learning_rate=self.learning_rate)


class SarsaState(eqx.Module):
    """The action value of the data's policy, with a target network."""

    critic: Trained
    target_critic: MLP


class OnestepState(eqx.Module):
    """The policy, and the clone and value by which it improves; these two are fixed."""

    policy: Trained
    behavior: MLP
    critic: MLP
    candidate_noise: Float[Array, "n A"]
    """easy-bcq: the standard normal draws behind the candidate actions, the same at every state."""


class Learned(NamedTuple):
    """What the last stage starts from."""

    behavior: BCState
    critic: SarsaState


class OnestepNoise(NamedTuple):
    """Standard normal draws."""

    policy: Float[Array, "B A"]
    several: Float[Array, "B n A"]


def action_value(critic: MLP, observation: Float[Array, "B S"], action: Float[Array, "B A"]) -> Array:
    """`Q(s, a)`.

    Args:
        critic: one network.
        observation: `s`.
        action: `a` in [-1, 1].
    """
    return critic(jnp.concatenate([observation, action], axis=-1))[:, 0]


def sarsa_loss(q: Float[Array, " B"], target: Float[Array, " B"]) -> Float[Array, " B"]:
    """`(Q(s, a) - r - γ (1-d) Q'(s', a'))^2` with the data's `a'` (Section 3).

    Args:
        q: `Q(s, a)`.
        target: `r + γ (1-d) Q'(s', a')`; no gradient passes.
    """
    return squared_error(q, target)


def exp_weight_loss(
    likelihood: Float[Array, " B"], advantage: Float[Array, " B"], config: OnestepConfig
) -> Float[Array, " B"]:
    """`-min(exp((Q(s, a) - b(s)) / T), c) log π(a|s)` (Section 3, exponentially weighted imitation).

    Args:
        likelihood: `log π(a|s)` of the data's action.
        advantage: `Q(s, a) - b(s)`, `b` the mean value of the clone's actions; no gradient passes.
        config: holds `1/T` (0 clones) and the cap `c`.
    """
    copied = exponential_advantage(
        advantage, inverse_temperature=config.inverse_temperature, limit=config.advantage_limit
    )
    return -copied * likelihood


def make_sarsa(config: OnestepConfig) -> Algorithm:
    """The second stage as pure functions; the target network changes at every second update.

    Rows must have a next action or end in a terminal.

    Args:
        config: its settings.
    """
    optimizer = optax.adam(config.learning_rate)

    def init(key: PRNGKeyArray, shapes: Shapes) -> SarsaState:
        critic = make_mlp(key, sum(shapes), config.hidden, 1)
        return SarsaState(trained(critic, optimizer), critic)

    def critic_update(
        state: SarsaState, minibatch: Minibatch, noise: tuple[()]
    ) -> tuple[SarsaState, Metrics]:
        del noise
        batch = minibatch.evaluation
        next_q = action_value(state.target_critic, batch.next_observation, batch.next_action)
        target = td_target(batch.reward, batch.discount, next_q)

        def objective(critic: MLP) -> tuple[Float[Array, ""], Float[Array, ""]]:
            q = action_value(critic, batch.observation, batch.action)
            return weighted_mean(minibatch.weight.evaluation, sarsa_loss(q, target)), q.mean()

        (loss, q_mean), gradient = jax.value_and_grad(objective, has_aux=True)(state.critic.model)
        critic = step(optimizer, state.critic, gradient)
        return SarsaState(critic, state.target_critic), {"critic/loss": loss, "critic/q_mean": q_mean}

    def critic_and_target_update(
        state: SarsaState, minibatch: Minibatch, noise: tuple[()]
    ) -> tuple[SarsaState, Metrics]:
        state, metrics = critic_update(state, minibatch, noise)
        slow = polyak(state.target_critic, state.critic.model, rate=config.target_rate)
        return SarsaState(state.critic, slow), metrics

    return Algorithm(init, no_noise, (critic_update, critic_and_target_update))


def exp_weight_objective(
    policy: MLP, state: OnestepState, minibatch: Minibatch, noise: OnestepNoise, config: OnestepConfig
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted mean of `exp_weight_loss`, with the clone's mean value at `s` as the baseline.

    Args:
        policy: the one to improve.
        state: holds the clone and the value.
        minibatch: its improvement weights apply.
        noise: of the update.
        config: holds `1/T`, the cap and the distribution.
    """
    batch, kind = minibatch.policy_batch, config.policy
    behavior = gaussian(state.behavior, batch.observation, kind)
    # The data's action and the clone's in one call.
    together = [batch.action[:, None, :], sample(kind, behavior, noise.several)]
    q = values_of_actions(state.critic, batch.observation, jnp.concatenate(together, axis=1))
    baseline = q[:, 1:].mean(axis=1)
    advantage = q[:, 0] - baseline
    likelihood = data_likelihood(policy, batch, kind)
    loss = exp_weight_loss(likelihood, advantage, config)
    metrics = {
        "actor/advantage_mean": advantage.mean(),
        "actor/log_likelihood": likelihood.mean(),
        "actor/baseline_mean": baseline.mean(),
    }
    # One loss is both improvement and constraint; a config in which they differ is rejected.
    return weighted_mean(minibatch.weight.improvement, loss), metrics


def value_objective(
    policy: MLP, state: OnestepState, minibatch: Minibatch, noise: OnestepNoise, config: OnestepConfig
) -> tuple[Float[Array, ""], Metrics]:
    """Weighted mean of `-Q(s, a)`, `a` of the policy, plus what keeps it near the clone or the data.

    Args:
        policy: the one to improve.
        state: holds the clone and the value.
        minibatch: its improvement weights apply to the value, its constraint weights to the rest.
        noise: of the update.
        config: what keeps the policy near (`reverse-kl`: divergence from the clone; `imitation`: density of
            the data's actions; `greedy`: nothing), and how strongly.
    """
    batch, weight, kind = minibatch.policy_batch, minibatch.weight, config.policy
    around = gaussian(policy, batch.observation, kind)
    q = action_value(state.critic, batch.observation, sample(kind, around, noise.policy))
    loss, metrics = weighted_mean(weight.improvement, -q), {"actor/q_mean": q.mean()}
    if config.improvement == "reverse-kl":
        action = sample(kind, around, noise.several)
        behavior = gaussian(state.behavior, batch.observation, kind)
        ratio = log_likelihood(kind, around, action) - log_likelihood(kind, behavior, action)
        divergence = ratio.mean(axis=1)
        loss = loss + weighted_mean(weight.constraint, config.regularization * divergence)
        metrics["actor/divergence"] = divergence.mean()
    if config.improvement == "imitation":
        likelihood = data_likelihood(policy, batch, kind)
        loss = loss + weighted_mean(weight.constraint, -config.regularization * likelihood)
        metrics["actor/log_likelihood"] = likelihood.mean()
    return loss, metrics


def data_likelihood(policy: MLP, batch: Batch, kind: PolicyKind) -> Float[Array, " B"]:
    """`log π(a|s)` of the data's actions.

    Args:
        policy: its network.
        batch: `s` and `a`; `a` is clipped to just inside the bounds.
        kind: distribution.
    """
    action = jnp.clip(batch.action, -SQUASHED_LIMIT, SQUASHED_LIMIT)
    return log_likelihood(kind, gaussian(policy, batch.observation, kind), action)


def make_improvement(config: OnestepConfig) -> Algorithm:
    """The last stage as pure functions.

    Args:
        config: its settings.
    """
    optimizer = optax.adam(config.learning_rate)
    kind = config.policy

    def init(key: PRNGKeyArray, shapes: Shapes) -> OnestepState:
        """Start from an untrained clone and value."""
        behavior_key, critic_key, key = jax.random.split(key, 3)
        behavior = make_bc(config.behavior).init(behavior_key, shapes)
        critic = make_sarsa(config).init(critic_key, shapes)
        return improvement_start(config, key, Learned(behavior, critic))

    def noise(key: PRNGKeyArray, batch_size: int, shapes: Shapes) -> OnestepNoise:
        one, several = jax.random.split(key)
        shape = (batch_size, config.num_samples, shapes.action_size)
        return OnestepNoise(
            jax.random.normal(one, (batch_size, shapes.action_size)), jax.random.normal(several, shape)
        )

    objective = exp_weight_objective if config.improvement == "exp-weight" else value_objective

    def update(
        state: OnestepState, minibatch: Minibatch, noise: OnestepNoise
    ) -> tuple[OnestepState, Metrics]:
        (loss, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(
            state.policy.model, state, minibatch, noise, config
        )
        policy = step(optimizer, state.policy, gradient)
        state = OnestepState(policy, state.behavior, state.critic, state.candidate_noise)
        return state, metrics | {"actor/loss": loss}

    def measure(
        state: OnestepState, minibatch: Minibatch, noise: OnestepNoise
    ) -> tuple[OnestepState, Metrics]:
        observation = minibatch.policy_batch.observation
        action = jnp.clip(sample(kind, gaussian(state.behavior, observation, kind), noise.several), -1, 1)
        q = values_of_actions(state.critic, observation, action)
        return state, {"actor/q_mean": q.mean(), "actor/q_best": q.max(axis=1).mean()}

    def act(state: OnestepState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        if config.improvement != "easy-bcq":
            mean, _ = jnp.split(state.policy.model(observation), 2, axis=-1)
            return jnp.tanh(mean)
        flat = observation.reshape(-1, observation.shape[-1])
        noise = jnp.broadcast_to(state.candidate_noise, (len(flat), *state.candidate_noise.shape))
        action = jnp.clip(sample(kind, gaussian(state.behavior, flat, kind), noise), -1, 1)
        best = values_of_actions(state.critic, flat, action).argmax(axis=1)
        chosen = jnp.take_along_axis(action, best[:, None, None], axis=1)[:, 0]
        return chosen.reshape(*observation.shape[:-1], -1)

    def actor(state: OnestepState) -> ActorNetwork:
        if config.improvement == "easy-bcq":
            best = BestOfSamples(kind, state.critic.layers, state.candidate_noise)
            return ActorNetwork(state.behavior.layers, best_of=best)
        return ActorNetwork(first_half(state.policy.model))

    one_update = measure if config.improvement == "easy-bcq" else update
    return Algorithm(init, noise, (one_update,), act, actor)


def improvement_start(config: OnestepConfig, key: PRNGKeyArray, learned: State) -> OnestepState:
    """The last stage's first state: the policy is a copy of the clone.

    Args:
        config: its settings.
        key: for easy-bcq's candidates; consumed.
        learned: `Learned`, last states of the earlier stages.
    """
    behavior, critic = learned.behavior.policy.model, learned.critic.critic.model
    actions = behavior.layers[-1][1].shape[-1] // 2
    return OnestepState(
        trained(behavior, optax.adam(config.learning_rate)),
        behavior,
        critic,
        jax.random.normal(key, (config.num_samples, actions)),
    )
