"""Published settings by domain and by paper, as changes of a run's fields."""

from dataclasses import replace

from reweigh.algorithms.cql import CQLConfig
from reweigh.algorithms.iql import IQLConfig
from reweigh.config import DensityRatio, Resample, Reweight, RunConfig, parts_of
from reweigh.datasets.scores import gymnasium_id
from reweigh.errors import ConfigError
from reweigh.priorities.oper_a import OperA
from reweigh.priorities.published import OperAFile

DOMAINS = ("mujoco", "antmaze", "kitchen", "adroit")


def for_domain(
    config: RunConfig, domain: str, env: str | None, *, published_terms: bool = False
) -> RunConfig:
    """D4RL's domains: rewards, IQL's and CQL's settings. Those of weights are in `published_defaults`.

    Args:
        config: a run with its algorithm's defaults.
        domain: one of `DOMAINS`.
        env: gymnasium ID, if known.
        published_terms: with OPER-A, also how its authors let the weights act: resampling the policy's terms
            on MuJoCo and AntMaze (IQL there: reweighting them), all terms elsewhere.
    """
    if domain == "antmaze":
        config = replace(config, reward="minus-one")
    elif domain == "mujoco" and env is None:
        config = replace(config, reward=config.algorithm.defaults.locomotion_reward)
    learned = any(isinstance(part, OperA | OperAFile) for part in parts_of(config.rebalance.weights))
    if learned and published_terms:
        config = replace(config, rebalance=_published_rebalance(config, domain))
    if isinstance(config.algorithm, CQLConfig) and domain == "kitchen":
        algorithm = replace(
            config.algorithm, hidden=(512, 512, 512), max_target_backup=True, importance_sampling=False
        )
        config = replace(config, algorithm=algorithm)
    if isinstance(config.algorithm, IQLConfig):
        expectile, inverse_temperature, dropout = {
            "mujoco": (0.7, 1.0 if learned else 3.0, 0.0),
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


def _published_rebalance(config: RunConfig, domain: str) -> Resample | Reweight:
    weights = config.rebalance.weights
    if domain == "antmaze" and isinstance(config.algorithm, IQLConfig):
        return Reweight(weights, evaluation=False)
    return Resample(weights, "policy" if domain in ("mujoco", "antmaze") else "all")


def weights_of_paper(paper: str | None) -> str:
    """What a paper's preset means where nobody names weights: `aw`, `oper-r`; none under the ratios of DW."""
    return {"aw": "aw", "oper": "oper-r"}.get((paper or "").partition("-")[0], "uniform")


def for_paper(config: RunConfig, paper: str, env: str | None) -> RunConfig:
    """What a paper's own code computes where it differs from this library; of weights `as_paper` says it.

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
