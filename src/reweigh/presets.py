"""Published settings by domain and by paper, as changes of a run's fields."""

from dataclasses import replace

from reweigh.algorithms.cql import CQLConfig
from reweigh.algorithms.iql import IQLConfig
from reweigh.config import DensityRatio, Resample, Reweight, RunConfig
from reweigh.datasets.scores import gymnasium_id
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import AW, FromReturns, OperR
from reweigh.priorities.oper_a import OperA, as_published, oper_a_for
from reweigh.priorities.published import OperAFile
from reweigh.rebalance.density_ratio import CONVENTIONS

DOMAINS = ("mujoco", "antmaze", "kitchen", "adroit")


def for_domain(config: RunConfig, domain: str, *, published_terms: bool = False) -> RunConfig:
    """D4RL's domains: IQL's settings, AntMaze's reward, OPER-R's base, OPER-A's recipe.

    Args:
        config: a run with its algorithm's defaults.
        domain: one of `DOMAINS`.
        published_terms: with OPER-A, also how its authors let the weights act: resampling the policy's terms
            on MuJoCo and AntMaze (IQL there: reweighting them), all terms elsewhere.
    """
    if domain == "antmaze":
        config = replace(config, reward="minus-one")
        weights = config.rebalance.weights
        if isinstance(weights, OperR) and weights.base == 0:
            config = with_weights(config, replace(weights, base=0.2))
    weights = config.rebalance.weights
    if isinstance(weights, OperA | OperAFile):
        weights = oper_a_for(weights, domain) if isinstance(weights, OperA) else weights
        if domain == "antmaze" and isinstance(config.algorithm, IQLConfig):
            weights = replace(weights, iteration=3)
        config = with_weights(config, weights)
        if published_terms:
            config = replace(config, rebalance=_published_rebalance(config, domain))
    if isinstance(config.algorithm, CQLConfig) and domain == "kitchen":
        algorithm = replace(
            config.algorithm, hidden=(512, 512, 512), max_target_backup=True, importance_sampling=False
        )
        config = replace(config, algorithm=algorithm)
    if isinstance(config.algorithm, IQLConfig):
        expectile, inverse_temperature, dropout = {
            "mujoco": (0.7, 3.0, 0.0),
            "antmaze": (0.9, 10.0, 0.0),
            "kitchen": (0.7, 0.5, 0.1),
            "adroit": (0.7, 0.5, 0.1),
        }[domain]
        if isinstance(weights, OperA | OperAFile) and domain == "mujoco":
            inverse_temperature = 1.0
        algorithm = replace(
            config.algorithm,
            expectile=expectile,
            inverse_temperature=inverse_temperature,
            dropout=dropout,
        )
        config = replace(config, algorithm=algorithm)
    return config


def _published_rebalance(config: RunConfig, domain: str) -> Resample | Reweight:
    weights = config.rebalance.weights
    if domain == "antmaze" and isinstance(config.algorithm, IQLConfig):
        return Reweight(weights, evaluation=False)
    return Resample(weights, "policy" if domain in ("mujoco", "antmaze") else "all")


def for_paper(config: RunConfig, paper: str, env: str | None) -> RunConfig:
    """What a paper's own code computes where it differs from this library's defaults.

    Args:
        config: a run.
        paper: `oper`, or `aw-` or `dw-` and one of `iql`, `td3bc`, `cql`.
        env: gymnasium ID, if known: the IQL code bases leave the rewards of Ant as they are.

    Raises:
        ConfigError: the preset belongs to another algorithm.
    """
    study, _, code = paper.partition("-")
    wanted = {"td3bc": "td3-bc"}.get(code, code) or config.algorithm.name
    if config.algorithm.name != wanted:
        raise ConfigError(
            f"expected --algorithm {wanted} with --paper {paper}, but found {config.algorithm.name}."
        )
    weights = config.rebalance.weights
    if isinstance(weights, FromReturns):
        weights = replace(weights, kept_rows_only=True)
    elif isinstance(weights, OperA):
        weights = as_published(weights)
    elif study == "aw":
        weights = AW(kept_rows_only=True, temperature=0.2 if code == "cql" else 0.1)
    elif study == "oper":
        weights = OperR(kept_rows_only=True)
    config = with_weights(config, weights)
    if study == "dw":
        given = config.rebalance.ratio if isinstance(config.rebalance, DensityRatio) else CONVENTIONS[wanted]
        form = CONVENTIONS[wanted]
        ratio = replace(
            given, clipping=form.clipping, by_state=form.by_state, reward=form.reward, ignore_terminals=True
        )
        config = replace(config, rebalance=DensityRatio(weights, ratio))
    if isinstance(config.algorithm, CQLConfig) and study in ("aw", "dw"):
        config = replace(config, algorithm=replace(config.algorithm, min_q_weight=10.0))
    if isinstance(config.algorithm, IQLConfig):
        if paper == "oper":
            config = replace(config, algorithm=replace(config.algorithm, cap_after_weighting=True))
        if env is not None and gymnasium_id(env).startswith("Ant-"):
            config = replace(config, reward="none")
    return config


def with_weights(config: RunConfig, weights) -> RunConfig:
    """The run with other weights in the same rebalancing method."""
    return replace(config, rebalance=replace(config.rebalance, weights=weights))
