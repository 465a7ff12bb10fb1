"""Settings as text: one field of a config, named by a dotted path, with a value as typed."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal

from reweigh.errors import ConfigError


def replace_at(config: Any, path: str, text: str) -> Any:
    """A config with one field changed, named by a dotted path.

    Args:
        config: a frozen dataclass.
        path: for example `algorithm.alpha`.
        text: the value as typed.

    Raises:
        ConfigError: there is no such field, or the text is no value of it.
    """
    name, _, rest = path.partition(".")
    known = {f.name for f in dataclasses.fields(config)}
    if name not in known:
        named = {full.rpartition(".")[2]: full for full in _field_paths(config)}
        near = difflib.get_close_matches(path.rpartition(".")[2], named, n=1)
        hint = f" Did you mean {named[near[0]]}?" if near else ""
        raise ConfigError(
            f"expected a field of {type(config).__name__} ({', '.join(sorted(known))}), but found {name!r}."
            f"{hint}"
        )
    if rest:
        inner = getattr(config, name)
        if not dataclasses.is_dataclass(inner):
            raise ConfigError(f"expected a field after {name!r}, but it has none. Leave out {rest!r}.")
        return dataclasses.replace(config, **{name: replace_at(inner, rest, text)})
    kind = typing.get_type_hints(type(config))[name]
    return dataclasses.replace(config, **{name: parse_value(text, kind, path)})


def _field_paths(config: Any) -> Iterator[str]:
    """Every field of a config and of those inside it, dotted."""
    for f in dataclasses.fields(config):
        inner = getattr(config, f.name)
        if dataclasses.is_dataclass(inner):
            yield from (f"{f.name}.{path}" for path in _field_paths(inner))
        else:
            yield f.name


def parse_value(text: str, kind: Any, path: str) -> Any:
    """Read a typed value.

    Args:
        text: as typed.
        kind: the field's type: bool, int, float, str, a literal, a tuple of integers, or one of them or None.
        path: the field's name, for messages.

    Raises:
        ConfigError: the text is no such value.
    """
    options = typing.get_args(kind)
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        if text == "none" and type(None) in options:
            return None
        kind = next(option for option in options if option is not type(None))
        return parse_value(text, kind, path)
    try:
        if typing.get_origin(kind) is Literal:
            return options[[str(option) for option in options].index(text)]
        if typing.get_origin(kind) is tuple:
            return tuple(int(part) for part in text.replace(",", " ").split())
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float, str):
            return kind(text)
    except (ValueError, KeyError) as error:
        names = ", ".join(map(str, options)) if typing.get_origin(kind) is Literal else ""
        expected = f"one of {names}" if names else getattr(kind, "__name__", str(kind))
        raise ConfigError(f"expected {path} to be {expected}, but found {text!r}.") from error
    raise ConfigError(f"{path} cannot be set on the command line. Set its fields.")
