"""The loss terms that weights may act on, and the words for them."""

from collections.abc import Collection
from typing import Literal

from reweigh.errors import ConfigError

Term = Literal["evaluation", "improvement", "constraint"]
TERMS: tuple[Term, ...] = ("evaluation", "improvement", "constraint")
"""Fitting values; maximizing value; staying near the data."""
_WORDS = {
    frozenset(TERMS): "all",
    frozenset(("improvement", "constraint")): "policy",
    frozenset(("evaluation",)): "evaluation",
}


def terms_word(weighted: Collection[str]) -> str:
    """`all`, `policy`, or a list of terms.

    Args:
        weighted: some of `TERMS`.
    """
    named = [term for term in TERMS if term in weighted]
    return _WORDS.get(frozenset(named), ",".join(named))


def parse_terms(text: str) -> frozenset[str]:
    """The terms that `--terms` names, by word or as a list.

    Args:
        text: as typed.

    Raises:
        ConfigError: one of them is unknown.
    """
    words = {word: terms for terms, word in _WORDS.items()}
    terms = words.get(text) or frozenset(text.split(","))
    if terms - set(TERMS):
        raise ConfigError(f"expected --terms all, policy, or some of {','.join(TERMS)}, but found {text!r}.")
    return terms
