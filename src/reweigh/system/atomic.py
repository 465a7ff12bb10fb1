"""Files that are written and read whole or not at all; locks between processes."""

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.errors import first_line


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it to disk and move it there.

    Args:
        path: of the file; an existing one is replaced atomically.
    """
    # Not named by process ID: in containers that share a folder, each may have ID 1.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove temporary files of killed writers.

    Args:
        folder: must have no other writer now.
    """
    for temporary in folder.glob(".*.part"):
        temporary.unlink(missing_ok=True)


@contextmanager
def held(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock, which ends with the process, however that ends.

    Args:
        path: of the lock file, which is not removed.
        wait: wait for another holder; false: raise BlockingIOError.
    """
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def read_npz(
    path: Path, convert: Callable[[str, np.ndarray], np.ndarray] = lambda name, array: array
) -> dict[str, np.ndarray]:
    """Every array of a `.npz`, without pickled objects.

    Args:
        path: of the file.
        convert: (name, array) -> what to keep of it before the next one is read.

    Raises:
        ValueError: it is missing or damaged.
    """
    try:
        # Our own stream, because NumPy leaves a damaged file open.
        with open(path, "rb") as stream:
            if stream.read(2) != b"PK":  # NumPy would report other bytes as a pickle
                raise ValueError("it is not a .npz file")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                return {name: convert(name, np.asarray(file[name])) for name in file.files}
    except Exception as error:  # on damaged bytes, zipfile and NumPy raise almost anything
        raise ValueError(first_line(error)) from error


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, whole or not at all.

    Args:
        path: of the file.
        arrays: by name.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: the text is not JSON, or is nested too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all.

    Args:
        path: of the file.
        text: written as UTF-8.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
