"""Checks of settings, made where a setting is created and naming it as the user typed it."""

import dataclasses
import types
import typing
from collections.abc import Sequence
from math import inf
from typing import Any, Literal

from reweigh.errors import ConfigError

# Counts and seeds are 32-bit integers on the device.
LARGEST_COUNT = 2**31 - 1
LARGEST_SEED = 2**32 - 1

Range = Literal["above 0", "of at least 0", "in [0, 1]", "in [0, 1)", "in (0, 1]", "strictly between 0 and 1"]
"""Ranges, in the words of error messages; infinity and NaN lie in none of them."""

_RANGES = {
    "above 0": lambda number: 0 < number < inf,
    "of at least 0": lambda number: 0 <= number < inf,
    "in [0, 1]": lambda number: 0 <= number <= 1,
    "in [0, 1)": lambda number: 0 <= number < 1,
    "in (0, 1]": lambda number: 0 < number <= 1,
    "strictly between 0 and 1": lambda number: 0 < number < 1,
}


def require(condition: bool, name: str, expected: str, found: object, remedy: str = "") -> None:
    """Reject a setting unless a condition holds.

    Args:
        condition: what must hold.
        name: the setting, as the user knows it.
        expected: what it should be, for the message.
        found: what it is.
        remedy: a further sentence, with a leading space.

    Raises:
        ConfigError: `condition` is false.
    """
    if not condition:
        raise ConfigError(f"expected {name} {expected}, but found {found!r}.{remedy}")


def _default_of(settings: Any, name: str) -> str:
    """A sentence that names a setting's default, if it has one."""
    default = next(f.default for f in dataclasses.fields(settings) if f.name == name)
    return "" if default in (dataclasses.MISSING, None) else f" The default is {default}."


def check_range(settings: Any, expected: Range, *names: str) -> None:
    """Reject numbers outside a range.

    Args:
        settings: a dataclass; None passes.
        expected: the range.
        names: its attributes to check.

    Raises:
        ConfigError: one is outside, infinite or NaN.
    """
    for name in names:
        number = getattr(settings, name)
        if number is not None:
            require(_RANGES[expected](number), name, expected, number, _default_of(settings, name))


def check_choices(settings: Any) -> None:
    """Reject a value that its field's `Literal` does not list.

    Args:
        settings: a dataclass.

    Raises:
        ConfigError: a field has such a value.
    """
    for name, kind in typing.get_type_hints(type(settings)).items():
        union = typing.get_origin(kind) in (types.UnionType, typing.Union)
        alternatives = typing.get_args(kind) if union else (kind,)
        literal = next((one for one in alternatives if typing.get_origin(one) is Literal), None)
        if literal is None:
            continue
        options, found = typing.get_args(literal), getattr(settings, name)
        allowed = found in options or (found is None and type(None) in alternatives)
        expected = f"to be one of {', '.join(map(str, options))}"
        require(allowed, name, expected, found, _default_of(settings, name))


def check_widths(hidden: tuple[int, ...]) -> None:
    """Reject invalid hidden widths.

    Args:
        hidden: width of each layer.

    Raises:
        ConfigError: there is no layer, or a width is not an integer from 1 to 2^31 - 1.
    """
    require(
        len(hidden) > 0 and all(is_integer(width) and 0 < width <= LARGEST_COUNT for width in hidden),
        "hidden",
        "to be one or more positive widths",
        hidden,
    )


def is_integer(number: object) -> bool:
    """Whether it is an integer of Python's own; others, such as 1e5, would change digests and random keys.

    Args:
        number: what was given.
    """
    return type(number) is int


def check_count(name: str, count: Any, remedy: str = "") -> None:
    """Reject a count that is no whole number, not positive, or exceeds 32-bit integers.

    Args:
        name: the setting, as the user knows it.
        count: what was given.
        remedy: a further sentence, with a leading space.

    Raises:
        ConfigError: it is not an integer from 1 to 2^31 - 1.
    """
    if not is_integer(count):
        raise ConfigError(f"expected {name} to be a Python int of at least 1, but found {count!r}.{remedy}")
    if count < 1:
        raise ConfigError(f"expected {name} of at least 1, but found {count}.{remedy}")
    if count > LARGEST_COUNT:
        raise ConfigError(f"expected {name} of at most {LARGEST_COUNT}, but found {count}.")


def check_seeds(name: str, seeds: Sequence[Any]) -> None:
    """Reject seeds that are missing, repeated, or unusable for a random key.

    Args:
        name: the setting, as the user knows it.
        seeds: what was given.

    Raises:
        ConfigError: there is none, one is repeated, or one is not an integer from 0 to 2^32 - 1.
    """
    if not all(map(is_integer, seeds)):
        raise ConfigError(f"expected {name} to be integers, but found {list(seeds)}.")
    if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) > LARGEST_SEED:
        raise ConfigError(f"expected distinct {name} from 0 to {LARGEST_SEED}, but found {list(seeds)}.")
