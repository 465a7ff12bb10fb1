"""Everything that determines a family of datasets, frozen."""

from dataclasses import dataclass, field

from reweigh.algorithms.td3 import TD3Config
from reweigh.checks import LARGEST_COUNT, check_count, check_range, check_seeds, require
from reweigh.collection import MOST_NOISE
from reweigh.config import to_dict
from reweigh.system.digests import settings_digest

# Settings that change the files made from a training, not the training itself.
_AFTERWARDS = ("num_steps", "checkpoint_interval", "rollout_steps", "rollout_noise", "medium_share")


@dataclass(frozen=True)
class FamilyConfig:
    """A training and its datasets; start, noise and batches as in the code of TD3's authors."""

    env: str
    """gymnasium ID; `module:ID` imports your module first."""
    num_steps: int
    """Environment steps of the training, a multiple of `eval_interval`."""
    seed: int = 0
    """Of networks, actions, episodes and draws."""
    td3: TD3Config = field(default_factory=TD3Config)
    """The learner."""
    batch_size: int = 256
    """Rows per update."""
    discount: float = 0.99
    """`γ` in [0, 1]. Values are bootstrapped through time limits, not terminals."""
    start_steps: int = 25_000
    """Steps with uniform actions, before the first update."""
    exploration_noise: float = 0.1
    """Standard deviation of the noise on actions while training, for a range of [-1, 1]."""
    steps_at_once: int = 50
    """Steps with one policy, then as many updates; even. The authors' code alternates after each step."""
    eval_interval: int = 5000
    """Steps between evaluations, each of which is a candidate for `medium` and `expert`."""
    eval_episodes: int = 10
    """Of each evaluation."""
    checkpoint_interval: int = 25_000
    """In steps."""
    rollout_steps: int = 100_000
    """Rows of `random`, `medium` and `expert`."""
    rollout_noise: float = 0.1
    """Standard deviation of the noise on actions of `medium` and `expert`, for a range of [-1, 1]."""
    medium_share: float = 1 / 3
    """`medium` is the first policy to reach this share, in (0, 1], of the way from random to expert."""

    def __post_init__(self) -> None:
        """Reject invalid settings."""
        for name in (
            "num_steps",
            "batch_size",
            "steps_at_once",
            "eval_interval",
            "eval_episodes",
            "checkpoint_interval",
        ):
            check_count(name, getattr(self, name))
        check_seeds("--seed", [self.seed])
        check_range(self, "in [0, 1]", "discount")
        check_range(self, "in (0, 1]", "medium_share")
        for name in ("exploration_noise", "rollout_noise"):
            noise = getattr(self, name)
            require(0 <= noise <= MOST_NOISE, name, f"from 0 to {MOST_NOISE:g}", noise)
        require(
            2 <= self.rollout_steps <= LARGEST_COUNT,
            "rollout_steps",
            f"from 2 to {LARGEST_COUNT}",
            self.rollout_steps,
        )
        require(self.steps_at_once % 2 == 0, "steps_at_once", "to be even", self.steps_at_once)
        for name in ("start_steps", "eval_interval", "checkpoint_interval"):
            self._check_multiple(name, "steps_at_once")
        self._check_multiple("num_steps", "eval_interval")
        expected = f"from 0 to below num_steps ({self.num_steps})"
        require(0 <= self.start_steps < self.num_steps, "start_steps", expected, self.start_steps)

    def _check_multiple(self, name: str, of: str) -> None:
        number, divisor = getattr(self, name), getattr(self, of)
        require(number % divisor == 0, name, f"to be a multiple of {of} ({divisor})", number)


def identity(config: FamilyConfig) -> str:
    """A digest that two trainings share if they agree as far as the shorter one goes.

    Args:
        config: the family.
    """
    plain = {name: value for name, value in to_dict(config).items() if name not in _AFTERWARDS}
    return settings_digest(plain)
