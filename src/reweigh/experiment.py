"""load -> weigh -> train -> evaluate -> record: what `reweigh train` calls."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reweigh.algorithms.onestep import OnestepConfig
from reweigh.checks import check_seeds
from reweigh.config import DensityRatio, Resample, RunConfig, identity, parts_of, to_dict
from reweigh.datasets.scores import normalized_score, reference_of_env
from reweigh.errors import ConfigError
from reweigh.evaluation import episode_seeds, evaluate, make_environment
from reweigh.loading import load_data
from reweigh.policy import BestOf, Policy, in_numpy
from reweigh.priorities.file import write_weights
from reweigh.priorities.oper_a import OperA
from reweigh.rebalance.density_ratio import density_ratio
from reweigh.rebalance.static import resample, reweight
from reweigh.running.onestep_runs import (
    SharedStage,
    blank,
    earlier_seconds,
    improvement_updates,
    last_stage,
    learn_before,
    shared_stages,
)
from reweigh.running.preparation import Prepared, prepare
from reweigh.running.provenance import environment_record
from reweigh.running.ratio_weights import RatioWeights
from reweigh.running.resumable import Hooks, Progress, Work, by_update, counted_from, train_seeds
from reweigh.running.value_runs import learning_seconds
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.transitions import DatasetInfo
from reweigh.types import Algorithm, Rebalance, Stage, State, TrainState


def make_rebalance(config: RunConfig) -> Rebalance:
    """The rebalancing method of a config.

    Args:
        config: the run.
    """
    method = config.rebalance
    if isinstance(method, DensityRatio):
        return density_ratio(
            config.batch_size,
            method.ratio,
            hidden=getattr(config.algorithm, "hidden", (256, 256)),
            evaluation=method.evaluation,
            improvement=method.improvement,
            constraint=method.constraint,
        )
    if isinstance(method, Resample):
        return resample(config.batch_size, terms=method.terms, progressive_updates=method.progressive_updates)
    return reweight(
        config.batch_size,
        evaluation=method.evaluation,
        improvement=method.improvement,
        constraint=method.constraint,
        progressive_updates=method.progressive_updates,
    )


def make_stage(config: RunConfig) -> Stage:
    """The stage that ends in a policy; most algorithms have no other.

    Args:
        config: the run.
    """
    if isinstance(config.algorithm, OnestepConfig):
        return last_stage(config, config.algorithm, make_rebalance(config))
    algorithm = config.algorithm.make(config.num_updates)
    return Stage(algorithm, make_rebalance(config), config.num_updates)


def stage_lengths(config: RunConfig) -> tuple[int, ...]:
    """Updates of every stage of a run.

    Args:
        config: the run.
    """
    algorithm = config.algorithm
    if isinstance(algorithm, OnestepConfig):
        last = improvement_updates(config, algorithm)
        return algorithm.behavior_updates, algorithm.critic_updates, last
    return (config.num_updates,)


def train(
    config: RunConfig,
    seeds: Sequence[int],
    out: Path | str,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train unfinished seeds, those at the same update side by side in one program.

    On a CPU, one seed per call gives the numbers of `reweigh train` if `set_up_jax` was called before JAX was
    imported; side by side, seeds round differently.

    Args:
        config: the run.
        seeds: its seeds; finished ones are skipped.
        out: the run's folder.
        report: called about once a second, at first for OPER-A's values that the cache lacks (`seed` is then
            the value's).
        should_stop: called about once a second; true saves the state and raises `Interrupted`.

    Raises:
        ReweighError: seeds, data, weights or folder cannot be used, or training has diverged.
        Interrupted: `should_stop` returned true.
    """
    seeds = [int(seed) if hasattr(seed, "__index__") else seed for seed in seeds]  # also NumPy's and JAX's
    check_seeds("seeds", seeds)
    folder = RunFolder(Path(out))
    if all(folder.seed(seed).finished for seed in seeds):
        transitions, _ = load_data(config.data, must_exist=config.evaluation.enabled)
        folder.claim(to_dict(config), identity(config, transitions.info), _record(transitions.info), seeds)
        return
    prepared = prepare(config, report=report, should_stop=should_stop)
    folder.claim(to_dict(config), prepared.identity, _record(prepared.transitions.info), seeds)
    stage = make_stage(config)
    shared: tuple[SharedStage, ...] = ()
    if isinstance(config.algorithm, OnestepConfig):
        shared = shared_stages(config, config.algorithm, prepared)
    work = Work(
        stage=stage,
        shapes=prepared.shapes,
        batch_size=config.batch_size,
        tables=prepared.tables,
        data=prepared.data,
        log_interval=config.log_interval,
        checkpoint_interval=config.checkpoint_interval,
        number=len(shared) + 1 if shared else 0,
    )
    counted = counted_from(report, sum(part.stage.num_updates for part in shared))
    with contextlib.ExitStack() as held:
        hooks = _Evaluation(config, prepared, stage.algorithm, shared, held)
        for group in by_update([folder.seed(seed) for seed in seeds]):
            previous = None
            if shared and group[0].load_checkpoint() is not None:
                previous = blank(shared, len(group))
            elif shared:
                numbers = [seed.seed for seed in group]
                previous = learn_before(shared, numbers, report=report, should_stop=should_stop)
            train_seeds(replace(work, previous=previous), group, hooks, counted, should_stop)


def claim(runs: Sequence[tuple[RunConfig, Path]], seeds: Sequence[int], info: DatasetInfo) -> None:
    """Claim folders for runs, after checking that all of them can be used.

    Args:
        runs: with their folders.
        seeds: of each run.
        info: of their transitions.

    Raises:
        RunError: a folder holds another run, is damaged, or cannot be written.
    """
    for config, out in runs:
        RunFolder(out).refuse_other(to_dict(config), identity(config, info))
        episodes = config.evaluation.episodes if config.evaluation.enabled else None
        for seed in map(RunFolder(out).seed, seeds):
            seed.check(stage_lengths(config)[-1], episodes)
    for config, out in runs:
        RunFolder(out).claim(to_dict(config), identity(config, info), _record(info), seeds)


def _record(info: DatasetInfo) -> dict[str, Any]:
    """What a run depends on besides its config, which has only the dataset's name."""
    dataset = {
        "digest": info.digest,
        "row_rule": info.row_rule,
        "env": info.env,
        "reference": info.reference,
    }
    return environment_record() | {"dataset": dataset}


@dataclass(frozen=True)
class TrainJob:
    """Seeds of one run, for another process."""

    config: RunConfig
    seeds: tuple[int, ...]
    out: Path
    name: str = ""

    @property
    def label(self) -> str:
        """Its name in a progress bar."""
        return f"{self.name}seed {' '.join(map(str, self.seeds))}"

    @property
    def num_updates(self) -> int:
        """Updates of each seed, over all stages."""
        return sum(stage_lengths(self.config))

    def run(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> None:
        """Train what is not finished."""
        train(self.config, self.seeds, self.out, report=report, should_stop=should_stop)


def train_jobs(config: RunConfig, seeds: Sequence[int], out: Path, *, name: str = "") -> list[TrainJob]:
    """Jobs for seeds: one per seed on a CPU, one for all on an accelerator.

    Args:
        config: the run.
        seeds: its seeds.
        out: the run's folder.
        name: prefix of the jobs' labels.
    """
    if jax.default_backend() == "cpu":
        return [TrainJob(config, (seed,), out, name) for seed in seeds]
    return [TrainJob(config, tuple(seeds), out, name)]


@dataclass(frozen=True)
class ComparedRun:
    """A run of a comparison."""

    label: str
    """Its name for people."""
    config: RunConfig
    out: Path
    """Its folder."""


def comparison_jobs(compared: Sequence[ComparedRun], seeds: Sequence[int]) -> list[TrainJob]:
    """Every training of a comparison.

    Args:
        compared: the runs.
        seeds: of each.
    """
    spread = [train_jobs(run.config, seeds, run.out, name=f"{run.label}, ") for run in compared]
    return [job for part in spread for job in part]


class _Evaluation(Hooks):
    """Evaluates policies during training, and writes the results."""

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        algorithm: Algorithm,
        shared: Sequence[SharedStage],
        held: contextlib.ExitStack,
    ):
        if algorithm.actor is None:
            raise ConfigError(
                f"expected {config.algorithm.name} to have an `actor`, but found none. Add one."
            )
        self.config, self.prepared, self.actor, self.shared = config, prepared, algorithm.actor, shared
        env = prepared.transitions.info.env
        self.env = env if config.evaluation.enabled else None
        info = prepared.transitions.info
        self.reference = info.reference or (reference_of_env(env) if env else None)
        self.ratio = None
        if isinstance(config.rebalance, DensityRatio):
            self.ratio = RatioWeights(config.rebalance.ratio, prepared)
        if self.env:
            self.environment = make_environment(self.env)
            held.callback(self.environment.close)

    @property
    def interval(self) -> int | None:
        return self.config.evaluation.interval if self.env else None

    @property
    def measures(self) -> bool:
        return self.ratio is not None

    def evaluate(self, folder: SeedFolder, state: TrainState, update: int, returns: Returns) -> Returns:
        policy = self._policy(state.algorithm)
        seeds = episode_seeds(folder.seed, update, self.config.evaluation.episodes)
        episodes = evaluate(self.environment, policy, seeds)
        returns = returns.with_evaluation(update, episodes.episode_return, episodes.episode_length)
        folder.save_policy(policy)  # first, so that every saved evaluation has a policy
        folder.save_returns(returns)
        return returns

    def score(self, returns: Returns) -> float | None:
        return returns.last_score(self.reference)

    def measure(self, state: TrainState) -> dict[str, float]:
        assert self.ratio is not None
        return self.ratio.measure(state.rebalance.model)

    def finish(self, folder: SeedFolder, state: TrainState, returns: Returns, rate: float | None) -> None:
        folder.save_policy(self._policy(state.algorithm))
        if self.ratio:
            meta = {
                "settings": to_dict(self.config)["rebalance"],
                "identity": self.prepared.identity,
                "seed": folder.seed,
            }
            write_weights(folder.weights_path, self.ratio.weights_file(state.rebalance.model, meta))
        result: dict[str, Any] = {
            "num_updates": stage_lengths(self.config)[-1],
            # Since the last start, without compilation and evaluation.
            "updates_per_second": rate,
            "env": self.env,
            **self._seconds_before(folder.seed),
        }
        if len(returns.update):
            means = returns.episode_return.mean(axis=1)
            result |= {"final_return": float(means[-1]), "last_ten_return": float(means[-10:].mean())}
            if self.reference:
                result |= {
                    "final_score": float(normalized_score(means[-1], self.reference)),
                    "last_ten_score": float(normalized_score(means[-10:].mean(), self.reference)),
                }
        folder.finish(result)

    def _seconds_before(self, seed: int) -> dict[str, float | None]:
        """Seconds of earlier training, wherever it ran: OPER-A's values, Onestep's first stages."""
        found = {}
        methods = [part for part in parts_of(self.config.rebalance.weights) if isinstance(part, OperA)]
        if methods:
            seconds = [learning_seconds(self.prepared.transitions, method) for method in methods]
            known = [value for value in seconds if value is not None]
            found["weights_seconds"] = sum(known) if len(known) == len(methods) else None
        if self.shared:
            found["earlier_seconds"] = earlier_seconds(self.shared, seed)
        return found

    def _policy(self, state: State) -> Policy:
        network = self.actor(state)
        prepared, best_of = self.prepared, None
        if network.best_of is not None:
            kind, critic, noise = network.best_of
            best_of = BestOf(kind, in_numpy(critic), np.asarray(noise))
        return Policy(
            layers=in_numpy(network.layers),
            normalizer=prepared.normalizer,
            action_low=prepared.transitions.info.action_low,
            action_high=prepared.transitions.info.action_high,
            meta={
                "env": prepared.transitions.info.env,
                "reference": prepared.transitions.info.reference,
                "algorithm": self.config.algorithm.name,
                "identity": prepared.identity,
            },
            best_of=best_of,
        )
