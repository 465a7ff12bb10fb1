"""The four-armed bandit on which OPER explains itself (arXiv 2306.05412)."""

import numpy as np

from reweigh.datasets.rows import Rows

ARMS = np.array([[0.6, 0.6], [0.6, -0.6], [-0.6, 0.6], [-0.6, -0.6]])
MEAN_REWARDS = np.array([5.0, 1.0, 0.0, -2.0])
ACTION_STD = 0.05
REWARD_STD = 0.25


def bandit_rows(*, rows_per_arm: int = 2500, seed: int = 0) -> Rows:
    """Actions around four arms with rewards around 5, 1, 0 and -2; every row is an episode.

    Args:
        rows_per_arm: transitions of each arm.
        seed: of the noise on actions and rewards.
    """
    rng = np.random.default_rng(seed)
    arm = np.repeat(np.arange(4), rows_per_arm)
    action = ARMS[arm] + ACTION_STD * rng.standard_normal((len(arm), 2))
    reward = MEAN_REWARDS[arm] + REWARD_STD * rng.standard_normal(len(arm))
    order = rng.permutation(len(arm))
    return Rows(
        observation=np.zeros((len(arm), 1), np.float32),
        action=np.clip(action, -1, 1).astype(np.float32)[order],
        reward=reward.astype(np.float32)[order],
        terminal=np.ones(len(arm), bool),
        timeout=np.zeros(len(arm), bool),
        # Every row is a terminal: what follows is never used, but having it keeps the last row.
        next_observation=np.zeros((len(arm), 1), np.float32),
        attributes={"made_by": f"reweigh builtin:bandit, rows_per_arm={rows_per_arm}, seed={seed}"},
    )
