"""A report's blocks on cost, settings and every run's provenance."""

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from reweigh.report.cells import NONE, median_and_range
from reweigh.report.collect import Group, Run
from reweigh.report.document import Block, Heading, Table, Text
from reweigh.report.labels import Settings, differing, shown_value

_SHORT = 12
_UNRECORDED = "not recorded"


def cost_section(groups: Sequence[Group]) -> list[Block]:
    """Updates, their rate and duration, and the cost of the weights.

    Args:
        groups: of any datasets.
    """
    rows = []
    for group in groups:
        results = [seed.result for seed in group.finished]
        rates = [r["updates_per_second"] for r in results if r.get("updates_per_second")]
        several = group.settings["algorithm.type"] == "onestep"
        # As done, not as requested: a last stage without training is one update.
        updates = max((r.get("num_updates", 0) for r in results), default=0) or group.settings["num_updates"]
        rows.append(
            (
                group.dataset.label,
                group.label,
                f"{updates}",
                median_and_range(rates, ".0f", _UNRECORDED),
                f"{updates / median(rates):.0f}" if rates else _UNRECORDED,
                _seconds(results, "earlier_seconds") if several else "none",
                _with_seconds(weights_cost(group.settings), results),
            )
        )
    header = (
        "dataset", "group", "updates a seed", "updates per second", "seconds of updates",
        "seconds of earlier stages", "cost of the weights",
    )  # fmt: skip
    note = (
        "Updates per second: median over seeds (least to most), each since its last start, without "
        "compilation and evaluation; they depend on what else the machine was doing. Seconds of updates are "
        "computed from the median, those of earlier stages and of weights at the rates at which they were "
        "trained, wherever that was; runs may share both."
    )
    table = Table("Cost of each group", header, tuple(rows), words=(0, 1, 6), notes=(note,))
    return [Heading("Cost"), table]


def _seconds(results: Sequence[Mapping[str, Any]], name: str) -> str:
    """Median over seeds of a recorded duration."""
    seconds = [result[name] for result in results if result.get(name) is not None]
    return f"{median(seconds):.0f}" if seconds else _UNRECORDED


def _with_seconds(cost: str, results: Sequence[Mapping[str, Any]]) -> str:
    seconds = _seconds(results, "weights_seconds")
    return cost if seconds == _UNRECORDED else f"{cost}, in {seconds} s"


def weights_cost(settings: Settings) -> str:
    """What is known about the cost of weights besides training.

    Args:
        settings: of a run.
    """
    base = _method_cost(settings, "rebalance.weights.")
    if settings["rebalance.type"] != "density-ratio":
        return base
    learned = "learned with the agent, within its updates per second"
    return learned if base == "none" else f"{learned}; underneath: {base}"


def _method_cost(settings: Settings, prefix: str) -> str:
    kind = settings[f"{prefix}type"]
    if kind == "uniform":
        return "none"
    if kind in ("oper-a-file", "file"):
        return "unknown: read from a file"
    if kind == "mixture":
        return "; ".join(_method_cost(settings, f"{prefix}{part}.") for part in ("first", "second"))
    if kind == "oper-a":
        learning = f"{prefix}learning."
        fast = "fast_" if settings.get(f"{learning}solver") == "fast" else ""
        names = ("stages", f"{fast}first_stage_updates", f"{fast}stage_updates")
        stages, first, later = (settings.get(learning + name) for name in names)
        seeds = settings.get(f"{prefix}value_seeds", ())
        if isinstance(stages, int) and isinstance(first, int) and isinstance(later, int):
            return f"{len(seeds) * (first + (stages - 1) * later)} value updates, once a dataset"
        return "value updates, of which the number is not recorded"
    return "computed once from the dataset, nothing is trained"


def settings_section(groups: Sequence[Group]) -> list[Block]:
    """Settings shared by all runs, and each group's own.

    Args:
        groups: of any datasets.
    """
    own = list({group.label: group.settings for group in groups}.items())
    fields = differing([settings for _, settings in own])
    shared = {name: value for name, value in own[0][1].items() if name not in fields}
    rows = [(label, _listed({name: settings[name] for name in fields if name in settings}))
            for label, settings in own]  # fmt: skip
    return [
        Heading("Settings"),
        Text(f"Shared by all groups: {_listed(shared)}."),
        Table("What differs", ("group", "settings"), tuple(rows), words=(0, 1), folded=True),
    ]


def _listed(settings: Settings) -> str:
    return ", ".join(f"{name}={shown_value(value)}" for name, value in settings.items()) or "nothing"


def provenance_section(groups: Sequence[Group]) -> list[Block]:
    """Every run with its identity, dataset, dates and training environment.

    Args:
        groups: of any datasets.
    """
    names: dict[str, str] = {}
    environments, runs = [], []
    for group in groups:
        for run in group.runs:
            made = {k: v for k, v in run.environment.items() if k not in ("command", "started", "dataset")}
            key = json.dumps(made, sort_keys=True)
            if key not in names:
                names[key] = f"E{len(names) + 1}"
                environments.append((names[key], *_environment_cells(made)))
            runs.append(_run_row(group, run, names[key]))
    header = (
        "folder",
        "group",
        "seeds",
        "identity",
        "dataset digest",
        "made in",
        "started",
        "last finished",
        "first command",
    )
    note = (
        "Digests marked * are of the file as it is now: the run did not record its own. Where a run did not "
        "record when it was started, and for when it finished, dates are those of its files."
    )
    return [
        Heading("Provenance"),
        Table(
            "Environments",
            ("name", "versions", "commit", "machine"),
            tuple(environments),
            words=(0, 1, 2, 3),
        ),
        Table("Runs", header, tuple(runs), words=tuple(range(9)), notes=(note,), folded=True),
    ]


def _environment_cells(made: Mapping[str, Any]) -> tuple[str, str, str]:
    versions = made.get("versions")
    known = versions.items() if isinstance(versions, Mapping) else ()
    text = ", ".join([f"python {made.get('python')}", *(f"{name} {number}" for name, number in known)])
    rest = [str(made[name]) for name in ("machine", "system") if name in made]
    if "cores" in made:
        rest.append(f"{made['cores']} cores")
    devices = made.get("devices")
    rest += map(str, devices) if isinstance(devices, list) else []
    return text, str(made.get("commit") or "unknown")[:_SHORT], ", ".join(rest)


def _run_row(group: Group, run: Run, environment: str) -> tuple[str, ...]:
    recorded = isinstance(run.environment.get("dataset"), Mapping)
    digest = (group.dataset.digest or NONE)[:_SHORT]
    if group.dataset.digest and not recorded:
        digest += " *"
    ended = [seed.ended for seed in run.seeds if seed.ended]
    return (
        str(run.path),
        group.label,
        " ".join(str(seed.number) for seed in run.seeds) or NONE,
        str(run.config.get("identity", NONE))[:_SHORT],
        digest,
        environment,
        _minute(run.started),
        _minute(max(ended, default=None)),
        str(run.environment.get("command", NONE)),
    )


def _minute(date: str | None) -> str:
    """An ISO date, to the minute."""
    return f"{date[:16].replace('T', ' ')} UTC" if date else NONE
