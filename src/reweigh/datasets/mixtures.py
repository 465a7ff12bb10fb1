"""Imbalanced datasets from a good and a bad one (Appendix of arXiv 2306.13085 and of 2310.04413)."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from reweigh.datasets.episodes import episode_starts, limit_timeouts
from reweigh.datasets.rows import Rows, rows_digest
from reweigh.errors import MOST, ConfigError, DatasetError

Kind = Literal["trajectories", "segments"]

SHORTEST_SEGMENT, LONGEST_SEGMENT = 5, 499


@dataclass(frozen=True)
class MixRecipe:
    """Settings of a mix; with the sources' digests they fix every byte of it."""

    ratio: float
    """`P`, the good source's share of rows, in (0, 1)."""
    size: int
    """`N`, rows at least; the last episode is not cut."""
    kind: Kind = "trajectories"
    """Whole episodes, or random segments of them."""
    replacement: bool = True
    """An episode may be drawn again."""
    seed: int = 0
    overshoot: bool = False
    """Draw one episode more where the target is met exactly, as the authors' loop does."""

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        if not 0 < self.ratio < 1:
            raise ConfigError(f"expected ratio strictly between 0 and 1, but found {self.ratio}.")
        if not 2 <= self.size <= MOST:
            raise ConfigError(f"expected size from 2 to {MOST} rows, but found {self.size}.")
        if self.kind not in ("trajectories", "segments"):
            raise ConfigError(f"expected kind 'trajectories' or 'segments', but found {self.kind!r}.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"expected seed from 0 to below 2^63, but found {self.seed}.")


@dataclass(frozen=True)
class _Pieces:
    """Stretches of rows drawn from one source, in order."""

    start: list[int] = field(default_factory=list)
    length: list[int] = field(default_factory=list)


def mix(good: Rows, bad: Rows, recipe: MixRecipe) -> tuple[Rows, dict]:
    """Draw episodes (or segments) of the good source until `P N` rows, then of the bad one until `N`.

    Args:
        good: rows of the good source.
        bad: rows of the bad one.
        recipe: how.

    Returns:
        The rows, good first, with `source` 1 or 0, and what to record of how they were made.

    Raises:
        DatasetError: the sources do not fit together, or a draw without replacement runs out.
    """
    for name in ("observation", "action"):
        one, other = getattr(good, name).shape[1], getattr(bad, name).shape[1]
        if one != other:
            raise DatasetError(
                f"expected sources of equal {name} width, but the good one has {one} and the bad one {other}."
            )
    rng = np.random.default_rng(recipe.seed)
    good_target = round(recipe.ratio * recipe.size, 6)  # 0.07 * 100 shall be 7, not a little more
    if not good_target:
        raise ConfigError(
            f"expected a ratio that asks for rows of the good source, but {recipe.ratio} of {recipe.size} "
            "rows is none. Raise it or --size."
        )
    good_pieces, good_rows = _draw(good, good_target, recipe, rng, "good")
    bad_pieces, bad_rows = _draw(bad, float(recipe.size - good_rows), recipe, rng, "bad")
    parts = [_take(good, good_pieces), _take(bad, bad_pieces)]
    labels = [np.ones(good_rows, np.int8), np.zeros(bad_rows, np.int8)]
    rows = Rows(
        observation=np.concatenate([part.observation for part in parts]),
        action=np.concatenate([part.action for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        terminal=np.concatenate([part.terminal for part in parts]),
        timeout=np.concatenate([part.timeout for part in parts if part.timeout is not None]),
        source=np.concatenate(labels),
        env=good.env,
    )
    made = {
        "mix_ratio": recipe.ratio,
        "mix_ratio_reached": good_rows / len(rows),
        "mix_size": recipe.size,
        "mix_kind": recipe.kind,
        "mix_replacement": recipe.replacement,
        "mix_overshoot": recipe.overshoot,
        "mix_seed": recipe.seed,
        "mix_good_rows": good_rows,
        "mix_bad_rows": bad_rows,
        "mix_good_episodes": len(good_pieces.start),
        "mix_bad_episodes": len(bad_pieces.start),
        "mix_good_digest": rows_digest(good, ""),
        "mix_bad_digest": rows_digest(bad, ""),
    }
    return rows, made


def with_timeouts(rows: Rows, limit: int | None) -> Rows:
    """Rows that say where time limits cut them.

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


def _draw(
    rows: Rows, target: float, recipe: MixRecipe, rng: np.random.Generator, name: str
) -> tuple[_Pieces, int]:
    assert rows.timeout is not None
    starts = episode_starts(rows.terminal | rows.timeout)
    lengths = np.diff(np.append(starts, len(rows)))
    pieces, total = _Pieces(), 0
    order = rng.permutation(len(starts)) if not recipe.replacement else None
    drawn = 0
    while total < target or (recipe.overshoot and total == target):
        if order is not None and drawn == len(order):
            raise DatasetError(
                f"expected {target:.0f} rows of the {name} source, but all its {len(order)} episodes hold "
                f"{total}. Draw with replacement, or lower --size or the ratio."
            )
        episode = int(order[drawn]) if order is not None else int(rng.integers(len(starts)))
        start, length = int(starts[episode]), int(lengths[episode])
        if recipe.kind == "segments":
            wanted = int(rng.integers(SHORTEST_SEGMENT, LONGEST_SEGMENT + 1))
            offset = int(rng.integers(length))
            start, length = start + offset, min(wanted, length - offset)
        pieces.start.append(start)
        pieces.length.append(length)
        total += length
        drawn += 1
    return pieces, total


def _take(rows: Rows, pieces: _Pieces) -> Rows:
    """Copy the stretches; a cut end, or the end of an unfinished record, becomes a time-out."""
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
