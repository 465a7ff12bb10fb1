"""The sampler strings of the AW and DW papers' scripts -> configs.

`uniform`, `Top-0.1`, `AW-0.1`, `RW-0.1`, `RewW-1.0`; and, alone or after `uniform+`, `AW-0.1+` or `RW-0.1+`,
`DRW-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001`, or `DRW2MaxMinScale-...` for their TD3+BC.
"""

import re
from dataclasses import replace

from reweigh.config import DensityRatio, RebalanceConfig, Resample, Weights
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import AW, RW, RewardWeights, Top, Uniform
from reweigh.rebalance.density_ratio import CONVENTIONS

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_STATIC = re.compile(rf"(uniform|Top|AW|RW|RewW)(?:-({_NUMBER}))?")
_RATIO = re.compile(r"(DRW2?)(MaxMinScale|MaxMin|)-(.*)")
# The letter of each number, in the order that the scripts require.
_FIELDS = {
    "K": "divergence",
    "F": "flow",
    "G": "flow_discount",
    "T": "temperature",
    "C": "clip",
    "L": "learning_rate",
}


def parse_sampler(text: str, algorithm: str) -> RebalanceConfig:
    """The config that a published sampler string describes.

    Args:
        text: as in the authors' scripts.
        algorithm: its name here, whose convention `DRW` follows.

    Raises:
        ConfigError: it has none of these forms.
    """
    first, plus, second = text.partition("+DRW")
    if plus:
        weights = _static(first, text)
        if not isinstance(weights, Uniform | AW | RW):
            raise _error(text, "only uniform, AW and RW stand before +DRW")
        return _ratio("DRW" + second, weights, text, algorithm)
    if text.startswith("DRW"):
        return _ratio(text, Uniform(), text, algorithm)
    return Resample(_static(text, text))


def _static(part: str, text: str) -> Weights:
    match = _STATIC.fullmatch(part)
    if match is None:
        raise _error(text, f"{part!r} is none of uniform, Top-Q, AW-T, RW-T, RewW-T")
    name, number = match.groups()
    if name == "uniform":
        if number is not None:
            raise _error(text, "uniform takes no number")
        return Uniform()
    if number is None:
        raise _error(text, f"{name} needs a number, as in {name}-0.1")
    value = float(number)
    if name == "Top":
        return Top(value)
    return {"AW": AW, "RW": RW, "RewW": RewardWeights}[name](temperature=value)


def _ratio(part: str, weights: Weights, text: str, algorithm: str) -> DensityRatio:
    match = _RATIO.fullmatch(part)
    if match is None:
        raise _error(text, f"{part!r} is not DRW-K.._F.._G.._T.._C.._L..")
    kind, scale, numbers = match.groups()
    parts = numbers.split("_")
    if [part[:1] for part in parts] != list(_FIELDS):
        raise _error(text, f"{numbers!r} does not hold K, F, G, T, C and L in this order")
    values = {}
    for part, field in zip(parts, _FIELDS.values(), strict=True):
        if re.fullmatch(_NUMBER, part[1:]) is None:
            raise _error(text, f"{part[1:]!r} after {part[0]} is not a number")
        values[field] = float(part[1:])
    settings = replace(CONVENTIONS["td3-bc" if kind == "DRW2" else convention_of(algorithm)], **values)
    if scale:
        settings = replace(settings, reward="min-max")
    return DensityRatio(weights, settings)


def convention_of(algorithm: str) -> str:
    """The published convention that an algorithm follows: its own, else IQL's.

    Args:
        algorithm: its name here.
    """
    return algorithm if algorithm in CONVENTIONS else "iql"


def _error(text: str, why: str) -> ConfigError:
    return ConfigError(
        "expected a sampler like AW-0.1, Top-0.1 or uniform+DRW-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001, but found "
        f"{text!r}: {why}."
    )
