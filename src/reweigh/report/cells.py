"""Numbers as text, in tables and sentences of a report."""

from collections.abc import Sequence
from statistics import median

from reweigh.statistics import Interval

NONE = "–"
"""Where there is no number."""


def counted(number: int, noun: str) -> str:
    """`1 seed`, `2 seeds`.

    Args:
        number: of things.
        noun: one of them, whose plural ends in s.
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def span_of(interval: Interval | None, digits: int) -> str:
    """`low to high`.

    Args:
        interval: None: there is none.
        digits: after the point.
    """
    return NONE if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def with_span(estimate: float, interval: Interval | None, digits: int) -> str:
    """`estimate [low to high]`; without an interval the estimate alone.

    Args:
        estimate: the number.
        interval: around it.
        digits: after the point, of all three.
    """
    return f"{estimate:.{digits}f}" + (f" [{span_of(interval, digits)}]" if interval else "")


def median_and_range(values: Sequence[float], form: str, unknown: str = NONE) -> str:
    """`median (least to most)`; of a single value the value alone.

    Args:
        values: of seeds.
        form: format of each number, such as `.3g`.
        unknown: the text if there is no value.
    """
    if not values:
        return unknown
    spread = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
    return f"{median(values):{form}}{spread}"
