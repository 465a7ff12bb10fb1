"""Decoded rows as memory-mapped arrays, so that a dataset is decompressed and checked once."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.datasets.rows import Rows
from reweigh.system.atomic import held, parse_json
from reweigh.system.digests import json_digest

# Increased whenever decoding changes, so that files of older versions are no longer found.
_FORMAT = 1
_BLOCK_BYTES = 2**24
_TYPES = {"terminal": np.dtype(bool), "timeout": np.dtype(bool), "source": np.dtype(np.int8)}
_COLUMNS = ("observation", "action", "reward", "terminal", "timeout", "next_observation", "source")


@dataclass(frozen=True)
class SourceFile:
    """A file, with its state when found."""

    path: Path
    num_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        """The current state; raises OSError if there is no file."""
        found = path.stat()
        return cls(path.resolve(), found.st_size, found.st_mtime_ns)

    @property
    def key(self) -> str:
        """Identifies the file in this state."""
        return json_digest([_FORMAT, str(self.path), self.num_bytes, self.modified_ns])[:16]


def read_decoded(folder: Path, name: str, source: SourceFile) -> tuple[str, Rows] | None:
    """SHA-256 of the source and its rows; None: they are missing or incomplete.

    Args:
        folder: of all decoded files.
        name: of this one.
        source: the file to look up.
    """
    place = folder / f"{name}-{source.key}"
    try:
        meta: dict[str, Any] = parse_json((place / "meta.json").read_text(encoding="utf-8"))
        columns: dict[str, Any] = {
            c: _mapped(place / f"{c}.npy", meta["columns"][c]) for c in _COLUMNS if c in meta["columns"]
        }
        rows = Rows(**columns, attributes=dict(meta["attributes"]))
        return (str(meta["sha256"]), rows) if all(_is_whole(rows, c) for c in columns) else None
    except Exception:  # on damaged bytes, NumPy raises almost anything; the source can be read again
        return None


def write_decoded(folder: Path, name: str, source: SourceFile, sha256: str, rows: Rows) -> None:
    """Cache the rows of a file, replacing those of its earlier states; failures are ignored.

    Args:
        folder: of all decoded files; created if missing.
        name: of this one.
        source: the file, in the state that was read.
        sha256: of the file.
        rows: checked, with attributes of the file alone.
    """
    columns = {c: getattr(rows, c) for c in _COLUMNS if getattr(rows, c) is not None}
    try:
        meta = {
            "columns": {c: [array.dtype.str, list(array.shape)] for c, array in columns.items()},
            "attributes": rows.attributes,
            "sha256": sha256,
            "source": str(source.path),
        }
        text = json.dumps(meta)
        if json.loads(text) != meta:
            return  # attributes that would be read back differently
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / f"{name}.lock", wait=False):
            temporary = folder / f".{name}.part"
            shutil.rmtree(temporary, ignore_errors=True)
            try:
                _write(temporary, columns, text)
                for old in folder.glob(f"{name}-{'[0-9a-f]' * 16}"):
                    shutil.rmtree(old, ignore_errors=True)
                os.replace(temporary, folder / f"{name}-{source.key}")
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except (OSError, TypeError, ValueError):
        return  # only a cache: a read-only or full disk costs nothing but time


def _write(folder: Path, columns: dict[str, np.ndarray], meta: str) -> None:
    folder.mkdir()
    for name, array in columns.items():
        with open(folder / f"{name}.npy", "wb") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
    with open(folder / "meta.json", "w", encoding="utf-8") as file:
        file.write(meta)
        file.flush()
        os.fsync(file.fileno())


def _is_whole(rows: Rows, column: str) -> bool:
    """Whether a column can be of a checked record; damage may have changed its bits."""
    array, kept = getattr(rows, column), _TYPES.get(column, np.dtype(np.float32))
    if array.dtype != kept or len(array) != len(rows):
        return False
    # In blocks, so that the check does not double the column's memory.
    blocks = np.array_split(array, max(1, array.nbytes // _BLOCK_BYTES))
    if kept.kind == "b":
        return all((block.view(np.uint8) <= 1).all() for block in blocks)
    return all(np.isfinite(block).all() for block in blocks)


def _mapped(path: Path, expected: list[Any]) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if [array.dtype.str, list(array.shape)] != expected:
        raise ValueError(f"expected {expected}, but found {array.dtype.str} {array.shape} in {path}.")
    return np.asarray(array)
