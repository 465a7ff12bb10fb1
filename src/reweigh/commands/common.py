"""What several commands share: path checks, dataset downloads, printed tables."""

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from reweigh.datasets.d4rl import fetch
from reweigh.datasets.download import Received
from reweigh.datasets.minari import MINARI_PREFIX, fetch_minari, is_minari
from reweigh.datasets.suites import d4rl_names
from reweigh.errors import ConfigError, RunError, WeightsError
from reweigh.priorities.file import read_weights

T = TypeVar("T")


def history(arguments: argparse.Namespace, earlier: list[str]) -> str:
    """The commands that led to a file, oldest first, one per line, without folders, --out and --json.

    Equal commands on equal files give equal bytes, wherever they are written.
    """
    words, skip = ["reweigh"], False
    for word in arguments.argv:
        if not skip and word not in ("--out", "--json"):
            words.append(_without_folder(word))
        skip = word == "--out"
    lines = [line for history in earlier for line in history.splitlines()]
    return "\n".join(dict.fromkeys([*lines, shlex.join(words)]))


def _without_folder(word: str) -> str:
    """A command-line word; for an existing file, perhaps followed by `:SHARE`, only its name."""
    if os.path.exists(word):  # unlike pathlib, returns False for an over-long name instead of raising
        return Path(word).name
    path, colon, share = word.rpartition(":")
    return f"{Path(path).name}:{share}" if colon and os.path.exists(path) else word


def out_path(
    text: str,
    endings: Sequence[str],
    inputs: Sequence[str] = (),
    replaces: Callable[[Path], bool] = lambda path: True,
) -> Path:
    """Check that a file can be written to a path, before computing anything for it.

    Args:
        text: the path, as typed.
        endings: allowed file endings.
        inputs: the command's inputs, which must not be overwritten.
        replaces: whether an existing file is of the kind to be written, and so may be overwritten.
    """
    out = Path(text)
    if out.suffix not in endings:
        raise ConfigError(f"expected --out ending in {' or '.join(endings)}, but found {text!r}.")
    if not os.path.isdir(out.parent):
        raise ConfigError(f"cannot write {out}: there is no folder {out.parent}. Make it first.")
    if os.path.isdir(out):
        raise ConfigError(f"cannot write {out}: it is a folder. Name a file.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"cannot write {out}: {out.parent} is read-only. Choose a writable path.")
    for name in inputs:
        if os.path.exists(name) and os.path.exists(out) and os.path.samefile(name, out):
            raise ConfigError(f"cannot write {out}: it is read by this very command. Choose another --out.")
    if os.path.exists(out) and not replaces(out):
        raise ConfigError(
            f"cannot write {out}: what is there was not written by such a command. Choose another --out, or "
            "remove it."
        )
    return out


def rebuilt(kind: type[T], settings: Any, where: Path | str) -> T:
    """Rebuild settings from their JSON form.

    Args:
        kind: the settings' dataclass.
        settings: its fields as JSON types.
        where: their source, for messages.

    Raises:
        ReweighError: this version does not know them, or they are invalid.
    """
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
    except (AttributeError, TypeError) as error:
        raise RunError(
            f"expected the settings of {kind.__name__} in {where}, but found {settings!r:.200}. It was "
            "damaged, or written by another version."
        ) from error


def is_weights_file(path: Path) -> bool:
    """Whether a file holds weights, which new ones may replace; a dataset, too, may be an `.npz`."""
    try:
        read_weights(path)
    except WeightsError:
        return False
    return True


def is_policy_file(text: str) -> bool:
    """Whether this is a policy file, not a run."""
    return text.endswith(".npz") and os.path.isfile(text)


def fetch_all(specs: Sequence[str], *, quiet: bool = False) -> None:
    """Download what `d4rl:NAME`, `suite:NAME` and `minari:ID` stand for, showing progress."""
    for name in dict.fromkeys(name for spec in specs for name in d4rl_names(spec)):
        with _DownloadLine(quiet) as line:
            fetch(name, report=line.show)
    for spec in filter(is_minari, specs):
        fetch_minari(spec.removeprefix(MINARI_PREFIX))


def words_of(method: str, settings: dict[str, Any]) -> str:
    """A method with the settings its weights were made with; omits nested ones, 0, false and None."""
    shown = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    text = ", ".join(f"{name}={_text(value)}" for name, value in shown.items() if value not in (None, False))
    return f"{method} ({text})" if text else method


def print_table(found: dict[str, Any]) -> None:
    """Print names and values, one pair per line."""
    width = max(len(name) for name in found)
    for name, value in found.items():
        text = _text(value).replace("\n", "\n" + " " * (width + 2))
        print(f"{name.replace('_', ' '):<{width}}  {text}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"mean {_text(value['mean'])}, {_text(value['min'])} to {_text(value['max'])}"
    if isinstance(value, list | tuple):
        return " ".join("-" if item is None else _text(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


class _DownloadLine:
    """A line on standard error, overwritten in place; if that is not a terminal, a line now and then."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.shown_at = -math.inf
        self.width = 0

    def __enter__(self) -> "_DownloadLine":
        return self

    def __exit__(self, *error: object) -> None:
        if self.width:
            print(file=sys.stderr)

    def show(self, received: Received) -> None:
        terminal = sys.stderr.isatty()
        waited_s = time.monotonic() - self.shown_at
        whole = received.num_bytes == received.total
        if self.quiet or not (received.trouble or whole or waited_s > (0.2 if terminal else 10)):
            return
        self.shown_at = time.monotonic()
        total = "" if received.total is None else f" of {received.total / 1e6:.1f}"
        text = f"downloading {received.file}: {received.num_bytes / 1e6:.1f}{total} MB"
        if received.trouble:
            text += f", trying again after {received.trouble}"
        if terminal:
            print(f"\r{text:<{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)
