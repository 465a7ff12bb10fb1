"""From a dataset's name, file or arrays to `Transitions`."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from reweigh.checks import check_choices, check_count
from reweigh.datasets.bandit import bandit_rows
from reweigh.datasets.d4rl import d4rl_is_here, d4rl_rows, entry_of, is_d4rl
from reweigh.datasets.episodes import EpisodeEnds, limit_timeouts, transitions_from_rows
from reweigh.datasets.files import read_hdf5, read_npz
from reweigh.datasets.minari import MINARI_PREFIX, check_id, is_minari, minari_is_here, minari_rows
from reweigh.datasets.rows import Rows, bounded_actions, checked_rows, rows_digest
from reweigh.datasets.scores import SUITE_PREFIX, limit_of
from reweigh.datasets.suites import d4rl_names, is_suite, suite_of, suite_rows
from reweigh.errors import ConfigError, DatasetError
from reweigh.transitions import DatasetInfo, Transitions

# These follow D4RL's row rule, like any HDF5 file.
SHIPPED = {"hopper-random-expert": Path(__file__).parent / "hopper-random-expert.hdf5"}
BUILTINS = ("bandit", *SHIPPED)


@dataclass(frozen=True)
class DataConfig:
    """Which dataset, and how to read it; `load` explains each option."""

    spec: str
    """`file.hdf5`, `file.npz`, `builtin:NAME`, `d4rl:NAME`, `suite:NAME` or `minari:ID`."""
    env: str | None = None
    """gymnasium ID, one with options as JSON, or `d4rl:NAME`; None: the one that the file names, if any."""
    episode_ends: EpisodeEnds | None = None
    """`flags` (terminals and timeouts) or `discontinuity` (terminals and jumps of the state); None: flags, or
    discontinuity if every row is kept and there are no timeouts."""
    max_episode_steps: int | None = None
    """Episode limit of data without timeouts under D4RL's row rule, rejected for others; None: D4RL's, by
    the file's name or environment."""
    clip_actions: bool = False
    """Clip actions outside the bounds, instead of raising."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        if not isinstance(self.spec, str):
            raise ConfigError(
                f"expected a dataset's name or path as text, but found {type(self.spec).__name__}. Write "
                "arrays to a .npz file first, with numpy.savez."
            )
        check_choices(self)
        if self.max_episode_steps is not None:
            check_count("max_episode_steps", self.max_episode_steps)


@dataclass(frozen=True)
class Record:
    """A dataset's rows, before any row rule."""

    spec: str
    """Its name."""
    rows: Rows
    always_d4rl: bool
    """Whether D4RL's row rule applies, whatever the record holds."""


def load(
    data: str | Path | Mapping[str, np.ndarray] | Record,
    *,
    env: str | None = None,
    episode_ends: EpisodeEnds | None = None,
    max_episode_steps: int | None = None,
    bounds_of: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None,
    clip_actions: bool = False,
) -> Transitions:
    """`reweigh.load` with action bounds from the caller instead of the environment.

    Args:
        data: as for `reweigh.load`, or what `load_record` returned.
        env: as there.
        episode_ends: as there.
        max_episode_steps: as there.
        bounds_of: environment -> lowest and highest action, (A,) each, which become -1 and 1. If it is
            None or the environment is unknown: the record's own bounds, else [-1, 1].
        clip_actions: as there.

    Raises:
        DatasetError: the data cannot be read or is not a dataset.
        ConfigError: an option is invalid.
    """
    record = data if isinstance(data, Record) else load_record(data)
    # Rejects invalid options.
    DataConfig(record.spec, env, episode_ends, max_episode_steps, clip_actions)
    spec, rows = record.spec, record.rows
    if env not in (None, rows.env):
        rows = replace(rows, env=env, reference=None)
    low, high = rows.bounds or (None, None)
    if rows.env is not None and bounds_of is not None:
        low, high = bounds_of(rows.env)
    # The digest covers unscaled actions, so that weights fit whichever environment scales them.
    recorded = rows
    rows, (action_low, action_high), clipped = bounded_actions(
        rows, where=spec, low=low, high=high, clip=clip_actions
    )
    keep_all = rows.next_observation is not None and not record.always_d4rl
    if episode_ends is None:
        episode_ends = "discontinuity" if keep_all and rows.timeout is None else "flags"
    row_rule = f"{'all' if keep_all else 'd4rl'}, episodes by {episode_ends}"
    limit = _limit(spec, rows, keep_all, max_episode_steps)
    if limit is not None:
        row_rule += f", limit {limit}"
        rows = replace(rows, timeout=limit_timeouts(rows.terminal, limit))
    info = DatasetInfo(
        spec=spec,
        row_rule=row_rule,
        digest=rows_digest(recorded, row_rule),
        num_rows=len(rows),
        num_clipped=clipped,
        action_low=action_low,
        action_high=action_high,
        env=rows.env,
        reference=rows.reference,
        attributes=rows.attributes,
    )
    return transitions_from_rows(rows, info, keep_all=keep_all, episode_ends=episode_ends)


def _limit(spec: str, rows: Rows, keep_all: bool, given: int | None) -> int | None:
    """The episode limit that replaces `timeouts`; None: none is needed, or every row is kept."""
    if rows.timeout is None and not keep_all:
        limit = limit_of(Path(spec).name, rows.env) if given is None else given
        if limit is None:
            raise DatasetError(
                f"expected 'timeouts' or a known episode limit, but {spec} has neither. Give the limit with "
                "--max-episode-steps (max_episode_steps=); a number above the row count means no limit."
            )
        return limit
    if given is not None:
        reason = "has 'timeouts'" if rows.timeout is not None else "keeps every row"
        raise DatasetError(
            f"expected no episode limit for a dataset that {reason}, but found {given} for {spec}. Leave out "
            "--max-episode-steps (max_episode_steps=)."
        )
    return None


def plain_name(spec: str) -> str:
    """A dataset's name for files and folders: without folders, ending and colons.

    Args:
        spec: the dataset.
    """
    # The folders of a Minari ID distinguish datasets; those of a path do not.
    name = spec.replace("/", "-") if is_minari(spec) else spec
    name = Path(name.replace(":", "-")).name
    return next((name.removesuffix(end) for end in (".hdf5", ".h5", ".npz") if name.endswith(end)), name)


def needs_download(spec: str) -> bool:
    """Whether loading a dataset would download something.

    Args:
        spec: the dataset.

    Raises:
        ReweighError: there is no such name.
    """
    if is_minari(spec):
        return not minari_is_here(spec.removeprefix(MINARI_PREFIX))
    return not all(map(d4rl_is_here, d4rl_names(spec)))


def is_name(spec: str) -> bool:
    """Whether it stands for a dataset by name, not by path.

    Args:
        spec: what stands for a dataset.
    """
    return spec.startswith("builtin:") or is_d4rl(spec) or is_suite(spec) or is_minari(spec)


def check_name(spec: str) -> None:
    """Reject a name that no dataset of `builtin:`, `d4rl:`, `suite:` or `minari:` can have; nothing is read.

    Args:
        spec: what stands for a dataset; files and others pass.

    Raises:
        DatasetError: no such dataset of `builtin:` or `d4rl:`, or an invalid ID of `minari:`.
        ConfigError: no such dataset of `suite:`.
    """
    kind, colon, name = spec.partition(":")
    known = name in BUILTINS or re.fullmatch(r"bandit-\d{1,10}", name)
    if colon and kind == "builtin" and not known:
        raise DatasetError(f"expected builtin:{' or builtin:'.join(BUILTINS)}, but found {spec!r}.")
    if is_d4rl(spec):
        entry_of(name)
    if is_suite(spec):
        suite_of(name)
    if is_minari(spec):
        check_id(name)


def load_record(data: str | Path | Mapping[str, np.ndarray]) -> Record:
    """Read a dataset, before any row rule.

    Args:
        data: as for `load`.

    Raises:
        DatasetError: the data cannot be read or is not a dataset.
    """
    if not isinstance(data, str | Path | Mapping):
        raise DatasetError(
            f"expected a path, a dataset's name, or a mapping from names to arrays, but found "
            f"{type(data).__name__}. Join episodes to one array a name, with 'timeouts' at their ends."
        )
    if isinstance(data, Mapping):
        arrays = {name: np.asarray(array) for name, array in data.items()}
        return Record("arrays", checked_rows(arrays, where="the arrays"), always_d4rl=False)
    spec = str(data)
    check_name(spec)
    kind, colon, name = spec.partition(":")
    if colon and kind == "builtin":
        if name in SHIPPED:
            return Record(spec, read_hdf5(SHIPPED[name]), True)
        return Record(spec, bandit_rows(seed=int(name.removeprefix("bandit").removeprefix("-") or 0)), False)
    if is_d4rl(spec):
        return Record(spec, d4rl_rows(name), True)
    if is_suite(spec):
        return Record(spec, suite_rows(spec.removeprefix(SUITE_PREFIX)), True)
    if is_minari(spec):
        return Record(spec, minari_rows(name), False)
    path = Path(spec)
    if os.path.isdir(path):  # unlike pathlib, `os.path` returns False for an over-long name
        raise DatasetError(f"expected a file, but {spec} is a folder. Name a .hdf5 or .npz file in it.")
    if path.suffix not in (".hdf5", ".h5", ".npz"):
        raise DatasetError(
            "expected a file ending in .hdf5 or .npz, builtin:NAME, d4rl:NAME, suite:NAME or minari:ID, but "
            f"found {spec!r}. Write D4RL's arrays with h5py or numpy.savez."
        )
    if not os.path.exists(path):
        raise DatasetError(f"expected a dataset at {spec}, but there is no such file. Check the path.")
    if path.suffix == ".npz":
        return Record(spec, read_npz(path), False)
    return Record(spec, read_hdf5(path), True)
