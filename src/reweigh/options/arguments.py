"""Flags -> the dataclasses that they describe."""

import argparse
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from reweigh.datasets.d4rl import domain_of
from reweigh.datasets.load import DataConfig, load_record, plain_name
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import (
    AW,
    RW,
    FromReturns,
    OperR,
    Oracle,
    ReturnMethod,
    RewardWeights,
    Shuffled,
    Top,
    Uniform,
)
from reweigh.priorities.defaults import BY_DOMAIN, IQL_CODE, PAPERS, as_paper, published_defaults
from reweigh.priorities.oper_a import OperA, ValueLearning
from reweigh.priorities.published import OperAFile
from reweigh.priorities.weigh import Scaling
from reweigh.terms import TERMS, parse_terms, terms_word

if TYPE_CHECKING:
    from reweigh.config import RunConfig

_MOST_SHARES = 100

ALL_METHODS: dict[str, type[ReturnMethod | OperA | OperAFile]] = {
    c.method: c for c in (Uniform, OperR, RW, AW, Top, RewardWeights, Shuffled, Oracle, OperA, OperAFile)
}


def data_asked(arguments: argparse.Namespace, spec: str | None = None) -> DataConfig:
    """The dataset of the flags, or another one, read as the flags say.

    Args:
        arguments: parsed flags of a command that reads data.
        spec: another dataset; None: the flags' own.
    """
    return DataConfig(
        spec=spec or arguments.data,
        env=arguments.env,
        episode_ends=arguments.episode_ends,
        max_episode_steps=arguments.max_episode_steps,
        clip_actions=arguments.clip_actions,
    )


def run_config(arguments: argparse.Namespace) -> "RunConfig":
    """The run that the flags of `train` describe.

    Args:
        arguments: parsed flags of `train`.

    Raises:
        ReweighError: the flags contradict one another, or the data cannot be read.
    """
    return described_run(arguments, arguments.env or load_record(arguments.data).rows.env)


def described_run(arguments: argparse.Namespace, env: str | None) -> "RunConfig":
    """The run that the flags of `train` describe, whether or not its data exist.

    Args:
        arguments: parsed flags of `train`.
        env: the data's environment; None: unknown.

    Raises:
        ReweighError: the flags contradict one another.
    """
    from reweigh.config import ALGORITHMS, EvaluationConfig, RunConfig
    from reweigh.options.dotted_settings import replace_fields
    from reweigh.options.presets import (
        algorithm_defaults,
        evaluation_of,
        for_domain,
        for_paper,
        with_published_terms,
    )

    algorithm: Any = ALGORITHMS[arguments.algorithm]()
    domain = train_domain(arguments)
    evaluation = evaluation_of(domain)
    config = RunConfig(
        data=data_asked(arguments),
        algorithm=algorithm,
        rebalance=_rebalance(arguments, domain),
        evaluation=EvaluationConfig(
            _given(arguments.eval_interval, evaluation.interval),
            _given(arguments.eval_episodes, evaluation.episodes),
            not arguments.no_evaluate and env is not None,
        ),
        checkpoint_interval=arguments.checkpoint_interval,
    )
    config = algorithm_defaults(config, env, domain)
    if domain:
        config = for_domain(config, domain, env)
        if arguments.terms is None and arguments.rebalance is None and arguments.sampler is None:
            config = with_published_terms(config, domain)
    if arguments.paper:
        config = for_paper(config, arguments.paper, env)
    # What was typed overrides every preset.
    config = replace(
        config,
        num_updates=_given(arguments.num_updates, config.num_updates),
        batch_size=_given(arguments.batch_size, config.batch_size),
    )
    if arguments.hidden:
        algorithm = config.algorithm
        config = replace(config, algorithm=replace(algorithm, hidden=tuple(arguments.hidden)))
    assignments = [split_assignment(text) for text in arguments.fields]
    config = replace_fields(config, assignments)
    _check_solvers(config.rebalance.weights, "rebalance.weights.", [path for path, _ in assignments])
    return config


def _check_solvers(weights: Any, prefix: str, paths: Sequence[str]) -> None:
    """`_check_solver` for every part of a mixture, each with the fields that were set in it."""
    from reweigh.config import Mixture

    if isinstance(weights, Mixture):
        _check_solvers(weights.first, f"{prefix}first.", paths)
        _check_solvers(weights.second, f"{prefix}second.", paths)
    elif isinstance(weights, OperA):
        _check_solver(weights.learning, [path for path in paths if path.startswith(prefix)])


def train_domain(arguments: argparse.Namespace) -> str | None:
    """The domain whose settings apply: the named one, else that of a `d4rl:` dataset or environment.

    Args:
        arguments: parsed flags of `train`.
    """
    if arguments.preset is None:
        return domain_of(arguments.data, arguments.env)
    return None if arguments.preset == "none" else arguments.preset


def weigh_method(arguments: argparse.Namespace) -> tuple[ReturnMethod | OperA | OperAFile, Scaling]:
    """The method of `weigh` and its scaling; rejects flags of other methods.

    Args:
        arguments: parsed flags of `weigh`.

    Raises:
        ConfigError: a flag does not apply to the method, or a value is invalid.
    """
    kind = ALL_METHODS[arguments.method]
    own = {f.name for f in fields(kind)}
    if arguments.method == OperA.method:
        own |= {f.name for f in fields(ValueLearning)}
    given: dict[str, Any] = {
        name: getattr(arguments, name)
        for name in ("base", "temperature", "fraction", "permutation_seed", "iteration", "solver", "path")
        if getattr(arguments, name) is not None
    }
    given |= {name: True for name in ("inverse", "by_length") if getattr(arguments, name)}
    for name in given:
        if name not in own:
            flag = {"path": "from"}.get(name, name.replace("_", "-"))
            raise ConfigError(f"--{flag} has no meaning for --method {arguments.method}.")
    scaling = {f.name: getattr(arguments, f.name) for f in fields(Scaling)}
    shifted = arguments.paper in IQL_CODE and issubclass(kind, FromReturns)
    if arguments.preset and not (shifted or issubclass(kind, BY_DOMAIN)):
        raise ConfigError(f"--preset has no meaning for --method {arguments.method}.")
    if arguments.paper and not issubclass(
        kind, FromReturns | OperA if arguments.paper == "oper" else FromReturns
    ):
        raise ConfigError(f"--paper {arguments.paper} has no meaning for --method {arguments.method}.")
    method: Any = published_defaults(
        kind(),
        domain=train_domain(arguments),
        algorithm=PAPERS[arguments.paper] if arguments.paper else None,
        paper=arguments.paper,
    )
    if arguments.method in (OperA.method, OperAFile.method):
        return _oper_a(arguments, method, given, scaling)
    if arguments.fields:
        raise ConfigError(f"--set has no meaning for --method {arguments.method}.")
    if arguments.target_ess is not None and "temperature" in given:
        raise ConfigError(
            "--temperature and --target-ess both fix how uneven the weights are. Give one of them."
        )
    return replace(method, **given), Scaling(**scaling)


def _oper_a(
    arguments: argparse.Namespace, method: Any, given: dict[str, Any], scaling: dict[str, Any]
) -> tuple[OperA | OperAFile, Scaling]:
    """OPER-A stretches linearly unless another transform replaces it."""
    assignments = [(name, str(value)) for name, value in given.items()]
    assignments += map(split_assignment, arguments.fields)
    if scaling["std"] is not None and scaling["target_ess"] is not None:
        raise ConfigError("std and target_ess both fix how uneven the weights are. Give one of them.")
    if arguments.transform in (None, "linear"):
        own = {name: scaling[name] for name in ("std", "eps", "eps_max") if scaling[name] is not None}
        assignments += [(name, str(value)) for name, value in own.items()]
        scaling |= dict.fromkeys((*own, "transform"))
    return _with_fields(method, assignments), Scaling(**scaling)


def split_assignment(text: str) -> tuple[str, str]:
    """`PATH=VALUE` of `--set`.

    Raises:
        ConfigError: there is no `=`.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"expected --set PATH=VALUE, but found {text!r}.")
    return path, value


def parse_weights(text: str, default: Callable[[Any], Any] = lambda method: method) -> Any:
    """`METHOD[:key=value,...]`, a weights file, or a mixture `0.7*aw+0.3*uniform`.

    Args:
        text: as typed.
        default: maps a method with this library's defaults to the one that `key=value` changes.

    Raises:
        ConfigError: it is none of these, or a setting is invalid.
    """
    from reweigh.config import WeightsPath

    if "*" in text:
        return _mixture(text, default)
    name, colon, settings = text.partition(":")
    if name not in ALL_METHODS:
        if text.endswith((".npz", ".parquet")):
            if not os.path.isfile(text):
                raise ConfigError(
                    f"expected a weights file at {text}, but there is none. Make it with weigh."
                )
            return WeightsPath(text)
        raise ConfigError(
            f"expected --weights to be one of {', '.join(ALL_METHODS)}, or a .npz or .parquet file, "
            f"but found {text!r}."
        )
    method: Any = default(ALL_METHODS[name]())
    assignments = []
    for assignment in settings.split(",") if colon else ():
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"expected --weights {name}:key=value, but found {assignment!r}.")
        assignments.append((key.replace("-", "_"), value))
    return _with_fields(method, assignments)


def _with_fields(method: Any, assignments: Iterable[tuple[str, str]]) -> Any:
    """A method with fields changed; those of OPER-A's value learning need no prefix."""
    from reweigh.options.dotted_settings import replace_fields

    if not isinstance(method, OperA):
        return replace_fields(method, assignments)
    inner = {f.name for f in fields(ValueLearning)} - {f.name for f in fields(OperA)}
    paths = [(f"learning.{path}" if path in inner else path, text) for path, text in assignments]
    changed = replace_fields(method, paths)
    _check_solver(changed.learning, [path for path, _ in paths])
    return changed


def _check_solver(learning: ValueLearning, paths: Iterable[str]) -> None:
    """Reject settings of OPER-A's other solver, which would have no effect.

    Args:
        learning: the resulting settings.
        paths: of the fields set.

    Raises:
        ConfigError: one of them belongs to the other solver.
    """
    fast = [f.name for f in fields(ValueLearning) if f.name.startswith("fast_")]
    pairs = [(name.removeprefix("fast_"), name) for name in fast]
    if learning.solver != "fast":
        pairs = [(own, other) for other, own in pairs]
    for other, own in pairs:
        if any(path.rpartition(".")[2] == other for path in paths):
            raise ConfigError(f"{other} has no meaning with solver={learning.solver}. Set {own} instead.")


def _mixture(text: str, default: Callable[[Any], Any]) -> Any:
    """`0.5*aw+0.3*rw+0.2*uniform` as nested mixtures of two: the first, and the rest."""
    from reweigh.config import Mixture

    parts = [part.partition("*") for part in re.split(r"\+(?=[^+*]*\*)", text)]
    if len(parts) > _MOST_SHARES:
        raise ConfigError(
            f"expected at most {_MOST_SHARES} shares in --weights, but found {len(parts)}. Mix fewer weights."
        )
    shares = [_number(share, text) for share, _, _ in parts]
    if len(parts) < 2 or any("*" in method for _, _, method in parts) or abs(sum(shares) - 1) > 1e-9:
        raise ConfigError(
            f"expected a mixture like 0.7*aw+0.3*uniform, whose shares add up to 1, but found {text!r}."
        )
    *earlier, last = (parse_weights(method, default) for _, _, method in parts)
    for index in reversed(range(len(earlier))):
        rest = sum(shares[index:]) if index else 1.0
        last = Mixture(shares[index] / rest if rest else 1.0, earlier[index], last)
    return last


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"expected a number before * in {where!r}, but found {text!r}.") from error


def _rebalance(arguments: argparse.Namespace, domain: str | None) -> Any:
    from reweigh.config import DensityRatio, Resample, Reweight
    from reweigh.options.presets import weights_of_paper
    from reweigh.options.sampler_strings import convention_of
    from reweigh.rebalance.density_ratio import CONVENTIONS
    from reweigh.rebalance.static import ResampleTerms

    if arguments.sampler:
        return _by_sampler(arguments, domain)
    weights = parse_weights(
        weights_of_paper(arguments.paper) if arguments.weights is None else arguments.weights,
        partial(published_defaults, domain=domain, algorithm=arguments.algorithm, paper=arguments.paper),
    )
    weighted = parse_terms(arguments.terms or "all")
    switches = [name in weighted for name in TERMS]
    of_ratios = (arguments.paper or "").startswith("dw-")
    if of_ratios and arguments.rebalance not in (None, "density-ratio"):
        raise ConfigError(f"--paper {arguments.paper} is about density-ratio weights. Leave out --rebalance.")
    if of_ratios or arguments.rebalance == "density-ratio":
        convention = arguments.convention or convention_of(arguments.algorithm)
        return DensityRatio(weights, CONVENTIONS[convention], *switches)
    if arguments.convention:
        raise ConfigError("--convention belongs to density-ratio weights. Add --rebalance density-ratio.")
    if arguments.rebalance == "reweight":
        return Reweight(weights, *switches)
    word = terms_word(weighted)
    if word not in get_args(ResampleTerms):
        raise ConfigError(
            "expected --terms all, policy or evaluation for resampling, which draws at most two batches, "
            f"but found {arguments.terms!r}. Single terms can be weighted with --rebalance reweight."
        )
    return Resample(weights, cast("ResampleTerms", word))


def _by_sampler(arguments: argparse.Namespace, domain: str | None) -> Any:
    """The rebalancing that `--sampler` describes completely."""
    from reweigh.config import map_weights
    from reweigh.options.sampler_strings import parse_sampler

    for flag in ("rebalance", "terms", "convention", "weights"):
        if getattr(arguments, flag) is not None:
            raise ConfigError(f"--sampler says it all. Leave out --{flag}.")
    parsed = parse_sampler(arguments.sampler, arguments.algorithm)
    if not arguments.paper:
        return parsed
    published = partial(as_paper, paper=arguments.paper, domain=domain, algorithm=arguments.algorithm)
    return replace(parsed, weights=map_weights(parsed.weights, published))


def default_out(arguments: argparse.Namespace, config: "RunConfig") -> str:
    """The default folder of a run whose flags name none.

    Args:
        arguments: parsed flags of `train`.
        config: the run that they describe.
    """
    from reweigh.options.presets import weights_of_paper
    from reweigh.runs import folder_name

    data = plain_name(arguments.data)
    if arguments.sampler:
        return f"runs/{data}-{arguments.algorithm}-{arguments.sampler}"
    weights = weights_of_paper(arguments.paper) if arguments.weights is None else arguments.weights
    if weights.endswith((".npz", ".parquet")) and "*" not in weights:
        weights = Path(weights).stem
    weights = folder_name(weights.replace("=", ""))
    rebalance = config.rebalance
    terms = folder_name(rebalance.weighted_terms)
    return f"runs/{data}-{arguments.algorithm}-{weights}-{rebalance.kind}-{terms}"


def _given(value: Any, default: Any) -> Any:
    return default if value is None else value
