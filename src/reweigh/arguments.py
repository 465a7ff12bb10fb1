"""Flags -> the dataclasses that they describe."""

import argparse
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reweigh.datasets.load import load_rows
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import (
    AW,
    RW,
    OperR,
    ReturnMethod,
    RewardWeights,
    Top,
    Uniform,
)

if TYPE_CHECKING:
    from reweigh.config import RunConfig

METHODS: dict[str, type[ReturnMethod]] = {c.method: c for c in (Uniform, OperR, RW, AW, Top, RewardWeights)}


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


def return_method(arguments: argparse.Namespace) -> ReturnMethod:
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


def default_out(arguments: argparse.Namespace) -> str:
    """The folder of a run whose flags name none."""
    data = Path(arguments.data.replace(":", "-")).stem
    weights = Path(arguments.weights.replace(":", "-").replace(",", "-").replace("=", "")).stem
    return f"runs/{data}-{arguments.algorithm}-{weights}-{arguments.rebalance}-{arguments.terms}"


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
