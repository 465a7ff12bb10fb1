"""The dataset as the rest of the library sees it: host NumPy, one row per transition.

These are plain frozen dataclasses rather than JAX modules, so that inspecting, weighing and mixing a
dataset never imports JAX.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int8, Int64


@dataclass(frozen=True)
class Episodes:
    """One row per episode with at least one transition, in the order of the file."""

    whole_return: Float64[np.ndarray, " K"]
    """Sum of raw rewards over every recorded row, including rows that are not transitions."""
    kept_return: Float64[np.ndarray, " K"]
    """Sum of raw rewards over the rows that became transitions."""
    whole_length: Int64[np.ndarray, " K"]
    """Recorded rows."""
    kept_length: Int64[np.ndarray, " K"]
    """Rows that became transitions, at least 1."""
    first_observation: Float32[np.ndarray, "K S"]
    terminated: Bool[np.ndarray, " K"]
    """The last recorded row is a terminal."""
    timed_out: Bool[np.ndarray, " K"]
    """The last recorded row is a timeout; where states are compared, the next row begins elsewhere. Neither
    terminated nor this: the record stops in mid-episode."""

    def __len__(self) -> int:
        return len(self.whole_return)


@dataclass(frozen=True)
class DatasetInfo:
    """Where a dataset came from and how its rows were read."""

    spec: str
    """The requested dataset, for example a path."""
    row_rule: str
    """How rows became transitions and episodes; part of the digest."""
    digest: str
    """SHA-256 over the decoded arrays and the row rule."""
    num_rows: int
    """Rows of the record, before the row rule."""
    num_clipped: int
    """Of them, rows whose action lay outside the bounds and was taken at the bound."""
    action_low: Float32[np.ndarray, " A"]
    """An action of -1 in the environment's units."""
    action_high: Float32[np.ndarray, " A"]
    """An action of 1, likewise."""
    env: str | None = None
    """Its environment, if known: a gymnasium ID, one with options, or `d4rl:NAME`."""
    reference: tuple[float, float] | None = None
    """Random and expert return in `env`, if recorded."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """The file's other attributes."""


@dataclass(frozen=True, repr=False)
class Transitions:
    """`N` transitions `(s, a, r, s', d)`, with what else weighting and training need."""

    observation: Float32[np.ndarray, "N S"]
    action: Float32[np.ndarray, "N A"]
    """In [-1, 1]."""
    reward: Float32[np.ndarray, " N"]
    """`raw_reward` after a reward transform, for training."""
    next_observation: Float32[np.ndarray, "N S"]
    """Meaningless where `terminal`: D4RL files hold the next episode's first observation there."""
    next_action: Float32[np.ndarray, "N A"]
    """Action of the following row; meaningless where not `has_next_action`."""
    has_next_action: Bool[np.ndarray, " N"]
    """The following row belongs to the same episode."""
    terminal: Bool[np.ndarray, " N"]
    """The environment ended here, so `V(s') = 0`. A timeout is not a terminal."""
    raw_reward: Float32[np.ndarray, " N"]
    """As recorded; used by weights from returns."""
    raw_index: Int64[np.ndarray, " N"]
    """Row of the record."""
    episode: Int64[np.ndarray, " N"]
    """Row of `episodes`."""
    step: Int64[np.ndarray, " N"]
    """Recorded rows of the same episode before this one."""
    source: Int8[np.ndarray, " N"]
    """1: from the good source of a mix, 0: from the bad one, -1: unknown."""
    episodes: Episodes
    info: DatasetInfo

    def __len__(self) -> int:
        return len(self.reward)

    def __repr__(self) -> str:
        return (
            f"Transitions({self.info.spec!r}: {len(self)} transitions, {len(self.episodes)} episodes, "
            f"observation size {self.observation_size}, action size {self.action_size})"
        )

    def without_matrices(self) -> "Transitions":
        """The same rows with observations and actions of width 0, once the device holds the real ones."""
        nothing = np.zeros((len(self), 0), np.float32)
        return replace(
            self, observation=nothing, action=nothing, next_observation=nothing, next_action=nothing
        )

    @property
    def observation_size(self) -> int:
        """`S`."""
        return self.observation.shape[1]

    @property
    def action_size(self) -> int:
        """`A`."""
        return self.action.shape[1]
