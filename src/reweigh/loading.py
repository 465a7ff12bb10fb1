"""Datasets as training uses them: with actions scaled by their environment's bounds."""

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
    are not transitions. `.npz` files and arrays with `next_observations` keep every row; without them they
    follow D4RL's rule too. `minari:ID` keeps every row.

    Actions are scaled to [-1, 1] from the environment's bounds; if these are unknown, from the record's own;
    else they must be in [-1, 1] already.

    Args:
        data: `file.hdf5`, `file.npz`, `builtin:NAME`, `d4rl:NAME`, `suite:NAME`, `minari:ID`, or arrays by
            D4RL's names (`observations` (M, S), `actions` (M, A), `rewards` (M,), `terminals` (M,),
            optionally `timeouts` (M,), `next_observations` (M, S), `source` (M,)).
        env: environment, instead of the file's.
        episode_ends: `flags` (terminals and timeouts) or `discontinuity` (terminals and jumps of the state
            by more than 1e-6). None: flags, or discontinuity if every row is kept and there are no
            `timeouts`.
        max_episode_steps: episode limit of data without `timeouts` under D4RL's rule, rejected for others;
            None: D4RL's, by the file's name or environment.
        clip_actions: clip actions outside the bounds, instead of raising.

    Raises:
        DatasetError: the data cannot be read or is not a dataset.
        ConfigError: an option is invalid.
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
    """Load a run's dataset, with notes on bounds, timeouts and clipping.

    Args:
        data: which dataset, and how to read it.
        record: its record, if already read.
        must_exist: whether the environment must be installed, for evaluation.

    Raises:
        DatasetError: it cannot be read, or does not fit its environment.
        ConfigError: the environment must be installed, but is not; or an option is invalid.
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
