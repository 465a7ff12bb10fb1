"""Closed-form probabilities from returns (OPER-R, RW, AW, Top-q) or rewards; and two controls.

Returns are sums of raw rewards over whole episodes, unless the settings say otherwise (`docs/weights.md`).
Functions ending in `_probability` return `p` of shape (N,), float64, with sum 1, and notes on any fallback.
"""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int8, Int64

from reweigh.checks import check_range, is_integer, require
from reweigh.errors import ConfigError, WeightsError
from reweigh.transitions import Episodes, Transitions

# Settings beyond this, or below its reciprocal, make differences too small for floating point.
LARGEST = 1e9


@dataclass(frozen=True)
class Uniform:
    """The same weight for every transition."""

    method: ClassVar[str] = "uniform"


@dataclass(frozen=True)
class FromReturns:
    """How returns are computed, for every method that uses them."""

    kept_rows_only: bool = field(default=False, kw_only=True)
    """Sum only rows that are transitions, as OPER's code and the IQL code of AW and DW do."""
    reward_shift: float = field(default=0.0, kw_only=True)
    """Added to every reward before the sum; -1 in the AW authors' IQL code on AntMaze."""
    by_length: bool = field(default=False, kw_only=True)
    """Divide returns by episode length, for datasets of cut segments."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        if not abs(self.reward_shift) <= LARGEST:
            raise ConfigError(
                f"expected reward_shift from {-LARGEST:g} to {LARGEST:g}, but found {self.reward_shift}."
            )


@dataclass(frozen=True)
class OperR(FromReturns):
    """Proportional to the episode's return (OPER, arXiv 2306.05412, Section 4)."""

    base: float = 0.0
    """Added to the min-max return, so that the worst episode counts too (AntMaze: 0.2)."""
    inverse: bool = False
    """Prefer low returns instead (a control)."""

    method: ClassVar[str] = "oper-r"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        if not 0 <= self.base <= LARGEST:
            raise ConfigError(f"expected base from 0 to {LARGEST:g}, but found {self.base}.")


@dataclass(frozen=True)
class RW(FromReturns):
    """Softmax of the min-max episode return (arXiv 2306.13085)."""

    temperature: float = 0.1
    """`T > 0` divides; towards 0 only the best episode counts, towards infinity all count equally."""

    method: ClassVar[str] = "rw"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class AW(FromReturns):
    """RW of the return minus its prediction from the first state (arXiv 2306.13085)."""

    temperature: float = 0.1
    """`T > 0` divides; 0.1 for IQL and TD3+BC, 0.2 for CQL in the paper."""
    guard: bool = field(default=True, kw_only=True)
    """Fall back to RW if residuals are noise: with fewer than S + 2 episodes, or only by rounding."""

    method: ClassVar[str] = "aw"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class Top(FromReturns):
    """Only the episodes of highest return, uniform over their transitions (as in "10%-BC")."""

    fraction: float = 0.1
    """Share of episodes, in (0, 1]; at least one episode is kept."""

    method: ClassVar[str] = "top"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        check_range(self, "in (0, 1]", "fraction")


@dataclass(frozen=True)
class RewardWeights:
    """Softmax of each transition's min-max reward."""

    temperature: float = 0.1
    """`T > 0` divides."""

    method: ClassVar[str] = "reward"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        _check_temperature(self.temperature)


@dataclass(frozen=True)
class Shuffled(AW):
    """AW's weights on other episodes: as uneven as AW's, but without its information (a control)."""

    permutation_seed: int = 0
    """Seed of the episodes' order, at least 0."""

    method: ClassVar[str] = "shuffled"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        usable = is_integer(self.permutation_seed) and self.permutation_seed >= 0
        require(usable, "permutation_seed", "of at least 0", self.permutation_seed)


@dataclass(frozen=True)
class Oracle:
    """Only the rows of a mix's good source, which only its maker knows (a control)."""

    method: ClassVar[str] = "oracle"


ReturnMethod = Uniform | OperR | RW | AW | Top | RewardWeights | Shuffled | Oracle


@dataclass(frozen=True)
class Weighting:
    """Probabilities, with notes on how they were made."""

    probability: Float64[np.ndarray, " N"]
    notes: tuple[str, ...] = field(default=())
    """Fallbacks taken, to show as warnings."""


def probability_by_return(transitions: Transitions, method: ReturnMethod) -> Weighting:
    """Compute `p` of every transition.

    Args:
        transitions: the dataset; `raw_reward` and `episodes` are used, never the transformed reward.
        method: the method, with its settings.

    Raises:
        WeightsError: no transition would count, or a probability is not finite.
        ConfigError: the method is none of these.
    """
    if not isinstance(method, ReturnMethod):
        raise ConfigError(
            f"expected weights from returns, as AW(), but found {type(method).__name__}. Others are "
            "computed by reweigh weigh, or in train."
        )
    episode, count = transitions.episode, len(transitions)
    match method:
        case Uniform():
            return Weighting(_uniform(count))
        case RewardWeights():
            x = min_max(transitions.raw_reward.astype(np.float64))
            if x is None:
                return Weighting(_uniform(count), ("all rewards are equal: uniform weights.",))
            return Weighting(softmax(x / method.temperature))
        case Oracle():
            return oracle_probability(transitions.source)
    returns = episode_returns(transitions.episodes, method)
    match method:
        case OperR():
            return oper_r_probability(returns[episode], base=method.base, inverse=method.inverse)
        case RW():
            return rw_probability(returns[episode], temperature=method.temperature)
        case Top():
            return top_probability(returns, episode, fraction=method.fraction)
        case AW():
            weighting = aw_probability(
                returns,
                transitions.episodes.first_observation,
                episode,
                temperature=method.temperature,
                guard=method.guard,
            )
    if not isinstance(method, Shuffled):
        return weighting
    shuffled = shuffle_over_episodes(weighting.probability, episode, seed=method.permutation_seed)
    return replace(weighting, probability=shuffled)


def episode_returns(episodes: Episodes, options: FromReturns) -> Float64[np.ndarray, " K"]:
    """`G_k` of every episode, by the options.

    Args:
        episodes: K episodes, with returns over kept rows and over all recorded rows.
        options: which of the two, a shift of every reward, and whether to divide by length.
    """
    returns = episodes.kept_return if options.kept_rows_only else episodes.whole_return
    lengths = episodes.kept_length if options.kept_rows_only else episodes.whole_length
    returns = returns + options.reward_shift * lengths
    return returns / lengths if options.by_length else returns


def oper_r_probability(
    returns: Float64[np.ndarray, " N"], *, base: float = 0.0, inverse: bool = False
) -> Weighting:
    r"""OPER-R.

    .. math:: p_i ∝ (G_{k(i)} - \min G) / (\max G - \min G) + base

    Args:
        returns: `G` of each transition's episode.
        base: what the worst episode gets; the best gets `1 + base`.
        inverse: use `1 - (...) + base` instead.
    """
    x = min_max(returns)
    if x is None:
        return Weighting(_uniform(len(returns)), ("all episode returns are equal: uniform weights.",))
    share = (1 - x if inverse else x) + base
    return Weighting(share / share.sum())


def rw_probability(returns: Float64[np.ndarray, " N"], *, temperature: float) -> Weighting:
    r"""RW.

    .. math:: p_i = \mathrm{softmax}_i(x_{k(i)} / T), \quad x = \mathrm{minmax}(G)

    The softmax runs over transitions, so a long episode gets more of the total.

    Args:
        returns: `G` of each transition's episode.
        temperature: `T`.
    """
    x = min_max(returns)
    if x is None:
        return Weighting(_uniform(len(returns)), ("all episode returns are equal: uniform weights.",))
    return Weighting(softmax(x / temperature))


def aw_probability(
    returns: Float64[np.ndarray, " K"],
    first_observation: np.ndarray,
    episode: np.ndarray,
    *,
    temperature: float,
    guard: bool = True,
) -> Weighting:
    """AW: RW of `A_k = G_k - v(s_k0)`, with `v` the least-squares fit of `G` on the first state.

    Args:
        returns: `G` of each episode.
        first_observation: `s_k0`, (K, S).
        episode: row of `returns` of each transition, (N,).
        temperature: `T`.
        guard: fall back to RW with fewer than S + 2 episodes, because least squares then interpolates and
            residuals are noise, or if residuals are only rounding.
    """
    count, size = first_observation.shape
    if guard and (returns.max() == returns.min()):
        return rw_probability(returns[episode], temperature=temperature)
    if guard and count < size + 2:
        fallback = rw_probability(returns[episode], temperature=temperature)
        note = (
            f"AW needs at least {size + 2} episodes to predict returns from {size} observations, "
            f"but there are {count}: RW weights."
        )
        return Weighting(fallback.probability, (note, *fallback.notes))
    residual = return_residual(returns, first_observation)
    if guard and np.ptp(residual) <= 1e-9 * np.ptp(returns):
        fallback = rw_probability(returns[episode], temperature=temperature)
        note = "first observations predict every return exactly, nothing is left for AW: RW weights."
        return Weighting(fallback.probability, (note, *fallback.notes))
    return rw_probability(residual[episode], temperature=temperature)


def return_residual(
    returns: Float64[np.ndarray, " K"], first_observation: np.ndarray
) -> Float64[np.ndarray, " K"]:
    """`G - v(s_0)`, `v` by ordinary least squares with intercept (minimum norm if underdetermined).

    Args:
        returns: `G`.
        first_observation: `s_0` of each episode, (K, S).
    """
    states = first_observation.astype(np.float64)
    states = states - states.mean(axis=0)
    # The fit does not depend on the columns' scales, but rounding does: small columns would count as empty.
    scale = np.abs(states).max(axis=0)
    states = states / np.where(scale > 0, scale, 1)
    centered = returns - returns.mean()
    slope, *_ = np.linalg.lstsq(states, centered, rcond=None)
    return centered - states @ slope


def top_probability(returns: Float64[np.ndarray, " K"], episode: np.ndarray, *, fraction: float) -> Weighting:
    """The `max(1, int(K q))` episodes of highest return, uniform over their transitions.

    Among equal returns, earlier episodes come first. The product is rounded down as floating point
    gives it, as in the authors' code: 0.29 of 100 episodes are 28.

    Args:
        returns: `G` of each episode.
        episode: row of `returns` of each transition, (N,).
        fraction: `q`.
    """
    kept = max(1, int(len(returns) * fraction))
    best = np.zeros(len(returns), bool)
    best[np.argsort(-returns, kind="stable")[:kept]] = True
    chosen = best[episode].astype(np.float64)
    notes = ()
    if len(returns) > kept and returns.min() == returns.max():
        notes = ("all episode returns are equal: the first episodes of the file are kept.",)
    return Weighting(chosen / chosen.sum(), notes)


def oracle_probability(source: Int8[np.ndarray, " N"]) -> Weighting:
    """Uniform over the rows of the good source, 0 elsewhere.

    Args:
        source: 1 good, 0 bad, -1 unknown.

    Raises:
        WeightsError: no row is known to be good.
    """
    good = (source == 1).astype(np.float64)
    if not good.any():
        raise WeightsError(
            "expected rows labeled as of the good source, which `oracle` weighs, but found none. Use a file "
            "that `reweigh mix` made."
        )
    return Weighting(good / good.sum())


def shuffle_over_episodes(
    probability: Float64[np.ndarray, " N"], episode: Int64[np.ndarray, " N"], *, seed: int
) -> Float64[np.ndarray, " N"]:
    """The same probabilities, assigned to the episodes in a random order.

    No number changes, so ESS and every other measure of unevenness stay exactly the same; giving each
    episode another one's weight would change them if lengths differ.

    Args:
        probability: in the order of rows, (N,).
        episode: of each row; each episode's rows are consecutive.
        seed: of the order.
    """
    order = np.random.default_rng(seed).permutation(episode.max() + 1)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    shuffled = np.empty_like(probability)
    shuffled[np.argsort(rank[episode], kind="stable")] = probability
    return shuffled


def min_max(x: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"] | None:
    """`(x - min x) / (max x - min x)`; None: all are equal.

    Args:
        x: any numbers.
    """
    low, high = x.min(), x.max()
    if not high > low:
        return None
    return (x - low) / (high - low)


def softmax(x: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Softmax with the maximum subtracted.

    Args:
        x: any finite numbers.

    Raises:
        WeightsError: a probability is not finite.
    """
    exponential = np.exp(x - x.max())
    total = exponential.sum()
    if not np.isfinite(total):
        raise WeightsError(
            "expected finite exponents for a softmax, but found others. Raise the temperature."
        )
    return exponential / total


def _uniform(count: int) -> Float64[np.ndarray, " N"]:
    return np.full(count, 1 / count)


def _check_temperature(temperature: float) -> None:
    if not 1 / LARGEST <= temperature <= LARGEST:
        raise ConfigError(
            f"expected temperature above 0, from {1 / LARGEST:g} to {LARGEST:g}, but found {temperature}."
        )
