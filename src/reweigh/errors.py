"""Errors that a user can cause, one class per source."""

import difflib
from collections.abc import Iterable


class ReweighError(Exception):
    """Base of every error that a user can cause and fix; its text is one line."""


class DatasetError(ReweighError):
    """A dataset cannot be read, or is invalid."""


class WeightsError(ReweighError):
    """Weights cannot be computed, read, or used on this dataset."""


class ConfigError(ReweighError):
    """Settings contradict one another or are out of range."""


class RunError(ReweighError):
    """A run's folder cannot be read, written, or continued."""


def did_you_mean(name: str, known: Iterable[str], example: str) -> str:
    """A question that names what was probably meant, else an example.

    Args:
        name: as typed.
        known: what it could be.
        example: one of them.
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"Did you mean {' or '.join(near)}?" if near else f"An example is {example}."


def first_line(error: BaseException) -> str:
    """The text of another library's error, short enough to quote in ours.

    Args:
        error: of any kind; one without text gives its type.
    """
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
