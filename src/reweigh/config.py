"""All settings of a run, frozen; its record and its identity."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from reweigh.algorithms.base import AlgorithmConfig
from reweigh.algorithms.bc import BCConfig
from reweigh.algorithms.cql import CQLConfig
from reweigh.algorithms.iql import IQLConfig
from reweigh.algorithms.onestep import OnestepConfig
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.checks import check_choices, check_count, check_range
from reweigh.datasets.load import DataConfig
from reweigh.datasets.rewards import RewardTransform
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import AW, RW, OperR, Oracle, RewardWeights, Shuffled, Top, Uniform
from reweigh.priorities.oper_a import OperA
from reweigh.priorities.published import OperAFile
from reweigh.rebalance.density_ratio import RatioSettings
from reweigh.rebalance.static import ResampleTerms
from reweigh.system.digests import file_digest, settings_digest
from reweigh.terms import TERMS, Term, parse_terms, terms_word
from reweigh.transitions import DatasetInfo

ALGORITHMS: dict[str, type[AlgorithmConfig]] = {
    c.name: c for c in (BCConfig, TD3BCConfig, IQLConfig, CQLConfig, OnestepConfig)
}


@dataclass(frozen=True)
class WeightsPath:
    """Weights from a file that `reweigh weigh` or another program wrote."""

    path: str

    method: ClassVar[str] = "file"


@dataclass(frozen=True)
class Mixture:
    """`p = m p1 + (1 - m) p2`."""

    share: float
    """`m` in [0, 1]."""
    first: "Weights"
    second: "Weights"

    method: ClassVar[str] = "mixture"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_range(self, "in [0, 1]", "share")


def map_weights(weights: Any, change: Callable[[Any], Any]) -> Any:
    """Weights with every method in them changed, including those of a mixture.

    Args:
        weights: of a run.
        change: method -> method.
    """
    if isinstance(weights, Mixture):
        first, second = map_weights(weights.first, change), map_weights(weights.second, change)
        return dataclasses.replace(weights, first=first, second=second)
    return change(weights)


def parts_of(weights: Any) -> list[Any]:
    """Every method in weights: several in a mixture.

    Args:
        weights: of a config.
    """
    if isinstance(weights, Mixture):
        return parts_of(weights.first) + parts_of(weights.second)
    return [weights]


Weights = (
    Uniform
    | OperR
    | RW
    | AW
    | Top
    | RewardWeights
    | Shuffled
    | Oracle
    | OperA
    | OperAFile
    | WeightsPath
    | Mixture
)


class _Weighing:
    """What the ways to apply weights have in common."""

    def weighs(self, term: Term) -> bool:
        """Whether the weights act on a loss term.

        Args:
            term: one of `TERMS`.
        """
        return getattr(self, term)

    @property
    def weighted_terms(self) -> str:
        """The terms that the weights act on, in the words of `--terms`."""
        return terms_word([term for term in TERMS if self.weighs(term)])

    def _check_any_term(self) -> None:
        if not any(map(self.weighs, TERMS)):
            raise ConfigError("expected at least one term to reweight, but found none. Use uniform weights.")


@dataclass(frozen=True)
class Resample(_Weighing):
    """Draw batches by the weights; loss weights are 1."""

    weights: Weights = field(default_factory=Uniform)
    terms: ResampleTerms = "all"
    """`all`: one batch for every term. `policy`: a prioritized batch for improvement and constraint, a
    uniform one for evaluation. `evaluation`: the reverse."""

    progressive_updates: int | None = None
    """`M`: at update `t` a row is drawn by the weights with probability `min(t / M, 1)`, else uniformly."""

    kind: ClassVar[str] = "resample"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        _check_progressive(self.progressive_updates)

    def weighs(self, term: Term) -> bool:
        """Whether the batch of a loss term is drawn by the weights.

        Args:
            term: one of `TERMS`.
        """
        return term in parse_terms(self.terms)


@dataclass(frozen=True)
class Reweight(_Weighing):
    """Draw batches uniformly; multiply losses by the weights."""

    weights: Weights = field(default_factory=Uniform)
    evaluation: bool = True
    """Weigh the losses of critics and values."""
    improvement: bool = True
    """Weigh the term that seeks value."""
    constraint: bool = True
    """Weigh the term that stays near the data."""

    progressive_updates: int | None = None
    """`M`: at update `t` weights are `1 + min(t / M, 1) (w - 1)`."""

    kind: ClassVar[str] = "reweight"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        _check_progressive(self.progressive_updates)
        self._check_any_term()


@dataclass(frozen=True)
class DensityRatio(_Weighing):
    """Learn the weights of each batch with the agent (DW); they multiply losses."""

    weights: Weights = field(default_factory=Uniform)
    """Base weights, by which batches are drawn."""
    ratio: RatioSettings = field(default_factory=RatioSettings)
    evaluation: bool = True
    """Weigh the losses of critics and values."""
    improvement: bool = True
    """Weigh the term that seeks value."""
    constraint: bool = True
    """Weigh the term that stays near the data."""

    kind: ClassVar[str] = "density-ratio"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        self._check_any_term()


RebalanceConfig = Resample | Reweight | DensityRatio


def _check_progressive(updates: int | None) -> None:
    if updates is not None:
        check_count("progressive_updates", updates)


@dataclass(frozen=True)
class EvaluationConfig:
    """When the policy is evaluated, and for how many episodes."""

    interval: int = 5000
    """In updates; the last update is always evaluated."""
    episodes: int = 10
    enabled: bool = True

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        for name in ("interval", "episodes"):
            remedy = " Switch evaluation off with --no-evaluate."
            check_count(f"evaluation {name}", getattr(self, name), remedy)


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run, except its seed.

    Its defaults suit no particular algorithm; `with_defaults` sets the authors' choices.
    """

    data: DataConfig
    algorithm: AlgorithmConfig
    """One of `ALGORITHMS`, or the user's own (`docs/adding-an-algorithm.md`)."""
    rebalance: RebalanceConfig = field(default_factory=Resample)
    num_updates: int = 1_000_000
    """Gradient steps; of the last stage if there are several."""
    batch_size: int = 256
    discount: float = 0.99
    """`γ` in [0, 1]."""
    normalize_observations: bool = False
    """`(s - mean) / (std + 1e-3)`, saved with the policy."""
    action_limit: float = 1.0
    """Data actions are clipped to plus or minus this, in (0, 1]; 1: no change."""
    reward: RewardTransform = "none"
    """How training changes the recorded reward."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    log_interval: int = 1000
    """Updates per row of `metrics.csv`; evaluations and checkpoints end a row too."""
    checkpoint_interval: int = 10_000
    """In updates."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        if not isinstance(self.data, DataConfig):
            raise ConfigError(f"expected data=DataConfig(...), but found {type(self.data).__name__}.")
        for name in ("num_updates", "batch_size", "log_interval", "checkpoint_interval"):
            check_count(name, getattr(self, name))
        check_choices(self)
        check_range(self, "in [0, 1]", "discount")
        check_range(self, "in (0, 1]", "action_limit")
        _check_terms(self.algorithm, self.rebalance)
        if isinstance(self.rebalance, DensityRatio) and self.discount == 0:
            raise ConfigError(
                "expected a discount above 0 for density-ratio weights, which tell terminals by it, but "
                "found 0. Use --rebalance reweight or resample."
            )
        period = len(self.algorithm.make(self.num_updates).updates)
        for name, number in (
            ("num_updates", self.num_updates),
            ("evaluation interval", self.evaluation.interval),
            ("log_interval", self.log_interval),
            ("checkpoint_interval", self.checkpoint_interval),
        ):
            if number % period:
                raise ConfigError(
                    f"expected {name} to be a multiple of {period} for {self.algorithm.name}, whose updates "
                    f"are of {period} kinds by turns, but found {number}. Choose another number."
                )


def _check_terms(algorithm: AlgorithmConfig, rebalance: RebalanceConfig) -> None:
    """Reject terms that an algorithm does not have, or cannot weigh separately."""
    if isinstance(algorithm, BCConfig) and not rebalance.weighs("constraint"):
        raise ConfigError(
            "expected the constraint term among the weighted ones, because it is the only one of bc. "
            "Use --terms all."
        )
    clipped = isinstance(algorithm, TD3BCConfig) and algorithm.constraint_clip != "none"
    if clipped and (isinstance(rebalance, Resample) or not rebalance.weighs("constraint")):
        raise ConfigError(
            "expected weights on the constraint term for constraint_clip, which clips them, but found none. "
            "Use --rebalance reweight, or leave constraint_clip at none."
        )
    one_loss = isinstance(algorithm, IQLConfig) or (
        isinstance(algorithm, OnestepConfig) and algorithm.improvement == "exp-weight"
    )
    if one_loss and rebalance.weighs("improvement") != rebalance.weighs("constraint"):
        raise ConfigError(
            f"expected improvement and constraint to be weighted alike for {algorithm.name}, whose actor "
            "loss is both at once, but found one without the other. Use --terms policy, evaluation or all."
        )
    clones_only = isinstance(algorithm, OnestepConfig) and algorithm.improvement == "easy-bcq"
    if clones_only and not rebalance.weighs("evaluation"):
        raise ConfigError(
            "expected the evaluation term among the weighted ones, because easy-bcq learns nothing after "
            "its clone and its value. Use --terms all."
        )


def to_dict(config: Any) -> Any:
    """A config as JSON types; members of a union get a `type`.

    Args:
        config: a frozen dataclass, or what its fields hold.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
        tag = next(
            (getattr(config, name) for name in ("name", "method", "kind") if hasattr(config, name)), None
        )
        return {"type": tag, **plain} if tag else plain
    if isinstance(config, tuple):
        return [to_dict(item) for item in config]
    return config


def identity(config: RunConfig, info: DatasetInfo) -> str:
    """A hash of everything that changes a run's numbers, except its seed.

    Paths, logging, evaluation and seeds are left out; a weights file counts by its content.

    Args:
        config: the run.
        info: of its transitions; gives their digest and the action bounds.
    """
    plain = to_dict(config)
    for name in ("data", "evaluation", "log_interval", "checkpoint_interval"):
        del plain[name]
    plain["rebalance"]["weights"] = weights_record(config.rebalance.weights)
    bounds = [info.action_low.tolist(), info.action_high.tolist()]
    return settings_digest({"dataset": info.digest, "action_bounds": bounds, **plain})


def weights_record(weights: Weights) -> dict[str, Any]:
    """Weights as JSON types; a file counts by its content, not its path.

    Args:
        weights: of a config; files are read.
    """
    plain = to_dict(weights)
    if isinstance(weights, WeightsPath):
        plain["path"] = file_digest(Path(weights.path))
    if isinstance(weights, OperAFile):
        plain["path"] = [file_digest(path) for path in weights.paths]
    if isinstance(weights, Mixture):
        plain |= {"first": weights_record(weights.first), "second": weights_record(weights.second)}
    return plain
