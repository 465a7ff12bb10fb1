"""The weight files that OPER's authors publish: an untrusting reader, and a writer.

A file is a pickled dict in `.npy`: {iter, first_eval_steps, eval_steps, 1..K -> weights (N, 1)}. A pickle is
a program; this reader allows only what arrays, numbers, text and dicts need.
"""

import os
import pickle
import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from jaxtyping import Float64

from reweigh.errors import ConfigError, WeightsError, first_line
from reweigh.priorities.oper_a import FromAdvantages
from reweigh.system.atomic import atomic_path


@dataclass(frozen=True)
class OperAFile(FromAdvantages):
    """Published OPER-A weights (`.npy`), instead of learning them."""

    path: str = ""
    """With `%s` in place of the seed if there are several files."""
    file_seeds: tuple[int, ...] = (1, 2, 3)
    """Values of `%s`."""

    method: ClassVar[str] = "oper-a-file"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        super().__post_init__()
        if not self.file_seeds:
            raise ConfigError("expected at least one of file_seeds, but found none.")

    @property
    def paths(self) -> list[Path]:
        """Every file."""
        if not self.path:
            raise ConfigError("expected a file of published weights, but none is named. Give --from (path=).")
        if "%s" not in self.path:
            return [Path(self.path)]
        return [Path(self.path.replace("%s", str(seed))) for seed in self.file_seeds]


def read_published(paths: Sequence[Path], num_transitions: int) -> Float64[np.ndarray, "seeds stages N"]:
    """The weights of every stage in every file, mean 1 each.

    Args:
        paths: one file per value seed.
        num_transitions: `N` of their dataset.

    Raises:
        WeightsError: a file is missing, damaged, hostile, or of another size than the dataset.
    """
    found = [_stages(path, num_transitions) for path in paths]
    if len({len(stages) for stages in found}) > 1:
        counts = ", ".join(f"{len(stages)} in {path}" for path, stages in zip(paths, found, strict=True))
        raise WeightsError(f"expected equally many iterations in every file, but found {counts}.")
    return np.stack(found)


def write_published(
    path: Path, weight: Float64[np.ndarray, "stages N"], *, first_stage_updates: int, stage_updates: int
) -> None:
    """Write one value seed's weights as the authors' code does.

    Args:
        path: ending in `.npy`.
        weight: of every stage.
        first_stage_updates: of the first stage.
        stage_updates: of each later one.

    Raises:
        WeightsError: it cannot be written.
    """
    content: dict[Any, Any] = {
        "iter": len(weight),
        "first_eval_steps": first_stage_updates,
        "eval_steps": stage_updates,
    }
    content |= {number: stage[:, None] for number, stage in enumerate(weight, start=1)}
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, np.array(content, dtype=object), allow_pickle=True)
    except OSError as error:
        raise WeightsError(
            f"cannot write {path} ({error.strerror or error}). Choose a writable path."
        ) from error


def _stages(path: Path, num_transitions: int) -> Float64[np.ndarray, "stages N"]:
    content = _read_dict(path)
    numbers = sorted(key for key in content if isinstance(key, int) and not isinstance(key, bool))
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise WeightsError(f"expected weights under 1, 2, ... in {path}, but found {numbers or 'none'}.")
    stages = []
    for number in numbers:
        array = content[number]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
            raise WeightsError(
                f"expected an array of numbers under {number} in {path}, but found another thing."
            )
        if array.size != num_transitions:
            raise WeightsError(
                f"expected {num_transitions} weights, one a transition of this dataset, but {path} holds "
                f"{array.size}. Use the dataset and version that they were made for."
            )
        weight = array.reshape(-1).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = weight.mean()
        if not (0 < mean < np.inf and weight.min() >= 0):
            raise WeightsError(f"expected finite, non-negative weights, not all 0, under {number} in {path}.")
        stages.append(weight / mean)
    return np.stack(stages)


def _read_dict(path: Path) -> dict[Any, Any]:
    if not os.path.isfile(path):  # unlike pathlib, returns False for an over-long name instead of raising
        raise WeightsError(
            f"expected published weights at {path}, but there is no such file. %s stands for file_seeds: "
            'name others than 1 2 3 with --set "file_seeds=0 1 2".'
        )
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                reader = np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            if dtype.kind != "O" or shape != ():
                raise WeightsError(
                    f"expected the authors' dict of weights, but {path} holds an array of {dtype}, {shape}."
                )
            _check_memo(file)
            content = _Unpickler(file, encoding="latin1").load()
    except WeightsError:
        raise
    except Exception as error:  # on damaged bytes, pickle raises almost anything
        text = first_line(error)
        raise WeightsError(
            f"expected published weights that can be read, but {path} cannot ({text}). Download it again."
        ) from error
    # The pickled array holds one object: the dict.
    if isinstance(content, np.ndarray) and content.shape == () and content.dtype == object:
        content = content.item()
    if not isinstance(content, dict):
        raise WeightsError(f"expected the authors' dict of weights in {path}, but found another object.")
    return content


def _check_memo(file: BinaryIO) -> None:
    """Reject a memo index so large that the pickle's memo would exhaust memory."""
    begin = file.tell()
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("PUT", "LONG_BINPUT") and int(argument or 0) > _MOST_MEMO:
            raise pickle.UnpicklingError(f"it numbers an object {argument}")
    file.seek(begin)


def _empty_array(kind: object, shape: object, code: object) -> np.ndarray:
    """NumPy's `_reconstruct`: an empty array, filled afterwards; creates nothing else."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("an array that is not plain")
    return np.empty(0, np.int8)


def _scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("a number that is not plain")
    return np.frombuffer(data, dtype)[0]


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """How the newest pickles encode arrays."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("an array that is not plain")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _bytes(text: Any, encoding: Any) -> bytes:
    """How old pickles encode bytes."""
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("text in an unusual encoding")
    return text.encode("latin1")


# Weights need a few per stage.
_MOST_MEMO = 100_000


class _Unpickler(pickle.Unpickler):
    """Arrays, numbers, text and dicts; every other name is rejected before any of its code runs."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        name = f"{module_name.replace('numpy._core', 'numpy.core')}.{global_name}"
        if name not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which no weights need")
        return _KNOWN[name]


_KNOWN = {
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_buffer,
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    "_codecs.encode": _bytes,
}
