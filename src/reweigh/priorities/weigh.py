"""A method, then the requested scaling: what `reweigh weigh` computes."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from jaxtyping import Float64
from numpy import ndarray

from reweigh.checks import check_choices
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import (
    AW,
    LARGEST,
    RW,
    ReturnMethod,
    RewardWeights,
    Weighting,
    probability_by_return,
)
from reweigh.priorities.oper_a import (
    FromAdvantages,
    agreement_notes,
    average_over_seeds,
    stage_index,
    weighting_by_advantage,
)
from reweigh.priorities.scaling import (
    check_bounds,
    exponential_probability,
    find_setting,
    linear_probability,
    power_probability,
)
from reweigh.transitions import Transitions

Tempered = RW | AW | RewardWeights
"""Methods with a temperature, which can be tuned to a target."""

# The smallest weight when searching for a standard deviation, unless the user sets one (OPER's setting).
_DEFAULT_EPS = 0.1


@dataclass(frozen=True)
class Scaling:
    """How weights are reshaped; all None leaves them as the method gives them."""

    transform: Literal["linear", "exp", "power"] | None = None
    std: float | None = None
    """linear: standard deviation of the mean-1 weights before clipping."""
    eps: float | None = None
    """linear: smallest weight before the last normalization."""
    eps_max: float | None = None
    """linear: largest weight before the last normalization."""
    strength: float | None = None
    """exp, power: `λ`; None: 1."""
    target_ess: float | None = None
    """Find the method's temperature, else the linear std, that gives this ESS/N."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        linear = self.transform == "linear" or (self.transform is None and self.target_ess is not None)
        for name in ("std", "eps", "eps_max"):
            value = getattr(self, name)
            if value is not None and not linear:
                raise ConfigError(f"{name} belongs to the linear transform. Add --transform linear.")
            if value is not None and not 0 <= value <= LARGEST:
                raise ConfigError(f"expected {name} from 0 to {LARGEST:g}, but found {value}.")
        check_bounds(self.eps, self.eps_max)
        if self.strength is not None and not 0 <= self.strength <= LARGEST:
            raise ConfigError(f"expected strength from 0 to {LARGEST:g}, but found {self.strength}.")
        if self.target_ess is not None and not 0 < self.target_ess < 1:
            raise ConfigError(f"expected target_ess strictly between 0 and 1, but found {self.target_ess}.")
        if self.std is not None and self.target_ess is not None:
            raise ConfigError("std and target_ess both fix how uneven the weights are. Give one of them.")
        if self.strength is not None and self.transform not in ("exp", "power"):
            raise ConfigError(
                "strength belongs to the exp and power transforms. Add --transform exp or power."
            )
        if self.target_ess is not None and self.transform in ("exp", "power"):
            raise ConfigError("target_ess finds a temperature or a std. Leave out the transform.")


def weigh(
    transitions: Transitions,
    method: ReturnMethod | FromAdvantages,
    scaling: Scaling | None = None,
    priority: Float64[ndarray, "seeds stages N"] | None = None,
) -> tuple[Weighting, dict[str, Any]]:
    """Probabilities of a method after scaling, and all settings behind them.

    Args:
        transitions: the dataset.
        method: the method and its settings.
        scaling: how the weights are reshaped; for OPER-A, instead of its own std and eps.
        priority: of OPER-A's stages and value seeds.

    Raises:
        ConfigError: no setting reaches the target, or OPER-A's priorities are missing.
        WeightsError: no transition would count.
    """
    scaling = scaling or Scaling()
    settings = asdict(method)
    if isinstance(method, FromAdvantages):
        if priority is None:
            raise ConfigError("expected the learned priorities of oper-a, but found none. Learn them first.")
        settings["iteration"] = stage_index(priority, method) + 1
        if scaling == Scaling():
            return weighting_by_advantage(priority, method), settings
        weight = average_over_seeds(priority[:, stage_index(priority, method)], method.average)
        weighting = Weighting(weight / len(weight), agreement_notes(priority, method))
        settings |= {"std": None, "eps": None, "eps_max": None}
        scaling = _with_own_bounds(scaling, method)
    else:
        weighting = probability_by_return(transitions, method)
    if scaling == Scaling():
        return weighting, settings
    if isinstance(method, Tempered) and scaling.target_ess is not None and scaling.transform is None:
        probability, changed = _at_target_temperature(transitions, method, scaling)
    else:
        probability, changed = reshaped(weighting.probability, scaling)
    return replace(weighting, probability=probability), settings | changed


def _with_own_bounds(scaling: Scaling, method: FromAdvantages) -> Scaling:
    """Fill in OPER-A's own bounds if a target is given without any."""
    if scaling.target_ess is None:
        return scaling
    eps = method.eps if scaling.eps is None else scaling.eps
    eps_max = method.eps_max if scaling.eps_max is None else scaling.eps_max
    return replace(scaling, eps=eps, eps_max=eps_max)


def _at_target_temperature(
    transitions: Transitions, method: Tempered, scaling: Scaling
) -> tuple[Float64[ndarray, " N"], dict[str, Any]]:
    """The method at the temperature that gives the target ESS/N, and that temperature."""
    if scaling.eps is not None or scaling.eps_max is not None:
        raise ConfigError(
            f"target_ess finds the temperature of {method.method}; eps and eps_max belong to the linear "
            "transform. Leave them out, or add --transform linear."
        )
    assert scaling.target_ess is not None

    def at(temperature: float) -> Float64[ndarray, " N"]:
        return probability_by_return(transitions, replace(method, temperature=temperature)).probability

    temperature = find_setting(at, scaling.target_ess, rising=True)
    return at(temperature), {"temperature": temperature}


def reshaped(
    probability: Float64[ndarray, " N"], scaling: Scaling
) -> tuple[Float64[ndarray, " N"], dict[str, Any]]:
    """Probabilities after a transform, and its settings.

    Args:
        probability: `p`, sums to 1.
        scaling: the transform; linear if none is named.

    Raises:
        ConfigError: no setting reaches the target, or the result would not be a probability.
    """
    weight = probability * len(probability)
    strength = 1.0 if scaling.strength is None else scaling.strength
    if scaling.transform == "exp":
        found = exponential_probability(weight, inverse_temperature=strength)
        return found, {"transform": "exp", "strength": strength}
    if scaling.transform == "power":
        return power_probability(weight, power=strength), {"transform": "power", "strength": strength}
    std, eps, eps_max = scaling.std, scaling.eps, scaling.eps_max
    if scaling.target_ess is not None:
        eps = _DEFAULT_EPS if eps is None else eps
        std = find_setting(
            lambda s: linear_probability(weight, std=s, eps=eps, eps_max=eps_max),
            scaling.target_ess,
            rising=False,
        )
    found = linear_probability(weight, std=std, eps=eps, eps_max=eps_max)
    return found, {"transform": "linear", "std": std, "eps": eps, "eps_max": eps_max}
