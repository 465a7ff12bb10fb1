"""Dictionary observations in one fixed order, for datasets and environments alike."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

GOAL_ORDER = ("achieved_goal", "observation", "desired_goal")


def key_order(keys: Iterable[str]) -> list[str]:
    """The order of a dictionary observation's parts in its flat form.

    Goal environments: achieved goal, observation, desired goal. Others: by name.

    Args:
        keys: of the dictionary.
    """
    keys = set(keys)
    return list(GOAL_ORDER) if keys == set(GOAL_ORDER) else sorted(keys)


def flatten(observation: Any) -> np.ndarray:
    """Join the parts of one or many observations along the last axis; an array stays unchanged.

    Args:
        observation: an array (..., S), or a dictionary of observations.

    Raises:
        ValueError: a part is neither, or the parts differ in their number of rows.
    """
    if isinstance(observation, Mapping):
        return np.concatenate([flatten(observation[key]) for key in key_order(observation)], axis=-1)
    array = np.asarray(observation)
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise ValueError(f"expected arrays of numbers, but found {array.dtype} of shape {array.shape}")
    return array
