"""One verb: from what a user names, or holds in memory, to `Transitions`."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from reweigh.checks import check_count
from reweigh.datasets.bandit import bandit_rows
from reweigh.datasets.d4rl import d4rl_rows, is_d4rl
from reweigh.datasets.episodes import EpisodeEnds, transitions_from_rows
from reweigh.datasets.files import read_hdf5, read_npz
from reweigh.datasets.minari import is_minari, minari_rows
from reweigh.datasets.rows import Rows, bounded_actions, checked_rows, rows_digest
from reweigh.datasets.scores import SUITE_PREFIX, limit_of
from reweigh.datasets.suites import is_suite, suite_rows
from reweigh.errors import ConfigError, DatasetError
from reweigh.transitions import Transitions

# A file follows D4RL's row rule, as it would under its own path.
SHIPPED = {"hopper-random-expert": Path(__file__).parent / "hopper-random-expert.hdf5"}
BUILTINS = ("bandit", *SHIPPED)


def load(
    data: str | Path | Mapping[str, np.ndarray] | tuple[str, Rows, bool],
    *,
    env: str | None = None,
    episode_ends: EpisodeEnds | None = None,
    max_episode_steps: int | None = None,
    bounds_of: Callable[[str], tuple[np.ndarray, np.ndarray]] | None = None,
    clip_actions: bool = False,
) -> Transitions:
    """Read a dataset.

    `.hdf5` files, `d4rl:NAME` and `suite:NAME` always follow D4RL's row rule: time-out rows and the last row
    are no transitions. `.npz` files and arrays that carry `next_observations` keep every row; without them
    they follow D4RL's rule too. `minari:ID` keeps every row.

    Args:
        data: `file.hdf5`, `file.npz`, `builtin:NAME`, `d4rl:NAME`, `suite:NAME`, `minari:ID`, or arrays by
            D4RL's names (`observations` (M, S), `actions` (M, A), `rewards` (M,), `terminals` (M,),
            optionally `timeouts` (M,), `next_observations` (M, S), `source` (M,)); or what `load_rows`
            returned.
        env: environment, over the one that the file names.
        episode_ends: `flags` (terminals and time-outs) or `discontinuity` (terminals and jumps of the state
            by more than 1e-6). None: flags, or discontinuity where every row is kept and there are no
            `timeouts`.
        max_episode_steps: episode limit of a file without `timeouts`; None: D4RL's, by the file's name or
            its environment.
        bounds_of: environment -> lowest and highest action, (A,) each, asked where the environment is
            known; actions are scaled from there to [-1, 1]. None: from the record's own bounds, or else they
            are in [-1, 1] already.
        clip_actions: take actions outside the bounds at the bound.

    Raises:
        DatasetError: the data cannot be read or is no dataset.
        ConfigError: an option has no meaning.
    """
    if episode_ends not in (None, "flags", "discontinuity"):
        raise ConfigError(f"expected episode_ends 'flags' or 'discontinuity', but found {episode_ends!r}.")
    if max_episode_steps is not None:
        check_count("max_episode_steps", max_episode_steps)
    spec, rows, always_d4rl = data if isinstance(data, tuple) else load_rows(data)
    if env not in (None, rows.env):
        rows = replace(rows, env=env, reference=None)
    low, high = rows.bounds or (None, None)
    if rows.env is not None and bounds_of is not None:
        low, high = bounds_of(rows.env)
    # The digest is of the record, so that weights fit whichever environment scales its actions.
    recorded = rows
    rows, bounds = bounded_actions(rows, where=spec, low=low, high=high, clip=clip_actions)
    keep_all = rows.next_observation is not None and not always_d4rl
    if episode_ends is None:
        episode_ends = "discontinuity" if keep_all and rows.timeout is None else "flags"
    limit = max_episode_steps
    if rows.timeout is None and not keep_all:
        if limit is None:
            limit = limit_of(Path(spec).name, rows.env)
        if limit is None:
            raise DatasetError(
                f"expected 'timeouts' or a known episode limit, but {spec} has neither. Give the limit with "
                "--max-episode-steps (max_episode_steps=); a number above the row count means no limit."
            )
    row_rule = f"{'all' if keep_all else 'd4rl'}, episodes by {episode_ends}"
    if rows.timeout is None and not keep_all:
        row_rule += f", limit {limit}"
    return transitions_from_rows(
        rows,
        spec=spec,
        keep_all=keep_all,
        digest=rows_digest(recorded, row_rule),
        row_rule=row_rule,
        episode_ends=episode_ends,
        max_episode_steps=limit,
        action_bounds=bounds,
    )


def plain_name(spec: str) -> str:
    """What a dataset is called in the names of files and folders: without folders, ending and colons.

    Args:
        spec: of a dataset.
    """
    # The folders of a Minari ID tell datasets apart; those of a path do not.
    name = spec.replace("/", "-") if is_minari(spec) else spec
    name = Path(name.replace(":", "-")).name
    return next((name.removesuffix(end) for end in (".hdf5", ".h5", ".npz") if name.endswith(end)), name)


def load_rows(data: str | Path | Mapping[str, np.ndarray]) -> tuple[str, Rows, bool]:
    """The record before any row rule: its name, its rows, and whether D4RL's rule always applies.

    Args:
        data: as for `load`.

    Raises:
        DatasetError: the data cannot be read or is no dataset.
    """
    if isinstance(data, Mapping):
        arrays = {name: np.asarray(array) for name, array in data.items()}
        return "arrays", checked_rows(arrays, where="the arrays"), False
    spec = str(data)
    kind, colon, name = spec.partition(":")
    if colon and kind == "builtin":
        if name not in BUILTINS and not re.fullmatch(r"bandit-\d{1,10}", name):
            raise DatasetError(f"expected builtin:{' or builtin:'.join(BUILTINS)}, but found {spec!r}.")
        if name in SHIPPED:
            return spec, read_hdf5(SHIPPED[name]), True
        return spec, bandit_rows(seed=int(name.removeprefix("bandit").removeprefix("-") or 0)), False
    if is_d4rl(spec):
        return spec, d4rl_rows(name), True
    if is_suite(spec):
        return spec, suite_rows(spec.removeprefix(SUITE_PREFIX)), True
    if is_minari(spec):
        return spec, minari_rows(name), False
    path = Path(spec)
    if os.path.isdir(path):  # unlike pathlib, these two take a name that is too long for an absent one
        raise DatasetError(f"expected a file, but {spec} is a folder. Name a .hdf5 or .npz file in it.")
    if path.suffix not in (".hdf5", ".h5", ".npz"):
        raise DatasetError(
            "expected a file ending in .hdf5 or .npz, builtin:NAME, d4rl:NAME, suite:NAME or minari:ID, but "
            f"found {spec!r}. Write D4RL's arrays with h5py or numpy.savez."
        )
    if not os.path.exists(path):
        raise DatasetError(f"expected a dataset at {spec}, but there is no such file. Check the path.")
    if path.suffix == ".npz":
        return spec, read_npz(path), False
    return spec, read_hdf5(path), True
