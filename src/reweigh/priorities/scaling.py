"""From weights to probabilities: how uneven priorities may become; one pure function per transform."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from reweigh.errors import ConfigError

_SETTINGS_TRIED = 25  # before bisection, one every half power of ten


def linear_probability(
    weight: Float64[np.ndarray, " N"],
    *,
    std: float | None = None,
    eps: float | None = None,
    eps_max: float | None = None,
    clip_without_std: bool = True,
) -> Float64[np.ndarray, " N"]:
    r"""Shift to 0, normalize, set the standard deviation, clip, normalize.

    .. math:: N p = \min(\max(1 + std z, eps), eps_{max}) / mean, \quad z \text{ the standardized } w

    OPER's `replace_weights` (its TD3+BC code). Without `std` the deviation after the shift is kept.

    Args:
        weight: `w`, any real numbers.
        std: standard deviation of `N p` before clipping, which may reduce it.
        eps: smallest `N p` before the last normalization.
        eps_max: largest `N p` before the last normalization.
        clip_without_std: `eps` and `eps_max` act whenever given, as in OPER's IQL code; False: only together
            with `std`, as in its TD3+BC and Onestep code.

    Raises:
        ConfigError: the result would be negative, because `std` is given without `eps`.
    """
    count = len(weight)
    shifted = weight - weight.min()
    total = shifted.sum()
    if not total > 0:
        return np.full(count, 1 / count)
    q = shifted / total
    if std is not None:
        q = std / (count * q.std()) * (q - 1 / count) + 1 / count
    elif not clip_without_std:
        return q
    if eps is not None:
        q = np.maximum(q, eps / count)
    if eps_max is not None:
        q = np.minimum(q, eps_max / count)
    if q.min() < 0:
        raise ConfigError(
            f"expected non-negative probabilities, but std={std} without eps makes {(q < 0).sum()} of "
            f"{count} negative. Give eps, for example 0.1."
        )
    return _normalized(q, f"std={std}, eps={eps}, eps_max={eps_max}")


def check_bounds(eps: float | None, eps_max: float | None) -> None:
    """Reject bounds that leave no weight, or a single one.

    Args:
        eps: smallest weight.
        eps_max: largest weight.

    Raises:
        ConfigError: `eps_max` is not above `eps` and 0.
    """
    if eps_max is not None and not eps_max > (eps or 0):
        raise ConfigError(f"expected eps_max above eps and 0, but found eps={eps} and eps_max={eps_max}.")


def exponential_probability(
    weight: Float64[np.ndarray, " N"], *, inverse_temperature: float
) -> Float64[np.ndarray, " N"]:
    """`p ∝ exp(λ w / mean|w|)`, computed with the maximum subtracted.

    Args:
        weight: `w`, any real numbers.
        inverse_temperature: `λ`; 0 is uniform.
    """
    scale = np.abs(weight).mean()
    with np.errstate(over="ignore", invalid="ignore"):  # rejected below
        exponent = inverse_temperature * (weight / scale if scale > 0 else weight)
        exponential = np.exp(exponent - exponent.max())
    return _normalized(exponential, f"strength={inverse_temperature}")


def power_probability(weight: Float64[np.ndarray, " N"], *, power: float) -> Float64[np.ndarray, " N"]:
    """`p ∝ w^λ` of non-negative `w`.

    Args:
        weight: `w >= 0`.
        power: `λ >= 0`; 0 is uniform over positive weights, 1 leaves them unchanged.

    Raises:
        ConfigError: a weight is negative, or all are 0.
    """
    if weight.min() < 0 or not weight.max() > 0:
        raise ConfigError("expected non-negative weights, not all 0, for the power transform; shift them.")
    scaled = (weight / weight.max()) ** power
    scaled[weight == 0] = 0
    return _normalized(scaled, f"strength={power}")


def mixture(
    first: Float64[np.ndarray, " N"], second: Float64[np.ndarray, " N"], *, share: float
) -> Float64[np.ndarray, " N"]:
    """`p = m p1 + (1 - m) p2`.

    Args:
        first: `p1`, sums to 1.
        second: `p2`, sums to 1.
        share: `m` in [0, 1]; 1 is `p1` alone.
    """
    return share * first + (1 - share) * second


def ess_fraction(probability: Float64[np.ndarray, " N"]) -> float:
    """Effective sample size over N, `(Σw)^2 / (N Σw^2)`: 1 if uniform, 1/N for a single transition.

    Args:
        probability: at least 0 each, any sum above 0.
    """
    return float(probability.sum() ** 2 / ((probability**2).sum() * len(probability)))


def _normalized(weight: Float64[np.ndarray, " N"], settings: str) -> Float64[np.ndarray, " N"]:
    with np.errstate(over="ignore"):
        total = weight.sum()
    if not 0 < total < np.inf:
        raise ConfigError(f"expected weights with a finite sum above 0, but {settings} gives {total}.")
    return weight / total


def find_setting(
    probability_at: Callable[[float], Float64[np.ndarray, " N"]], target_ess: float, *, rising: bool
) -> float:
    """The setting (a temperature, a standard deviation) at which ESS/N is `target_ess`.

    Bisection on a logarithmic scale between 1e-6 and 1e6.

    Args:
        probability_at: setting -> `p`.
        target_ess: target ESS/N, in (0, 1).
        rising: whether ESS/N rises with the setting (a temperature) or falls (a standard deviation).

    Raises:
        ConfigError: no setting gives it.
    """
    if not 0 < target_ess < 1:
        raise ConfigError(f"expected target_ess strictly between 0 and 1, but found {target_ess}.")
    # From the most even setting on: bounds can make ESS rise again, and the first crossing is the one wanted.
    exponents = np.linspace(-6.0, 6.0, _SETTINGS_TRIED)[:: -1 if rising else 1]
    reached = np.array([ess_fraction(probability_at(10.0**exponent)) for exponent in exponents])
    if not reached.min() <= target_ess <= reached.max():
        raise ConfigError(
            f"expected target_ess between {reached.min():.3g} and {reached.max():.3g}, which this method can "
            f"reach on this dataset, but found {target_ess}."
        )
    crossing = max(int(np.argmax(reached <= target_ess)), 1)
    low, high = sorted(exponents[crossing - 1 : crossing + 1].tolist())
    for _ in range(60):
        middle = (low + high) / 2
        if (ess_fraction(probability_at(10.0**middle)) < target_ess) == rising:
            low = middle
        else:
            high = middle
    return 10.0 ** ((low + high) / 2)
