"""`reweigh mix`: imbalanced datasets from the user's sources, or by the names of the authors' scripts."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.checks import check_count
from reweigh.commands.common import fetch_all, history, out_path, print_table
from reweigh.datasets.episodes import episode_starts
from reweigh.datasets.files import is_made_here, write_hdf5
from reweigh.datasets.load import load_record
from reweigh.datasets.minari import is_minari
from reweigh.datasets.mixtures import MixRecipe, Source, check_shares, mix, mix_several, with_timeouts
from reweigh.datasets.rows import Rows
from reweigh.datasets.scores import gymnasium_id, limit_of
from reweigh.datasets.suites import Suite, suite_names, suite_of
from reweigh.errors import ConfigError

# Relative error of a mix's ratio above which a note is printed.
_RATIO_TOLERANCE = 0.1
_FEW_EPISODES = 5


@dataclass(frozen=True)
class _NamedSource:
    """A source, as typed."""

    spec: str
    share: float | None
    good: bool

    @classmethod
    def of(cls, text: str, *, good: bool) -> "_NamedSource":
        spec, _, share = text.rpartition(":")
        try:
            return cls(spec, float(share), good) if spec else cls(text, None, good)
        except ValueError:
            return cls(text, None, good)

    @property
    def name(self) -> str:
        return self.spec if is_minari(self.spec) else Path(self.spec).name


def mix_command(arguments: argparse.Namespace) -> int:
    """Make an imbalanced dataset, or list the suites'."""
    if arguments.list_suites:
        print("\n".join(suite_names()))
        return 0
    suite = _suite(arguments)
    sources = _sources(arguments, suite)
    if arguments.out is None:
        raise ConfigError("expected --out F.hdf5, the file to write, but found none. Name it.")
    out = out_path(arguments.out, (".hdf5", ".h5"), [source.spec for source in sources], is_made_here)
    if arguments.max_episode_steps is not None:
        check_count("--max-episode-steps", arguments.max_episode_steps)
    fetch_all([source.spec for source in sources])
    records = _records(sources, arguments.max_episode_steps)
    rows, made = _mixed(arguments, suite, sources, records)
    histories = [str(record.attributes["history"]) for record in records if "history" in record.attributes]
    made |= {"history": history(arguments, histories)}
    write_hdf5(out, rows, made | ({"env": rows.env} if rows.env else {}))
    _say_missed_ratio(made)
    _say_few_good_episodes(made, fixed=suite is not None)
    _say_swapped(rows)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **made}, indent=2))
    else:
        print_table({"dataset": arguments.out, **{k.removeprefix("mix_"): v for k, v in made.items()}})
    return 0


def _suite(arguments: argparse.Namespace) -> Suite | None:
    """The requested suite, if any; rejects flags that its name fixes."""
    if arguments.suite is None:
        return None
    suite = suite_of(arguments.suite)
    for flag in ("ratio", "size", "kind", "share"):
        if getattr(arguments, flag) is not None:
            raise ConfigError(
                f"--{flag} has no meaning with --suite, whose name fixes it. Leave one of the two out."
            )
    return suite


def _sources(arguments: argparse.Namespace, suite: Suite | None) -> list[_NamedSource]:
    """The sources, good ones first; a suite's own if none are named."""
    good = [_NamedSource.of(text, good=True) for text in arguments.good]
    bad = [_NamedSource.of(text, good=False) for text in arguments.bad]
    if suite and not good and not bad:
        return [_NamedSource(suite.good, None, good=True), _NamedSource(suite.bad, None, good=False)]
    for flag, named in (("--good", good), ("--bad", bad)):
        if not named:
            raise ConfigError(
                f"expected datasets with --good and with --bad, but {flag} is missing. Name one."
            )
    if len(good) == len(bad) == 1 and good[0].share is None and bad[0].share is None:
        if suite is None and arguments.ratio is None:
            raise ConfigError("expected the share of good rows, but --ratio is missing. Give one, as 0.05.")
        return good + bad
    if suite:
        raise ConfigError(
            "expected one --good and one --bad without shares with --suite. Leave the others out."
        )
    if arguments.ratio is not None:
        raise ConfigError(
            "--ratio belongs to one --good and one --bad. Leave it out: shares follow the names."
        )
    for source in good + bad:
        if source.share is None:
            raise ConfigError(
                f"expected a share after each of several sources, as {source.spec}:0.3, but {source.spec} "
                "has none. Add it."
            )
    check_shares([source.share for source in good + bad if source.share is not None])
    return good + bad


def _records(sources: list[_NamedSource], max_episode_steps: int | None) -> list[Rows]:
    """Every source's rows, with `timeouts`."""
    recorded = [load_record(source.spec).rows for source in sources]
    if max_episode_steps is not None and all(rows.timeout is not None for rows in recorded):
        raise ConfigError(
            "--max-episode-steps is for sources without 'timeouts', but all of these have them. Leave it out."
        )
    envs = list(dict.fromkeys(gymnasium_id(rows.env) for rows in recorded if rows.env))
    if len(envs) > 1:
        print(
            f"note: sources were recorded in {', '.join(envs)}; runs on the mix are scored in {envs[0]} "
            "unless --env names another.",
            file=sys.stderr,
        )
    return [
        with_timeouts(rows, max_episode_steps or limit_of(Path(source.spec).name, rows.env))
        for source, rows in zip(sources, recorded, strict=True)
    ]


def _mixed(
    arguments: argparse.Namespace, suite: Suite | None, sources: list[_NamedSource], records: list[Rows]
) -> tuple[Rows, dict[str, Any]]:
    """The mix's rows, and a record of how they were made."""
    how: dict[str, Any] = {
        "seed": arguments.seed,
        "replacement": not arguments.without_replacement,
        "overshoot": arguments.overshoot,
    }
    named: dict[str, Any] = {"mix_good": sources[0].name, "mix_bad": sources[-1].name}
    if suite:
        rows, made = mix(records[0], records[1], suite.recipe(records[0], **how))
        return rows, {"mix_suite": suite.name, **named, **made}
    unit = arguments.share or "transitions"
    how |= {"kind": arguments.kind or "trajectories", "unit": unit}
    how["size"] = arguments.size
    if arguments.size is None:
        how["size"] = len(records[0]) if unit == "transitions" else _episodes(records[0])
    if arguments.ratio is not None:
        rows, made = mix(records[0], records[1], MixRecipe(ratio=arguments.ratio, **how))
        return rows, {**named, **made}
    with_rows = [
        Source(record, source.share or 0.0, source.good, source.name)
        for source, record in zip(sources, records, strict=True)
    ]
    ratio = sum(source.share for source in with_rows if source.good)
    return mix_several(with_rows, MixRecipe(ratio=ratio, **how))


def _episodes(rows: Rows) -> int:
    assert rows.timeout is not None
    return len(episode_starts(rows.terminal | rows.timeout))


def _say_swapped(rows: Rows) -> None:
    assert rows.source is not None
    if rows.source.all():
        return  # one episode filled everything
    good, bad = (_mean_return(rows, label) for label in (1, 0))
    if good < bad:
        print(
            f"note: episodes of the good side return {good:.4g} on average, those of the bad one {bad:.4g}. "
            "Were --good and --bad meant the other way round?",
            file=sys.stderr,
        )


def _mean_return(rows: Rows, label: int) -> float:
    assert rows.source is not None
    assert rows.timeout is not None
    own = rows.source == label
    # Every piece of a mix ends in a terminal or a timeout.
    return float(rows.reward[own].sum(dtype=np.float64) / (rows.terminal | rows.timeout)[own].sum())


def _say_few_good_episodes(made: dict[str, Any], *, fixed: bool) -> None:
    good = made.get("mix_good_episodes", _FEW_EPISODES)
    if good < _FEW_EPISODES:
        print(
            f"note: {good} good episode{'' if good == 1 else 's'}: results on so few may be chance."
            f"{'' if fixed else ' Ask for more rows, or for a larger share of good ones.'}",
            file=sys.stderr,
        )


def _say_missed_ratio(made: dict[str, Any]) -> None:
    wanted, reached = made["mix_ratio"], made["mix_ratio_reached"]
    # Relative to the rarer side, good or bad.
    if abs(reached - wanted) > _RATIO_TOLERANCE * min(wanted, 1 - wanted):
        things = "episodes" if made.get("mix_unit") == "episodes" else "rows"
        print(
            f"note: {reached:.3g} of the {things} are good instead of {wanted:g}, because episodes are "
            "drawn whole. A larger --size comes closer.",
            file=sys.stderr,
        )
