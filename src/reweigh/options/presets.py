"""Published settings by domain and by paper, as changes to a run's fields."""

from dataclasses import MISSING, fields, is_dataclass, replace
from functools import partial
from typing import Any

from reweigh.algorithms.cql import CQLConfig
from reweigh.algorithms.iql import IQLConfig
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.config import (
    DensityRatio,
    EvaluationConfig,
    Resample,
    Reweight,
    RunConfig,
    map_weights,
    parts_of,
)
from reweigh.datasets.d4rl import DOMAINS, domain_of
from reweigh.datasets.scores import gymnasium_id
from reweigh.errors import ConfigError
from reweigh.priorities.defaults import PAPERS, published_defaults
from reweigh.priorities.oper_a import FromAdvantages, OperA

# Environments whose rewards the IQL code scales, without their versions.
_LOCOMOTION = ("Hopper", "HalfCheetah", "Walker2d", "Ant")


def with_defaults(config: RunConfig, env: str | None, domain: str | None = None) -> RunConfig:
    """The run as `reweigh train` would set it up: as the authors train that algorithm there.

    This sets its length, data preparation, evaluation, and the settings of weights and algorithm that differ
    between domains; `RunConfig` alone leaves observations, actions and rewards unchanged for every algorithm.
    Values in `config` that differ from their defaults are kept. A value that equals its default counts as
    not set: to keep it, set it in the result with `dataclasses.replace`.

    Args:
        config: data, algorithm and weights.
        env: gymnasium ID or `d4rl:NAME`, if known.
        domain: mujoco, antmaze, kitchen or adroit; None: that of a `d4rl:` or `suite:` dataset or of the
            environment, if it is one of D4RL's.

    Raises:
        ConfigError: there is no such domain.
    """
    if domain is not None and domain not in DOMAINS:
        raise ConfigError(f"expected domain to be one of {', '.join(DOMAINS)}, but found {domain!r}.")
    domain = domain or domain_of(config.data.spec, env)
    of_method = partial(published_defaults, domain=domain, algorithm=config.algorithm.name)
    weights = map_weights(config.rebalance.weights, of_method)
    published = replace(
        config, rebalance=replace(config.rebalance, weights=weights), evaluation=evaluation_of(domain)
    )
    published = algorithm_defaults(published, env, domain)
    kept = _keeping(config, for_domain(published, domain, env) if domain else published)
    unsaid = isinstance(config.rebalance, Resample) and config.rebalance.terms == Resample().terms
    return with_published_terms(kept, domain) if domain and unsaid else kept


def evaluation_of(domain: str | None) -> EvaluationConfig:
    """How often policies are evaluated; AntMaze's returns are 0 or 1, so ten of them say little.

    Args:
        domain: of D4RL, if known.
    """
    return EvaluationConfig(100_000, 100) if domain == "antmaze" else EvaluationConfig()


def _keeping(given: Any, wanted: Any) -> Any:
    """`wanted`, but with the fields of `given` that are not at their defaults."""
    kept = {}
    for own in fields(given):
        value, other = getattr(given, own.name), getattr(wanted, own.name)
        default = own.default if own.default_factory is MISSING else own.default_factory()
        if is_dataclass(value) and type(value) is type(other):
            kept[own.name] = _keeping(value, other)
        elif value != default:
            kept[own.name] = value
    return replace(wanted, **kept)


def _published_iteration(algorithm: str, domain: str | None) -> int:
    """The stage of OPER-A's weights that its authors train with."""
    if domain == "antmaze" and algorithm == IQLConfig.name:
        return 3
    return 5 if algorithm == TD3BCConfig.name else 4


def algorithm_defaults(config: RunConfig, env: str | None, domain: str | None) -> RunConfig:
    """The run with its algorithm's published length and data preparation.

    Args:
        config: data, algorithm and weights; settings that the authors chose are replaced.
        env: gymnasium ID, if known.
        domain: of D4RL, if known.
    """
    defaults = config.algorithm.defaults
    stage = _published_iteration(config.algorithm.name, domain)

    def of_stage(method: Any) -> Any:
        if not isinstance(method, FromAdvantages) or method.iteration is not None:
            return method
        last = method.learning.stages if isinstance(method, OperA) else stage
        return replace(method, iteration=min(stage, last))

    weights = map_weights(config.rebalance.weights, of_stage)
    locomotion = env is not None and gymnasium_id(env).partition("-")[0] in _LOCOMOTION
    return replace(
        config,
        rebalance=replace(config.rebalance, weights=weights),
        num_updates=defaults.num_updates,
        batch_size=defaults.batch_size,
        normalize_observations=defaults.normalize_observations,
        action_limit=defaults.action_limit,
        reward=defaults.locomotion_reward if locomotion else "none",
    )


def for_domain(config: RunConfig, domain: str, env: str | None) -> RunConfig:
    """Rewards and IQL's and CQL's settings of a D4RL domain; `published_defaults` has those of weights.

    Args:
        config: a run with its algorithm's defaults.
        domain: mujoco, antmaze, kitchen or adroit.
        env: gymnasium ID, if known.
    """
    if domain == "antmaze":
        config = replace(config, reward="minus-one")
    elif domain == "mujoco" and env is None:
        config = replace(config, reward=config.algorithm.defaults.locomotion_reward)
    if isinstance(config.algorithm, CQLConfig) and domain == "kitchen":
        algorithm = replace(
            config.algorithm, hidden=(512, 512, 512), max_target_backup=True, importance_sampling=False
        )
        config = replace(config, algorithm=algorithm)
    if isinstance(config.algorithm, IQLConfig):
        expectile, inverse_temperature, dropout = {
            "mujoco": (0.7, 1.0 if _has_advantages(config) else 3.0, 0.0),
            "antmaze": (0.9, 10.0, 0.0),
            "kitchen": (0.7, 0.5, 0.1),
            "adroit": (0.7, 0.5, 0.1),
        }[domain]
        algorithm = replace(
            config.algorithm,
            expectile=expectile,
            inverse_temperature=inverse_temperature,
            dropout=dropout,
        )
        config = replace(config, algorithm=algorithm)
    return config


def with_published_terms(config: RunConfig, domain: str) -> RunConfig:
    """For OPER-A's weights, the run with its authors' terms and way of rebalancing.

    They resample the policy's terms on MuJoCo and AntMaze (IQL on AntMaze: reweight them), all terms
    elsewhere. A run that does not resample stays unchanged.

    Args:
        config: a run.
        domain: mujoco, antmaze, kitchen or adroit.
    """
    if not (_has_advantages(config) and isinstance(config.rebalance, Resample)):
        return config
    before = config.rebalance
    if domain == "antmaze" and isinstance(config.algorithm, IQLConfig):
        reweight = Reweight(before.weights, evaluation=False, progressive_updates=before.progressive_updates)
        return replace(config, rebalance=reweight)
    terms = "policy" if domain in ("mujoco", "antmaze") else "all"
    return replace(config, rebalance=replace(before, terms=terms))


def _has_advantages(config: RunConfig) -> bool:
    return any(isinstance(part, FromAdvantages) for part in parts_of(config.rebalance.weights))


def weights_of_paper(paper: str | None) -> str:
    """The weights of a paper's preset if none are named: `aw`, `oper-r`; uniform under DW's ratios.

    Args:
        paper: the preset's name; None: none was named.
    """
    return {"aw": "aw", "oper": "oper-r"}.get((paper or "").partition("-")[0], "uniform")


def for_paper(config: RunConfig, paper: str, env: str | None) -> RunConfig:
    """The run as a paper's own code computes it; `as_paper` does the same for weights.

    Args:
        config: a run.
        paper: one of `PAPERS`.
        env: gymnasium ID, if known; the IQL code bases leave the rewards of Ant unchanged.

    Raises:
        ConfigError: the preset is for another algorithm.
    """
    study = paper.partition("-")[0]
    wanted = PAPERS[paper] or config.algorithm.name
    if config.algorithm.name != wanted:
        raise ConfigError(
            f"expected --algorithm {wanted} with --paper {paper}, but found {config.algorithm.name}."
        )
    if isinstance(config.rebalance, DensityRatio):
        ratio = replace(config.rebalance.ratio, ignore_terminals=True)
        config = replace(config, rebalance=replace(config.rebalance, ratio=ratio))
    if isinstance(config.algorithm, CQLConfig) and study in ("aw", "dw"):
        config = replace(config, algorithm=replace(config.algorithm, min_q_weight=10.0))
    if isinstance(config.algorithm, IQLConfig):
        if paper == "oper":
            config = replace(config, algorithm=replace(config.algorithm, cap_after_weighting=True))
        if env is not None and gymnasium_id(env).startswith("Ant-"):
            config = replace(config, reward="none")
        if config.reward == "return-range":
            config = replace(config, reward="kept-return-range")
    return config
