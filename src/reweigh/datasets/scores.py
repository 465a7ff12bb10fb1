"""D4RL's reference returns and episode limits (its `infos.py` and environment registrations)."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from jaxtyping import Float

from reweigh.datasets.environment_names import split_environment

# Precedes the name of one of D4RL's datasets, as a dataset or as its environment.
D4RL_PREFIX = "d4rl:"
# The same for imbalanced mixes of two of them.
SUITE_PREFIX = "suite:"

# Families whose current environment equals D4RL's: same observations, reward and limit.
_SAME = ("hopper", "halfcheetah", "walker2d")
# Families whose references also fit returns in the current environment. The others differ in reward or limit
# (docs/environments.md).
_SCORED_ALIKE = (*_SAME, "ant", "door", "hammer", "relocate")


@dataclass(frozen=True)
class Entry:
    """D4RL's facts about one of its datasets."""

    name: str
    file: str
    """Path below D4RL's download address."""
    reference_min: float
    """Mean return of a random policy: normalized score 0."""
    reference_max: float
    """Mean return of an expert: normalized score 100."""
    max_episode_steps: int
    evaluate_in: str | None
    """The closest current gymnasium environment; None: there is none."""

    @property
    def family(self) -> str:
        """`hopper`, `antmaze`, ..."""
        return self.name.partition("-")[0]

    @property
    def env(self) -> str | None:
        """What policies are scored in: `evaluate_in` if it equals D4RL's, else one made like D4RL's."""
        if self.evaluate_in is None or self.family in _SAME:
            return self.evaluate_in
        return D4RL_PREFIX + self.name


@cache
def catalog() -> dict[str, Entry]:
    """All datasets of D4RL by name."""
    text = resources.files("reweigh.datasets").joinpath("d4rl.csv").read_text(encoding="utf-8")
    return {
        row["name"]: Entry(
            name=row["name"],
            file=row["file"],
            reference_min=float(row["reference_min"]),
            reference_max=float(row["reference_max"]),
            max_episode_steps=int(row["max_episode_steps"]),
            evaluate_in=row["evaluate_in"] or None,
        )
        for row in csv.DictReader(text.splitlines())
    }


def _family(env: str) -> str:
    return env.rpartition("-v")[0]


def gymnasium_id(env: str) -> str:
    """The gymnasium ID in an environment's text; for `d4rl:NAME`, the current environment's.

    Args:
        env: gymnasium ID, one with options, or `d4rl:NAME`.

    Raises:
        ConfigError: what follows the ID is not a JSON object.
    """
    entry = catalog().get(env.removeprefix(D4RL_PREFIX)) if env.startswith(D4RL_PREFIX) else None
    return (entry.evaluate_in or env) if entry else split_environment(env)[0]


def reference_of_env(env: str) -> tuple[float, float] | None:
    """Random and expert return of an environment; None: D4RL has none or several.

    Args:
        env: `d4rl:NAME`, or a gymnasium ID; its version after `-v` does not matter, options other than D4RL's
            limit do.
    """
    if env.startswith(D4RL_PREFIX):
        entry = catalog().get(env.removeprefix(D4RL_PREFIX))
        return (entry.reference_min, entry.reference_max) if entry else None
    env_id, options = split_environment(env)
    entries = [
        entry
        for entry in catalog().values()
        if entry.evaluate_in
        and entry.family in _SCORED_ALIKE
        and _family(entry.evaluate_in) == _family(env_id)
    ]
    limit = options.pop("max_episode_steps", None)
    if options or (limit is not None and limit not in [entry.max_episode_steps for entry in entries]):
        return None
    pairs = {(entry.reference_min, entry.reference_max) for entry in entries}
    return pairs.pop() if len(pairs) == 1 else None


def reference_of(spec: str, env: str | None) -> tuple[float, float] | None:
    """Random and expert return that score a dataset: by its own name, else by its environment.

    Args:
        spec: `d4rl:NAME` or another.
        env: the dataset's environment, if known.
    """
    entry = catalog().get(spec.removeprefix(D4RL_PREFIX)) if spec.startswith(D4RL_PREFIX) else None
    if entry and env in (None, entry.evaluate_in, entry.env):
        return entry.reference_min, entry.reference_max
    return reference_of_env(env) if env else None


def limit_of(file_name: str, env: str | None) -> int | None:
    """Episode limit of the D4RL dataset that `env` names, else by a file's name, else by environment.

    Args:
        file_name: without folders (`hopper_medium-v2.hdf5`); or `d4rl:NAME`.
        env: gymnasium ID, with options or without, or `d4rl:NAME`, if known.

    Returns:
        The limit, in steps; None: the names give none or several.
    """
    stem = file_name.removeprefix(D4RL_PREFIX).removesuffix(".hdf5")
    if env and env.startswith(D4RL_PREFIX) and env.removeprefix(D4RL_PREFIX) in catalog():
        return catalog()[env.removeprefix(D4RL_PREFIX)].max_episode_steps
    if stem in catalog():
        return catalog()[stem].max_episode_steps
    entries = catalog().values()
    of_file = [entry for entry in entries if stem == entry.file.rpartition("/")[2].removesuffix(".hdf5")]
    of_env = [
        entry
        for entry in entries
        if env and entry.evaluate_in and _family(entry.evaluate_in) == _family(split_environment(env)[0])
    ]
    own = split_environment(env)[1].get("max_episode_steps") if env and not of_file else None
    if type(own) is int and own > 0:
        return own
    # Datasets with different limits may share a file name, which is then ambiguous.
    limits = {entry.max_episode_steps for entry in of_file or of_env}
    return limits.pop() if len(limits) == 1 else None


def is_reference(found: Any) -> bool:
    """Whether a recorded value is None, or a random and a higher expert return.

    Args:
        found: of JSON types.
    """
    if found is None:
        return True
    numbers = (
        isinstance(found, list | tuple) and len(found) == 2 and all(type(n) in (int, float) for n in found)
    )
    return numbers and -np.inf < found[0] < found[1] < np.inf


def normalized_score(
    episode_return: Float[np.ndarray, "..."] | float, reference: tuple[float, float]
) -> Float[np.ndarray, "..."]:
    """D4RL's score: 0 is a random policy, 100 an expert.

    .. math:: 100 (G - G_{random}) / (G_{expert} - G_{random})

    Args:
        episode_return: `G`, undiscounted.
        reference: `G_random`, `G_expert`.
    """
    low, high = reference
    return np.asarray(100.0 * (np.asarray(episode_return, np.float64) - low) / (high - low))
