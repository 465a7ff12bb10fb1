"""Minari's datasets by ID: local or from its server, HDF5 or Arrow, every transition of every episode."""

import contextlib
import json
import os
import re
import shutil
import sys
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.datasets.decoded import SourceFile, read_decoded, write_decoded
from reweigh.datasets.environment_names import environment_name
from reweigh.datasets.files import check_memory
from reweigh.datasets.observations import flatten
from reweigh.datasets.rows import Rows, checked_rows
from reweigh.datasets.scores import is_reference
from reweigh.errors import DatasetError, first_line
from reweigh.system.atomic import held
from reweigh.system.cache import cache_folder

MINARI_PREFIX = "minari:"

# Our key in Minari's metadata, for environments that Minari's own entry cannot express.
ENV_KEY = "reweigh_env"

# Without a network Minari gives up only after 25 seconds, so check first.
_PATIENCE_S = 8.0


def is_minari(spec: str) -> bool:
    """Whether a dataset is named by a Minari ID."""
    return spec.startswith(MINARI_PREFIX)


def minari_rows(name: str) -> Rows:
    """The rows of a dataset, with next observations, decoded once and then memory-mapped from the cache.

    Args:
        name: Minari's ID, for example `D4RL/door/human-v2`.

    Raises:
        DatasetError: the dataset cannot be obtained or read, or its spaces are not boxes.
    """
    spec = MINARI_PREFIX + name
    folder = fetch_minari(name) / "data"
    try:
        dataset = _library().MinariDataset(folder)
        metadata: Mapping[str, Any] = dataset.storage.metadata
        files = [path.stat() for path in folder.rglob("*") if path.is_file()]
    except DatasetError:
        raise
    except Exception as error:  # on damaged files, Minari raises almost anything
        raise _unreadable(spec, folder, error) from error
    source = SourceFile(
        folder.resolve(), sum(s.st_size for s in files), max((s.st_mtime_ns for s in files), default=0)
    )
    kept_in, kept_as = cache_folder() / "minari", name.replace("/", "-")
    found = read_decoded(kept_in, kept_as, source)
    if found is not None:
        rows = found[1]
    else:
        try:
            rows = _decode(dataset, spec)
        except DatasetError:
            raise
        except Exception as error:
            raise _unreadable(spec, folder, error) from error
        write_decoded(kept_in, kept_as, source, "", rows)
    return replace(
        rows,
        env=_environment(metadata),
        bounds=_bounds(metadata.get("action_space"), rows.action.shape[1]),
        reference=_reference(metadata),
        attributes={key: value for key, value in metadata.items() if isinstance(value, str | int | float)},
    )


def minari_is_here(name: str) -> bool:
    """Whether a dataset is here and complete.

    Args:
        name: Minari's ID.
    """
    return os.path.isdir(minari_folder(name) / "data") and not os.path.exists(_begun(name))


def _begun(name: str) -> Path:
    """Exists while a download is running or was killed: the dataset is then partial."""
    return cache_folder() / "minari" / f"{name.replace('/', '-')}.begun"


def fetch_minari(name: str) -> Path:
    """The folder of a dataset, downloaded from Minari's server if it is not here yet.

    Args:
        name: Minari's ID.

    Raises:
        DatasetError: the ID is invalid, Minari is not installed, or the dataset cannot be obtained.
    """
    folder = minari_folder(name)
    if minari_is_here(name):
        return folder
    _check_reachable(name, folder)
    begun = _begun(name)
    kept = begun.parent
    try:
        kept.mkdir(parents=True, exist_ok=True)
        with held(begun.with_suffix(".lock"), wait=True):
            if os.path.exists(begun):
                shutil.rmtree(folder / "data", ignore_errors=True)
                begun.unlink()
            if not os.path.isdir(folder / "data"):  # else another process downloaded it while we waited
                begun.touch()
                try:
                    _download(name, folder)
                finally:
                    begun.unlink()
    except OSError as error:
        raise DatasetError(
            f"cannot write in {kept} ({error.strerror or error}). Set REWEIGH_CACHE to a writable folder."
        ) from error
    return folder


def _download(name: str, folder: Path) -> None:
    library = _library()
    try:
        # Minari's progress output is not part of our results.
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            library.download_dataset(name)
    except BaseException as error:
        shutil.rmtree(folder / "data", ignore_errors=True)  # a part would pass for the whole
        if not isinstance(error, Exception):
            raise
        raise DatasetError(
            f"cannot download {MINARI_PREFIX}{name} ({first_line(error)}). Check the name with 'minari list "
            "remote', or copy the dataset to " + str(folder) + "."
        ) from error


def check_id(name: str) -> None:
    """Reject what is no ID of Minari's form.

    Args:
        name: after the prefix.

    Raises:
        DatasetError: it is not of the form namespace/name-v0.
    """
    if not re.fullmatch(r"([-\w]+/)*[-\w]+-v\d+", name):
        raise DatasetError(
            f"expected an ID like namespace/name-v0 after {MINARI_PREFIX}, but found {name!r}. 'minari list "
            "local' shows those that are here."
        )


def minari_folder(name: str) -> Path:
    """Where a dataset is, or would be.

    Args:
        name: Minari's ID.

    Raises:
        DatasetError: the ID is invalid, or Minari is not installed.
    """
    check_id(name)
    _library()
    # Minari's own rule, without its side effect of creating the root folder.
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path(root) if root is not None else Path.home() / ".minari" / "datasets") / name


def _library() -> Any:
    try:
        import minari  # pyright: ignore[reportMissingImports] - an extra
    except Exception as error:  # its dependencies may be broken in any way
        raise DatasetError(
            f"expected the package minari for {MINARI_PREFIX}ID, but it cannot be imported "
            f"({first_line(error)}). Install it with pip install 'reweigh[minari]'."
        ) from error
    return minari


def _check_reachable(name: str, folder: Path) -> None:
    """Check in bounded time that the server answers."""
    remote = os.environ.get("MINARI_REMOTE", "hf://farama-minari")
    hosts = {
        "hf": os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
        "gcp": "https://storage.googleapis.com",
    }
    host = hosts.get(remote.partition("://")[0])
    if host is None:
        return
    trouble = [f"no answer in {_PATIENCE_S:g} seconds"]

    def ask() -> None:
        try:
            request = urllib.request.Request(host, method="HEAD")
            urllib.request.urlopen(request, timeout=_PATIENCE_S).close()
            trouble.clear()
        except urllib.error.HTTPError:
            trouble.clear()  # it rejects this request, but it is up
        except Exception as error:
            trouble[:] = [first_line(error)]

    # A thread, because host name lookup ignores timeouts.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE_S)
    if trouble:
        raise DatasetError(
            f"expected {MINARI_PREFIX}{name} in {folder} or at {host}, but it is not here and the server "
            f"cannot be reached ({trouble[0]}). Connect to the network, copy the dataset there, or set "
            "MINARI_DATASETS_PATH to the folder that holds it."
        )


def _decode(dataset: Any, spec: str) -> Rows:
    """One row per step; an episode holds one more observation than steps, the last step's next one."""
    columns: dict[str, list[np.ndarray]] = {}
    for number, episode in enumerate(dataset.iterate_episodes()):
        part = _episode(episode, f"episode {number} of {spec}")
        if number == 0:
            total = int(dataset.total_steps)
            sizes = {key: ((total, *array.shape[1:]), array.dtype) for key, array in part.items()}
            check_memory(sizes, spec)
        for key, array in part.items():
            columns.setdefault(key, []).append(array)
    if not columns:
        raise DatasetError(f"expected episodes, but {spec} has none. Collect some.")
    widths = {array.shape[1] for array in columns["observations"] + columns["next_observations"]}
    if len(widths) > 1 or len({array.shape[1] for array in columns["actions"]}) > 1:
        raise DatasetError(f"expected equal sizes in all episodes, but they differ in {spec}. Split it.")
    return checked_rows({key: np.concatenate(arrays) for key, arrays in columns.items()}, where=spec)


def _episode(episode: Any, where: str) -> dict[str, np.ndarray]:
    """An episode's arrays by D4RL's names."""
    try:
        observation = flatten(episode.observations)
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"expected observations that are boxes of one axis, or dictionaries of them, but found others in "
            f"{where} ({first_line(error)}). Flatten them before they are recorded."
        ) from error
    action, reward = np.asarray(episode.actions), np.asarray(episode.rewards)
    steps = len(reward)
    for name, array in (("observations", observation), ("actions", action)):
        if array.ndim != 2 or array.dtype.kind not in "fiub":
            raise DatasetError(
                f"expected {name} that are boxes of one axis, but found {array.dtype} of shape {array.shape} "
                f"in {where}. Discrete or image data cannot be used."
            )
    terminal, timeout = np.asarray(episode.terminations, bool), np.array(episode.truncations, bool)
    found = (len(observation), len(action), len(terminal), len(timeout))
    if found != (steps + 1, steps, steps, steps):
        raise DatasetError(
            f"expected {steps + 1} observations and {steps} actions and flags for {steps} rewards, but found "
            f"{found} in {where}. Download or record it again."
        )
    if steps and not terminal[-1]:
        timeout[-1] = True  # a record that stops is cut, even if it does not say so
    return {
        "observations": observation[:-1],
        "actions": action,
        "rewards": reward,
        "terminals": terminal,
        "timeouts": timeout,
        "next_observations": observation[1:],
    }


def _environment(metadata: Mapping[str, Any]) -> str | None:
    """The evaluation environment, else that of the record; None: text cannot express it."""
    ours = metadata.get(ENV_KEY)
    if isinstance(ours, str):
        return ours
    text = metadata.get("eval_env_spec") or metadata.get("env_spec")
    try:
        found = json.loads(text) if isinstance(text, str) else None
        if not isinstance(found, dict) or not isinstance(found.get("id"), str):
            return None
        if found.get("additional_wrappers"):
            return None  # they change observations or rewards, and their settings may be unknown
        options = {k: v for k, v in (found.get("kwargs") or {}).items() if k != "render_mode"}
        if found.get("max_episode_steps") is not None:
            options["max_episode_steps"] = found["max_episode_steps"]
        return environment_name(found["id"], options)
    except (ValueError, TypeError, AttributeError):
        return None


def _bounds(space: Any, size: int) -> tuple[np.ndarray, np.ndarray] | None:
    low, high = (np.asarray(getattr(space, side, np.nan), np.float32) for side in ("low", "high"))
    if low.shape != (size,) or high.shape != (size,) or not np.isfinite([low, high]).all():
        return None
    return (low, high) if (low < high).all() else None


def _reference(metadata: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    return (low, high) if low is not None and high is not None and is_reference((low, high)) else None


def _unreadable(spec: str, folder: Path, error: BaseException) -> DatasetError:
    return DatasetError(
        f"expected a complete Minari dataset for {spec} in {folder}, but it cannot be read "
        f"({first_line(error)}). Download or record it again."
    )
