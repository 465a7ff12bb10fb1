"""A run's folder: RUN/config.json, RUN/environment.json and RUN/seed-K. Its only reader and writer."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from reweigh.errors import RunError
from reweigh.seed_folder import SeedFolder, file_date, read_record
from reweigh.system.atomic import held, write_text
from reweigh.system.cache import elsewhere

_CLAIM_LOCK = "claim.lock"


class RunFolder:
    """The folder RUN."""

    def __init__(self, path: Path):
        self.path = path

    def environment(self) -> dict[str, Any]:
        """The command, versions and machine that made it.

        Raises:
            RunError: the record is missing or damaged.
        """
        return read_record(self.path / "environment.json")

    def claim(
        self,
        config: dict[str, Any],
        identity: str,
        environment: dict[str, Any],
        seeds: Sequence[int] = (),
    ) -> None:
        """Claim the folder for this run, with one per seed, so that seeds that never start are noticed.

        Args:
            config: the run as JSON types.
            identity: equal for runs that are the same.
            environment: command, date, versions, commit, machine.
            seeds: the requested ones.

        Raises:
            RunError: it holds another run, or cannot be written.
        """
        existing = self.path / "config.json"
        self.refuse_other(config, identity)  # before anything is made
        if os.path.exists(existing) and all(self.seed(seed).path.is_dir() for seed in seeds):
            return  # a finished run may lie where nobody can write
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with held(self.path / _CLAIM_LOCK, wait=True):
                if os.path.exists(existing):
                    self._refuse_identity(config, identity)  # another run may have come first
                else:
                    write_text(self.path / "environment.json", json.dumps(environment, indent=2) + "\n")
                    write_text(existing, json.dumps({"identity": identity, **config}, indent=2) + "\n")
                for seed in seeds:
                    self.seed(seed).path.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(
                f"cannot write in {self.path} ({error.strerror}). {elsewhere(self.path)}"
            ) from error

    def refuse_other(self, config: Mapping[str, Any], identity: str) -> None:
        """Reject a folder that holds, or may hold, another run.

        Args:
            config: the run as JSON types, for messages.
            identity: equal for runs that are the same.

        Raises:
            RunError: it holds another run, or seeds whose settings are unknown.
        """
        # Listed first, because another process that claims the folder writes its config before any seed.
        seeds = self.seeds()
        if os.path.exists(self.path / "config.json"):
            self._refuse_identity(config, identity)
        elif seeds:
            raise RunError(
                f"expected {self.path / 'config.json'} beside the trained seeds, but there is none, so their "
                "settings are unknown. Choose another --out."
            )

    def _refuse_identity(self, config: Mapping[str, Any], identity: str) -> None:
        there = self.config()
        if there.get("identity") != identity:
            raise RunError(
                f"expected an empty folder or the same run in {self.path}, but it holds another run "
                f"({_difference(there, config)}). Choose another --out."
            )

    def config(self) -> dict[str, Any]:
        """The run as JSON types.

        Raises:
            RunError: the record is missing or damaged.
        """
        return read_record(self.path / "config.json")

    @property
    def is_online(self) -> bool:
        """Whether it is the online training of a dataset family, which reports leave out.

        Raises:
            RunError: the config is damaged.
        """
        return "td3" in self.config()

    def started(self) -> str | None:
        """When it was claimed: as recorded, else the date of config.json.

        Raises:
            RunError: the record is missing or damaged.
        """
        recorded = self.environment().get("started")
        return recorded if isinstance(recorded, str) else file_date(self.path / "config.json")

    def seed(self, seed: int) -> SeedFolder:
        """The folder of one seed."""
        return SeedFolder(self.path, seed)

    def seeds(self) -> list[SeedFolder]:
        """The requested seeds, in order."""
        if not os.path.isdir(self.path):  # unlike pathlib, returns False for an over-long name
            return []
        numbers = [p.name.removeprefix("seed-") for p in self.path.glob("seed-*") if p.is_dir()]
        return [self.seed(number) for number in sorted(int(n) for n in numbers if n.isdecimal())]


def find_runs(roots: Sequence[Path]) -> list[RunFolder]:
    """Runs at or below some folders, each once, sorted by path.

    Args:
        roots: run folders, or folders that hold some at any depth.

    Raises:
        RunError: a folder holds none, cannot be read, or holds trained seeds of unknown settings.
    """
    runs: dict[str, RunFolder] = {}
    for root in roots:
        below = {os.path.realpath(run.path): run for run in _runs_below(root)}
        if not below:
            raise RunError(
                f"expected run folders at or below {root}, but found no config.json of one there. Name "
                "folders that reweigh train has written."
            )
        runs = below | runs
    return sorted(runs.values(), key=lambda run: str(run.path))


def folder_name(text: str) -> str:
    """A text as a folder's name, with dashes for all other characters."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "-", text).strip("-")


def make_folder(path: Path) -> None:
    """Make a folder for results.

    Raises:
        RunError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the folder {path} ({error.strerror}). Choose another --out.") from error


def _runs_below(root: Path) -> Iterator[RunFolder]:
    def refuse(error: OSError) -> None:
        if os.path.exists(root):
            raise RunError(f"cannot read {error.filename} ({error.strerror}). Leave that folder out.")

    for place, folders, files in os.walk(root, onerror=refuse):
        if "config.json" in files:
            folders.clear()
            run = RunFolder(Path(place))
            if not run.is_online:
                yield run
        elif any(name.startswith("seed-") and name[5:].isdecimal() for name in folders):
            raise RunError(
                f"expected {Path(place, 'config.json')} beside the trained seeds, but there is none, so "
                "their settings are unknown. Leave that folder out."
            )


# Settings in which two configs of one run, or of one family, may differ (the `identity` of each).
_OF_NO_IDENTITY = (
    "data.",
    "evaluation.",
    "log_interval",
    "checkpoint_interval",
    "num_steps",
    "rollout_",
    "medium_share",
)


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """Text with the first two settings that differ, or a general text if none does."""
    one, other = _flat(there), _flat(json.loads(json.dumps(here)))
    names = [name for name in other if name in one and one[name] != other[name]]
    names = [name for name in names if not name.startswith(_OF_NO_IDENTITY)]
    said = [f"{name} {one[name]} there, {other[name]} here" for name in names[:2]]
    return ", ".join(said) or "of other data, weights or settings"


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value}
    return flat
