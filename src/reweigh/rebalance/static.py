"""Weights that are known before training: draw by them or multiply losses by them, never both.

Resampling leaves every loss weight at 1; reweighting leaves every draw uniform. `docs/rebalancing.md`
says which term is which in each algorithm.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

from reweigh.sampling import AliasTable, build_alias_table, draw_indices
from reweigh.types import Batch, Metrics, Minibatch, Rebalance, Shapes, State, Tables, TermWeight, rows_of

ResampleTerms = Literal["all", "policy", "evaluation"]
"""Which terms see the prioritized batch: all (one batch), or one side (two batches)."""


class ReweightTables(eqx.Module):
    """`w`, mean 1 over the data."""

    weight: Float[Array, " N"]


def resample_tables(probability: Float64[np.ndarray, " N"] | None) -> AliasTable | None:
    """The table that `resample` draws with; None: uniform.

    Args:
        probability: `p`, at least 0 each, any positive sum; 0 is never drawn. None: uniform.

    Raises:
        WeightsError: the probabilities are invalid.
    """
    return None if probability is None else build_alias_table(probability)


def reweight_tables(probability: Float64[np.ndarray, " N"]) -> ReweightTables:
    """The weights that `reweight` multiplies by, `w = N p`.

    Args:
        probability: `p`, at least 0 each, any positive sum; a row of 0 drops out of the losses.
    """
    return ReweightTables(jnp.asarray(probability / probability.mean(), jnp.float32))


def resample(
    batch_size: int, *, terms: ResampleTerms = "all", progressive_updates: int | None = None
) -> Rebalance:
    """Draw with replacement from `p`; loss weights are 1.

    Args:
        batch_size: `B`, of each batch.
        terms: `all` (coupled), `policy` (improvement and constraint see the prioritized batch, evaluation a
            uniform one: OPER's decoupled form) or `evaluation` (the reverse).
        progressive_updates: `M`; at update `t` each row of the prioritized batch comes from `p` with
            probability `min(t / M, 1)`, else uniformly from all rows. None: always from `p`.
    """

    def draw_prioritized(key: PRNGKeyArray, table: AliasTable | None, num_rows: int, update: Array) -> Array:
        if progressive_updates is None:
            return draw_indices(key, table, batch_size, num_rows)
        weighted_key, uniform_key, coin_key = jax.random.split(key, 3)
        index = draw_indices(weighted_key, table, batch_size, num_rows)
        # One coin per row, instead of rebuilding the table at every update.
        weighted = jax.random.uniform(coin_key, (batch_size,)) * progressive_updates < update
        return jnp.where(weighted, index, draw_indices(uniform_key, None, batch_size, num_rows))

    def draw(key: PRNGKeyArray, table: AliasTable | None, data: Batch, update: Array) -> Minibatch:
        num_rows = len(data.reward)
        ones = jnp.ones(batch_size, data.reward.dtype)
        weight = TermWeight(ones, ones, ones)
        if terms == "all":
            index = draw_prioritized(key, table, num_rows, update)
            return Minibatch(rows_of(data, index), None, weight)
        prioritized_key, uniform_key = jax.random.split(key)
        prioritized = rows_of(data, draw_prioritized(prioritized_key, table, num_rows, update))
        uniform = rows_of(data, draw_indices(uniform_key, None, batch_size, num_rows))
        if terms == "policy":
            return Minibatch(uniform, prioritized, weight)
        return Minibatch(prioritized, uniform, weight)

    return Rebalance(_init_nothing, draw, _keep_weight)


def reweight(
    batch_size: int,
    *,
    evaluation: bool = True,
    improvement: bool = True,
    constraint: bool = True,
    progressive_updates: int | None = None,
) -> Rebalance:
    """Draw uniformly; multiply each switched-on term's losses by `w`, mean 1 over the data.

    Args:
        batch_size: `B`.
        evaluation: weigh the losses of critics and values.
        improvement: weigh the term that maximizes value.
        constraint: weigh the term that stays near the data.
        progressive_updates: `M`; at update `t` the weight is `1 + min(t / M, 1) (w - 1)`. None: `w`.
    """

    def draw(key: PRNGKeyArray, tables: ReweightTables, data: Batch, update: Array) -> Minibatch:
        index = draw_indices(key, None, batch_size, len(data.reward))
        weight = tables.weight[index]
        if progressive_updates is not None:
            weight = 1 + jnp.minimum(update / progressive_updates, 1.0) * (weight - 1)
        ones = jnp.ones_like(weight)
        return Minibatch(
            rows_of(data, index),
            None,
            TermWeight(
                evaluation=weight if evaluation else ones,
                improvement=weight if improvement else ones,
                constraint=weight if constraint else ones,
            ),
        )

    return Rebalance(_init_nothing, draw, _keep_weight)


def _init_nothing(key: PRNGKeyArray, shapes: Shapes) -> State:
    del key, shapes
    return ()


def _keep_weight(state: State, tables: Tables, minibatch: Minibatch) -> tuple[State, TermWeight, Metrics]:
    del tables
    return state, minibatch.weight, {}
