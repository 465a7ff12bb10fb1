"""Labels of runs: algorithm and weights, and what else distinguishes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reweigh.terms import TERMS, terms_word

Settings = Mapping[str, Any]
"""A run's config by dotted names, without fields that are None or that change no result.

Includes the identity if nothing else tells two groups apart.
"""

_ALGORITHMS = {"bc": "BC", "td3-bc": "TD3+BC", "iql": "IQL", "cql": "CQL", "onestep": "Onestep"}
_WEIGHTS = {
    "oper-r": "OPER-R",
    "rw": "RW",
    "aw": "AW",
    "top": "Top",
    "oper-a": "OPER-A",
    "oper-a-file": "OPER-A (published)",
}
_CHANGE_NOTHING = ("identity", "data", "log_interval", "checkpoint_interval")


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config by dotted names.

    Args:
        config: of `RunFolder.config`.
    """
    plain = {name: value for name, value in config.items() if name not in _CHANGE_NOTHING}
    rebalance = dict(plain["rebalance"])
    if "terms" not in rebalance:  # in the words of --terms
        rebalance["terms"] = terms_word([term for term in TERMS if rebalance.pop(term, False)])
    return _flat({**plain, "rebalance": rebalance}, "")


def _flat(value: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, part in value.items():
        if isinstance(part, Mapping):
            flat |= _flat(part, f"{prefix}{name}.")
        elif part is not None:
            flat[prefix + name] = tuple(map(str, part)) if isinstance(part, list) else part
    return flat


def algorithm_name(settings: Settings) -> str:
    """The algorithm's name, as papers write it."""
    name = str(settings["algorithm.type"])
    return _ALGORITHMS.get(name, name)


def weights_name(settings: Settings) -> str:
    """The weights' name, as papers write it; learned ratios name the weights underneath."""
    name = _one_name(settings, "rebalance.weights.")
    if settings["rebalance.type"] != "density-ratio":
        return name
    return "DW" if name == "uniform" else f"DW over {name}"


def _one_name(settings: Settings, prefix: str) -> str:
    kind = str(settings[f"{prefix}type"])
    if kind == "file":
        path = settings.get(f"{prefix}path")  # files of several datasets share no path
        return f"file {Path(str(path)).stem}" if path else "file"
    if kind == "mixture":
        return " + ".join(f"{share:.3g} {name}" for share, name in _shares(settings, prefix, 1.0))
    return _WEIGHTS.get(kind, kind)


def _shares(settings: Settings, prefix: str, whole: float) -> list[tuple[float, str]]:
    """The share and the name of each part of a mixture, whose second part may be another."""
    if settings[f"{prefix}type"] != "mixture":
        return [(whole, _one_name(settings, prefix))]
    share = settings.get(f"{prefix}share")
    share = share if isinstance(share, int | float) else 0.0
    first, second = f"{prefix}first.", f"{prefix}second."
    return _shares(settings, first, whole * share) + _shares(settings, second, whole * (1 - share))


def labels(all_settings: Sequence[Settings]) -> list[str]:
    """One label per settings, all different.

    Args:
        all_settings: settings, all different.
    """
    base = [f"{algorithm_name(settings)}, {weights_name(settings)}" for settings in all_settings]
    shown = list(base)
    for name in set(base):
        alike = [number for number, other in enumerate(base) if other == name]
        fields = telling_fields([all_settings[number] for number in alike])
        for number in alike if fields else ():
            words = [_said(field, all_settings[number], fields) for field in fields]
            shown[number] = f"{name} ({', '.join(words)})"
    return shown


def telling_fields(all_settings: Sequence[Settings]) -> list[str]:
    """Enough fields to tell settings apart; rebalancing first, then the algorithm.

    Args:
        all_settings: settings, all different.
    """
    chosen: list[str] = []
    kinds = 1
    for field in differing(all_settings):
        more = len({tuple(settings.get(name) for name in (*chosen, field)) for settings in all_settings})
        if more > kinds:
            chosen.append(field)
            kinds = more
    return chosen


def differing(all_settings: Sequence[Settings]) -> list[str]:
    """Fields that differ between settings, most important first.

    Args:
        all_settings: settings.
    """
    first = ("rebalance.type", "rebalance.terms", "rebalance.", "algorithm.", "")
    names = dict.fromkeys(name for settings in all_settings for name in settings)
    varied = [name for name in names if len({settings.get(name) for settings in all_settings}) > 1]
    return sorted(varied, key=lambda name: next(i for i, start in enumerate(first) if name.startswith(start)))


def shown_value(value: Any) -> str:
    """A setting's value as text; None, also for fields unknown to the run's version, is `unset`."""
    if value is None:
        return "unset"
    if isinstance(value, tuple):
        return " ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _said(field: str, settings: Settings, fields: Sequence[str]) -> str:
    value = shown_value(settings.get(field))
    if field == "rebalance.type":
        return value
    short = field.rpartition(".")[2]
    unique = sum(name.rpartition(".")[2] == short for name in fields) == 1
    return f"{short if unique else field}={value}"


def nearest(settings: Settings, candidates: Sequence[Settings]) -> int | None:
    """Position of the candidate that differs only in its weights; None: there is none, or several.

    A field unknown to one side's version of this library counts as equal, unless another candidate is equal
    in full. Of several, one whose weights act in the same way is preferred.

    Args:
        settings: of the run to compare.
        candidates: settings that it might be compared with.
    """

    def agrees(other: Settings, *, in_full: bool) -> bool:
        names = settings.keys() | other.keys() if in_full else settings.keys() & other.keys()
        own = [name for name in names if not name.startswith("rebalance.") and name != "identity"]
        return all(settings.get(name) == other.get(name) for name in own)

    left = list(range(len(candidates)))
    left = [i for i in left if agrees(candidates[i], in_full=True)] or [
        i for i in left if agrees(candidates[i], in_full=False)
    ]
    for field in ("rebalance.type", "rebalance.terms"):
        alike = [i for i in left if candidates[i].get(field) == settings.get(field)]
        left = alike or left
    return left[0] if len(left) == 1 else None
