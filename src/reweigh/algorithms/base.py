"""What every algorithm's module builds on."""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray

from reweigh.datasets.rewards import RewardTransform
from reweigh.types import Algorithm, Shapes


class RunDefaults(NamedTuple):
    """How an algorithm's authors prepare data and train; the user may override it."""

    num_updates: int = 1_000_000
    batch_size: int = 256
    normalize_observations: bool = False
    action_limit: float = 1.0
    """Data actions are clipped to plus or minus this."""
    locomotion_reward: RewardTransform = "none"
    """Reward transform on D4RL's locomotion tasks."""


@runtime_checkable
class AlgorithmConfig(Protocol):
    """Settings of an algorithm: a frozen dataclass with these members."""

    name: ClassVar[str]
    defaults: ClassVar[RunDefaults]

    def make(self, num_updates: int) -> Algorithm:
        """The algorithm as pure functions; some schedules depend on the run's number of updates."""
        ...


def no_noise(key: PRNGKeyArray, batch_size: int, shapes: Shapes) -> tuple[()]:
    """The noise of an update that uses no random numbers."""
    del key, batch_size, shapes
    return ()
