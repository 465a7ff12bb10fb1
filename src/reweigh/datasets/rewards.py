"""Changes of the reward that training applies; weights never see them."""

from dataclasses import replace
from typing import Literal

import numpy as np

from reweigh.transitions import Transitions

RewardTransform = Literal["none", "minus-one", "minus-ten", "return-range"]


def transform_reward(
    transitions: Transitions, transform: RewardTransform, *, kept_rows_only: bool = False
) -> Transitions:
    """Replace `reward`, leaving `raw_reward` as recorded.

    `minus-one` is D4RL's convention for AntMaze, `r - 1`. `minus-ten` is OPER's for its bandit: values start
    above every reward, so that no action is taken for bad before it is known. `return-range` is that of IQL
    for locomotion, `r * 1000 / (max_k G_k - min_k G_k)`.

    Args:
        transitions: the dataset.
        transform: which one.
        kept_rows_only: `G` sums only rows that are transitions, as the authors' code does.
    """
    raw = transitions.raw_reward
    if transform == "minus-one":
        return replace(transitions, reward=raw - np.float32(1))
    if transform == "minus-ten":
        return replace(transitions, reward=raw - np.float32(10))
    if transform == "return-range":
        episodes = transitions.episodes
        returns = episodes.kept_return if kept_rows_only else episodes.whole_return
        span = returns.max() - returns.min()
        # A dataset of equal returns has no range to scale by.
        scale = 1000.0 / span if span > 0 else 1.0
        return replace(transitions, reward=(raw * scale).astype(np.float32))
    return replace(transitions, reward=raw)
