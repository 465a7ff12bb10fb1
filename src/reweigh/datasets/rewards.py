"""Reward transforms for training and value learning; weights from returns never see them."""

from dataclasses import replace
from typing import Literal

import numpy as np

from reweigh.transitions import Transitions

RewardTransform = Literal["none", "minus-one", "minus-ten", "return-range", "kept-return-range"]


def transform_reward(transitions: Transitions, transform: RewardTransform) -> Transitions:
    """Replace `reward`, leaving `raw_reward` as recorded.

    `minus-one` is D4RL's convention for AntMaze, `r - 1`. `minus-ten` is OPER's for its bandit: values start
    above every reward, so that no action is judged bad before it is known. `return-range` is IQL's for
    locomotion, `r * 1000 / (max_k G_k - min_k G_k)`; `kept-return-range` sums `G` only over rows that are
    transitions, as its authors' code does.

    Args:
        transitions: the dataset.
        transform: which one.
    """
    raw = transitions.raw_reward
    if transform == "minus-one":
        return replace(transitions, reward=raw - np.float32(1))
    if transform == "minus-ten":
        return replace(transitions, reward=raw - np.float32(10))
    if transform in ("return-range", "kept-return-range"):
        episodes = transitions.episodes
        returns = episodes.whole_return if transform == "return-range" else episodes.kept_return
        span = returns.max() - returns.min()
        # Equal returns have no range to scale by.
        scale = 1000.0 / span if span > 0 else 1.0
        return replace(transitions, reward=(raw * scale).astype(np.float32))
    return replace(transitions, reward=raw)
