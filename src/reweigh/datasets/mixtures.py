"""Imbalanced datasets from good and bad ones (Appendix of arXiv 2306.13085 and of 2310.04413)."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from reweigh.checks import LARGEST_COUNT, check_choices, check_range
from reweigh.datasets.episodes import episode_starts, limit_timeouts
from reweigh.datasets.rows import Rows, rows_digest
from reweigh.errors import ConfigError, DatasetError

Kind = Literal["trajectories", "segments"]
Unit = Literal["transitions", "episodes"]

SHORTEST_SEGMENT, LONGEST_SEGMENT = 5, 499


@dataclass(frozen=True)
class MixRecipe:
    """Settings of a mix; with the sources' digests they determine every byte of it."""

    ratio: float
    """`P`, the good sources' share, in (0, 1)."""
    size: int
    """`N`, in `unit`; at least 2. Rows may exceed it, because the last episode is not cut."""
    kind: Kind = "trajectories"
    """Whole episodes, or random segments of them."""
    replacement: bool = True
    """An episode may be drawn again."""
    seed: int = 0
    overshoot: bool = False
    """Draw one more episode when the target is met exactly, as the authors' loop does."""
    unit: Unit = "transitions"
    """What shares and size are counted in: rows, or drawn episodes (or segments)."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        check_range(self, "strictly between 0 and 1", "ratio")
        if not 2 <= self.size <= LARGEST_COUNT:
            raise ConfigError(f"expected size from 2 to {LARGEST_COUNT} rows, but found {self.size}.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"expected seed from 0 to below 2^63, but found {self.seed}.")


@dataclass(frozen=True)
class Source:
    """One of a mix's datasets."""

    rows: Rows
    share: float
    """Of the mix, in (0, 1); all sources' shares add up to 1."""
    good: bool
    name: str = ""


@dataclass(frozen=True)
class _Pieces:
    """Stretches of rows drawn from one source, in order."""

    start: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)

    def count(self, unit: Unit) -> int:
        return len(self.start) if unit == "episodes" else sum(self.length)


def mix(good: Rows, bad: Rows, recipe: MixRecipe) -> tuple[Rows, dict]:
    """Draw episodes (or segments) from the good source up to `P N`, then from the bad one up to `N`.

    Args:
        good: rows of the good source.
        bad: rows of the bad one.
        recipe: the settings.

    Returns:
        The rows, good first, with `source` 1 or 0, and a record of how they were made.

    Raises:
        DatasetError: the sources do not fit together, or a draw without replacement runs out.
    """
    sources = [Source(good, recipe.ratio, good=True), Source(bad, 1 - recipe.ratio, good=False)]
    rows, _, made = _mixed(sources, recipe)
    return rows, made | {
        "mix_good_digest": rows_digest(good, ""),
        "mix_bad_digest": rows_digest(bad, ""),
    }


def mix_several(sources: Sequence[Source], recipe: MixRecipe) -> tuple[Rows, dict]:
    """Draw each source's share of `N` in turn, good ones first; the last one fills the rest.

    Args:
        sources: at least one good and one bad; names tell them apart in the record.
        recipe: the settings; `ratio` is the good sources' share.

    Returns:
        The rows, with `source` 1 or 0, and a record of how they were made.

    Raises:
        ConfigError: the shares do not add up to 1, or leave a source empty.
        DatasetError: the sources do not fit together, or a draw without replacement runs out.
    """
    sources = sorted(sources, key=lambda source: not source.good)
    rows, drawn, made = _mixed(sources, recipe)
    each = [
        {
            "source": source.name,
            "label": "good" if source.good else "bad",
            "share": source.share,
            "rows": pieces.count("transitions"),
            "episodes": pieces.count("episodes"),
            "digest": rows_digest(source.rows, ""),
        }
        for source, pieces in zip(sources, drawn, strict=True)
    ]
    return rows, made | {"mix_sources": json.dumps(each)}


def check_shares(shares: Sequence[float]) -> None:
    """Reject shares that are not positive, or do not add up to 1.

    Args:
        shares: of all sources.

    Raises:
        ConfigError: one is not in (0, 1], or they do not add up to 1.
    """
    if not all(0 < share <= 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-6):
        raise ConfigError(
            f"expected shares above 0 that add up to 1, but found "
            f"{', '.join(f'{share:g}' for share in shares)}, together {sum(shares):g}."
        )


def _mixed(sources: Sequence[Source], recipe: MixRecipe) -> tuple[Rows, list[_Pieces], dict[str, Any]]:
    _check_widths(sources)
    check_shares([source.share for source in sources])
    rng = np.random.default_rng(recipe.seed)
    drawn: list[_Pieces] = []
    for number, source in enumerate(sources, start=1):
        # so that 0.07 * 100 is 7, not a little more
        target = round(source.share * recipe.size, 6)
        if recipe.unit == "episodes":
            target = float(round(target))
        if not target:
            raise ConfigError(
                f"expected a {'ratio' if len(sources) == 2 else 'share'} that asks for {_things(recipe)} of "
                f"the {_label(source)} source, but {source.share:g} of {recipe.size} is none. "
                "Raise it or --size."
            )
        if number == len(sources):
            target = float(recipe.size - sum(pieces.count(recipe.unit) for pieces in drawn))
            # Of two sources, the good one may fill everything; the recorded ratio shows it.
            if target <= 0 and len(sources) > 2:
                raise ConfigError(
                    f"expected room for the {_label(source)} source, but whole episodes of the others fill "
                    f"{recipe.size} {_things(recipe)}. Raise --size."
                )
        drawn.append(_draw(source, target, recipe, rng))
    parts = [_take(source.rows, pieces) for source, pieces in zip(sources, drawn, strict=True)]
    rows = Rows(
        observation=np.concatenate([part.observation for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        terminal=np.concatenate([part.terminal for part in parts]),
        timeout=np.concatenate([part.timeout for part in parts if part.timeout is not None]),
        source=np.concatenate(
            [np.full(len(part), source.good, np.int8) for source, part in zip(sources, parts, strict=True)]
        ),
        env=sources[0].rows.env,
        bounds=_shared_bounds(sources),
        reference=_shared_reference(sources),
    )
    return rows, drawn, _record(sources, drawn, recipe)


def _record(sources: Sequence[Source], drawn: Sequence[_Pieces], recipe: MixRecipe) -> dict[str, Any]:
    def total(unit: Unit, *, good: bool) -> int:
        pairs = zip(sources, drawn, strict=True)
        return sum(pieces.count(unit) for source, pieces in pairs if source.good == good)

    good, bad = total(recipe.unit, good=True), total(recipe.unit, good=False)
    return {
        "mix_ratio": recipe.ratio,
        "mix_ratio_reached": good / (good + bad),
        "mix_size": recipe.size,
        **({"mix_unit": recipe.unit} if recipe.unit != "transitions" else {}),
        "mix_kind": recipe.kind,
        "mix_replacement": recipe.replacement,
        "mix_overshoot": recipe.overshoot,
        "mix_seed": recipe.seed,
        "mix_good_rows": total("transitions", good=True),
        "mix_bad_rows": total("transitions", good=False),
        "mix_good_episodes": total("episodes", good=True),
        "mix_bad_episodes": total("episodes", good=False),
    }


def _check_widths(sources: Sequence[Source]) -> None:
    for name in ("observation", "action"):
        first, *others = (getattr(source.rows, name).shape[1] for source in sources)
        for source, other in zip(sources[1:], others, strict=True):
            if first != other:
                raise DatasetError(
                    f"expected sources of equal {name} width, but the {_label(sources[0])} one has {first} "
                    f"and the {_label(source)} one {other}."
                )


def _shared_bounds(sources: Sequence[Source]) -> tuple[np.ndarray, np.ndarray] | None:
    """The action bounds on which all records agree; None: none has any."""
    said = [source for source in sources if source.rows.bounds is not None]
    for source in sources:
        if said and not _same_bounds(source.rows.bounds, said[0].rows.bounds):
            raise DatasetError(
                f"expected sources with the same action bounds, but the {_label(said[0])} one says "
                f"{_shown_bounds(said[0])} and the {_label(source)} one {_shown_bounds(source)}. Scale the "
                "actions of both alike."
            )
    return said[0].rows.bounds if said else None


def _same_bounds(one: Any, other: Any) -> bool:
    return one is not None and other is not None and all(map(np.array_equal, one, other))


def _shown_bounds(source: Source) -> str:
    if source.rows.bounds is None:
        return "none"
    return " to ".join(str(side.tolist()) for side in source.rows.bounds)


def _shared_reference(sources: Sequence[Source]) -> tuple[float, float] | None:
    """The reference returns on which all records agree, for one environment."""
    said = {(source.rows.env, source.rows.reference) for source in sources}
    return sources[0].rows.reference if len(said) == 1 else None


def _label(source: Source) -> str:
    return f"{'good' if source.good else 'bad'}{f' ({source.name})' if source.name else ''}"


def _things(recipe: MixRecipe) -> str:
    return "episodes" if recipe.unit == "episodes" else "rows"


def with_timeouts(rows: Rows, limit: int | None) -> Rows:
    """Rows with `timeouts`, computed from the episode limit if missing.

    Args:
        rows: as recorded.
        limit: episode limit for a record without `timeouts`.

    Raises:
        DatasetError: there are no `timeouts` and no limit.
    """
    if rows.timeout is not None:
        return rows
    if limit is None:
        raise DatasetError(
            "expected 'timeouts' or a known episode limit in both sources, but one has neither. "
            "Give the limit with --max-episode-steps."
        )
    return replace(rows, timeout=limit_timeouts(rows.terminal, limit))


def _draw(source: Source, target: float, recipe: MixRecipe, rng: np.random.Generator) -> _Pieces:
    rows = source.rows
    assert rows.timeout is not None
    starts = episode_starts(rows.terminal | rows.timeout)
    lengths = np.diff(np.append(starts, len(rows)))
    pieces, total = _Pieces(), 0
    order = rng.permutation(len(starts)) if not recipe.replacement else None
    while total < target or (recipe.overshoot and total == target):
        drawn = len(pieces.start)
        if order is not None and drawn == len(order):
            whole = f" hold {total}" if recipe.unit == "transitions" else " are drawn"
            raise DatasetError(
                f"expected {target:.0f} {_things(recipe)} of the {_label(source)} source, but all its "
                f"{len(order)} episodes{whole}. Draw with replacement, or lower --size or the ratio."
            )
        episode = int(order[drawn]) if order is not None else int(rng.integers(len(starts)))
        start, length = int(starts[episode]), int(lengths[episode])
        if recipe.kind == "segments":
            wanted = int(rng.integers(SHORTEST_SEGMENT, LONGEST_SEGMENT + 1))
            offset = int(rng.integers(length))
            start, length = start + offset, min(wanted, length - offset)
        pieces.start.append(start)
        pieces.length.append(length)
        total += 1 if recipe.unit == "episodes" else length
    return pieces


def _take(rows: Rows, pieces: _Pieces) -> Rows:
    """Copy the pieces; a cut end, or the end of an unfinished record, becomes a timeout."""
    assert rows.timeout is not None
    length = np.array(pieces.length, np.int64)
    end = np.cumsum(length)
    index = np.arange(length.sum()) + np.repeat(np.array(pieces.start, np.int64) - (end - length), length)
    terminal, timeout = rows.terminal[index], rows.timeout[index]
    last = end - 1
    timeout[last] |= ~terminal[last]
    return Rows(
        observation=rows.observation[index],
        action=rows.action[index],
        reward=rows.reward[index],
        terminal=terminal,
        timeout=timeout,
    )
