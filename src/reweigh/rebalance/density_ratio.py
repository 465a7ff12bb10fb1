"""DW: weights learned with the agent, as a density ratio of states and actions.

Hong et al., "Beyond Uniform Sampling", arXiv 2310.04413. Two networks, `g(s, a)` and `f(s)`, give the weights
of a batch; they learn to prefer reward, to obey the data's flow, and not to concentrate. The authors' three
code bases differ in small ways (`docs/density_ratio.md`), covered by the fields of `RatioSettings`.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float64, PRNGKeyArray

from reweigh.checks import check_choices, check_range
from reweigh.networks import MLP, fan_in_uniform, lecun_normal, make_mlp, orthogonal, small_uniform
from reweigh.optim import Trained, step, trained
from reweigh.rebalance.static import resample_tables
from reweigh.sampling import AliasTable, draw_indices
from reweigh.types import Batch, Metrics, Minibatch, Rebalance, Shapes, Tables, TermWeight, rows_of


@dataclass(frozen=True)
class RatioSettings:
    """Settings of DW."""

    divergence: float = 0.2
    """`K >= 0`: how strongly weights are kept even; 0 lets them concentrate."""
    flow: float = 1.0
    """`F >= 0`: how strongly weights obey the flow from state to next state; 0 ignores it."""
    flow_discount: float = 1.0
    """`G` in [0, 1] of the flow."""
    temperature: float = 1.0
    """`T > 0`, divides the logits; towards infinity all weights are 1."""
    clip: float = 0.2
    """`C >= 0`: logits are clipped to `±(1 + C)`."""
    learning_rate: float = 1e-4
    """`L`, Adam's."""
    clipping: Literal["apart", "together", "scaled"] = "apart"
    """`(clip(g) + clip(f)) / T`, `clip(g + f) / T`, or `clip(g/T) + clip(f/T)`."""
    by_state: bool = False
    """Divergence and improvement term use `p_s = softmax(clip(f) / T)` instead of `p`."""
    reward: Literal["deviation", "min-max"] = "deviation"
    """What weights prefer: `r / std(r)`, or `(r - min r) / (max r - min r)`, of raw rewards."""
    start: Literal["orthogonal", "fan-in", "lecun"] = "orthogonal"
    """Initialization of the networks, as of the critics in each code base: IQL's, TD3+BC's, CQL's."""
    ignore_terminals: bool = False
    """Let the flow continue through terminals, as the authors' code does."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "of at least 0", "divergence", "flow", "clip")
        check_range(self, "above 0", "temperature", "learning_rate")
        check_range(self, "in [0, 1]", "flow_discount")


CONVENTIONS: dict[str, RatioSettings] = {
    "iql": RatioSettings(),
    "td3-bc": RatioSettings(clipping="together", by_state=True, reward="min-max", start="fan-in"),
    "cql": RatioSettings(divergence=0.0, flow=0.1, clipping="scaled", reward="min-max", start="lecun"),
}
"""The arithmetic of each of the authors' code bases, with one setting from its grid."""

# For all layers, and for the last one if it differs.
_STARTS = {
    "orthogonal": (orthogonal(2**0.5), None),
    "fan-in": (fan_in_uniform, None),
    "lecun": (lecun_normal, small_uniform),
}


class Ratio(eqx.Module):
    """The two functions behind the weights."""

    state_action: MLP
    """`g(s, a)`."""
    state: MLP
    """`f(s)`."""


class DensityRatioTables(eqx.Module):
    """The table that batches are drawn with, and the reward that weights prefer."""

    prioritized: AliasTable | None
    reward: Float[Array, " N"]
    """`r_n` of every row."""


class Logits(NamedTuple):
    """Outputs of the networks on a batch."""

    state_action: Float[Array, " B"]
    """`g(s, a)`."""
    state: Float[Array, " B"]
    """`f(s)`."""
    next_state: Float[Array, " B"]
    """`f(s')`."""


class BatchWeights(NamedTuple):
    """Weights of a batch; each sums to 1."""

    state_action: Float[Array, " B"]
    """`p`."""
    state: Float[Array, " B"]
    """`p_s`."""


def clipped_logit(
    state_action: Float[Array, " B"], state: Float[Array, " B"], settings: RatioSettings
) -> Float[Array, " B"]:
    """The logit of `(s, a)`, divided by `T`: the logarithm of the ratio, up to a constant.

    Args:
        state_action: `g(s, a)`.
        state: `f(s)`.
        settings: hold `T` (towards infinity all weights are equal), the bound `1 + clip`, and what it
            clips.
    """
    limit, temperature = 1 + settings.clip, settings.temperature
    if settings.clipping == "scaled":
        return _clip(state_action / temperature, limit) + _clip(state / temperature, limit)
    if settings.clipping == "together":
        return _clip(state_action + state, limit) / temperature
    return (_clip(state_action, limit) + _clip(state, limit)) / temperature


def batch_weights(logits: Logits, settings: RatioSettings) -> BatchWeights:
    """`p`, the softmax of `clipped_logit` over the batch, and `p_s`, that of the state's logit alone.

    Args:
        logits: of both networks, on the batch.
        settings: hold `T` and the clipping.
    """
    return BatchWeights(
        jax.nn.softmax(clipped_logit(logits.state_action, logits.state, settings)),
        jax.nn.softmax(_state_logit(logits.state, settings)),
    )


def _state_logit(state: Float[Array, " B"], settings: RatioSettings) -> Float[Array, " B"]:
    return _clip(state, 1 + settings.clip) / settings.temperature


def ratio_loss(
    logits: Logits, reward: Float[Array, " B"], alive: Float[Array, " B"], settings: RatioSettings
) -> tuple[Float[Array, ""], Metrics]:
    r"""The networks' loss and its parts.

    .. math:: -\sum p r_n + F \frac{1}{B} \sum_i (1 - d_i) [G e^{(g + f)/T} - e^{f(s')/T}]^2 + K \sum q \log q

    `q` is `p`, or `p_s` if `by_state`. With `ignore_terminals`, `1 - d_i` is replaced by 1.

    Args:
        logits: of the batch.
        reward: `r_n`.
        alive: `1 - d`.
        settings: `K`, `F`, `G`, `T` and the rest.
    """
    weights = batch_weights(logits, settings)
    if settings.by_state:
        log_held = jax.nn.log_softmax(_state_logit(logits.state, settings))
    else:
        log_held = jax.nn.log_softmax(clipped_logit(logits.state_action, logits.state, settings))
    into = jnp.exp((logits.state_action + logits.state) / settings.temperature)
    out_of = jnp.exp(logits.next_state / settings.temperature)
    difference = settings.flow_discount * into - out_of
    if not settings.ignore_terminals:
        difference = jnp.where(alive > 0, difference, 0.0)
    parts = {
        "ratio/reward_loss": -(weights.state_action * reward).sum(),
        "ratio/flow_loss": (difference**2).mean(),
        # From logarithms, because a weight may round to 0.
        "ratio/divergence": (jnp.exp(log_held) * log_held).sum(),
    }
    loss = (
        parts["ratio/reward_loss"]
        + settings.flow * parts["ratio/flow_loss"]
        + settings.divergence * parts["ratio/divergence"]
    )
    return loss, parts | {"ratio/loss": loss}


def logits_of(ratio: Ratio, batch: Batch) -> Logits:
    """Both networks on a batch, with states and next states in one call.

    Args:
        ratio: both networks.
        batch: states, actions and next states.
    """
    states = jnp.concatenate([batch.observation, batch.next_observation])
    state, next_state = jnp.split(ratio.state(states)[:, 0], 2)
    pair = jnp.concatenate([batch.observation, batch.action], axis=-1)
    return Logits(ratio.state_action(pair)[:, 0], state, next_state)


def ratio_step(
    nets: Trained, batch: Batch, reward: Float[Array, " B"], settings: RatioSettings
) -> tuple[Trained, BatchWeights, Metrics]:
    """One step of the networks, and the weights from before it.

    Args:
        nets: a `Ratio` with Adam's state.
        batch: as the agent sees it.
        reward: `r_n`.
        settings: DW's.
    """
    alive = (batch.discount > 0).astype(reward.dtype)
    if not settings.ignore_terminals:
        # Masking only the loss would let an infinity there into the gradient.
        following = jnp.where(alive[:, None] > 0, batch.next_observation, batch.observation)
        batch = replace(batch, next_observation=following)

    def objective(ratio: Ratio) -> tuple[Float[Array, ""], tuple[Metrics, Logits]]:
        logits = logits_of(ratio, batch)
        loss, metrics = ratio_loss(logits, reward, alive, settings)
        return loss, (metrics, logits)

    gradient, (metrics, logits) = jax.grad(objective, has_aux=True)(nets.model)
    weights = batch_weights(logits, settings)
    return (
        step(optax.adam(settings.learning_rate), nets, gradient),
        weights,
        metrics | _diagnostics(logits, weights, settings),
    )


def make_ratio(key: PRNGKeyArray, shapes: Shapes, hidden: tuple[int, ...], settings: RatioSettings) -> Ratio:
    """Networks initialized as `settings.start` says; the key is consumed."""
    pair_key, state_key = jax.random.split(key)
    observation_size, action_size = shapes
    init, last_init = _STARTS[settings.start]
    return Ratio(
        make_mlp(pair_key, observation_size + action_size, hidden, 1, init=init, last_init=last_init),
        make_mlp(state_key, observation_size, hidden, 1, init=init, last_init=last_init),
    )


def density_ratio(
    batch_size: int,
    settings: RatioSettings,
    *,
    hidden: tuple[int, ...] = (256, 256),
    evaluation: bool = True,
    improvement: bool = True,
    constraint: bool = True,
) -> Rebalance:
    """Weights of each batch, learned with the agent: `B p` multiplies the losses of each switched-on term.

    The agent sees the weights from before the networks' own step.

    Args:
        batch_size: `B`.
        settings: DW's.
        hidden: widths of both networks.
        evaluation: weigh the losses of critics and values.
        improvement: weigh the term that maximizes value.
        constraint: weigh the term that stays near the data.
    """

    def init(key: PRNGKeyArray, shapes: Shapes) -> Trained:
        return trained(make_ratio(key, shapes, hidden, settings), optax.adam(settings.learning_rate))

    def draw(key: PRNGKeyArray, tables: DensityRatioTables, data: Batch, update: Array) -> Minibatch:
        del update
        index = draw_indices(key, tables.prioritized, batch_size, len(data.reward))
        ones = jnp.ones(batch_size, data.reward.dtype)
        return Minibatch(rows_of(data, index), None, TermWeight(ones, ones, ones), index)

    def learn(nets: Trained, tables: Tables, minibatch: Minibatch) -> tuple[Trained, TermWeight, Metrics]:
        nets, weights, metrics = ratio_step(
            nets, minibatch.evaluation, tables.reward[minibatch.index], settings
        )
        ones = minibatch.weight.evaluation
        pair = batch_size * weights.state_action
        sought = batch_size * weights.state if settings.by_state else pair
        weight = TermWeight(
            evaluation=pair if evaluation else ones,
            improvement=sought if improvement else ones,
            constraint=pair if constraint else ones,
        )
        return nets, weight, metrics

    return Rebalance(init, draw, learn)


def density_ratio_tables(
    probability: Float64[np.ndarray, " N"] | None, raw_reward: np.ndarray, settings: RatioSettings
) -> DensityRatioTables:
    """The tables that `density_ratio` draws and learns with.

    Args:
        probability: `p` of the weights underneath; None: uniform.
        raw_reward: as recorded, (N,).
        settings: how rewards are scaled; if all are equal they become 0.
    """
    reward = raw_reward.astype(np.float64)
    deviation, span = reward.std(), np.ptp(reward)
    if not span > 0:
        reward = np.zeros_like(reward)
    elif settings.reward == "min-max":
        reward = (reward - reward.min()) / span
    else:
        reward = reward / deviation
    return DensityRatioTables(resample_tables(probability), jnp.asarray(reward, jnp.float32))


def _diagnostics(logits: Logits, weights: BatchWeights, settings: RatioSettings) -> Metrics:
    """Metrics that show whether the weights have collapsed or have no effect."""
    count, p, limit = len(weights.state_action), weights.state_action, 1 + settings.clip
    if settings.clipping == "together":
        clipped = jnp.abs(logits.state_action + logits.state) > limit
    else:
        scale = settings.temperature if settings.clipping == "scaled" else 1.0
        both = jnp.stack([logits.state_action, logits.state]) / scale
        clipped = jnp.abs(both) > limit
    return {
        "ratio/ess": 1 / (count * (p**2).sum()),
        "ratio/largest": count * p.max(),
        "ratio/clipped": clipped.mean(dtype=p.dtype),
    }


def _clip(x: Float[Array, " B"], limit: float) -> Float[Array, " B"]:
    return jnp.clip(x, -limit, limit)
