"""A sweep file -> the trainings that it describes.

    seeds = [0, 1, 2]

    [[runs]]
    data = ["mix-5.hdf5", "mix-10.hdf5"]
    algorithm = ["td3-bc", "iql"]
    weights = ["uniform", "aw"]
    num-updates = 100000

Every key is a flag of `reweigh train` without its dashes. A list is a choice, and every combination of
choices is a run; a list in a list is one choice of several words. Several `[[runs]]` are joined. As data,
`set:mujoco` stands for the datasets of that set in the papers' scripts.
"""

import itertools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reweigh.checks import check_seeds
from reweigh.datasets.load import plain_name
from reweigh.datasets.suites import SET_PREFIX, datasets_of_set
from reweigh.errors import ConfigError
from reweigh.runs import folder_name

NAMED = Path(__file__).parent / "named"
# These set a run's length and evaluation, not its identity.
_NOT_IN_NAMES = {"num-updates", "eval-interval", "eval-episodes", "checkpoint-interval", "env", "no-evaluate"}
_OF_THE_SWEEP = {"seeds", "out", "quiet", "json"}


@dataclass(frozen=True)
class Task:
    """One seed of one run."""

    words: tuple[str, ...]
    """Arguments of `reweigh train`, without seed and folder."""
    run: Path
    """The run's folder."""
    seed: int

    @property
    def label(self) -> str:
        """Name in messages."""
        return f"{self.run.parent.name}/{self.run.name} seed {self.seed}"

    @property
    def slug(self) -> str:
        """The label as a file name."""
        return f"{self.run.parent.name}--{self.run.name}--seed-{self.seed}"

    @property
    def command(self) -> tuple[str, ...]:
        """Arguments with which `reweigh` trains it."""
        return ("train", *self.words, "--seeds", str(self.seed), "--out", str(self.run), "--quiet")


@dataclass(frozen=True)
class Sweep:
    """Every task of a sweep file, in the order of starting."""

    folder: Path
    """Of runs, logs and job scripts."""
    tasks: tuple[Task, ...]


def read_sweep(source: str, out: Path | str | None = None, data: Sequence[str] = ()) -> Sweep:
    """The tasks of a sweep file.

    Args:
        source: a `.toml` file, or the name of a shipped sweep.
        out: folder of the runs; None: `sweeps/NAME`.
        data: datasets in place of the file's own.

    Raises:
        ConfigError: there is no such sweep, or it is malformed.
    """
    path = _path_of(source)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"expected a sweep in TOML at {path}, but it cannot be read ({error}).") from error
    unknown = set(content) - {"seeds", "runs"}
    if unknown:
        raise ConfigError(
            f"expected seeds and [[runs]] in {path}, but found {sorted(unknown)[0]!r}. Flags belong under "
            "[[runs]]."
        )
    folder = Path(out) if out else Path("sweeps") / path.stem
    where = str(path) if source.endswith(".toml") else f"the shipped sweep {source}"
    return make_sweep(content.get("runs"), content.get("seeds", [0]), folder, data=data, where=where)


def make_sweep(
    runs: Any, seeds: Any, folder: Path | str, *, data: Sequence[str] = (), where: str = "the sweep"
) -> Sweep:
    """The tasks of a grid, such as `[{"data": "mix.hdf5", "algorithm": ["iql", "bc"]}]`.

    Args:
        runs: the `[[runs]]` of a sweep file, as dictionaries.
        seeds: of each run.
        folder: of the runs.
        data: datasets in place of the grid's own.
        where: the sweep's name in messages.

    Raises:
        ConfigError: the grid is malformed.
    """
    seeds, folder = _seeds(seeds, where), Path(folder)
    if not isinstance(runs, list) or not runs or not all(isinstance(group, dict) for group in runs):
        raise ConfigError(f"expected at least one [[runs]] in {where}, but found none.")
    words_of: dict[Path, tuple[str, ...]] = {}
    for group in runs:
        for run, words in _runs_of(group, folder, data, where):
            if run in words_of and words[0] != words_of[run][0]:
                raise ConfigError(
                    f"expected datasets of different names in {where}, but {words_of[run][0]} and {words[0]} "
                    f"are both called {run.parent.name}. Rename one of the files."
                )
            if run in words_of:
                raise ConfigError(
                    f"expected runs of different names in {where}, but two are called {run.name}. Put them "
                    "in groups of their own, and give one a name = '...'."
                )
            words_of[run] = words
    # Seed after seed, so that every run has one before any has all.
    tasks = tuple(Task(words, run, seed) for seed in seeds for run, words in words_of.items())
    return Sweep(folder, tasks)


def named_sweeps() -> dict[str, str]:
    """Shipped sweeps, each with the first line of its description."""
    return {
        path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        for path in sorted(NAMED.glob("*.toml"))
    }


def choose(count: int, wanted: str | None) -> range:
    """The numbers of the tasks `A:B` (from 0, B excluded), or of all.

    Args:
        count: number of tasks.
        wanted: as typed; None: all.

    Raises:
        ConfigError: it is not a range, or contains no task.
    """
    match = re.fullmatch(r"(\d*):(\d*)", wanted or ":")
    if match is None:
        raise ConfigError(f"expected --tasks A:B, for example 5:10, but found {wanted!r}.")
    first, last = match.groups()
    chosen = range(count)[int(first or 0) : int(last) if last else None]
    if not chosen:
        raise ConfigError(f"expected tasks, but {wanted} holds none of {count}.")
    return chosen


def _path_of(source: str) -> Path:
    if source.endswith(".toml"):
        return Path(source)
    if source not in named_sweeps():
        raise ConfigError(
            f"expected a .toml file or one of {', '.join(named_sweeps())}, but found {source!r}. List them "
            "with reweigh sweep --list."
        )
    return NAMED / f"{source}.toml"


def _seeds(given: Any, where: str) -> list[int]:
    if not isinstance(given, list) or not all(type(seed) is int for seed in given) or not given:
        raise ConfigError(f"expected seeds = [0, 1, ...] in {where}, but found {given!r}.")
    check_seeds("seeds", given)
    return given


def _runs_of(
    group: dict[str, Any], folder: Path, data: Sequence[str], where: str
) -> list[tuple[Path, tuple[str, ...]]]:
    """Folder and words of every combination of a group's choices."""
    group = dict(group)
    name = group.pop("name", None)
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"expected name = '...' under [[runs]] of {where}, but found {name!r}.")
    if data:
        group["data"] = list(data)
    for key in ("data", "algorithm"):
        if not group.get(key):
            hint = " Give it with --data." if key == "data" else ""
            found = ", ".join(name for name in group if group[name]) or "nothing"
            raise ConfigError(f"expected {key} = [...] under [[runs]] of {where}, but found {found}.{hint}")
    misplaced = _OF_THE_SWEEP & set(group)
    if misplaced:
        raise ConfigError(
            f"{sorted(misplaced)[0]} belongs to the whole sweep, not under [[runs]] of {where}. Leave it out."
        )
    group["data"] = _data_of(group["data"])
    choices = {key: value if isinstance(value, list) else [value] for key, value in group.items()}
    runs = []
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        words = [str(chosen.pop("data"))]
        dataset = words[0]
        for flag, value in chosen.items():
            words += [word.replace("{data}", plain_name(dataset)) for word in _words(flag, value, where)]
        runs.append((folder / folder_name(plain_name(dataset)) / _name(chosen, name), tuple(words)))
    return runs


def _data_of(given: Any) -> list[Any]:
    specs = []
    for spec in given if isinstance(given, list) else [given]:
        specs += datasets_of_set(spec) if str(spec).startswith(SET_PREFIX) else [spec]
    return specs


def _words(flag: str, value: Any, where: str) -> list[str]:
    if value is True:
        return [f"--{flag}"]
    if value is False:
        return []
    parts = value if isinstance(value, list) else [value]
    if not parts or not all(isinstance(part, str | int | float) for part in parts):
        raise ConfigError(f"expected words or numbers as {flag} in {where}, but found {value!r}.")
    if flag == "set":
        return [word for part in parts for word in ("--set", str(part))]
    return [f"--{flag}", *map(str, parts)]


def _name(chosen: dict[str, Any], name: str | None) -> str:
    """A run's folder name, from its own settings alone, so that extending a sweep renames nothing."""
    # A paper's preset sets the weights if nothing else does.
    weights = chosen.get("sampler") or chosen.get("weights") or ("" if "paper" in chosen else "uniform")
    parts = [word for word in (str(chosen["algorithm"]), name or str(weights)) if word]
    for flag, value in chosen.items():
        if flag in {"algorithm", "weights", "sampler", *_NOT_IN_NAMES} or value is False or name:
            continue
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(flag if value is True else shown)
    return folder_name("-".join(parts))
