"""The weights file: its only reader and writer."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from reweigh import __version__
from reweigh.errors import WeightsError
from reweigh.system.atomic import atomic_path, parse_json, read_npz
from reweigh.transitions import Transitions

FORMAT_VERSION = 1


@dataclass(frozen=True)
class WeightsFile:
    """Weights of every transition of one dataset, in its order."""

    weight: Float64[np.ndarray, " N"]
    """Mean 1."""
    raw_index: Int64[np.ndarray, " N"]
    episode: Int64[np.ndarray, " N"]
    priority: Float64[np.ndarray, "seeds stages N"] | None = None
    """If the method has them."""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def probability(self) -> Float64[np.ndarray, " N"]:
        """`p`, sums to 1."""
        return self.weight / self.weight.sum()


def weights_of(
    probability: np.ndarray,
    transitions: Transitions,
    meta: dict[str, Any],
    priority: Float64[np.ndarray, "seeds stages N"] | None = None,
) -> WeightsFile:
    """Weights, with metadata that identifies their dataset.

    Args:
        probability: `p`, (N,), or anything proportional to it: finite, at least 0, not all 0.
        transitions: the dataset they belong to.
        meta: method, settings, summary; whatever is worth remembering.
        priority: of every stage and value seed, if the method has them.

    Raises:
        WeightsError: it is not one such number for each transition.
    """
    info = transitions.info
    probability = np.asarray(probability, np.float64)
    if probability.shape != (len(transitions),):
        raise WeightsError(
            f"expected one weight for each of {len(transitions)} transitions, but found shape "
            f"{probability.shape}. Make them for this dataset."
        )
    return WeightsFile(
        weight=_mean_one(probability, f"the weights for {info.spec}"),
        raw_index=transitions.raw_index,
        episode=transitions.episode,
        priority=priority,
        meta={
            "format_version": FORMAT_VERSION,
            "made_by": f"reweigh {__version__}",
            "dataset": info.spec,
            "dataset_digest": info.digest,
            "row_rule": info.row_rule,
            **meta,
        },
    )


def write_weights(path: Path | str, weights: WeightsFile) -> None:
    """Write `.npz` or, by its ending, `.parquet` (without `priority`), whole or not at all.

    Args:
        path: of the file; an existing one is replaced.
        weights: with their metadata.

    Raises:
        WeightsError: the ending is unknown, the path is not writable, or pyarrow is missing.
    """
    path = Path(path)
    columns: dict[str, Any] = {
        "index": np.arange(len(weights.weight), dtype=np.int64),
        "weight": weights.weight,
        "raw_index": weights.raw_index,
        "episode": weights.episode,
    }
    meta = json.dumps(weights.meta)
    if path.suffix not in (".npz", ".parquet"):
        raise WeightsError(f"expected a weights file ending in .npz or .parquet, but found {str(path)!r}.")
    try:
        with atomic_path(path) as temporary:
            if path.suffix == ".parquet":
                pyarrow, parquet = _pyarrow()
                table = pyarrow.table(columns).replace_schema_metadata({"reweigh": meta})
                parquet.write_table(table, temporary)
            else:
                if weights.priority is not None:
                    columns["priority"] = weights.priority
                with open(temporary, "wb") as file:
                    np.savez(file, meta=np.array(meta), **columns)
    except OSError as error:
        raise WeightsError(
            f"cannot write {path} ({error.strerror or error}). Choose a writable path."
        ) from error


def read_weights(path: Path | str) -> WeightsFile:
    """Read a weights file.

    Args:
        path: `.npz`, or `.parquet` with at least `index` and `weight`.

    Raises:
        WeightsError: it is missing, damaged, or does not hold weights.
    """
    path = Path(path)
    if not os.path.isfile(path):  # unlike pathlib, returns False for an over-long name instead of raising
        raise WeightsError(
            f"expected a weights file at {path}, but there is none. Make one with reweigh weigh."
        )
    columns, meta = _read_parquet(path) if path.suffix == ".parquet" else _read_npz(path)
    weight = columns.get("weight")
    if weight is None or weight.ndim != 1 or weight.dtype.kind not in "fiu":
        raise WeightsError(f"expected an array 'weight' of shape (N,), but {path} has none.")
    weight = weight.astype(np.float64)
    count = len(weight)
    index = columns.get("index", np.arange(count))
    if index.shape != (count,) or not np.array_equal(np.sort(index), np.arange(count)):
        raise WeightsError(f"expected each 'index' from 0 to {count - 1} once in {path}.")
    weight = _mean_one(weight, path)
    version = meta.get("format_version", FORMAT_VERSION)
    if not (isinstance(version, int) and version <= FORMAT_VERSION):
        raise WeightsError(
            f"expected a weights file of format {FORMAT_VERSION} or older, but {path} says {version!r}. "
            "Install a newer reweigh."
        )
    order = np.argsort(index, kind="stable")
    return WeightsFile(
        weight=weight[order],
        raw_index=_integers(columns, "raw_index", count, path)[order],
        episode=_integers(columns, "episode", count, path)[order],
        priority=_priority(columns, count, path, order),
        meta=meta,
    )


def _mean_one(weight: Float64[np.ndarray, " N"], where: Path | str) -> Float64[np.ndarray, " N"]:
    with np.errstate(over="ignore"):
        total = weight.sum()
    mean = total / max(len(weight), 1)
    if not ((weight >= 0).all() and 0 < mean < np.inf):
        bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
        found = f"row {bad[0]} is {weight[bad[0]]}" if len(bad) else f"their sum is {total}"
        raise WeightsError(
            f"expected finite, non-negative weights, not all 0, but {found} in {where}. Make them again."
        )
    return weight / mean


def check_fits(weights: WeightsFile, transitions: Transitions, path: Path) -> None:
    """Reject weights of another dataset.

    Args:
        weights: from a file.
        transitions: the dataset to weigh.
        path: of the file, for messages.

    Raises:
        WeightsError: the number of transitions, their rows or the dataset's digest differ.
    """
    if len(weights.weight) != len(transitions):
        raise WeightsError(
            f"expected {len(transitions)} weights for {transitions.info.spec}, but {path} holds "
            f"{len(weights.weight)}. Use the weights of this dataset."
        )
    digest = weights.meta.get("dataset_digest")
    if digest is not None and digest != transitions.info.digest:
        raise WeightsError(
            f"expected weights of {transitions.info.spec} (digest {transitions.info.digest[:12]}, rows "
            f"'{transitions.info.row_rule}'), but {path} was made for {weights.meta.get('dataset')} (digest "
            f"{str(digest)[:12]}, rows '{weights.meta.get('row_rule')}'). Make them again with reweigh weigh."
        )
    moved = (weights.raw_index >= 0) & (weights.raw_index != transitions.raw_index)
    if moved.any():
        row = int(moved.argmax())
        raise WeightsError(
            f"expected weights in the order of {transitions.info.spec}, but in {path} weight {row} is of row "
            f"{weights.raw_index[row]}, and transition {row} is row {transitions.raw_index[row]}. Make them "
            "again with reweigh weigh."
        )


def _integers(columns: dict[str, np.ndarray], name: str, count: int, path: Path) -> Int64[np.ndarray, " N"]:
    column = columns.get(name)
    if column is None:
        return np.full(count, -1, np.int64)
    if column.shape != (count,) or column.dtype.kind not in "iu":
        raise WeightsError(
            f"expected integers '{name}' of shape ({count},), but found {column.dtype} of shape "
            f"{column.shape} in {path}. Remove or fix the array."
        )
    return column.astype(np.int64)


def _priority(
    columns: dict[str, np.ndarray], count: int, path: Path, order: np.ndarray
) -> Float64[np.ndarray, "seeds stages N"] | None:
    priority = columns.get("priority")
    if priority is None:
        return None
    if priority.ndim != 3 or priority.shape[2] != count or priority.dtype.kind != "f":
        raise WeightsError(
            f"expected 'priority' of shape (seeds, stages, {count}), but found {priority.dtype} of shape "
            f"{priority.shape} in {path}. Remove or fix the array."
        )
    return priority.astype(np.float64)[:, :, order]


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        columns = read_npz(path)
        meta = _meta(str(columns.pop("meta"))) if "meta" in columns else {}
    except ValueError as error:
        raise WeightsError(
            f"expected a complete weights file, but {path} cannot be read ({error}). Make it again with "
            "reweigh weigh."
        ) from error
    return columns, meta


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    _, parquet = _pyarrow()
    try:
        table = parquet.read_table(path)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        meta = _meta((table.schema.metadata or {}).get(b"reweigh", b"{}"))
    except Exception as error:  # on damaged bytes, pyarrow raises almost anything
        raise WeightsError(f"expected a complete parquet file, but {path} cannot be read.") from error
    return columns, meta


def _meta(text: str | bytes) -> dict[str, Any]:
    meta = parse_json(text)
    if not isinstance(meta, dict):
        raise ValueError("'meta' is no JSON object")
    return meta


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise WeightsError(
            "expected pyarrow for .parquet, but it is not installed. Run: pip install 'reweigh[parquet]'."
        ) from error
    return pyarrow, parquet
