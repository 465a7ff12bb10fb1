"""What each command does with its parsed flags: gather, call, print."""

import argparse
import contextlib
import json
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from reweigh.arguments import default_out, run_config, train_domain, weigh_method
from reweigh.datasets.d4rl import fetch, is_d4rl
from reweigh.datasets.describe import describe
from reweigh.datasets.download import Received
from reweigh.datasets.files import write_hdf5
from reweigh.datasets.load import load, load_rows
from reweigh.datasets.mixtures import MixRecipe, mix, with_timeouts
from reweigh.datasets.scores import PREFIX, limit_of
from reweigh.errors import ConfigError, DatasetError, check_count, check_seeds
from reweigh.priorities.by_return import FromReturns, ReturnMethod
from reweigh.priorities.file import WeightsFile, check_fits, read_weights, weights_of, write_weights
from reweigh.priorities.oper_a import OperA, ValueLearning, summarize_stages
from reweigh.priorities.published import OperAFile, read_published, write_published
from reweigh.priorities.summary import summarize
from reweigh.priorities.weigh import weigh as compute
from reweigh.sweep_commands import status, sweep
from reweigh.transitions import Transitions

_MOST_EPISODES = 1_000_000


# How far a mix may miss its ratio, relatively, before that is said.
_RATIO_TOLERANCE = 0.1


def inspect(arguments: argparse.Namespace) -> int:
    """Print what a dataset holds."""
    _fetch([arguments.data])
    transitions = _load(arguments, env=arguments.env)
    found = describe(transitions)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _print_table(found)
    return 0


def weigh(arguments: argparse.Namespace) -> int:
    """Compute weights and write them."""
    method, scaling = weigh_method(arguments)
    out = _weights_out(arguments, method)
    _fetch([arguments.data], quiet=arguments.quiet)
    transitions = _load(arguments)
    priority = None
    if isinstance(method, OperA):
        priority = _learned(arguments, transitions, method)
        if priority is None:
            return 130
    elif isinstance(method, OperAFile):
        priority = read_published(method.paths, len(transitions))
        method = method.scaling(priority.shape[1])
    elif arguments.paper and isinstance(method, FromReturns):
        method = replace(method, kept_rows_only=True)
    weighting, settings = compute(transitions, method, scaling, priority)
    summary = summarize(weighting.probability, transitions)
    if priority is not None:
        summary |= summarize_stages(priority)
    meta = {
        "method": arguments.method,
        "settings": settings,
        "summary": summary,
        "notes": list(weighting.notes),
    }
    if arguments.format == "oper" and isinstance(method, OperA) and priority is not None:
        _write_published(arguments.out, method, priority)
    else:
        write_weights(out, weights_of(weighting.probability, transitions, meta, priority))
    for note in weighting.notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **meta}, indent=2))
    else:
        _print_table({"weights": arguments.out, "method": _words(arguments.method, settings), **summary})
    return 0


def _weights_out(arguments: argparse.Namespace, method: ReturnMethod | OperA | OperAFile) -> Path:
    """The file of the weights; in the authors' format a pattern of files."""
    if arguments.format == "reweigh":
        return _out(arguments.out, (".npz", ".parquet"), [arguments.data])
    if not isinstance(method, OperA):
        raise ConfigError("expected --method oper-a with --format oper, which holds its stages.")
    if "%s" not in arguments.out:
        raise ConfigError(
            "expected --out with %s in place of the value seed for --format oper, but "
            f"found {arguments.out!r}."
        )
    return _out(arguments.out, (".npy",), [arguments.data])


def _write_published(pattern: str, method: OperA, priority: np.ndarray) -> None:
    """A file a value seed, as the authors' code writes them."""
    for seed, weight in zip(method.value_seeds, priority, strict=True):
        write_published(
            Path(pattern.replace("%s", str(seed))),
            weight,
            first_stage_updates=method.learning.first_stage_updates,
            stage_updates=method.learning.stage_updates,
        )


def _learned(arguments: argparse.Namespace, transitions: Transitions, method: OperA) -> Any:
    """OPER-A's weights of every value seed and stage; None when interrupted."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.config import DataConfig
    from reweigh.launch import learn_priorities
    from reweigh.value_runs import learned_priority

    data = DataConfig(
        spec=arguments.data,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )
    if not learn_priorities(data, transitions, method, quiet=arguments.quiet):
        return None
    return learned_priority(transitions, method)


def train(arguments: argparse.Namespace) -> int:
    """Train seeds; on a CPU each in a process of its own."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.launch import launch

    check_seeds("--seeds", arguments.seeds)
    _fetch([arguments.data], quiet=arguments.quiet)
    config = run_config(arguments)
    out = Path(arguments.out or default_out(arguments))
    return launch(
        config,
        arguments.seeds,
        out,
        quiet=arguments.quiet,
        as_json=arguments.json,
        domain=train_domain(arguments),
    )


def evaluate(arguments: argparse.Namespace) -> int:
    """Score the policies of a run on fresh episodes."""
    from reweigh.runs import RunFolder
    from reweigh.scoring import evaluate_run

    folder = RunFolder(Path(arguments.run))
    config = folder.config()
    if not 1 <= arguments.episodes <= _MOST_EPISODES:
        raise ConfigError(f"expected --episodes from 1 to {_MOST_EPISODES}, but found {arguments.episodes}.")
    results = []
    for seed in folder.seeds():
        env = arguments.env or seed.load_policy().meta.get("env") or _env_of(config)
        if env is None:
            raise ConfigError(f"expected an environment for {arguments.run}, but it names none. Give --env.")
        returns, scores = evaluate_run(seed, env, arguments.episodes)
        results.append({"seed": seed.seed, "env": env, "return": float(returns.mean())})
        if scores is not None:
            results[-1]["normalized_score"] = float(scores.mean())
    if not results:
        raise ConfigError(f"expected trained seeds in {arguments.run}, but found none.")
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            _print_table(result)
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Write the weights that a run learned."""
    from reweigh.runs import RunFolder

    out = _out(arguments.out, (".npz", ".parquet"), [])
    folder = RunFolder(Path(arguments.run))
    rebalance = folder.config().get("rebalance", {})
    if not (isinstance(rebalance, dict) and rebalance.get("type") == "density-ratio"):
        raise ConfigError(
            f"expected a run of density-ratio weights in {arguments.run}, but its weights were known before "
            "training. Write those with reweigh weigh."
        )
    seeds = folder.seeds()
    if arguments.seed is not None:
        seeds = [seed for seed in seeds if seed.seed == arguments.seed]
    if not seeds:
        raise ConfigError(f"expected that seed in {arguments.run}, but found none. Train it first.")
    for seed in seeds:
        if not seed.finished:
            raise ConfigError(
                f"expected finished seeds in {arguments.run}, but seed {seed.seed} is not. Finish it with "
                "reweigh train, or name another with --seed."
            )
    files = [read_weights(seed.weights_path) for seed in seeds]
    weight = np.mean([file.weight for file in files], axis=0)
    data = folder.config()["data"]
    _fetch([data["spec"]])
    transitions = load(
        data["spec"],
        env=data["env"],
        episode_ends=data["episode_ends"],
        max_episode_steps=data["max_episode_steps"],
        clip_actions=data["clip_actions"],
    )
    for seed, file in zip(seeds, files, strict=True):
        check_fits(file, transitions, seed.weights_path)
    probability = weight / weight.sum()
    meta = {
        "method": "density-ratio",
        "settings": rebalance,
        "seeds": [seed.seed for seed in seeds],
        "summary": summarize(probability, transitions),
        "notes": [],
    }
    write_weights(out, weights_of(probability, transitions, meta))
    if arguments.json:
        print(json.dumps({"out": arguments.out, **meta}, indent=2))
    else:
        shown = " ".join(str(seed.seed) for seed in seeds)
        _print_table({"weights": arguments.out, "method": f"density-ratio, seeds {shown}", **meta["summary"]})
    return 0


def mix_command(arguments: argparse.Namespace) -> int:
    """Make an imbalanced dataset."""
    out = _out(arguments.out, (".hdf5", ".h5"), [arguments.good, arguments.bad])
    if arguments.max_episode_steps is not None:
        check_count("--max-episode-steps", arguments.max_episode_steps)
    _fetch([arguments.good, arguments.bad])
    sources = []
    for spec in (arguments.good, arguments.bad):
        _, rows, _ = load_rows(spec)
        limit = arguments.max_episode_steps or limit_of(Path(spec).name, rows.env)
        sources.append(with_timeouts(rows, limit))
    size = len(sources[0]) if arguments.size is None else arguments.size
    recipe = MixRecipe(
        ratio=arguments.ratio,
        size=size,
        kind=arguments.kind,
        replacement=not arguments.without_replacement,
        seed=arguments.seed,
        overshoot=arguments.overshoot,
    )
    rows, made = mix(sources[0], sources[1], recipe)
    histories = [str(rows.attributes["history"]) for rows in sources if "history" in rows.attributes]
    made = {
        "mix_good": Path(arguments.good).name,
        "mix_bad": Path(arguments.bad).name,
        **made,
        "history": _history(arguments, histories),
    }
    write_hdf5(out, rows, made | ({"env": rows.env} if rows.env else {}))
    if abs(made["mix_ratio_reached"] / arguments.ratio - 1) > _RATIO_TOLERANCE:
        reached = made["mix_ratio_reached"]
        print(
            f"note: {reached:.3g} of the rows are good instead of {arguments.ratio:g}, because episodes are "
            "drawn whole. A larger --size comes closer.",
            file=sys.stderr,
        )
    if arguments.json:
        print(json.dumps({"out": arguments.out, **made}, indent=2))
    else:
        _print_table({"dataset": arguments.out, **{k.removeprefix("mix_"): v for k, v in made.items()}})
    return 0


def collect_command(arguments: argparse.Namespace) -> int:
    """Record a dataset."""
    from reweigh.collection import collect
    from reweigh.runs import RunFolder

    out = _out(arguments.out, (".hdf5", ".h5"))
    policy: str | Path = arguments.policy
    histories: list[str] = []
    if policy != "random":
        seeds = RunFolder(Path(policy)).seeds()
        wanted = [seed for seed in seeds if arguments.policy_seed in (None, seed.seed)]
        if not wanted:
            raise ConfigError(
                f"expected --policy random or a run with trained seeds, but {arguments.policy} has "
                f"{'no such seed' if seeds else 'none'}."
            )
        policy = wanted[0].path / "policy.npz"
        trained_by = RunFolder(Path(arguments.policy)).environment().get("command")
        histories += [trained_by] if isinstance(trained_by, str) else []
    elif arguments.policy_seed is not None:
        raise ConfigError("--policy-seed has no meaning with --policy random. Leave it out, or name a run.")
    rows, attributes = collect(
        arguments.env, policy, arguments.num_steps, arguments.seed, action_noise=arguments.action_noise
    )
    attributes["history"] = _history(arguments, histories)
    write_hdf5(out, rows, attributes)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **attributes}, indent=2))
    else:
        _print_table({"dataset": arguments.out, **attributes})
    return 0


def quickstart(arguments: argparse.Namespace) -> int:
    """Compare three ways of weighing the shipped dataset."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.launch import launch_quickstart

    check_seeds("--seeds", arguments.seeds)
    return launch_quickstart(
        Path(arguments.out), arguments.seeds, quiet=arguments.quiet, as_json=arguments.json
    )


def bandit(arguments: argparse.Namespace) -> int:
    """OPER's bandit study."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.launch import launch_bandit

    check_seeds("--seeds", arguments.seeds)
    check_seeds("--data-seed", [arguments.data_seed])
    return launch_bandit(
        Path(arguments.out),
        arguments.data_seed,
        arguments.seeds,
        arguments.num_updates,
        quiet=arguments.quiet,
        as_json=arguments.json,
    )


def plot(arguments: argparse.Namespace) -> int:
    """Draw weights or learning curves."""
    from reweigh.report.curves import plot_runs
    from reweigh.report.style import ENDINGS
    from reweigh.report.weights_figure import plot_weights
    from reweigh.runs import RunFolder

    out = _out(arguments.out, ENDINGS, arguments.files)
    if arguments.what == "runs":
        if arguments.data is not None:
            raise ConfigError("--data has no meaning for plot runs. Leave it out.")
        plot_runs([RunFolder(Path(name)) for name in arguments.files], out)
        print(out)
        return 0
    named = []
    for name in arguments.files:
        weights = read_weights(Path(name))
        data = arguments.data or weights.meta.get("dataset")
        if not isinstance(data, str):
            raise ConfigError(f"expected the dataset of {name}, but the file names none. Give --data.")
        _fetch([data])
        transitions = load(data, clip_actions=True)
        check_fits(weights, transitions, Path(name))
        named.append((Path(name).stem, weights, transitions))
    if arguments.what == "weights":
        plot_weights(named, out)
    else:
        if len(named) > 1:
            raise ConfigError(f"expected one weights file to plot {arguments.what}, but found {len(named)}.")
        _plot_learned(arguments.what, named[0][1], named[0][2], out)
    print(out)
    return 0


def _plot_learned(what: str, weights: WeightsFile, transitions: Transitions, out: Path) -> None:
    """Iterations of OPER-A, or kinds of advantages of its last value."""
    from reweigh.report.stages_figure import plot_advantages, plot_stages

    if what == "stages":
        plot_stages(weights, transitions, out)
        return
    from reweigh.value_runs import advantages_of_kinds

    settings = weights.meta.get("settings", {})
    if weights.meta.get("method") != OperA.method:
        raise ConfigError("expected weights that weigh --method oper-a learned, but found others.")
    learning = {**settings["learning"], "hidden": tuple(settings["learning"]["hidden"])}
    seed = settings["value_seeds"][0]
    plot_advantages(advantages_of_kinds(transitions, ValueLearning(**learning), seed), out)


def verify(arguments: argparse.Namespace) -> int:
    """Check what a dataset's transitions, weights and terminals promise; 1 where something fails."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.verification import verify as checked

    _fetch([arguments.data])
    rows = load_rows(arguments.data)
    transitions = load(
        rows,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )
    checks = checked(transitions, rows[1])
    if arguments.json:
        print(json.dumps({"dataset": arguments.data, "checks": [vars(check) for check in checks]}, indent=2))
    else:
        for check in checks:
            print(f"{check.status:<7} {check.what:<24} {check.found}")
    return int(any(check.status == "fail" for check in checks))


def report(arguments: argparse.Namespace) -> int:
    """Write tables, figures and a page about runs."""
    from reweigh.report.full_report import write_report

    out = Path(arguments.out)
    roots = [Path(name) for name in arguments.runs]
    groups = write_report(roots, out, allow_unfinished=arguments.allow_unfinished)
    unfinished = [group.label for group in groups if not group.complete]
    for label in unfinished:
        print(f"note: {label} has unfinished seeds, which are in no number.", file=sys.stderr)
    if arguments.json:
        seeds = sum(len(group.finished) for group in groups)
        found = {"out": arguments.out, "groups": len(groups), "seeds": seeds, "unfinished": unfinished}
        print(json.dumps(found, indent=2))
    else:
        print(out / "report.html")
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    """Look for what could stand in the way; 1 where something does."""
    from reweigh.doctor import examine

    findings = examine(Path(arguments.out))
    if arguments.json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{finding.status:<8} {finding.what:<12} {finding.found}")
            if finding.remedy:
                print(f"{'':<21} -> {finding.remedy}")
    return int(any(finding.status == "problem" for finding in findings))


COMMANDS = {
    "quickstart": quickstart,
    "inspect": inspect,
    "weigh": weigh,
    "train": train,
    "evaluate": evaluate,
    "export": export,
    "mix": mix_command,
    "collect": collect_command,
    "plot": plot,
    "report": report,
    "bandit": bandit,
    "sweep": sweep,
    "status": status,
    "verify": verify,
    "doctor": doctor,
}


def _history(arguments: argparse.Namespace, earlier: list[str]) -> str:
    """The commands that led to a file, oldest first, a line each, without folders and the last one's --out.

    Equal commands on equal files give equal bytes, wherever they are written.
    """
    words, skip = ["reweigh"], False
    for word in arguments.argv:
        if not skip and word != "--out":
            words.append(Path(word).name if Path(word).exists() else word)
        skip = word == "--out"
    lines = [line for history in earlier for line in history.splitlines()]
    return "\n".join(dict.fromkeys([*lines, shlex.join(words)]))


def _out(text: str, endings: Sequence[str], inputs: Sequence[str] = ()) -> Path:
    """A path that a file can be written to, said before anything is computed for it."""
    out = Path(text)
    if out.suffix not in endings:
        raise ConfigError(f"expected --out ending in {' or '.join(endings)}, but found {text!r}.")
    if not os.path.isdir(out.parent):
        raise ConfigError(f"cannot write {out}: there is no folder {out.parent}. Make it first.")
    if os.path.isdir(out):
        raise ConfigError(f"cannot write {out}: it is a folder. Name a file.")
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"cannot write {out}: {out.parent} is read-only. Choose a writable path.")
    for name in inputs:
        if os.path.exists(name) and os.path.exists(out) and os.path.samefile(name, out):
            raise ConfigError(f"cannot write {out}: it is read by this very command. Choose another --out.")
    return out


def _fetch(specs: Sequence[str], *, quiet: bool = False) -> None:
    """Bring what `d4rl:NAME` stands for, saying how far it is."""
    for spec in filter(is_d4rl, specs):
        with _DownloadLine(quiet) as line:
            fetch(spec.removeprefix(PREFIX), report=line.show)


class _DownloadLine:
    """One line on standard error that is written over; where that is no terminal, a line now and then."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.shown_at = -math.inf
        self.width = 0

    def __enter__(self) -> "_DownloadLine":
        return self

    def __exit__(self, *error: object) -> None:
        if self.width:
            print(file=sys.stderr)

    def show(self, received: Received) -> None:
        terminal = sys.stderr.isatty()
        waited_s = time.monotonic() - self.shown_at
        whole = received.num_bytes == received.total
        if self.quiet or not (received.trouble or whole or waited_s > (0.2 if terminal else 10)):
            return
        self.shown_at = time.monotonic()
        total = "" if received.total is None else f" of {received.total / 1e6:.1f}"
        text = f"downloading {received.file}: {received.num_bytes / 1e6:.1f}{total} MB"
        if received.trouble:
            text += f", trying again after {received.trouble}"
        if terminal:
            print(f"\r{text:<{self.width}}", end="", file=sys.stderr, flush=True)
            self.width = len(text)
        else:
            print(text, file=sys.stderr, flush=True)


def _env_of(config: dict[str, Any]) -> Any:
    """The environment that a run's config.json names, or else its dataset, if that is still there."""
    data = config.get("data")
    if not isinstance(data, dict):
        return None
    if data.get("env") is None and isinstance(data.get("spec"), str):
        with contextlib.suppress(DatasetError):
            return load_rows(data["spec"])[1].env
    return data.get("env")


def _load(arguments: argparse.Namespace, env: str | None = None) -> Transitions:
    return load(
        arguments.data,
        env=env,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )


def _words(method: str, settings: dict[str, Any]) -> str:
    """A method with the settings that its weights were really made with."""
    shown = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    text = ", ".join(f"{name}={_text(value)}" for name, value in shown.items() if value not in (None, False))
    return f"{method} ({text})" if text else method


def _print_table(found: dict[str, Any]) -> None:
    width = max(len(name) for name in found)
    for name, value in found.items():
        text = _text(value).replace("\n", "\n" + " " * (width + 2))
        print(f"{name.replace('_', ' '):<{width}}  {text}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_text(value['mean'])} ({_text(value['min'])} to {_text(value['max'])})"
    if isinstance(value, list | tuple):
        return " ".join("-" if item is None else _text(item) for item in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
