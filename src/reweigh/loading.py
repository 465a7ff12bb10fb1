"""A run's dataset, with actions scaled from its environment's bounds."""

import numpy as np

from reweigh.config import DataConfig
from reweigh.datasets.load import load, load_rows
from reweigh.errors import ConfigError
from reweigh.evaluation import action_bounds
from reweigh.transitions import Transitions


def load_data(data: DataConfig, *, must_exist: bool) -> tuple[Transitions, tuple[str, ...]]:
    """Load a run's dataset, with actions scaled from its environment's bounds.

    Args:
        data: which.
        must_exist: the environment, because policies shall be tried in it.

    Raises:
        DatasetError: it cannot be read, or does not fit its environment.
        ConfigError: the environment is not installed, and must be.
    """
    notes: list[str] = []

    def bounds_of(env: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            return action_bounds(env)
        except ConfigError:
            if must_exist:
                raise
            if rows.bounds is not None:
                notes.append(f"{env} is not installed: its actions are taken to have the record's bounds.")
                return rows.bounds
            notes.append(f"{env} is not installed: its actions are taken to lie in [-1, 1].")
            ones = np.ones(rows.action.shape[1], np.float32)
            return -ones, ones

    _, rows, _ = loaded = load_rows(data.spec)
    transitions = load(
        loaded,
        env=data.env,
        episode_ends=data.episode_ends,
        max_episode_steps=data.max_episode_steps,
        bounds_of=bounds_of,
        clip_actions=data.clip_actions,
    )
    return transitions, tuple(notes)
