"""`reweigh weigh --suite`: one weights file per dataset; existing ones are kept."""

import argparse
import glob
import json
import os
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from reweigh.datasets.load import plain_name
from reweigh.datasets.scores import D4RL_PREFIX, SUITE_PREFIX, catalog
from reweigh.datasets.suites import SET_PREFIX, datasets_of_set, suite_names
from reweigh.errors import ConfigError, ReweighError, WeightsError
from reweigh.priorities.file import check_fits, read_weights
from reweigh.system.processes import INTERRUPTED
from reweigh.transitions import Transitions

# Weighs the dataset of its flags unless the file exists: `made`, `there`, or None if interrupted.
WeighOne = Callable[[argparse.Namespace], str | None]


def weigh_suite(arguments: argparse.Namespace, weigh_one: WeighOne) -> int:
    """Weigh every dataset; return 0 if all succeed, 1 if some fail, 130 if interrupted.

    Args:
        arguments: of `weigh`.
        weigh_one: weighs the dataset of its flags.

    Raises:
        ConfigError: the flags contradict one another, or no dataset matches.
    """
    if arguments.data is not None:
        raise ConfigError("expected one dataset, or several with --suite, but found both. Leave one out.")
    if arguments.format != "reweigh":
        raise ConfigError("--format oper has no meaning with --suite. Weigh the datasets one by one.")
    specs = [spec for pattern in arguments.suite for spec in matching(pattern)]
    files = _files(list(dict.fromkeys(specs)), Path(arguments.out))
    came: list[dict[str, Any]] = []
    for spec, out in files.items():
        one = argparse.Namespace(**(vars(arguments) | {"data": spec, "out": str(out)}))
        found: dict[str, Any] = {"dataset": spec, "weights": str(out)}
        try:
            state = weigh_one(one)
        except (ReweighError, MemoryError) as error:
            state, found["error"] = "failed", str(error) or "not enough memory"
        if state is None:
            return INTERRUPTED
        came.append(found | {"state": state})
        if not arguments.json:
            print(f"{state:<7} {spec:<50} {out if state != 'failed' else ''}".rstrip(), flush=True)
    if arguments.json:
        print(json.dumps(came, indent=2))
    failed = [found for found in came if found["state"] == "failed"]
    for found in failed:
        print(f"failed: {found['dataset']}: {found['error']}", file=sys.stderr)
    return int(bool(failed))


def matching(pattern: str) -> Sequence[str]:
    """The datasets that match a pattern; a name without wildcards is one dataset.

    Args:
        pattern: a path, `d4rl:NAME` or `suite:NAME`, each with `*`, `?` and `[...]` as in a shell; or
            `set:NAME`, the datasets of the papers' scripts.

    Raises:
        ConfigError: none matches.
    """
    if pattern.startswith(SET_PREFIX):
        return datasets_of_set(pattern)
    if not glob.has_magic(pattern) or os.path.exists(pattern):
        return [pattern]
    known = {D4RL_PREFIX: catalog(), SUITE_PREFIX: suite_names()}
    for prefix, names in known.items():
        if pattern.startswith(prefix):
            found = [prefix + name for name in names if fnmatchcase(prefix + name, pattern)]
            break
    else:
        found = sorted(glob.glob(pattern))
    if not found:
        raise ConfigError(f"expected datasets that match {pattern!r}, but found none. Correct the pattern.")
    return found


def holds_request(out: Path, transitions: Transitions, asked: dict[str, Any]) -> bool:
    """Whether a file holds the requested weights; false if there is no file.

    Args:
        out: the file.
        transitions: the dataset.
        asked: the requested method and settings.

    Raises:
        WeightsError: it holds something else.
    """
    if not os.path.exists(out):
        return False
    weights = read_weights(out)
    check_fits(weights, transitions, out)
    if weights.meta.get("asked") != asked:
        raise WeightsError(
            f"expected the weights of this command in {out}, but it holds others. Choose another --out, or "
            "remove the file."
        )
    return True


def _files(specs: Sequence[str], folder: Path) -> dict[str, Path]:
    """Where each dataset's weights go."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write in {folder} ({error.strerror}). Choose another --out.") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"cannot write in {folder}: it is read-only. Choose another --out.")
    files: dict[str, Path] = {}
    for spec in specs:
        out = folder / f"{plain_name(spec)}.npz"
        twin = next((other for other, path in files.items() if path == out), None)
        if twin is not None:
            raise ConfigError(f"expected datasets of different names, but {twin} and {spec} both give {out}.")
        if any(os.path.exists(out) and os.path.exists(s) and os.path.samefile(s, out) for s in specs):
            raise ConfigError(f"cannot write {out}: it is one of the datasets. Choose another --out.")
        files[spec] = out
    return files
