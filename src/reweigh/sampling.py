"""Probability -> alias table (NumPy, exact) -> indices (JAX, inside the compiled loop).

`jax.random.choice(p=...)` inverts a float32 cumulative sum: of a million weighted rows some are drawn
half as often as they should be and some never. Walker's alias method draws without a cumulative sum, with
one gather per draw at any size. Thresholds are 64-bit fixed-point numbers, held as two 32-bit words because
JAX computes with 32 bits by default.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, PRNGKeyArray, UInt32

from reweigh.errors import WeightsError


class AliasTable(eqx.Module):
    """Bucket `i` holds row `i` with probability threshold/2^64, else row `alias[i]`."""

    entry: UInt32[Array, "N 3"]
    """High word of the threshold, low word, alias, in one row, so that a draw touches one cache line."""


def build_alias_table(probability: Float64[np.ndarray, " N"]) -> AliasTable:
    """Build a table exact enough that every row's probability can be read back.

    Rows below the average partly fill their own buckets; the rest of those buckets goes to the rows above it,
    in order. Both sides are integer prefix sums, so no rounding accumulates. (Walker 1977. Two vectorized
    binary searches replace the usual two stacks: linear time up to a logarithm.)

    Args:
        probability: `p`, (N,), non-negative, any positive sum; 0 is never drawn.

    Raises:
        WeightsError: a probability is negative or not finite, all are 0, or there are 2^31 or more.
    """
    _check(probability)
    count = len(probability)
    weight = probability / probability.sum() * count
    # Prefix sums of up to N weights of up to N stay below 2^62; 48 bits hide the rounding of equal weights.
    fraction_bits = min(48, 61 - count.bit_length())
    exact = (weight - 1) * 2.0**fraction_bits
    deviation = np.rint(exact).astype(np.int64)
    # Equal weights all round the same way, which adds up: subtract a unit where rounding added most.
    each, left = divmod(int(deviation.sum()), count)
    deviation -= each
    if left:
        deviation[np.argpartition(exact - deviation, left - 1)[:left]] -= 1
    small = np.flatnonzero(deviation < 0)
    large = np.flatnonzero(deviation > 0)  # rows of exactly the mean are in neither
    threshold = np.ones(count)
    alias = np.arange(count, dtype=np.uint32)
    if len(small):
        deficit = np.cumsum(-deviation[small])
        surplus = np.cumsum(deviation[large])
        # Small row j takes from the first large row whose surplus reaches beyond the deficits before j.
        giver = np.searchsorted(surplus, deficit + deviation[small], side="right")
        threshold[small] = weight[small]
        alias[small] = large[np.minimum(giver, len(large) - 1)]
        # A large row that has given more than its surplus is topped up by the next large row.
        taker = np.searchsorted(deficit, surplus[:-1], side="left")
        inside = taker < len(deficit)
        topped = np.flatnonzero(inside)
        remainder = surplus[topped] - deficit[taker[inside]]
        threshold[large[topped]] = 1 + remainder / 2.0**fraction_bits
        alias[large[topped]] = large[topped + 1]
    fixed = np.minimum(threshold * 2.0**64, np.nextafter(2.0**64, 0)).astype(np.uint64)
    full = threshold >= 1
    alias[full] = np.flatnonzero(full)
    entry = np.empty((count, 3), np.uint32)
    entry[:, 0] = fixed >> np.uint64(32)
    entry[:, 1] = fixed & np.uint64(0xFFFFFFFF)
    entry[:, 2] = alias
    return AliasTable(jnp.asarray(entry))


def table_probability(table: AliasTable) -> Float64[np.ndarray, " N"]:
    """The probability of every row under a table, summed in float64, for tests and audits.

    Args:
        table: from `build_alias_table`.
    """
    entry = np.asarray(table.entry)
    own = (entry[:, 0].astype(np.float64) * 2.0**32 + entry[:, 1]) / 2.0**64
    alias = entry[:, 2].astype(np.int64)
    own[alias == np.arange(len(entry))] = 1.0
    return (own + np.bincount(alias, weights=1 - own, minlength=len(entry))) / len(entry)


def draw_indices(
    key: PRNGKeyArray, table: AliasTable | None, count: int, num_rows: int
) -> Int[Array, " {count}"]:
    """Draw rows with replacement; the key is consumed.

    With the same key, a table of equal probabilities draws the same rows as no table.

    Args:
        key: for this draw alone.
        table: the rows' probabilities; None: uniform.
        count: number of draws.
        num_rows: `N`.
    """
    bucket_key, coin_key = jax.random.split(key)
    bucket = jax.random.randint(bucket_key, (count,), 0, num_rows)
    if table is None:
        return bucket
    high, low = jax.random.bits(coin_key, (2, count), jnp.uint32)
    entry = table.entry[bucket]
    keep = (high < entry[:, 0]) | ((high == entry[:, 0]) & (low < entry[:, 1]))
    return jnp.where(keep, bucket, entry[:, 2].astype(bucket.dtype))


def _check(probability: np.ndarray) -> None:
    if probability.ndim != 1 or not len(probability):
        raise WeightsError(f"expected probabilities of shape (N,), but found {probability.shape}.")
    if len(probability) >= 2**31:
        raise WeightsError(f"expected fewer than 2^31 probabilities, but found {len(probability)}.")
    bad = ~(np.isfinite(probability) & (probability >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise WeightsError(
            f"expected finite, non-negative probabilities, but item {row} of {len(probability)} is "
            f"{probability[row]}. Shift or clip the priorities before normalizing them."
        )
    with np.errstate(over="ignore"):
        total = probability.sum()
    if not (0 < total < np.inf):
        raise WeightsError(f"expected probabilities with a positive finite sum, but it is {total}.")
