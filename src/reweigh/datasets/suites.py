"""Imbalanced mixes of D4RL's datasets, named as in the papers' scripts (arXiv 2306.13085, 2310.04413)."""

import itertools
import re
from dataclasses import dataclass, replace

from reweigh.datasets.d4rl import d4rl_rows, is_d4rl
from reweigh.datasets.mixtures import Kind, MixRecipe, mix, with_timeouts
from reweigh.datasets.rows import Rows
from reweigh.datasets.scores import D4RL_PREFIX, SUITE_PREFIX, limit_of
from reweigh.errors import ConfigError, did_you_mean

SET_PREFIX = "set:"
_FAMILIES = ("hopper", "halfcheetah", "walker2d", "ant")
_QUALITIES = ("medium", "expert")
_RATIOS = ("0.01", "0.05", "0.1", "0.25", "0.5")
_SIZES = ("5000", "10000", "20000", "50000", "100000")
_NAME = re.compile(
    rf"({'|'.join(_FAMILIES)})-random-({'|'.join(_QUALITIES)})(-partial)?"
    rf"-({'|'.join(map(re.escape, _RATIOS))})(?:-({'|'.join(_SIZES)}))?-v2"
)


@dataclass(frozen=True)
class Suite:
    """A named mix."""

    name: str
    good: str
    """Dataset of the good source, `d4rl:NAME`."""
    bad: str
    ratio: float
    """`P`, the good source's share of rows."""
    kind: Kind
    size: int | None
    """`N`, rows; None: as many as the good source's."""

    def recipe(
        self, good: Rows, *, seed: int = 0, replacement: bool = True, overshoot: bool = False
    ) -> MixRecipe:
        """The recipe for a good source.

        Args:
            good: its rows, which set the size if the name does not.
            seed: of drawing.
            replacement: an episode may be drawn again.
            overshoot: draw one more episode when the target is met exactly, as the authors' loop does.
        """
        return MixRecipe(
            ratio=self.ratio,
            size=self.size or len(good),
            kind=self.kind,
            seed=seed,
            replacement=replacement,
            overshoot=overshoot,
        )


def suite_names() -> list[str]:
    """The 96 names of the authors' scripts; `suite_of` also accepts other ratios and sizes."""
    ratios = [ratio for ratio in _RATIOS if ratio != "0.25"]
    forms = ("{}-random-{}-{}-v2", "{}-random-{}-partial-{}-v2", "{}-random-{}-{}-50000-v2")
    return [
        form.format(family, quality, ratio)
        for form, family, quality, ratio in itertools.product(forms, _FAMILIES, _QUALITIES, ratios)
    ]


def set_names() -> dict[str, list[str]]:
    """The datasets of the AW and DW papers' scripts, in named sets."""
    suites = [SUITE_PREFIX + name for name in suite_names()]
    third = len(suites) // 3
    qualities = ("random", "medium-expert", "medium-replay", "full-replay", "medium", "expert")
    mazes = ("umaze", "umaze-diverse", "medium-diverse", "medium-play", "large-diverse", "large-play")
    balls = ("umaze-v1", "medium-v1", "large-v1", "open-v0", "open-dense-v0")
    balls += ("umaze-dense-v1", "medium-dense-v1", "large-dense-v1")
    hands = itertools.product(("pen", "hammer", "door", "relocate"), ("human", "cloned", "expert"))
    return {
        "mixed": suites[:third],
        "mixed-segments": suites[third : 2 * third],
        "mixed-50000": suites[2 * third :],
        "mujoco": [f"{D4RL_PREFIX}{f}-{q}-v2" for f, q in itertools.product(_FAMILIES, qualities)],
        "antmaze": [f"{D4RL_PREFIX}antmaze-{maze}-v0" for maze in mazes],
        "maze2d": [f"{D4RL_PREFIX}maze2d-{ball}" for ball in balls],
        "adroit": [f"{D4RL_PREFIX}{hand}-{quality}-v1" for hand, quality in hands],
        "kitchen": [f"{D4RL_PREFIX}kitchen-{kind}-v0" for kind in ("complete", "partial", "mixed")],
    }


def datasets_of_set(spec: str) -> list[str]:
    """The datasets that `set:NAME` stands for.

    Args:
        spec: with the prefix.

    Raises:
        ConfigError: there is no such set.
    """
    names = set_names()
    name = spec.removeprefix(SET_PREFIX)
    if name not in names:
        raise ConfigError(f"expected {SET_PREFIX}NAME with one of {', '.join(names)}, but found {spec!r}.")
    return names[name]


def suite_of(name: str) -> Suite:
    """The mix that a name stands for.

    Args:
        name: `{env}-random-{medium|expert}-{P}-v2` (whole episodes, as many rows as the good source has),
            `...-partial-{P}-v2` (segments) or `...-{P}-{N}-v2` (`N` rows).

    Raises:
        ConfigError: there is no such name.
    """
    match = _NAME.fullmatch(name)
    if match is None or (match[3] and match[5]):
        raise ConfigError(
            f"expected the name of an imbalanced dataset, but found {name!r}. "
            f"{did_you_mean(name, suite_names(), 'hopper-random-expert-0.05-v2')} "
            "List them with reweigh mix --list-suites."
        )
    family, quality, partial, ratio, size = match.groups()
    return Suite(
        name=name,
        good=f"{D4RL_PREFIX}{family}-{quality}-v2",
        bad=f"{D4RL_PREFIX}{family}-random-v2",
        ratio=float(ratio),
        kind="segments" if partial else "trajectories",
        size=int(size) if size else None,
    )


def is_suite(spec: str) -> bool:
    """Whether a dataset is named as an imbalanced one."""
    return spec.startswith(SUITE_PREFIX)


def d4rl_names(spec: str) -> list[str]:
    """The D4RL datasets that a dataset is made of; none for a file.

    Args:
        spec: of a dataset.

    Raises:
        ConfigError: there is no such suite.
    """
    if is_suite(spec):
        suite = suite_of(spec.removeprefix(SUITE_PREFIX))
        return [source.removeprefix(D4RL_PREFIX) for source in (suite.good, suite.bad)]
    return [spec.removeprefix(D4RL_PREFIX)] if is_d4rl(spec) else []


def suite_rows(name: str) -> Rows:
    """The rows that `reweigh mix --suite NAME` writes, mixed in memory with seed 0.

    Args:
        name: for example `hopper-random-expert-0.05-v2`.

    Raises:
        ConfigError: there is no such name.
        DatasetError: a source cannot be obtained, read or trusted.
    """
    suite = suite_of(name)
    good, bad = (
        with_timeouts(d4rl_rows(source.removeprefix(D4RL_PREFIX)), limit_of(source, None))
        for source in (suite.good, suite.bad)
    )
    rows, made = mix(good, bad, suite.recipe(good))
    return replace(rows, attributes={"mix_suite": name, "mix_good": suite.good, "mix_bad": suite.bad, **made})
