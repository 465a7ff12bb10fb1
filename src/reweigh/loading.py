"""Datasets as training sees them: actions scaled from their environment's bounds."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from reweigh.datasets.episodes import EpisodeEnds, limit_timeouts
from reweigh.datasets.load import DataConfig, Record, load_record
from reweigh.datasets.load import load as load_with_bounds
from reweigh.errors import ConfigError
from reweigh.evaluation import action_bounds
from reweigh.transitions import Transitions


def load(
    data: str | Path | Mapping[str, np.ndarray],
    *,
    env: str | None = None,
    episode_ends: EpisodeEnds | None = None,
    max_episode_steps: int | None = None,
    clip_actions: bool = False,
) -> Transitions:
    """Read a dataset.

    `.hdf5` files, `d4rl:NAME` and `suite:NAME` always follow D4RL's row rule: timeout rows and the last row
    are no transitions. `.npz` files and arrays that carry `next_observations` keep every row; without them
    they follow D4RL's rule too. `minari:ID` keeps every row.

    Actions are scaled to [-1, 1] from the bounds of the environment; where that is unknown from the record's
    own, or else they are in [-1, 1] already.

    Args:
        data: `file.hdf5`, `file.npz`, `builtin:NAME`, `d4rl:NAME`, `suite:NAME`, `minari:ID`, or arrays by
            D4RL's names (`observations` (M, S), `actions` (M, A), `rewards` (M,), `terminals` (M,),
            optionally `timeouts` (M,), `next_observations` (M, S), `source` (M,)).
        env: environment, over the one that the file names.
        episode_ends: `flags` (terminals and timeouts) or `discontinuity` (terminals and jumps of the state
            by more than 1e-6). None: flags, or discontinuity where every row is kept and there are no
            `timeouts`.
        max_episode_steps: episode limit of a file without `timeouts`, refused for others; None: D4RL's, by
            the file's name or its environment.
        clip_actions: take actions outside the bounds at the bound.

    Raises:
        DatasetError: the data cannot be read or is not a dataset.
        ConfigError: an option has no meaning.
    """
    record = load_record(data)
    options = DataConfig(record.spec, env, episode_ends, max_episode_steps, clip_actions)
    transitions, notes = load_data(options, record=record)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return transitions


def load_data(
    data: DataConfig, *, record: Record | None = None, must_exist: bool = False
) -> tuple[Transitions, tuple[str, ...]]:
    """Load a run's dataset, with notes on what is not known of it.

    Args:
        data: which, and how.
        record: of it, where it has been read already.
        must_exist: the environment, because policies shall be tried in it.

    Raises:
        DatasetError: it cannot be read, or does not fit its environment.
        ConfigError: the environment is not installed, and must be.
    """
    notes: list[str] = []
    known = load_record(data.spec) if record is None else record

    def bounds_of(env: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            return action_bounds(env)
        except ConfigError:
            if must_exist:
                raise
            if known.rows.bounds is not None:
                notes.append(f"{env} cannot be opened: its actions are taken to have the record's bounds.")
                return known.rows.bounds
            notes.append(f"{env} cannot be opened: its actions are taken to lie in [-1, 1].")
            ones = np.ones(known.rows.action.shape[1], np.float32)
            return -ones, ones

    transitions = load_with_bounds(
        known,
        env=data.env,
        episode_ends=data.episode_ends,
        max_episode_steps=data.max_episode_steps,
        bounds_of=bounds_of,
        clip_actions=data.clip_actions,
    )
    limit, terminal = data.max_episode_steps, known.rows.terminal
    if limit is not None and terminal.any() and limit_timeouts(terminal, limit).any():
        notes.append(
            "timeouts are counted as D4RL does, from 1 after a terminal: the time limit after it comes a row "
            "early. Write 'timeouts' into data of your own."
        )
    if transitions.info.num_clipped:
        info = transitions.info
        notes.append(f"{info.num_clipped} of {info.num_rows} rows had actions outside the bounds: clipped.")
    return transitions, tuple(notes)
