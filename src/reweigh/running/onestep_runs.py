"""Onestep RL's first two stages as resumable trainings, cached by what they depend on.

CACHE/onestep/{behavior,critic}-IDENTITY is a run's folder (`reweigh.runs`). Runs that differ only in how
the policy improves share a clone and a value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from reweigh.algorithms.bc import make_bc
from reweigh.algorithms.onestep import Learned, OnestepConfig, improvement_start, make_improvement, make_sarsa
from reweigh.config import DensityRatio, Resample, Reweight, RunConfig, weights_record
from reweigh.errors import DatasetError
from reweigh.rebalance.static import resample, resample_tables, reweight, reweight_tables
from reweigh.running.preparation import Prepared
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
from reweigh.system.cache import cache_folder
from reweigh.system.digests import settings_digest
from reweigh.transitions import DatasetInfo, Transitions
from reweigh.types import Rebalance, Shapes, Stage, State, Tables, rows_of


@dataclass(frozen=True)
class SharedStage:
    """A stage that other runs may have trained already."""

    name: str
    stage: Stage
    shapes: Shapes
    depends_on: dict[str, Any]
    """Everything that changes its numbers, except the seed."""
    make_work: Callable[[], Work]
    """Called only if the stage must be trained, so that its data reach the device no earlier."""

    @property
    def folder(self) -> RunFolder:
        """Its folder in the cache."""
        return RunFolder(cache_folder() / "onestep" / f"{self.name}-{settings_digest(self.depends_on)[:20]}")


def last_stage(config: RunConfig, algorithm: OnestepConfig, rebalance: Rebalance) -> Stage:
    """The stage in which the policy improves.

    Args:
        config: the run.
        algorithm: its settings.
        rebalance: its rebalancing method.
    """
    num_updates = improvement_updates(config, algorithm)
    made = make_improvement(algorithm)
    return Stage(made, rebalance, num_updates, partial(improvement_start, algorithm))


def improvement_updates(config: RunConfig, algorithm: OnestepConfig) -> int:
    """Length of the last stage; easy-bcq trains nothing there, its one update only measures.

    Args:
        config: the run.
        algorithm: its settings.
    """
    return 1 if algorithm.improvement == "easy-bcq" else config.num_updates


def shared_stages(config: RunConfig, algorithm: OnestepConfig, prepared: Prepared) -> tuple[SharedStage, ...]:
    """The clone and the value that a run needs first.

    Args:
        config: the run.
        algorithm: its settings.
        prepared: its data.

    Raises:
        DatasetError: no row can teach a value.
    """
    rebalance, record = _evaluation_side(config)
    cloning = Stage(make_bc(algorithm.behavior), rebalance, algorithm.behavior_updates)
    judging = Stage(make_sarsa(algorithm), rebalance, algorithm.critic_updates)
    probability = prepared.probability if record else None
    kept, probability_kept = _teaching_rows(prepared.transitions, probability)

    def cloning_work() -> Work:
        return Work(
            stage=cloning,
            shapes=prepared.shapes,
            batch_size=config.batch_size,
            tables=_tables(config, probability),
            data=prepared.data,
            number=1,
        )

    def judging_work() -> Work:
        return replace(
            cloning_work(),
            stage=judging,
            tables=_tables(config, probability_kept),
            data=rows_of(prepared.data, jnp.asarray(kept)),
            number=2,
        )

    both = _depends_on(config, algorithm, prepared.transitions.info, record)
    clones = {"policy": algorithm.policy, "num_updates": algorithm.behavior_updates}
    judges = {
        "reward": config.reward,
        "discount": config.discount,
        "target_rate": algorithm.target_rate,
        "num_updates": algorithm.critic_updates,
    }
    return (
        SharedStage("behavior", cloning, prepared.shapes, both | clones, cloning_work),
        SharedStage("critic", judging, prepared.shapes, both | judges, judging_work),
    )


def _depends_on(
    config: RunConfig, algorithm: OnestepConfig, info: DatasetInfo, rebalance: Any
) -> dict[str, Any]:
    """What the clone and the value both depend on."""
    return {
        "dataset": info.digest,
        "action_bounds": [info.action_low.tolist(), info.action_high.tolist()],
        "action_limit": config.action_limit,
        "normalize_observations": config.normalize_observations,
        "rebalance": rebalance,
        "batch_size": config.batch_size,
        "learning_rate": algorithm.learning_rate,
        "hidden": list(algorithm.hidden),
    }


def _teaching_rows(
    transitions: Transitions, probability: Float64[np.ndarray, " N"] | None
) -> tuple[Int64[np.ndarray, " K"], Float64[np.ndarray, " K"] | None]:
    """Rows from which a value can be learned, and their probabilities, renormalized."""
    # Without a terminal or a recorded next action, a row has no target.
    kept = np.flatnonzero(transitions.has_next_action | transitions.terminal)
    if not len(kept):
        raise DatasetError(
            "expected rows with a next action or a terminal, from which onestep learns a value, but found "
            f"none in {transitions.info.spec}. Use a dataset of longer episodes."
        )
    if probability is None:
        return kept, None
    if not probability[kept].sum() > 0:
        raise DatasetError(
            "expected a row of positive weight with a next action or a terminal, but found none. Use other "
            "weights."
        )
    return kept, probability[kept] / probability[kept].sum()


def learn_before(
    stages: Sequence[SharedStage],
    seeds: Sequence[int],
    *,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool],
) -> Learned:
    """The clone and the value of some seeds, trained if the cache lacks them.

    Args:
        stages: from `shared_stages`.
        seeds: the seeds; with several, every leaf gets a seed axis.
        report: called about once a second; updates count over all stages.
        should_stop: called about once a second; true saves the state and raises `Interrupted`.

    Raises:
        RunError: the cache cannot be written or read, or training has diverged.
        Interrupted: `should_stop` returned true.
    """
    states: list[State] = []
    before = 0
    for shared in stages:
        run, stage = shared.folder, shared.stage
        run.claim(shared.depends_on, run.path.name, environment_record())
        folders = [run.seed(seed) for seed in seeds]
        counted = counted_from(report, before)
        if not all(folder.finished for folder in folders):
            train_seeds(shared.make_work(), folders, Hooks(), counted, should_stop, wait=True)
        per_seed = [last_state(folder, stage, shared.shapes) for folder in folders]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_seed)
        states.append(stacked if len(seeds) > 1 else per_seed[0])
        before += stage.num_updates
    return Learned(*states)


def earlier_seconds(stages: Sequence[SharedStage], seed: int) -> float | None:
    """Seconds that training a seed's clone and value took, wherever it ran; None: not recorded.

    Args:
        stages: from `shared_stages`.
        seed: the seed.
    """
    return seconds_of([(part.folder.seed(seed), part.stage.num_updates) for part in stages])


def blank(stages: Sequence[SharedStage], count: int) -> Learned:
    """Zeros in the shapes of `learn_before`, for seeds whose checkpoint holds the real values.

    Args:
        stages: from `shared_stages`.
        count: number of seeds; with several, every leaf gets a seed axis.
    """

    def zeros(leaf: Any) -> Any:
        return jnp.zeros((count, *leaf.shape) if count > 1 else leaf.shape, leaf.dtype)

    firsts = [jax.eval_shape(partial(_init, shared), jax.random.key(0)) for shared in stages]
    return Learned(*(jax.tree.map(zeros, first) for first in firsts))


def _init(shared: SharedStage, key: Any) -> State:
    return shared.stage.algorithm.init(key, shared.shapes)


def _evaluation_side(config: RunConfig) -> tuple[Rebalance, dict[str, Any] | None]:
    """How the clone and the value are rebalanced, and a record of it; None: uniform.

    Both belong to policy evaluation: if only the policy's terms use the weights, these use none. With DW
    they use its base weights, because no ratio is learned beside them.
    """
    method = config.rebalance
    if isinstance(method, DensityRatio):
        method = Resample(method.weights, "all" if method.evaluation else "policy")
    if not method.weighs("evaluation") or method.weights.method == "uniform":
        return resample(config.batch_size), None
    record = {
        "type": method.kind,
        "weights": weights_record(method.weights),
        "progressive_updates": method.progressive_updates,
    }
    if isinstance(method, Resample):
        return resample(config.batch_size, progressive_updates=method.progressive_updates), record
    return reweight(config.batch_size, progressive_updates=method.progressive_updates), record


def _tables(config: RunConfig, probability: np.ndarray | None) -> Tables:
    if probability is not None and isinstance(config.rebalance, Reweight):
        return reweight_tables(probability)
    return resample_tables(probability)
