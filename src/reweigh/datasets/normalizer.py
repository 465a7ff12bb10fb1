"""The one place where observations are normalized, for training and for acting."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

# Keeps constant dimensions finite.
_FLOOR = 1e-3


@dataclass(frozen=True)
class Normalizer:
    """`(s - mean) / scale`, with statistics of `s` that also serve for `s'`."""

    mean: Float32[np.ndarray, " S"]
    scale: Float32[np.ndarray, " S"]

    def __call__(self, observation: Float32[np.ndarray, "*B S"]) -> Float32[np.ndarray, "*B S"]:
        """Normalize observations of any leading shape."""
        return (observation - self.mean) / self.scale


def fit_normalizer(observation: Float32[np.ndarray, "N S"]) -> Normalizer:
    """Mean and population standard deviation plus 1e-3 (Section 5 of TD3+BC, arXiv 2106.06860).

    Args:
        observation: `s` of every transition.
    """
    mean = observation.mean(axis=0, dtype=np.float64)
    scale = observation.std(axis=0, dtype=np.float64) + _FLOOR
    return Normalizer(mean=mean.astype(np.float32), scale=scale.astype(np.float32))


def identity_normalizer(size: int) -> Normalizer:
    """Leave observations of `size` numbers unchanged."""
    return Normalizer(mean=np.zeros(size, np.float32), scale=np.ones(size, np.float32))
