"""Rows as recorded, and the checks that every dataset passes before anything else sees it."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8

from reweigh.errors import DatasetError

NAMES = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations", "source")
REQUIRED = ("observations", "actions", "rewards", "terminals")

# float32 rounding of an action that was exactly on the bound.
_BOUND_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rows:
    """`M` recorded environment steps, in order."""

    observation: Float32[np.ndarray, "M S"]
    action: Float32[np.ndarray, "M A"]
    reward: Float32[np.ndarray, " M"]
    terminal: Bool[np.ndarray, " M"]
    timeout: Bool[np.ndarray, " M"] | None = None
    """None: not recorded."""
    next_observation: Float32[np.ndarray, "M S"] | None = None
    source: Int8[np.ndarray, " M"] | None = None
    env: str | None = None
    bounds: tuple[Float32[np.ndarray, " A"], Float32[np.ndarray, " A"]] | None = None
    """Lowest and highest action, if recorded."""
    reference: tuple[float, float] | None = None
    """Random and expert return in `env`, if recorded."""
    attributes: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.reward)


def checked_rows(
    arrays: dict[str, np.ndarray], *, where: str, env: str | None = None, attributes: dict | None = None
) -> Rows:
    """Turn decoded arrays with D4RL's names into `Rows`, or raise a one-line error.

    Args:
        arrays: D4RL's names -> arrays; `timeouts`, `next_observations` and `source` are optional.
        where: the file's name, for messages.
        env: gymnasium ID, if the file names one.
        attributes: the file's other attributes.

    Raises:
        DatasetError: a key is missing, a shape, length or type is wrong, or a number is not finite.
    """
    missing = [name for name in REQUIRED if name not in arrays]
    if missing:
        raise DatasetError(
            f"expected the keys {', '.join(REQUIRED)}, but {', '.join(map(repr, missing))} "
            f"{'is' if len(missing) == 1 else 'are'} missing in {where} "
            f"(found: {', '.join(map(repr, sorted(arrays))) or 'none'}). Rename the arrays or add them."
        )
    observation = _matrix(arrays["observations"], "observations", where)
    count = len(observation)
    fewest = 1 if "next_observations" in arrays else 2
    if count < fewest:
        raise DatasetError(
            f"expected at least {fewest} rows, but {where} has {count}. "
            "A row without a next observation is not a transition: record a longer episode."
        )
    columns = {
        "action": _matrix(arrays["actions"], "actions", where),
        "reward": _vector(arrays["rewards"], "rewards", where),
        "terminal": _flags(arrays["terminals"], "terminals", where),
        "timeout": _flags(arrays["timeouts"], "timeouts", where) if "timeouts" in arrays else None,
        "next_observation": (
            _matrix(arrays["next_observations"], "next_observations", where)
            if "next_observations" in arrays
            else None
        ),
        "source": _labels(arrays["source"], where) if "source" in arrays else None,
    }
    for name, column in columns.items():
        if column is not None and len(column) != count:
            recorded = name if name == "source" else f"{name}s"
            raise DatasetError(
                f"expected {count} rows as in 'observations', but '{recorded}' has {len(column)} in {where}. "
                "All arrays must have one row a step."
            )
    following = columns["next_observation"]
    if following is not None and following.shape[1] != observation.shape[1]:
        raise DatasetError(
            f"expected next_observations of width {observation.shape[1]} as in 'observations', "
            f"but found {following.shape[1]} in {where}."
        )
    return Rows(observation=observation, env=env, attributes=attributes or {}, **columns)


def bounded_actions(
    rows: Rows,
    *,
    where: str,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    clip: bool = False,
) -> tuple[Rows, tuple[Float32[np.ndarray, " A"], Float32[np.ndarray, " A"]], int]:
    """Scale actions from `[low, high]` to [-1, 1]; reject those outside unless `clip`.

    Args:
        rows: as recorded.
        where: the file's name, for messages.
        low: lower bound of each action dimension, (A,); None: -1.
        high: upper bound, (A,); None: 1.
        clip: clip actions outside, instead of raising.

    Returns:
        The rows, the bounds that -1 and 1 stand for, and how many rows were clipped.

    Raises:
        DatasetError: actions lie outside and `clip` is false, or the bounds are unusable.
    """
    action = rows.action
    if low is not None and high is not None:
        low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        fits = low.shape == high.shape == (action.shape[1],)
        if not (fits and np.isfinite(high - low).all() and (low < high).all()):
            raise DatasetError(
                f"expected finite action bounds of {action.shape[1]} dimensions, as in {where}, but the "
                f"environment has {low.shape[0] if low.ndim == 1 else low.shape} dimensions, or an unbounded "
                "or empty one. Name the right environment with --env."
            )
        if (low != -1).any() or (high != 1).any():
            action = ((action - low) / (high - low) * 2 - 1).astype(np.float32)
    outside = (np.abs(action) > 1 + _BOUND_TOLERANCE).any(axis=1)
    if outside.any() and not clip:
        why = "Are they in their environment's unit" if low is None else "Is it another environment"
        if (action == np.round(action)).all():
            why = f"Whole numbers look like discrete actions, which are not supported. If not: {why.lower()}"
        raise DatasetError(
            f"expected actions in [-1, 1], but {outside.sum()} of {len(action)} rows lie outside "
            f"(largest magnitude {np.abs(action).max():.6g}) in {where}. {why}? Name it with --env (env=), "
            "or take a few stray ones at the bound with --clip-actions (clip_actions=True)."
        )
    ones = np.ones(action.shape[1], np.float32)
    bounds = (
        -ones if low is None else low.astype(np.float32),
        ones if high is None else high.astype(np.float32),
    )
    return replace(rows, action=np.clip(action, -1, 1)), bounds, int(outside.sum())


def rows_digest(rows: Rows, row_rule: str) -> str:
    """SHA-256 over the decoded arrays, in fixed order and type, and the row rule.

    Args:
        rows: as recorded, before actions are clipped or scaled.
        row_rule: which of them are transitions.
    """
    digest = hashlib.sha256()
    for name in ("observation", "action", "reward", "terminal", "timeout", "next_observation", "source"):
        column = getattr(rows, name)
        if column is None:
            digest.update(f"{name}:absent;".encode())
        else:
            digest.update(f"{name}:{column.dtype.str}{column.shape};".encode())
            digest.update(np.ascontiguousarray(column).data)
    digest.update(row_rule.encode())
    return digest.hexdigest()


def _numbers(array: np.ndarray, name: str, where: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "fiub":
        raise DatasetError(f"expected numbers in '{name}', but found type {array.dtype} in {where}.")
    return array


def _finite(array: np.ndarray, name: str, where: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(array).all():
        bad = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise DatasetError(
            f"expected finite numbers in '{name}', but {bad.sum()} rows hold NaN or infinity "
            f"(the first is row {int(bad.argmax())}) in {where}. Repair or drop their episodes."
        )
    return array


def _matrix(array: np.ndarray, name: str, where: str) -> Float32[np.ndarray, "M D"]:
    array = _numbers(array, name, where)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DatasetError(
            f"expected '{name}' of shape (rows, width), but found {array.shape} in {where}. Reshape it, if "
            "it is neither images nor discrete actions, which are not supported."
        )
    return _finite(array, name, where)


def _column(array: np.ndarray, name: str, where: str) -> np.ndarray:
    array = _numbers(array, name, where)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DatasetError(f"expected '{name}' of shape (rows,), but found {array.shape} in {where}.")
    return array


def _vector(array: np.ndarray, name: str, where: str) -> Float32[np.ndarray, " M"]:
    return _finite(_column(array, name, where), name, where)


def _flags(array: np.ndarray, name: str, where: str) -> Bool[np.ndarray, " M"]:
    array = _column(array, name, where)
    if array.dtype != bool and not np.isin(array, (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(array, (0, 1)))[0])
        raise DatasetError(
            f"expected 0 or 1 in '{name}', but row {row} is {array[row]:g} in {where}. Repair the array."
        )
    return np.ascontiguousarray(array, dtype=bool)


def _labels(array: np.ndarray, where: str) -> Int8[np.ndarray, " M"]:
    array = _column(array, "source", where)
    if not np.isin(array, (-1, 0, 1)).all():
        raise DatasetError(
            f"expected 1 (good), 0 (bad) or -1 (unknown) in 'source', but found other numbers in {where}."
        )
    return np.ascontiguousarray(array, dtype=np.int8)
