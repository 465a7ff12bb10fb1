"""A seed's folder: its contents, and how they are read and written.

RUN/seed-K/{checkpoint.npz, metrics.csv, returns.npz, policy.npz, progress.json, result.json, lock,
command.lock}; for density ratios also weights.npz (`weights_path`), for a family's training also policies/
(`reweigh.family.online`), and other arrays by `save_arrays`. A seed is finished when its result.json exists.
If a writer is killed, the folder stays readable: files are replaced in one step, and metrics.csv is cut back
to its checkpoint.
"""

import contextlib
import csv
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from reweigh.datasets.scores import normalized_score
from reweigh.errors import RunError
from reweigh.policy import Policy, load_policy, save_policy
from reweigh.system.atomic import parse_json, read_npz, remove_left_over, write_npz, write_text
from reweigh.system.cache import elsewhere

_LOCK, _COMMAND_LOCK = "lock", "command.lock"
# A writer that was just killed may take a moment to release its folder.
_LOCK_PATIENCE_S = 3.0


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a seed needs to resume, apart from its config."""

    update: int
    metrics_bytes: int
    """Length of metrics.csv at this checkpoint."""
    leaves: list[np.ndarray]
    """The training state, in the order of its tree."""


@dataclass(frozen=True)
class Returns:
    """Every episode of every evaluation of one seed."""

    update: Int64[np.ndarray, " V"] = field(default_factory=lambda: np.zeros(0, np.int64))
    episode_return: Float64[np.ndarray, "V E"] = field(default_factory=lambda: np.zeros((0, 0)))
    episode_length: Int64[np.ndarray, "V E"] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def until(self, update: int) -> "Returns":
        """The evaluations up to and including an update.

        Args:
            update: the last one to keep.
        """
        kept = self.update <= update
        return Returns(self.update[kept], self.episode_return[kept], self.episode_length[kept])

    def with_evaluation(self, update: int, episode_return: np.ndarray, length: np.ndarray) -> "Returns":
        """Append an evaluation.

        Args:
            update: at which the policy was evaluated.
            episode_return: undiscounted, (E,).
            length: steps of each episode, (E,).
        """
        if not len(self.update):
            return Returns(np.array([update]), episode_return[None], length[None])
        return Returns(
            np.append(self.update, update),
            np.vstack([self.episode_return, episode_return]),
            np.vstack([self.episode_length, length]),
        )

    def last_score(self, reference: tuple[float, float] | None) -> float | None:
        """The last evaluation's score, or its mean return without `reference`; None: there is none.

        Args:
            reference: returns of a random and an expert policy; None: unknown.
        """
        if not len(self.update):
            return None
        mean = float(self.episode_return[-1].mean())
        return float(normalized_score(mean, reference)) if reference else mean


class SeedFolder:
    """RUN/seed-K."""

    def __init__(self, run: Path, seed: int):
        self.path = run / f"seed-{seed}"
        self.seed = seed

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return os.path.exists(self.path / "result.json")

    @property
    def in_use(self) -> bool:
        """Whether a process writes here now, or prepares elsewhere what this seed needs first."""
        return any(_is_held(self.path / name) for name in (_LOCK, _COMMAND_LOCK))

    def commanded(self) -> contextlib.AbstractContextManager[None]:
        """Hold the folder for a command whose workers will write here later.

        Raises:
            RunError: another command holds it.
        """
        return self._held(_COMMAND_LOCK, lambda: False)

    def locked(self, patient: Callable[[], bool] = lambda: False) -> contextlib.AbstractContextManager[None]:
        """Hold the folder as its only writer; the lock ends with the process, however that ends.

        Args:
            patient: asked after a few seconds whether to keep waiting for another writer.

        Raises:
            RunError: another process holds it, or the folder cannot be written.
        """
        return self._held(_LOCK, patient)

    @contextlib.contextmanager
    def _held(self, lock: str, patient: Callable[[], bool]) -> Iterator[None]:
        file = None
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = open(self.path / lock, "a+")  # noqa: SIM115 - held until the block ends
        except OSError as error:
            raise RunError(
                f"cannot write in {self.path} ({error.strerror}). {elsewhere(self.path)}"
            ) from error
        with file:
            deadline = time.monotonic() + _LOCK_PATIENCE_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() > deadline and not patient():
                        file.seek(0)
                        raise RunError(
                            f"expected to be the only writer of {self.path}, but process "
                            f"{file.read().strip() or 'unknown'} writes there. Wait for it, or choose "
                            "another --out."
                        ) from error
                    time.sleep(0.1)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            if lock == _LOCK:
                remove_left_over(self.path)
            yield

    def load_checkpoint(self) -> Checkpoint | None:
        """The last checkpoint, if there is one.

        Raises:
            RunError: it is damaged.
        """
        path = self.path / "checkpoint.npz"
        if not os.path.exists(path):
            return None
        try:
            file = read_npz(path)
            leaves = [file[f"leaf_{i}"] for i in range(len(file) - 2)]
            checkpoint = Checkpoint(_count(file["update"]), _count(file["metrics_bytes"]), leaves)
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"expected a checkpoint at {path}, but it cannot be read. Remove {self.path} to start again."
            ) from error
        return checkpoint

    def save_checkpoint(self, update: int, leaves: Sequence[np.ndarray]) -> None:
        """Replace the checkpoint, with the metrics so far.

        Args:
            update: of the state.
            leaves: of the state, in the order of its tree.
        """
        metrics = self.path / "metrics.csv"
        size = 0
        if metrics.exists():
            with open(metrics, "rb") as file:
                os.fsync(file.fileno())
                size = file.seek(0, os.SEEK_END)
        arrays: dict[str, Any] = {f"leaf_{i}": leaf for i, leaf in enumerate(leaves)}
        arrays |= {"update": np.array(update), "metrics_bytes": np.array(size)}
        write_npz(self.path / "checkpoint.npz", arrays)

    def rewind(self, checkpoint: Checkpoint | None) -> Returns:
        """Discard everything after a checkpoint (all without one); return the evaluations up to it.

        Args:
            checkpoint: what to keep; None: nothing was saved.
        """
        metrics = self.path / "metrics.csv"
        if metrics.exists():
            with open(metrics, "r+b") as file:
                file.truncate(checkpoint.metrics_bytes if checkpoint else 0)
        returns = self.load_returns().until(checkpoint.update if checkpoint else 0)
        self.save_returns(returns)
        return returns

    def append_metrics(self, update: int, metrics: dict[str, float]) -> None:
        """Append a row to metrics.csv.

        Args:
            update: the last one that the means include.
            metrics: the same names in every row.
        """
        path = self.path / "metrics.csv"
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if file.tell() == 0:
                writer.writerow(["update", *metrics])
            writer.writerow([update, *(f"{value:.9g}" for value in metrics.values())])

    def save_progress(self, update: int, updates_per_second: float | None) -> None:
        """Replace the progress record that other processes read.

        Args:
            update: reached so far.
            updates_per_second: since the start; None: not measured yet.
        """
        found = {"update": update, "updates_per_second": updates_per_second}
        write_text(self.path / "progress.json", json.dumps(found) + "\n")

    def progress(self) -> tuple[int, float | None]:
        """The update that a seed has reached, and its updates per second, if known.

        Raises:
            RunError: the record is damaged.
        """
        path = self.path / "progress.json"
        if not os.path.exists(path):
            return 0, None
        try:
            found = parse_json(path.read_text(encoding="utf-8"))
            update, rate = found["update"], found["updates_per_second"]
            if type(update) is not int or not (rate is None or 0 < float(rate) < np.inf):
                raise ValueError("no progress")
            return update, None if rate is None else float(rate)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise RunError(f"expected numbers at {path}, but it cannot be read. Remove that file.") from error

    def load_returns(self) -> Returns:
        """All evaluations; none if there is no file.

        Raises:
            RunError: the file is damaged.
        """
        path = self.path / "returns.npz"
        if not os.path.exists(path):
            return Returns()
        try:
            file = read_npz(path)
            update, episodes = file["update"], file["episode_return"]
            lengths = file["episode_length"]
        except (ValueError, KeyError) as error:
            raise RunError(
                f"expected evaluations at {path}, but it cannot be read. Remove {self.path} to start again."
            ) from error
        numbers = update.dtype.kind in "iu" and episodes.dtype.kind == "f" and lengths.dtype.kind in "iu"
        fits = update.ndim == 1 and episodes.ndim == 2 and episodes.shape == lengths.shape
        if not (numbers and fits and len(update) == len(episodes) and (episodes.size or not len(update))):
            raise RunError(
                f"expected a row of returns and lengths for each update in {path}, but found shapes "
                f"{update.shape}, {episodes.shape} and {lengths.shape}. Remove {self.path} to start again."
            )
        return Returns(update, episodes, lengths)

    def save_returns(self, returns: Returns) -> None:
        """Replace the evaluations."""
        write_npz(self.path / "returns.npz", vars(returns))

    def save_policy(self, policy: Policy) -> None:
        """Replace the policy."""
        save_policy(self.policy_path, policy)

    def load_policy(self) -> Policy:
        """The policy of the last evaluation or the last update."""
        return load_policy(self.policy_path)

    @property
    def policy_path(self) -> Path:
        """File of the policy of the last evaluation or the last update."""
        return self.path / "policy.npz"

    @property
    def weights_path(self) -> Path:
        """Weights file written at the end of a training with density ratios."""
        return self.path / "weights.npz"

    def last_metrics(self) -> dict[str, float]:
        """The last row of metrics.csv; empty without one.

        Raises:
            RunError: it is damaged.
        """
        path = self.path / "metrics.csv"
        if not os.path.exists(path):
            return {}
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return {name: float(value) for name, value in rows[-1].items()} if rows else {}
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise RunError(
                f"expected a table of numbers at {path}, but it cannot be read. Remove {self.path} to start "
                "again."
            ) from error

    def save_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Replace NAME.npz, which a training leaves beside its policy."""
        write_npz(self.path / f"{name}.npz", arrays)

    def load_arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of NAME.npz.

        Raises:
            RunError: it is missing or damaged.
        """
        path = self.path / f"{name}.npz"
        try:
            return read_npz(path)
        except ValueError as error:
            raise RunError(
                f"expected arrays at {path}, but it cannot be read. Remove {self.path}."
            ) from error

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which marks this seed as finished.

        Args:
            result: of JSON types.
        """
        write_text(self.path / "result.json", json.dumps(result, indent=2) + "\n")

    def result(self) -> dict[str, Any]:
        """The result of a finished seed.

        Raises:
            RunError: it is not finished, or damaged.
        """
        path = self.path / "result.json"
        found = read_record(path)
        for name, value in found.items():
            measured = name.endswith(("_score", "_return", "_seconds")) or name == "updates_per_second"
            if measured and not isinstance(value, int | float | None):
                raise RunError(
                    f"expected a number as {name} in {path}, but found {value!r}. Remove {self.path} to "
                    "start again."
                )
        return found

    def ended(self) -> str | None:
        """When the result was written, by the file's date; None: not yet."""
        return file_date(self.path / "result.json")

    def check(self, num_updates: int, episodes: int | None) -> None:
        """Reject what would make training fail, before it starts.

        Args:
            num_updates: of the whole training.
            episodes: of each evaluation to come; None: there will be none.

        Raises:
            RunError: the result, the checkpoint or the evaluations are damaged, the checkpoint is beyond
                `num_updates`, or evaluations so far have another number of episodes.
        """
        if os.path.exists(self.path) and not os.path.isdir(self.path):
            raise RunError(f"cannot write in {self.path}, which is a file. Choose another --out.")
        if self.finished:
            self.result()
        else:
            checkpoint = self.load_checkpoint()
            if checkpoint is not None and checkpoint.update > num_updates:
                raise RunError(
                    f"expected a checkpoint of at most {num_updates} updates in {self.path}, but found "
                    f"{checkpoint.update}. Remove the folder to start again."
                )
            before = self.load_returns().episode_return
            if episodes and len(before) and before.shape[1] != episodes:
                raise RunError(
                    f"expected {before.shape[1]} episodes an evaluation, as before in {self.path}, but found "
                    f"{episodes}. Give --eval-episodes {before.shape[1]}."
                )


def file_date(path: Path) -> str | None:
    """When a file was last written, in UTC; None: there is no file."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except OSError:
        return None


def _is_held(lock: Path) -> bool:
    try:
        with open(lock, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _count(number: np.ndarray) -> int:
    if number.ndim or number.dtype.kind not in "iu" or number < 0:
        raise ValueError("no count")
    return int(number)


def read_record(path: Path) -> dict[str, Any]:
    """A JSON object that belongs to a run.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (OSError, ValueError) as error:
        raise RunError(
            f"expected a run's {path.name} at {path}, but it cannot be read. Name a folder that "
            "reweigh train has written."
        ) from error
    return found
