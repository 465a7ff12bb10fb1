"""OPER-A: settings, and how the weights of several value seeds are combined."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float64

from reweigh.checks import check_choices, check_count, check_range, check_seeds, check_widths
from reweigh.datasets.rewards import RewardTransform
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import Weighting
from reweigh.priorities.scaling import check_bounds, linear_probability
from reweigh.priorities.summary import ranks

LEAST_AGREEMENT = 0.3
"""Rank correlation between value seeds below which their weights are mostly noise."""


@dataclass(frozen=True)
class ValueLearning:
    """How values are learned and advantages taken, `stages` times over."""

    solver: Literal["published", "fast"] = "published"
    """OPER's recipe, or the same in 1/167 of its updates, with values in units of the returns' spread and the
    `fast_` settings instead of the published ones."""
    critic: Literal["v", "doublev", "vq"] = "doublev"
    """One value network, the smaller of two, or one beside action values."""
    target: Literal["n-step", "monte-carlo"] = "n-step"
    """The target that values are fitted to."""
    advantage: Literal["n-step", "gae", "monte-carlo"] = "n-step"
    """The target that is compared with the value."""
    steps: int = 1
    """`n` of n-step targets and advantages."""
    trace_decay: float = 0.95
    """`λ` of GAE."""
    stages: int = 5
    """`K`: each stage draws by the weights of the previous one and multiplies them."""
    first_stage_updates: int = 1_000_000
    stage_updates: int = 1_000_000
    """In every later stage."""
    batch_size: int = 256
    learning_rate: float = 3e-4
    """Adam's; decays to 0 over each stage by a cosine."""
    target_rate: float = 0.005
    """`τ` of the slow copies."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    discount: float = 0.99
    """`γ`."""
    reward: RewardTransform = "none"
    """Reward transform for the values (AntMaze: minus-one)."""
    rescale_std: float | None = None
    """Stretch each stage's weights to this standard deviation if theirs is smaller."""
    rescale_eps: float = 0.1
    """Smallest weight after such a stretch."""
    fast_first_stage_updates: int = 10_000
    fast_stage_updates: int = 5_000
    fast_learning_rate: float = 1e-3
    fast_target_rate: float = 0.02
    timeouts_end: bool = False
    """n > 1: a timeout ends a target as a terminal does (OPER's code)."""
    constant_power: bool = False
    """n > 1: `γ^n` even where fewer rewards are left (OPER's code)."""
    unshifted_sums: bool = False
    """n > 1 and Monte-Carlo: sum the recorded reward, not the transformed one (OPER's code)."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        check_choices(self)
        lengths = ("first_stage_updates", "stage_updates", "fast_first_stage_updates", "fast_stage_updates")
        for name in ("steps", "stages", "batch_size", *lengths):
            check_count(name, getattr(self, name))
        check_widths(self.hidden)
        check_range(self, "in [0, 1]", "trace_decay", "discount")
        check_range(self, "in (0, 1]", "target_rate", "fast_target_rate")
        check_range(self, "above 0", "learning_rate", "fast_learning_rate", "rescale_std")
        check_range(self, "of at least 0", "rescale_eps")

    @property
    def num_updates(self) -> int:
        """Updates in all stages together."""
        return sum(self.updates_of(stage) for stage in range(1, self.stages + 1))

    def updates_of(self, stage: int) -> int:
        """Updates in one stage.

        Args:
            stage: from 1 to `stages`.
        """
        if self.solver == "fast":
            return self.fast_first_stage_updates if stage == 1 else self.fast_stage_updates
        return self.first_stage_updates if stage == 1 else self.stage_updates


@dataclass(frozen=True)
class FromAdvantages:
    """How the weights of all stages and value seeds are combined, wherever they come from."""

    iteration: int | None = field(default=None, kw_only=True)
    """The stage whose weights are used, from 1; None: the last one. (`reweigh train`
    fills in the one with which the authors train the algorithm.)"""
    average: Literal["mean", "median"] = field(default="mean", kw_only=True)
    """Over value seeds, or files."""
    std: float | None = field(default=2.0, kw_only=True)
    """Deviation to which the weights are stretched before clipping; None: not stretched."""
    eps: float | None = field(default=0.1, kw_only=True)
    """Smallest weight before the last normalization."""
    eps_max: float | None = field(default=None, kw_only=True)
    """Largest weight before the last normalization."""
    clip_without_std: bool = field(default=True, kw_only=True)
    """`eps` and `eps_max` act whenever given; False: only together with `std` (OPER's TD3+BC and
    Onestep code)."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        if self.iteration is not None:
            check_count("iteration", self.iteration)
        check_choices(self)
        check_range(self, "of at least 0", "std", "eps", "eps_max")
        check_bounds(self.eps, self.eps_max)

    def stage_of(self, stages: int) -> int:
        """The stage whose weights are used, from 1.

        Args:
            stages: number of stages.

        Raises:
            ConfigError: there is no such stage.
        """
        if self.iteration is not None and not 1 <= self.iteration <= stages:
            raise ConfigError(
                f"expected iteration from 1 to {stages}, the number of stages, but found {self.iteration}."
            )
        return stages if self.iteration is None else self.iteration


@dataclass(frozen=True)
class OperA(FromAdvantages):
    """Priorities from iterated advantages (OPER, arXiv 2306.05412)."""

    value_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the value learnings whose weights are averaged."""
    learning: ValueLearning = field(default_factory=ValueLearning)

    method: ClassVar[str] = "oper-a"

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        self.stage_of(self.learning.stages)
        super().__post_init__()
        check_seeds("value_seeds", self.value_seeds)


def probability_by_advantage(
    priority: Float64[np.ndarray, "seeds stages N"], method: FromAdvantages
) -> Float64[np.ndarray, " N"]:
    """One stage's weights, averaged over value seeds and stretched.

    Args:
        priority: weights of every stage and seed, mean 1 each.
        method: selects stage, averaging and stretching.
    """
    weight = average_over_seeds(priority[:, stage_index(priority, method)], method.average)
    return linear_probability(
        weight,
        std=method.std,
        eps=method.eps,
        eps_max=method.eps_max,
        clip_without_std=method.clip_without_std,
    )


def weighting_by_advantage(
    priority: Float64[np.ndarray, "seeds stages N"], method: FromAdvantages
) -> Weighting:
    """Probabilities, with a warning if value seeds disagree.

    Args:
        priority: weights of every stage and seed, mean 1 each.
        method: selects stage, averaging and stretching.
    """
    return Weighting(probability_by_advantage(priority, method), agreement_notes(priority, method))


def agreement_notes(
    priority: Float64[np.ndarray, "seeds stages N"], method: FromAdvantages
) -> tuple[str, ...]:
    """A warning if value seeds disagree on the stage that a method uses.

    Args:
        priority: weights of every stage and seed.
        method: selects the stage.
    """
    agreement = seed_agreement(priority[:, stage_index(priority, method)])
    if agreement is None or agreement >= LEAST_AGREEMENT:
        return ()
    return (
        f"the weights of {len(priority)} value seeds correlate by {agreement:.2f} only (Spearman): they are "
        "mostly noise. Learn longer, or use weights from returns.",
    )


def stage_index(priority: Float64[np.ndarray, "seeds stages N"], method: FromAdvantages) -> int:
    """Position of the stage that a method uses.

    Args:
        priority: weights of every stage and seed.
        method: selects the stage.

    Raises:
        ConfigError: there is no such stage.
    """
    return method.stage_of(priority.shape[1]) - 1


def average_over_seeds(
    weight: Float64[np.ndarray, "seeds N"], how: Literal["mean", "median"]
) -> Float64[np.ndarray, " N"]:
    """Mean or median over seeds of each transition's weight, rescaled to mean 1 over the data.

    Args:
        weight: of each value seed.
        how: `mean`, or `median`, which is robust to an outlying seed.
    """
    averaged = weight.mean(axis=0) if how == "mean" else np.median(weight, axis=0)
    return averaged / averaged.mean()


def seed_agreement(weight: Float64[np.ndarray, "seeds N"]) -> float | None:
    """Mean Spearman correlation between the weights of two value seeds.

    None with a single seed, or if a seed's weights are all equal.

    Args:
        weight: of each value seed, in one stage.
    """
    if len(weight) < 2 or not np.ptp(weight, axis=1).all():
        return None
    correlation = np.corrcoef(np.stack([ranks(row) for row in weight]))
    return float(correlation[np.triu_indices(len(weight), 1)].mean())


def summarize_stages(priority: Float64[np.ndarray, "seeds stages N"]) -> dict[str, object]:
    """The spread of each stage's weights, and how far value seeds agree on them.

    Args:
        priority: weights of every stage and seed.
    """
    stages = range(priority.shape[1])
    return {
        "stage_std": [float(average_over_seeds(priority[:, j], "mean").std()) for j in stages],
        "seed_agreement": [seed_agreement(priority[:, j]) for j in stages],
    }
