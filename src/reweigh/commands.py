"""What each command does with its parsed flags: gather, call, print."""

import argparse
import json
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reweigh.datasets.files import write_hdf5
from reweigh.datasets.load import load, load_rows
from reweigh.datasets.mixtures import MixRecipe, mix, with_timeouts
from reweigh.datasets.scores import limit_of, normalized_score, reference_of_env
from reweigh.errors import ConfigError, DatasetError
from reweigh.priorities.by_return import (
    AW,
    RW,
    FromReturns,
    OperR,
    ReturnMethod,
    RewardWeights,
    Top,
    Uniform,
)
from reweigh.priorities.file import check_fits, read_weights, weights_of, write_weights
from reweigh.priorities.summary import summarize
from reweigh.priorities.weigh import Scaling
from reweigh.priorities.weigh import weigh as compute
from reweigh.transitions import Transitions

if TYPE_CHECKING:
    from reweigh.config import RunConfig

METHODS: dict[str, type[ReturnMethod]] = {c.method: c for c in (Uniform, OperR, RW, AW, Top, RewardWeights)}


def inspect(arguments: argparse.Namespace) -> int:
    """Print what a dataset holds."""
    transitions = _load(arguments, env=arguments.env)
    found = describe(transitions)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _print_table(found)
    return 0


def describe(transitions: Transitions) -> dict[str, Any]:
    """Counts, returns, ends and ranges of a dataset."""
    episodes, info = transitions.episodes, transitions.info
    returns = episodes.whole_return
    best = np.sort(returns)[-max(1, len(returns) // 10) :]
    found: dict[str, Any] = {
        "dataset": info.spec,
        "environment": info.env or "unknown: policies will not be scored (name one with --env)",
        "recorded rows": info.num_rows,
        "transitions": len(transitions),
        "row rule": info.row_rule,
        "observation size": transitions.observation_size,
        "action size": transitions.action_size,
        "episodes": len(episodes),
        "ended by terminal": int(episodes.terminated.sum()),
        "ended by time-out": int(episodes.timed_out.sum()),
        "unfinished": int((~episodes.terminated & ~episodes.timed_out).sum()),
        "episode length": _range(episodes.whole_length),
        "episode return": _range(returns),
        "return deviation": float(returns.std()),
        "top-decile return": float(best.mean()),
    }
    reference = reference_of_env(info.env) if info.env else None
    if reference:
        found["normalized return"] = _range(normalized_score(returns, reference))
    found |= {
        "reward": _range(transitions.raw_reward),
        "observation": _range(transitions.observation),
        "action": _range(transitions.action),
    }
    if (transitions.source >= 0).any():
        found["good share"] = float((transitions.source == 1).mean())
    found["digest"] = info.digest
    return found


def weigh(arguments: argparse.Namespace) -> int:
    """Compute weights and write them."""
    out = Path(arguments.out)
    if out.suffix not in (".npz", ".parquet"):
        raise ConfigError(f"expected --out ending in .npz or .parquet, but found {arguments.out!r}.")
    transitions = _load(arguments)
    method = _method(arguments)
    if arguments.paper and isinstance(method, FromReturns):
        method = replace(method, kept_rows_only=True)
    scaling = Scaling(**{f.name: getattr(arguments, f.name) for f in fields(Scaling)})
    weighting, settings = compute(transitions, method, scaling)
    summary = summarize(weighting.probability, transitions)
    meta = {"method": method.method, "settings": settings, "summary": summary, "notes": list(weighting.notes)}
    write_weights(out, weights_of(weighting.probability, transitions, meta))
    for note in weighting.notes:
        print(f"note: {note}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **meta}, indent=2))
    else:
        _print_table({"weights": arguments.out, "method": _words(method), **summary})
    return 0


def train(arguments: argparse.Namespace) -> int:
    """Train seeds; on a CPU each in a process of its own."""
    from reweigh.parallel import use_one_thread

    use_one_thread()  # before JAX is imported
    from reweigh.launch import launch

    if len(set(arguments.seeds)) < len(arguments.seeds) or min(arguments.seeds) < 0:
        raise ConfigError(f"expected different --seeds of at least 0, but found {arguments.seeds}.")
    config = run_config(arguments)
    out = Path(arguments.out or _default_out(arguments))
    return launch(config, arguments.seeds, out, quiet=arguments.quiet, as_json=arguments.json)


def run_config(arguments: argparse.Namespace) -> "RunConfig":
    """The run that the flags of `train` describe.

    Raises:
        ReweighError: they contradict one another, or the data cannot be read.
    """
    from reweigh.config import ALGORITHMS, DataConfig, EvaluationConfig, RunConfig, replace_at
    from reweigh.preparation import with_defaults
    from reweigh.presets import for_domain, for_paper

    algorithm = ALGORITHMS[arguments.algorithm]()
    if arguments.hidden:
        algorithm = replace(algorithm, hidden=tuple(arguments.hidden))
    _, rows, _ = load_rows(arguments.data)
    env = arguments.env or rows.env
    del rows
    config = RunConfig(
        data=DataConfig(
            spec=arguments.data,
            env=arguments.env,
            episode_ends=arguments.episode_ends,
            max_episode_steps=arguments.max_episode_steps,
            clip_actions=arguments.clip_actions,
        ),
        algorithm=algorithm,
        rebalance=_rebalance(arguments),
        num_updates=_given(arguments.num_updates, algorithm.defaults.num_updates),
        batch_size=_given(arguments.batch_size, algorithm.defaults.batch_size),
        evaluation=EvaluationConfig(
            arguments.eval_interval, arguments.eval_episodes, not arguments.no_evaluate and env is not None
        ),
        checkpoint_interval=arguments.checkpoint_interval,
    )
    config = with_defaults(config, env)
    if arguments.preset:
        config = for_domain(config, arguments.preset)
    if arguments.paper:
        config = for_paper(config, arguments.paper, env)
    for assignment in arguments.fields:
        path, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected --set PATH=VALUE, but found {assignment!r}.")
        config = replace_at(config, path, value)
    return config


def evaluate(arguments: argparse.Namespace) -> int:
    """Score the policies of a run on fresh episodes."""
    from reweigh.runs import RunFolder
    from reweigh.scoring import evaluate_run

    folder = RunFolder(Path(arguments.run))
    config = folder.config()
    if arguments.episodes < 1:
        raise ConfigError(f"expected --episodes of at least 1, but found {arguments.episodes}.")
    results = []
    for seed in folder.seeds():
        env = arguments.env or seed.load_policy().meta.get("env") or config["data"]["env"]
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


def mix_command(arguments: argparse.Namespace) -> int:
    """Make an imbalanced dataset."""
    out = _hdf5_out(arguments.out)
    sources = []
    for spec in (arguments.good, arguments.bad):
        _, rows, _ = load_rows(spec)
        limit = arguments.max_episode_steps or limit_of(Path(spec).name, rows.env)
        sources.append(with_timeouts(rows, limit))
    size = _given(arguments.size, len(sources[0]))
    recipe = MixRecipe(
        ratio=arguments.ratio,
        size=size,
        kind=arguments.kind,
        replacement=not arguments.without_replacement,
        seed=arguments.seed,
        overshoot=arguments.overshoot,
    )
    rows, made = mix(sources[0], sources[1], recipe)
    made = {"mix_good": Path(arguments.good).name, "mix_bad": Path(arguments.bad).name, **made}
    write_hdf5(out, rows, made | ({"env": rows.env} if rows.env else {}))
    if arguments.json:
        print(json.dumps({"out": arguments.out, **made}, indent=2))
    else:
        _print_table({"dataset": arguments.out, **{k.removeprefix("mix_"): v for k, v in made.items()}})
    return 0


def collect_command(arguments: argparse.Namespace) -> int:
    """Record a dataset."""
    from reweigh.collection import collect
    from reweigh.runs import RunFolder

    out = _hdf5_out(arguments.out)
    policy: str | Path = arguments.policy
    if policy != "random":
        seeds = RunFolder(Path(policy)).seeds()
        wanted = [seed for seed in seeds if arguments.policy_seed in (None, seed.seed)]
        if not wanted:
            raise ConfigError(
                f"expected --policy random or a run with trained seeds, but {arguments.policy} has "
                f"{'no such seed' if seeds else 'none'}."
            )
        policy = wanted[0].path / "policy.npz"
    rows, attributes = collect(
        arguments.env, policy, arguments.num_steps, arguments.seed, action_noise=arguments.action_noise
    )
    write_hdf5(out, rows, attributes)
    if arguments.json:
        print(json.dumps({"out": arguments.out, **attributes}, indent=2))
    else:
        _print_table({"dataset": arguments.out, **attributes})
    return 0


def plot(arguments: argparse.Namespace) -> int:
    """Draw weights or learning curves."""
    from reweigh.report.curves import plot_runs
    from reweigh.report.weights_figure import plot_weights
    from reweigh.runs import RunFolder

    out = Path(arguments.out)
    if arguments.what == "runs":
        plot_runs([RunFolder(Path(name)) for name in arguments.files], out)
    else:
        named = []
        for name in arguments.files:
            weights = read_weights(Path(name))
            data = arguments.data or weights.meta.get("dataset")
            if data is None:
                raise ConfigError(f"expected the dataset of {name}, but the file names none. Give --data.")
            transitions = load(data, clip_actions=True)
            check_fits(weights, transitions, Path(name))
            named.append((Path(name).stem, weights, transitions))
        plot_weights(named, out)
    print(out)
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
    "inspect": inspect,
    "weigh": weigh,
    "train": train,
    "evaluate": evaluate,
    "mix": mix_command,
    "collect": collect_command,
    "plot": plot,
    "doctor": doctor,
}


def _hdf5_out(text: str) -> Path:
    """A path that a dataset can be written to."""
    out = Path(text)
    if out.suffix not in (".hdf5", ".h5"):
        raise ConfigError(f"expected --out ending in .hdf5, but found {text!r}.")
    if not out.parent.is_dir():
        raise DatasetError(f"cannot write {out}: there is no folder {out.parent}. Make it first.")
    return out


def _load(arguments: argparse.Namespace, env: str | None = None) -> Transitions:
    return load(
        arguments.data,
        env=env,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )


def _method(arguments: argparse.Namespace) -> ReturnMethod:
    """The method of `weigh`, refusing flags that belong to another one."""
    kind = METHODS[arguments.method]
    own = {f.name for f in fields(kind)}
    given: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("base", "temperature", "fraction")
        if getattr(arguments, name) is not None
    }
    given |= {name: True for name in ("inverse", "by_length") if getattr(arguments, name)}
    for name in given:
        if name not in own:
            raise ConfigError(f"--{name.replace('_', '-')} has no meaning for --method {arguments.method}.")
    return kind(**given)


def parse_weights(text: str) -> Any:
    """`METHOD[:key=value,...]` or a weights file.

    Raises:
        ConfigError: neither.
    """
    from reweigh.config import WeightsPath, replace_at

    name, colon, settings = text.partition(":")
    if name not in METHODS:
        if text.endswith((".npz", ".parquet")):
            if not Path(text).is_file():
                raise ConfigError(
                    f"expected a weights file at {text}, but there is none. Make it with weigh."
                )
            return WeightsPath(text)
        raise ConfigError(
            f"expected --weights to be one of {', '.join(METHODS)}, or a .npz or .parquet file, "
            f"but found {text!r}."
        )
    method: Any = METHODS[name]()
    for assignment in settings.split(",") if colon else ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected --weights {name}:key=value, but found {assignment!r}.")
        method = replace_at(method, key.replace("-", "_"), value)
    return method


def _rebalance(arguments: argparse.Namespace) -> Any:
    from reweigh.config import Resample, Reweight

    weights = parse_weights(arguments.weights)
    terms = arguments.terms
    parts = {"all": {"evaluation", "improvement", "constraint"}, "policy": {"improvement", "constraint"}}.get(
        terms, set(terms.split(","))
    )
    unknown = parts - {"evaluation", "improvement", "constraint"}
    if unknown:
        raise ConfigError(
            "expected --terms all, policy, or some of evaluation,improvement,constraint, "
            f"but found {terms!r}."
        )
    if arguments.rebalance == "reweight":
        return Reweight(weights, *(name in parts for name in ("evaluation", "improvement", "constraint")))
    for name, members in (
        ("all", {"evaluation", "improvement", "constraint"}),
        ("policy", {"improvement", "constraint"}),
        ("evaluation", {"evaluation"}),
    ):
        if parts == members:
            return Resample(weights, name)  # type: ignore[arg-type]
    raise ConfigError(
        "expected --terms all, policy or evaluation for resampling, which draws at most two batches, "
        f"but found {terms!r}. Single terms can be weighted with --rebalance reweight."
    )


def _default_out(arguments: argparse.Namespace) -> str:
    data = Path(arguments.data.replace(":", "-")).stem
    weights = Path(arguments.weights.replace(":", "-").replace(",", "-").replace("=", "")).stem
    return f"runs/{data}-{arguments.algorithm}-{weights}-{arguments.rebalance}-{arguments.terms}"


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _words(method: ReturnMethod) -> str:
    settings = ", ".join(f"{f.name}={getattr(method, f.name)}" for f in fields(method))
    return f"{method.method} ({settings})" if settings else method.method


def _range(values: np.ndarray) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "mean": float(values.mean(dtype=np.float64)),
        "max": float(values.max()),
    }


def _print_table(found: dict[str, Any]) -> None:
    width = max(len(name) for name in found)
    for name, value in found.items():
        print(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return f"{_text(value['mean'])} ({_text(value['min'])} to {_text(value['max'])})"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
