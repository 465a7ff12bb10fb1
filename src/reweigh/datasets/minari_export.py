"""Transitions -> a Minari dataset, whole or not at all."""

import contextlib
import os
import secrets
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.datasets.minari import ENV_KEY, MINARI_PREFIX, minari_folder
from reweigh.datasets.rows import Rows
from reweigh.errors import DatasetError
from reweigh.transitions import Transitions


def check_free(name: str) -> Path:
    """The folder for a new dataset.

    Args:
        name: Minari's ID.

    Raises:
        DatasetError: the ID is invalid, Minari is not installed, or the folder is taken or not writable.
    """
    folder = minari_folder(name)
    if os.path.exists(folder):
        raise DatasetError(
            f"cannot write {MINARI_PREFIX}{name}: {folder} already exists. Choose another version after -v, "
            "or remove it with 'minari delete'."
        )
    place = folder
    while not os.path.exists(place) and place != place.parent:
        place = place.parent
    if not (os.path.isdir(place) and os.access(place, os.W_OK)):
        raise DatasetError(
            f"cannot write {MINARI_PREFIX}{name}: {place} is not a writable folder. Set "
            "MINARI_DATASETS_PATH to one."
        )
    return folder


def write_minari(
    name: str, transitions: Transitions, rows: Rows, *, env_spec: str | None, description: str
) -> Path:
    """Write exactly the transitions of a dataset, in order, with actions in the record's units.

    An episode ends in a truncation if its last transition is not a terminal. The observation after a
    terminal, which nothing reads, is the record's own if it has one, else a repeat of the terminal's.

    Args:
        name: Minari's ID; must be unused.
        transitions: what to write.
        rows: the record that they were made from.
        env_spec: gymnasium's JSON of the environment, for Minari's own tools; None: there is none.
        description: how the data were made.

    Returns:
        The dataset's folder.

    Raises:
        DatasetError: next observations are not those of the next rows, or the dataset cannot be written.
    """
    _check_chained(transitions)
    folder = check_free(name)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            temporary.mkdir(exist_ok=True)
            _write(temporary / "data", name, transitions, rows, env_spec, description)
        os.replace(temporary, folder)
    except OSError as error:
        raise DatasetError(
            f"cannot write {MINARI_PREFIX}{name} in {folder} ({error.strerror or error}). Set "
            "MINARI_DATASETS_PATH to a folder that can be written in."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(temporary)
    return folder


def _write(
    place: Path, name: str, transitions: Transitions, rows: Rows, env_spec: str | None, description: str
) -> None:
    import minari  # pyright: ignore[reportMissingImports] - an extra
    from minari.dataset.minari_storage import MinariStorage  # pyright: ignore[reportMissingImports]

    info = transitions.info
    endless = np.full(transitions.observation_size, np.inf)
    storage = MinariStorage.new(
        place,
        observation_space=_box(-endless, endless),
        action_space=_box(info.action_low, info.action_high),
        data_format="hdf5",
    )
    metadata: dict[str, Any] = {
        "dataset_id": name,
        "minari_version": minari.__version__,
        "description": description,
    }
    if env_spec is not None:
        metadata["env_spec"] = env_spec
    if info.env is not None:
        metadata[ENV_KEY] = info.env
    if info.reference is not None:
        metadata["ref_min_score"], metadata["ref_max_score"] = info.reference
    storage.update_metadata(metadata)
    storage.update_episodes(_episodes(transitions, rows))


def _box(low: np.ndarray, high: np.ndarray) -> Any:
    from minari.serialization import deserialize_space  # pyright: ignore[reportMissingImports]

    # Minari's description of a gymnasium space, because only the environments' modules import gymnasium.
    space = {
        "type": "Box",
        "dtype": "float32",
        "shape": [len(low)],
        "low": low.tolist(),
        "high": high.tolist(),
    }
    return deserialize_space(space)


def _episodes(transitions: Transitions, rows: Rows) -> Iterator[Any]:
    from minari.data_collector import EpisodeBuffer  # pyright: ignore[reportMissingImports]

    info = transitions.info
    ends = np.flatnonzero(np.append(np.diff(transitions.episode) != 0, True)) + 1
    for start, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        part, terminal = slice(start, end), bool(transitions.terminal[end - 1])
        index = transitions.raw_index[part]
        last = transitions.next_observation[end - 1]
        if terminal:
            own = rows.next_observation
            last = transitions.observation[end - 1] if own is None else own[index[-1]]
        truncation = np.zeros(end - start, bool)
        truncation[-1] = not terminal
        columns: dict[str, Any] = {
            "observations": np.concatenate([transitions.observation[part], last[None]]),
            "actions": np.clip(rows.action[index], info.action_low, info.action_high),
            "rewards": transitions.raw_reward[part],
            "terminations": transitions.terminal[part],
            "truncations": truncation,
        }
        yield EpisodeBuffer(**columns)


def _check_chained(transitions: Transitions) -> None:
    inside = np.diff(transitions.episode) == 0
    apart = inside & (transitions.next_observation[:-1] != transitions.observation[1:]).any(axis=1)
    if apart.any():
        row = int(transitions.raw_index[apart.argmax()])
        raise DatasetError(
            "expected next observations that are the next rows' observations, which is all that Minari can "
            f"hold, but {int(apart.sum())} rows of {transitions.info.spec} have others inside an episode "
            f"(the first is row {row}). Look at them with reweigh verify."
        )
