"""OPER-A's value learning as resumable trainings, cached by what they depend on.

CACHE/oper-a/IDENTITY/stage-J is a run's folder (`reweigh.runs`); its seeds hold the stage's weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from reweigh.config import DataConfig, to_dict
from reweigh.errors import RunError
from reweigh.loading import load_data
from reweigh.priorities.by_advantage import ValueProblem, stage_tables, value_stage
from reweigh.priorities.oper_a import OperA, ValueLearning
from reweigh.running.provenance import environment_record
from reweigh.running.resumable import (
    Hooks,
    Progress,
    Work,
    counted_from,
    last_state,
    seconds_of,
    train_seeds,
)
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.system.cache import cache_folder
from reweigh.system.digests import settings_digest
from reweigh.transitions import Transitions
from reweigh.types import Shapes, State, TrainState


def learning_folder(transitions: Transitions, learning: ValueLearning) -> Path:
    """The cache's folder of a value learning on a dataset.

    Args:
        transitions: the dataset.
        learning: its settings.
    """
    info = transitions.info
    parts = {"dataset": info.digest, **to_dict(learning)}
    if learning.solver == "published":
        parts = {name: value for name, value in parts.items() if not name.startswith("fast_")}
    if learning.critic == "vq":  # the only critic that sees actions
        parts["action_bounds"] = [info.action_low.tolist(), info.action_high.tolist()]
    return cache_folder() / "oper-a" / settings_digest(parts)[:20]


def is_learned(folder: Path, learning: ValueLearning, seed: int) -> bool:
    """Whether a seed's last stage is finished, and so every stage.

    Args:
        folder: from `learning_folder`.
        learning: gives the number of stages.
        seed: of the value learning.
    """
    return RunFolder(folder / f"stage-{learning.stages}").seed(seed).finished


def is_being_learned(folder: Path, learning: ValueLearning, seed: int) -> bool:
    """Whether another process is learning a seed's values.

    Args:
        folder: from `learning_folder`.
        learning: gives the number of stages.
        seed: of the value learning.
    """
    stages = range(1, learning.stages + 1)
    return any(RunFolder(folder / f"stage-{number}").seed(seed).in_use for number in stages)


def learned_weights(folder: Path, learning: ValueLearning, seed: int) -> Float64[np.ndarray, "stages N"]:
    """The weights after every stage of a finished seed.

    Args:
        folder: from `learning_folder`.
        learning: gives the number of stages.
        seed: of the value learning.

    Raises:
        RunError: they are missing or damaged.
    """
    return np.stack([_weight(folder, number, seed) for number in range(1, learning.stages + 1)])


def learned_priority(
    transitions: Transitions,
    method: OperA,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Float64[np.ndarray, "seeds stages N"]:
    """The weights of every stage and value seed; what the cache lacks is learned now, seed by seed.

    Args:
        transitions: the dataset.
        method: gives learning settings and seeds.
        report: called about once a second while values are learned.
        should_stop: called as often; true saves the state and raises `Interrupted`.

    Raises:
        RunError: the cache cannot be written or read, or training has diverged.
        Interrupted: `should_stop` returned true.
    """
    for seed in method.value_seeds:
        learn_weights(transitions, method.learning, seed, report=report, should_stop=should_stop)
    folder = learning_folder(transitions, method.learning)
    return np.stack([learned_weights(folder, method.learning, seed) for seed in method.value_seeds])


def learn_weights(
    transitions: Transitions,
    learning: ValueLearning,
    seed: int,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Learn a seed's values and weights, stage by stage, resuming an earlier call.

    Args:
        transitions: the dataset.
        learning: the settings.
        seed: of initialization and draws.
        report: called about once a second.
        should_stop: called about once a second; true saves the state and raises `Interrupted`.

    Raises:
        RunError: the cache cannot be written or read, or training has diverged.
        Interrupted: `should_stop` returned true.
    """
    folder = learning_folder(transitions, learning)
    if is_learned(folder, learning, seed):
        return
    problem = ValueProblem(transitions, learning)
    shapes = Shapes(transitions.observation_size, transitions.action_size)
    data = problem.batch()
    previous: State = None
    weight: Float64[np.ndarray, " N"] | None = None
    before = 0
    for number in range(1, learning.stages + 1):
        stage = value_stage(learning, number)
        run = RunFolder(folder / f"stage-{number}")
        run.claim(to_dict(learning), folder.name, environment_record())
        work = Work(
            stage=stage,
            shapes=shapes,
            batch_size=learning.batch_size,
            tables=stage_tables(weight),
            data=data,
            previous=previous,
            number=number,
        )
        hooks = _Weighing(problem, weight)
        counted = counted_from(report, before)
        # Tasks of a sweep may need the same values: the first one learns them, the others wait.
        train_seeds(work, [run.seed(seed)], hooks, counted, should_stop, wait=True)
        previous = last_state(run.seed(seed), stage, shapes)
        weight = _weight(folder, number, seed)
        before += stage.num_updates


def learning_seconds(transitions: Transitions, method: OperA) -> float | None:
    """Seconds that learning the values of all seeds took, wherever it ran; None: not recorded.

    Args:
        transitions: the dataset.
        method: gives learning settings and seeds.
    """
    folder, learning = learning_folder(transitions, method.learning), method.learning
    stages = range(1, learning.stages + 1)
    return seconds_of(
        [
            (RunFolder(folder / f"stage-{number}").seed(seed), learning.updates_of(number))
            for seed in method.value_seeds
            for number in stages
        ]
    )


def advantages_of_kinds(
    transitions: Transitions, learning: ValueLearning, seed: int
) -> list[tuple[str, Float64[np.ndarray, " N"]]]:
    """Advantages of the learned value in several forms: 1-step, GAE, 3-step, 10-step.

    Args:
        transitions: the dataset.
        learning: how the value was learned.
        seed: of a finished value learning.

    Raises:
        RunError: the cache lacks it.
    """
    folder = learning_folder(transitions, learning)
    if not is_learned(folder, learning, seed):
        raise RunError(
            f"expected a finished value learning in {folder}, but found none. Run the weigh command again."
        )
    shapes = Shapes(transitions.observation_size, transitions.action_size)
    last = RunFolder(folder / f"stage-{learning.stages}").seed(seed)
    value = last_state(last, value_stage(learning, learning.stages), shapes).value.model
    kinds = {
        "1-step": replace(learning, advantage="n-step", steps=1),
        "GAE": replace(learning, advantage="gae", steps=1),
        "3-step": replace(learning, advantage="n-step", steps=3),
        "10-step": replace(learning, advantage="n-step", steps=10),
    }
    return [(name, ValueProblem(transitions, kind).advantage(value)) for name, kind in kinds.items()]


@dataclass(frozen=True)
class ValueJob:
    """One seed's value learning, for another process."""

    data: DataConfig
    learning: ValueLearning
    seed: int

    @property
    def label(self) -> str:
        """Its name in a progress bar."""
        return f"value seed {self.seed}"

    @property
    def num_updates(self) -> int:
        """Updates of all stages."""
        return self.learning.num_updates

    def run(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> None:
        """Learn what the cache lacks."""
        transitions, _ = load_data(self.data, must_exist=False)
        learn_weights(transitions, self.learning, self.seed, report=report, should_stop=should_stop)


class _Weighing(Hooks):
    """Computes the weights at a stage's end."""

    def __init__(self, problem: ValueProblem, weight: Float64[np.ndarray, " N"] | None):
        self.problem, self.weight = problem, weight

    def finish(self, folder: SeedFolder, state: TrainState, returns: Returns, rate: float | None) -> None:
        before = np.ones(len(self.problem.transitions)) if self.weight is None else self.weight
        weight = self.problem.weigh(before, state.algorithm.value.model)
        folder.save_arrays("weight", weight=weight)
        folder.finish({"updates_per_second": rate, "std": float(weight.std())})


def _weight(folder: Path, number: int, seed: int) -> Float64[np.ndarray, " N"]:
    return RunFolder(folder / f"stage-{number}").seed(seed).load_arrays("weight")["weight"]
