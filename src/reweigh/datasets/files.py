"""Reader and writer of D4RL-layout HDF5, and reader of `.npz`; nothing here unpickles."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from reweigh.datasets.heaps import damaged_heap
from reweigh.datasets.memory import available_memory
from reweigh.datasets.rows import NAMES, REQUIRED, Rows, checked_rows
from reweigh.datasets.scores import is_reference
from reweigh.errors import DatasetError, first_line
from reweigh.system import atomic

MIX_LABEL = "source"

# Attributes that only some records have, kept when they are rewritten.
_BOUNDS, _REFERENCE = ("reweigh_action_low", "reweigh_action_high"), "reweigh_reference"

# Of a transition: reward, flags, row, episode and step numbers, and temporaries to compute them.
_ROW_BYTES = 88
# Bytes of a wide column held at a time while it is narrowed.
_BLOCK_BYTES = 2**24


def is_made_here(path: Path) -> bool:
    """Whether a file is a dataset written by `mix` or `collect`, and so reproducible.

    Args:
        path: of the file.
    """
    try:
        with h5py.File(path) as file:
            return "history" in file.attrs
    except OSError:
        return False


def read_hdf5(path: Path) -> Rows:
    """Read a D4RL-layout file.

    Args:
        path: of the file; arrays that D4RL does not name are ignored.

    Raises:
        DatasetError: it is not a readable HDF5 file, or its arrays are not a dataset.
    """
    try:
        with h5py.File(path, "r") as file:
            items = {name: _item(file, name, path) for name in NAMES if name in file}
            check_memory({name: (item.shape or (), item.dtype) for name, item in items.items()}, str(path))
            arrays: dict[str, np.ndarray] = {name: _read(name, item) for name, item in items.items()}
            found: dict[str, np.ndarray] = {str(name): np.empty(0) for name in file if name not in arrays}
            if any(_is_variable(file.attrs.get_id(name).dtype) for name in file.attrs):
                _check_heap(path)
            attributes = {name: _plain(value) for name, value in file.attrs.items()}
    except DatasetError:
        raise
    except Exception as error:  # on damaged bytes, h5py raises almost anything
        raise DatasetError(
            f"expected a complete HDF5 file, but {path} cannot be read "
            f"({first_line(error)}). Download or copy it again."
        ) from error
    if any(name not in arrays for name in ("observations", "actions", "rewards", "terminals")):
        arrays |= found  # named in the message
    env = attributes.get("env")
    own = {name: attributes.pop(name, None) for name in (*_BOUNDS, _REFERENCE)}
    rows = checked_rows(
        arrays, where=str(path), env=env if isinstance(env, str) else None, attributes=attributes
    )
    try:
        return replace(rows, bounds=_bounds(own, rows.action.shape[1]), reference=_reference(own))
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"expected action bounds and reference returns as {', '.join(own)} that fit the actions, but "
            f"those in {path} do not. Remove these attributes, or make the file again."
        ) from error


def _bounds(own: dict[str, Any], size: int) -> tuple[np.ndarray, np.ndarray] | None:
    if all(own[name] is None for name in _BOUNDS):
        return None
    low, high = (np.asarray(own[name], np.float32) for name in _BOUNDS)
    if not (low.shape == high.shape == (size,) and np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError("no bounds")
    return low, high


def _reference(own: dict[str, Any]) -> tuple[float, float] | None:
    found = own[_REFERENCE]
    if found is None:
        return None
    low, high = np.asarray(found, np.float64).tolist()
    if not is_reference((low, high)):
        raise ValueError("no reference")
    return low, high


def unlike_d4rl(path: Path) -> str | None:
    """Why a downloaded file is not one of D4RL's; None: it is.

    Args:
        path: of the file.
    """
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in REQUIRED if name not in file]
    except Exception as error:  # on damaged bytes, h5py raises almost anything
        with open(path, "rb") as stream:
            start = stream.read(16)
        return f"what came is not a complete HDF5 file: it begins with {start!r} ({first_line(error)})"
    return f"what came has no {' and no '.join(map(repr, missing))}" if missing else None


def read_npz(path: Path) -> Rows:
    """Read a `.npz` with D4RL's names; a text array `env` may name the environment.

    Args:
        path: of the file.

    Raises:
        DatasetError: it is not a readable `.npz` file, holds pickled objects, or is not a dataset.
    """
    try:
        arrays = atomic.read_npz(path, _narrowed)
    except ValueError as error:
        raise DatasetError(
            f"expected a complete .npz file of plain arrays, but {path} cannot be read "
            f"({first_line(error)}). Write it with numpy.savez, without objects."
        ) from error
    env = arrays.pop("env", None)
    known = {name: array for name, array in arrays.items() if name in NAMES} or arrays
    return checked_rows(known, where=str(path), env=str(env) if env is not None and env.ndim == 0 else None)


def write_hdf5(path: Path, rows: Rows, attributes: dict[str, Any]) -> None:
    """Write rows in D4RL's layout, whole or not at all.

    Args:
        path: the file; its folder must exist.
        rows: what to write.
        attributes: text and numbers that say how the rows were made. The rows' action bounds and reference
            returns are added.

    Raises:
        DatasetError: the file cannot be written.
    """
    columns = {
        "observations": rows.observation,
        "actions": rows.action,
        "rewards": rows.reward,
        "terminals": rows.terminal,
        "timeouts": rows.timeout,
        "next_observations": rows.next_observation,
        MIX_LABEL: rows.source,
    }
    own: dict[str, Any] = {} if rows.bounds is None else dict(zip(_BOUNDS, rows.bounds, strict=True))
    own |= {} if rows.reference is None else {_REFERENCE: rows.reference}
    try:
        with atomic.atomic_path(path) as temporary, h5py.File(temporary, "w", track_order=True) as file:
            for name, column in columns.items():
                if column is not None:
                    # Timestamps in the headers would make equal recipes give different bytes.
                    file.create_dataset(
                        name, data=column, compression="gzip", compression_opts=1, track_times=False
                    )
            for name, value in (attributes | own).items():
                file.attrs[name] = value
    except OSError as error:
        raise DatasetError(f"cannot write {path} ({first_line(error)}). Choose a writable path.") from error


def _item(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    item = file[name]
    if not isinstance(item, h5py.Dataset):
        raise DatasetError(f"expected an array '{name}', but found a group in {path}.")
    # A damaged header can declare more than any memory holds; deflate shrinks by at most 1032.
    if item.nbytes > 2**28 and item.nbytes > 2000 * item.id.get_storage_size():
        raise DatasetError(
            f"expected a complete array '{name}', but {path} declares {item.nbytes} bytes for it and stores "
            f"{item.id.get_storage_size()}. Download or copy it again."
        )
    return item


def _read(name: str, item: h5py.Dataset) -> np.ndarray:
    """Read an array; wider floats are narrowed to float32 in blocks, never held whole."""
    if _is_variable(item.dtype):
        return np.empty(0, object)  # not numbers, which a later check reports
    if not item.ndim or not item.nbytes or not _is_wide(name, item.dtype):
        return np.asarray(item[()])
    narrow = np.empty(item.shape, np.float32)
    chunk = item.chunks[0] if item.chunks else 1
    rows = max(1, _BLOCK_BYTES * len(item) // item.nbytes // chunk) * chunk
    with np.errstate(over="ignore"):  # overflows become infinite and are rejected
        for begin in range(0, len(item), rows):
            narrow[begin : begin + rows] = item[begin : begin + rows]
    return narrow


def _is_variable(dtype: np.dtype) -> bool:
    """Whether values are stored in a heap, as text is."""
    return dtype.hasobject


def _check_heap(path: Path) -> None:
    begin = damaged_heap(path)
    if begin is not None:
        raise DatasetError(
            f"expected a complete HDF5 file, but {path} cannot be read (the texts stored from byte {begin} "
            "on are damaged). Download or copy it again, or rewrite it with h5repack."
        )


def _narrowed(name: str, array: np.ndarray) -> np.ndarray:
    """What is kept of a `.npz`'s array while the others are read."""
    if name != "env" and name not in NAMES:
        return np.empty(0)
    if not _is_wide(name, array.dtype):
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _is_wide(name: str, dtype: np.dtype) -> bool:
    """Whether an array is stored in floats wider than the float32 it is held in; not flags or labels."""
    measured = name in ("observations", "next_observations", "actions", "rewards")
    return measured and dtype.kind == "f" and dtype.itemsize > 4


def check_memory(arrays: dict[str, tuple[tuple[int, ...], np.dtype]], where: str) -> None:
    """Reject a dataset that does not fit in memory, before reading any of it.

    Args:
        arrays: D4RL's names -> shape and type.
        where: the dataset's name, for messages.

    Raises:
        DatasetError: it needs more than is free.
    """
    needed = memory_needed(arrays)
    available = available_memory()
    if available is not None and needed > available:
        raise DatasetError(
            f"expected {needed / 1e9:.3g} GB of free memory to load {where}, but {available / 1e9:.3g} GB "
            "are free. Close other programs, or use a larger machine or a smaller file."
        )


def memory_needed(arrays: dict[str, tuple[tuple[int, ...], np.dtype]]) -> int:
    """Peak bytes while loading: the arrays, and the transitions made from them.

    Args:
        arrays: D4RL's names -> shape and type.
    """
    needed = 0
    for name, (shape, dtype) in arrays.items():
        count = math.prod(shape)
        needed += count * (4 if dtype.kind == "f" else dtype.itemsize)
        # Transitions hold observations twice (s and s') and actions twice; scaling copies actions once more.
        needed += count * 4 * {"observations": 2, "actions": 3}.get(name, 0)
        needed += count * _ROW_BYTES if name == "rewards" else 0
    return needed


def _plain(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode(errors="replace") if isinstance(value, bytes) else value
