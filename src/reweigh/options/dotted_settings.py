"""Settings as text: fields of a config, named by dotted paths, with typed-in values."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from reweigh.errors import ConfigError


def replace_fields(config: Any, assignments: Iterable[tuple[str, str]]) -> Any:
    """A config with some fields changed, all at once, because fields constrain one another.

    Args:
        config: a frozen dataclass.
        assignments: dotted paths, for example `algorithm.alpha`, and values as typed; the last value of a
            repeated path counts.

    Raises:
        ConfigError: there is no such field, the text is not a value of it, or the values contradict.
    """
    kinds = typing.get_type_hints(type(config))
    changed: dict[str, Any] = {}
    inside: dict[str, list[tuple[str, str]]] = {}
    for path, text in assignments:
        name, _, rest = path.partition(".")
        if name not in {f.name for f in dataclasses.fields(config)}:
            raise _unknown(config, path)
        if not rest:
            changed[name] = parse_value(text, kinds[name], path)
        elif dataclasses.is_dataclass(getattr(config, name)):
            inside.setdefault(name, []).append((rest, text))
        else:
            raise ConfigError(f"expected a field after {name!r}, but it has none. Leave out {rest!r}.")
    changed |= {name: replace_fields(getattr(config, name), inner) for name, inner in inside.items()}
    return dataclasses.replace(config, **changed)


def _unknown(config: Any, path: str) -> ConfigError:
    known = ", ".join(sorted(f.name for f in dataclasses.fields(config)))
    named = {full.rpartition(".")[2]: full for full in _field_paths(config)}
    near = difflib.get_close_matches(path.rpartition(".")[2], named, n=1)
    hint = f" Did you mean {named[near[0]]}?" if near else ""
    return ConfigError(
        f"expected a field of {type(config).__name__} ({known}), but found {path.partition('.')[0]!r}.{hint}"
    )


def _field_paths(config: Any) -> Iterator[str]:
    """Every field of a config and of its nested configs, dotted."""
    for f in dataclasses.fields(config):
        inner = getattr(config, f.name)
        if dataclasses.is_dataclass(inner):
            yield from (f"{f.name}.{path}" for path in _field_paths(inner))
        else:
            yield f.name


def parse_value(text: str, kind: Any, path: str) -> Any:
    """Parse a value as typed.

    Args:
        text: as typed.
        kind: the field's type: bool, int, float, str, a literal, a tuple of integers, or None beside one.
        path: the field's name, for messages.

    Raises:
        ConfigError: the text is not such a value.
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
