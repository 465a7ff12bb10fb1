"""CQL: soft actor-critic whose critics keep the values of actions outside the data low.

Kumar et al., arXiv 2006.04779, in the form of JaxCQL. The policy is evaluated once per state: all its actions
there come from the same mean and deviation.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from reweigh.algorithms.base import RunDefaults
from reweigh.algorithms.bc import SQUASHED_LIMIT
from reweigh.checks import LARGEST_COUNT, check_count, check_range, check_widths, is_integer, require
from reweigh.losses import squared_error, tanh_normal_log_likelihood, td_target, weighted_mean
from reweigh.networks import (
    MLP,
    TwinQ,
    first_half,
    lecun_normal,
    make_mlp,
    make_twin_q,
    small_uniform,
    values_of_actions,
)
from reweigh.optim import Trained, polyak, step, trained, value_and_grad_by_parts
from reweigh.types import ActorNetwork, Algorithm, Batch, Metrics, Minibatch, Shapes, TermWeight

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
LOG_MULTIPLIER_START, MULTIPLIER_MAX = 1.0, 1e6
# 496 action values by default, whose activations fit a cache of half a megabyte.
STATES_AT_ONCE = 16


@dataclass(frozen=True)
class CQLConfig:
    """Settings of CQL."""

    min_q_weight: float = 5.0
    """Weight of the conservative gap (10 in the AW and DW studies); 0: plain soft actor-critic."""
    num_actions: int = 10
    """Sampled actions of each kind: random, the policy's at s, the policy's at s'."""
    importance_sampling: bool = True
    """Divide by the density with which actions were sampled."""
    temperature: float = 1.0
    """`T` of the log-sum-exp, above 0."""
    max_target_backup: bool = False
    """The target uses the best of `num_actions` next actions instead of one."""
    gap_min: float | None = None
    """Lower limit of each state's gap; None: no limit."""
    gap_max: float | None = None
    """Its upper limit; None: no limit."""
    gap_target: float | None = None
    """Lagrange form: `min_q_weight` is multiplied by a learned `α'`, which grows while the mean gap is above
    this and falls while it is below; None: `α'` is 1."""
    warmup_updates: int = 0
    """Initial updates in which the policy clones the data (JaxCQL's behavior-cloning warm-up)."""
    backup_entropy: bool = False
    """Subtract `α log π(a'|s')` in the target."""
    target_entropy: float | None = None
    """`H`; None: minus the number of action dimensions."""
    initial_alpha: float = 1.0
    """`α`, the entropy's temperature, at the start; above 0."""
    log_std_multiplier: float = 1.0
    log_std_offset: float = -1.0
    """`log σ = multiplier * output + offset`, clipped to [-20, 2]; both are learned, starting here."""
    target_rate: float = 0.005
    """`τ` of the target critics, in (0, 1]."""
    learning_rate: float = 3e-4
    """Adam's, for all parts."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""

    name: ClassVar[str] = "cql"
    defaults: ClassVar[RunDefaults] = RunDefaults(action_limit=0.999)

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_range(self, "of at least 0", "min_q_weight")
        within = is_integer(self.warmup_updates) and 0 <= self.warmup_updates <= LARGEST_COUNT
        require(within, "warmup_updates", f"to be an integer from 0 to {LARGEST_COUNT}", self.warmup_updates)
        check_count("num_actions", self.num_actions)
        check_range(self, "above 0", "temperature", "initial_alpha", "learning_rate")
        check_range(self, "in (0, 1]", "target_rate")
        limits = ("gap_min", "gap_max", "gap_target")
        for name in (*limits, "target_entropy", "log_std_multiplier", "log_std_offset"):
            number = getattr(self, name)
            require(number is None or isfinite(number), name, "to be finite", number)
        ordered = self.gap_min is None or self.gap_max is None or self.gap_min < self.gap_max
        require(ordered, "gap_min", "below gap_max", self.gap_min)
        check_widths(self.hidden)

    def make(self, num_updates: int) -> Algorithm:
        """The algorithm."""
        return make_cql(self)


class Actor(eqx.Module):
    """`tanh` of a normal whose mean and deviation depend on the state."""

    mlp: MLP
    log_std_multiplier: Float[Array, ""]
    log_std_offset: Float[Array, ""]

    def __call__(self, observation: Float[Array, "B S"]) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
        """Mean and log deviation before the `tanh`."""
        mean, spread = jnp.split(self.mlp(observation), 2, axis=-1)
        log_std = self.log_std_multiplier * spread + self.log_std_offset
        return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


class CQLState(eqx.Module):
    """Actor, twin critics and their targets, the entropy's temperature, and the gap's multiplier."""

    actor: Trained
    critic: Trained
    target_critic: TwinQ
    log_alpha: Trained
    update: Int[Array, ""]
    """Updates so far, for the warm-up."""
    log_multiplier: Trained | None = None
    """`log α'` of the Lagrange form."""


NormalParameters = tuple[Float[Array, "B A"], Float[Array, "B A"]]
"""Mean and log deviation of a policy's normal at some states, before the `tanh`."""


class Proposals(NamedTuple):
    """Sampled actions, K per state."""

    action: Float[Array, "B K A"]
    log_density: Float[Array, "B K"] | None
    """Of each, under the distribution it was drawn from; None: no importance sampling."""


class CQLNoise(NamedTuple):
    """Standard normal draws and uniform actions."""

    policy: Float[Array, "B A"]
    target: Float[Array, "B *n A"]
    current: Float[Array, "B n A"]
    following: Float[Array, "B n A"]
    random_action: Float[Array, "B n A"]


def conservative_gap(
    q_data: Float[Array, " B"],
    q_sampled: Float[Array, "B K"],
    log_density: Float[Array, "B K"] | None,
    config: CQLConfig,
) -> Float[Array, " B"]:
    r"""How far sampled actions' soft maximum value exceeds the data action's (Equation 4, with densities).

    .. math:: T \log \sum_k e^{(Q(s, a_k) - \log μ(a_k)) / T} - Q(s, a)

    Args:
        q_data: `Q(s, a)`.
        q_sampled: `Q(s, a_k)`.
        log_density: `log μ(a_k)`; None: no importance sampling, and the data's action counts as sampled.
        config: holds `T` and the gap's limits.
    """
    if log_density is None:
        entries = jnp.concatenate([q_sampled, q_data[:, None]], axis=1)
    else:
        entries = q_sampled - log_density
    highest = config.temperature * logsumexp(entries / config.temperature, axis=1)
    return jnp.clip(highest - q_data, config.gap_min, config.gap_max)


def sampled(
    mean: Float[Array, "B A"], log_std: Float[Array, "B A"], noise: Float[Array, "B *n A"]
) -> tuple[Float[Array, "B *n A"], Float[Array, "B *n"]]:
    """Actions of a policy and their log densities, for noise with or without an axis of samples.

    Args:
        mean: of the normal, before the `tanh`.
        log_std: its `log σ`.
        noise: standard normal: one or n draws per state.
    """
    if noise.ndim == 3:
        mean, log_std = mean[:, None, :], log_std[:, None, :]
    raw = mean + jnp.exp(log_std) * noise
    log_std = jnp.broadcast_to(log_std, raw.shape)
    return jnp.tanh(raw), tanh_normal_log_likelihood(raw, noise, log_std)


def q_of_actions(
    critic: TwinQ, observation: Float[Array, "B S"], action: Float[Array, "B n A"]
) -> tuple[Float[Array, "B n"], Float[Array, "B n"]]:
    """Twin values of several actions per state.

    Args:
        critic: both networks.
        observation: `s`.
        action: `a_1 ... a_n` in [-1, 1] at each state.
    """
    return (
        values_of_actions(critic.first, observation, action),
        values_of_actions(critic.second, observation, action),
    )


def soft_target(
    state: CQLState, batch: Batch, at_next: NormalParameters, noise: Array, config: CQLConfig
) -> Float[Array, " B"]:
    """`y = r + γ (1-d) min_k Q'_k(s', a')`, `a'` of the policy at `s'`; with the config's variants.

    Args:
        state: holds the target critic `Q'` and `α`.
        batch: the evaluation term's, with rewards, `γ (1-d)` and `s'`.
        at_next: mean and log deviation of the policy at `s'`, before the `tanh`.
        noise: standard normal, (B, A); (B, n, A) if the backup uses the best of n actions.
        config: whether the backup takes a maximum, and whether it includes entropy.
    """
    action, log_likelihood = sampled(*at_next, noise)
    if config.max_target_backup:
        q = jnp.minimum(*q_of_actions(state.target_critic, batch.next_observation, action))
        best = jnp.argmax(q, axis=1, keepdims=True)
        q = jnp.take_along_axis(q, best, axis=1)[:, 0]
        log_likelihood = jnp.take_along_axis(log_likelihood, best, axis=1)[:, 0]
    else:
        q = jnp.minimum(*state.target_critic(batch.next_observation, action))
    if config.backup_entropy:
        q = q - jnp.exp(state.log_alpha.model) * log_likelihood
    return td_target(batch.reward, batch.discount, q)


def actor_objective(
    policy: Actor, state: CQLState, minibatch: Minibatch, noise: CQLNoise, config: CQLConfig
) -> tuple[Float[Array, ""], tuple[NormalParameters, Array]]:
    """Weighted mean of `α log π(a|s) - min_k Q_k(s, a)`, and the policy at `s` with `log π(a|s)`.

    Args:
        policy: the one to improve.
        state: holds the critic, `α`, and the number of updates so far.
        minibatch: its improvement weights apply.
        noise: of the update.
        config: in the first `warmup_updates` updates, `log π` of the data's action replaces `Q`.
    """
    batch = minibatch.policy_batch
    mean, log_std = policy(batch.observation)
    action, log_likelihood = sampled(mean, log_std, noise.policy)
    alpha = jnp.exp(state.log_alpha.model)
    sought = jnp.minimum(*state.critic.model(batch.observation, action))
    if config.warmup_updates:
        raw = jnp.arctanh(jnp.clip(batch.action, -SQUASHED_LIMIT, SQUASHED_LIMIT))
        copied = tanh_normal_log_likelihood(raw, (raw - mean) / jnp.exp(log_std), log_std)
        sought = jnp.where(state.update < config.warmup_updates, copied, sought)
    loss = weighted_mean(minibatch.weight.improvement, alpha * log_likelihood - sought)
    return loss, ((mean, log_std), log_likelihood)


def alpha_objective(
    log_alpha: Float[Array, ""],
    log_likelihood: Float[Array, " B"],
    weight: Float[Array, " B"],
    action_size: int,
    config: CQLConfig,
) -> Float[Array, ""]:
    """Weighted mean of `-log α (log π(a|s) + H)`, which keeps the policy's entropy near `H`.

    Args:
        log_alpha: `log α`.
        log_likelihood: `log π(a|s)` of the policy's own actions; no gradient passes.
        weight: improvement weights, each at least 0.
        action_size: `A`; `H` is -A if the config has none.
        config: holds `H`.
    """
    target = -float(action_size) if config.target_entropy is None else config.target_entropy
    return weighted_mean(weight, -log_alpha * (log_likelihood + target))


def multiplier_of(log_multiplier: Float[Array, ""]) -> Float[Array, ""]:
    """`α'` of the Lagrange form.

    Args:
        log_multiplier: logarithm of `α'` before it is clipped.
    """
    return jnp.clip(jnp.exp(log_multiplier), 0, MULTIPLIER_MAX)


def multiplier_objective(
    log_multiplier: Float[Array, ""], excess: Float[Array, ""], config: CQLConfig
) -> Float[Array, ""]:
    """Minus half the conservative terms of both critics, whose gaps exceed the target by `excess`.

    Args:
        log_multiplier: `log α'`.
        excess: weighted mean of gap minus `gap_target`, both critics summed; no gradient passes.
        config: holds `min_q_weight`.
    """
    return -multiplier_of(log_multiplier) * config.min_q_weight * excess / 2


def critic_terms(
    q: Float[Array, "B M"],
    q_evaluated: Float[Array, " B"],
    target: Float[Array, " B"],
    log_density: Float[Array, "B K"] | None,
    weight: TermWeight,
    config: CQLConfig,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """One critic's weighted means of squared error and of gap minus target gap, and its plain mean gap.

    Args:
        q: of the data's action, then of the sampled ones.
        q_evaluated: of the data's action in the evaluation batch.
        target: `y`.
        log_density: of the sampled actions; None: no importance sampling.
        weight: of each term.
        config: the gap's settings.
    """
    gap = conservative_gap(q[:, 0], q[:, 1:], log_density, config)
    td_loss = weighted_mean(weight.evaluation, squared_error(q_evaluated, target))
    return td_loss, weighted_mean(weight.constraint, gap - (config.gap_target or 0.0)), gap.mean()


def propose(
    at_state: NormalParameters, at_next: NormalParameters, noise: CQLNoise, config: CQLConfig
) -> Proposals:
    """Sampled actions for the gap at `s`: random, and the policy's at `s'` and at `s`, as published.

    Args:
        at_state: mean and log deviation of the policy at `s`, before the `tanh`.
        at_next: the same at `s'`.
        noise: of the update.
        config: whether densities are needed.
    """
    current, current_density = sampled(*at_state, noise.current)
    following, following_density = sampled(*at_next, noise.following)
    action = jnp.concatenate([noise.random_action, following, current], axis=1)
    if not config.importance_sampling:
        return Proposals(action, None)
    uniform = jnp.full_like(current_density, action.shape[-1] * jnp.log(0.5))
    return Proposals(action, jnp.concatenate([uniform, following_density, current_density], axis=1))


def critic_objective(
    critic: TwinQ,
    multiplier: Float[Array, ""] | float,
    minibatch: Minibatch,
    target: Float[Array, " B"],
    proposals: Proposals,
    config: CQLConfig,
) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Metrics]]:
    """Squared errors of both critics, plus their gaps' excess times `α' min_q_weight`.

    Args:
        critic: both networks.
        multiplier: `α'` of the Lagrange form, else 1.
        minibatch: its evaluation weights apply to the squared errors, its constraint weights to the gap.
        target: `y` of the evaluation batch.
        proposals: K actions per state of the policy batch.
        config: holds the gap's settings.
    """
    batch, weight = minibatch.policy_batch, minibatch.weight
    # The data's action and the sampled ones in one call per network.
    together = jnp.concatenate([batch.action[:, None, :], proposals.action], axis=1)
    q1, q2 = q_of_actions(critic, batch.observation, together)
    evaluated = q1[:, 0], q2[:, 0]
    if minibatch.policy is not None:
        evaluated = critic(minibatch.evaluation.observation, minibatch.evaluation.action)
    density = proposals.log_density
    td_loss, excess, gap = critic_terms(q1, evaluated[0], target, density, weight, config)
    other_td_loss, other_excess, _ = critic_terms(q2, evaluated[1], target, density, weight, config)
    excess += other_excess
    loss = td_loss + other_td_loss + multiplier * config.min_q_weight * excess
    metrics = {"critic/td_loss": td_loss, "critic/gap": gap, "critic/q_mean": q1[:, 0].mean()}
    return loss, (excess, metrics)


def make_cql(config: CQLConfig, *, ignore_terminals: bool = False) -> Algorithm:
    """CQL as pure functions; every gradient is taken at the parameters before the update.

    Args:
        config: its settings.
        ignore_terminals: after a terminal, draw the gap's actions at the batch's `s'`, as JaxCQL does, not
            at `s`. In batches from `train` they are equal.
    """
    optimizer = optax.adam(config.learning_rate)

    def init(key: PRNGKeyArray, shapes: Shapes) -> CQLState:
        policy_key, critic_key = jax.random.split(key)
        observation_size, action_size = shapes
        start = {"init": lecun_normal, "last_init": small_uniform}
        mlp = make_mlp(policy_key, observation_size, config.hidden, 2 * action_size, **start)
        policy = Actor(mlp, jnp.asarray(config.log_std_multiplier), jnp.asarray(config.log_std_offset))
        critic = make_twin_q(critic_key, observation_size + action_size, config.hidden, **start)
        log_alpha = jnp.log(jnp.asarray(config.initial_alpha))
        return CQLState(
            trained(policy, optimizer),
            trained(critic, optimizer),
            critic,
            trained(log_alpha, optimizer),
            jnp.zeros((), jnp.int32),
            None if config.gap_target is None else trained(jnp.asarray(LOG_MULTIPLIER_START), optimizer),
        )

    def noise(key: PRNGKeyArray, batch_size: int, shapes: Shapes) -> CQLNoise:
        keys = jax.random.split(key, 5)
        one = (batch_size, shapes.action_size)
        several = (batch_size, config.num_actions, shapes.action_size)
        return CQLNoise(
            jax.random.normal(keys[0], one),
            jax.random.normal(keys[1], several if config.max_target_backup else one),
            jax.random.normal(keys[2], several),
            jax.random.normal(keys[3], several),
            jax.random.uniform(keys[4], several, minval=-1.0, maxval=1.0),
        )

    def actor_update(
        state: CQLState, minibatch: Minibatch, noise: CQLNoise
    ) -> tuple[Trained, NormalParameters, Float[Array, " B"], Metrics]:
        (loss, (at_state, log_likelihood)), gradient = jax.value_and_grad(actor_objective, has_aux=True)(
            state.actor.model, state, minibatch, noise, config
        )
        metrics = {"actor/loss": loss, "actor/log_likelihood": log_likelihood.mean()}
        return step(optimizer, state.actor, gradient), at_state, log_likelihood, metrics

    def critic_update(
        state: CQLState, minibatch: Minibatch, at_state: NormalParameters, noise: CQLNoise
    ) -> tuple[Trained, Float[Array, ""], Metrics]:
        batch, evaluation, policy = minibatch.policy_batch, minibatch.evaluation, state.actor.model
        next_state = batch.next_observation
        if not ignore_terminals:
            next_state = jnp.where((batch.discount > 0)[:, None], next_state, batch.observation)
        at_next = policy(next_state)
        at_target = at_next if minibatch.policy is None else policy(evaluation.next_observation)
        target = soft_target(state, evaluation, at_target, noise.target, config)
        multiplier = 1.0 if state.log_multiplier is None else multiplier_of(state.log_multiplier.model)
        (loss, (excess, metrics)), gradient = value_and_grad_by_parts(
            lambda critic, rows: critic_objective(critic, multiplier, *rows, config=config),
            state.critic.model,
            (minibatch, target, propose(at_state, at_next, noise, config)),
            rows_at_once=STATES_AT_ONCE,
        )
        return step(optimizer, state.critic, gradient), excess, {**metrics, "critic/loss": loss}

    def alpha_update(
        state: CQLState, minibatch: Minibatch, log_likelihood: Float[Array, " B"]
    ) -> tuple[Trained, Metrics]:
        log_alpha, action_size = state.log_alpha.model, minibatch.policy_batch.action.shape[-1]
        loss, gradient = jax.value_and_grad(alpha_objective)(
            log_alpha, log_likelihood, minibatch.weight.improvement, action_size, config
        )
        metrics = {"alpha/value": jnp.exp(log_alpha), "alpha/loss": loss}
        return step(optimizer, state.log_alpha, gradient), metrics

    def multiplier_update(state: CQLState, excess: Float[Array, ""]) -> tuple[Trained | None, Metrics]:
        if state.log_multiplier is None:
            return None, {}
        log_multiplier = state.log_multiplier.model
        gradient = jax.grad(multiplier_objective)(log_multiplier, excess, config)
        metrics = {"multiplier/alpha": multiplier_of(log_multiplier)}
        return step(optimizer, state.log_multiplier, gradient), metrics

    def update(state: CQLState, minibatch: Minibatch, noise: CQLNoise) -> tuple[CQLState, Metrics]:
        actor, at_state, log_likelihood, actor_metrics = actor_update(state, minibatch, noise)
        critic, excess, critic_metrics = critic_update(state, minibatch, at_state, noise)
        log_alpha, alpha_metrics = alpha_update(state, minibatch, log_likelihood)
        log_multiplier, multiplier_metrics = multiplier_update(state, excess)
        target_critic = polyak(state.target_critic, critic.model, rate=config.target_rate)
        state = CQLState(actor, critic, target_critic, log_alpha, state.update + 1, log_multiplier)
        return state, actor_metrics | critic_metrics | alpha_metrics | multiplier_metrics

    def actor(state: CQLState) -> ActorNetwork:
        return ActorNetwork(first_half(state.actor.model.mlp))

    def act(state: CQLState, observation: Float[Array, "*B S"]) -> Float[Array, "*B A"]:
        mean, _ = jnp.split(state.actor.model.mlp(observation), 2, axis=-1)
        return jnp.tanh(mean)

    return Algorithm(init, noise, (update,), act, actor)
