"""load -> weigh -> train -> evaluate -> record: what `reweigh train` calls."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reweigh.algorithms.bc import BCConfig, make_bc
from reweigh.algorithms.iql import make_iql
from reweigh.algorithms.td3_bc import TD3BCConfig, make_td3_bc
from reweigh.config import AlgorithmConfig, Resample, RunConfig, identity, to_dict
from reweigh.datasets.scores import normalized_score, reference_of_env
from reweigh.errors import RunError
from reweigh.evaluation import episode_seeds, evaluate, make_environment
from reweigh.policy import Policy
from reweigh.preparation import Prepared, load_data, prepare
from reweigh.provenance import environment_record
from reweigh.rebalance.static import resample, reweight
from reweigh.runs import Checkpoint, Returns, RunFolder
from reweigh.training import MetricSums, Trainer, make_trainer, run_keys
from reweigh.types import Algorithm, Rebalance, Stage, TrainState

# A call of the compiled loop lasts about this long: how soon an interrupt is heard and progress shown.
_CALL_S = 1.0


@dataclass(frozen=True)
class Progress:
    """What a run says of itself about once a second."""

    seed: int
    update: int
    updates_per_second: float
    score: float | None = None
    """Of the last evaluation: normalised where D4RL knows the task, else the mean return."""


class Interrupted(Exception):  # noqa: N818 - no error: a request that was met
    """Training was asked to stop and has saved its state."""

    def __init__(self, update: int):
        super().__init__(f"stopped after {update} updates")
        self.update = update


def make_algorithm(config: AlgorithmConfig, num_updates: int) -> Algorithm:
    """The algorithm of a config."""
    if isinstance(config, BCConfig):
        return make_bc(config, num_updates)
    if isinstance(config, TD3BCConfig):
        return make_td3_bc(config, num_updates)
    return make_iql(config, num_updates)


def make_rebalance(config: RunConfig) -> Rebalance:
    """The rebalancing method of a config."""
    method = config.rebalance
    if isinstance(method, Resample):
        return resample(config.batch_size, terms=method.terms)
    return reweight(
        config.batch_size,
        evaluation=method.evaluation,
        improvement=method.improvement,
        constraint=method.constraint,
    )


def make_stage(config: RunConfig) -> Stage:
    """The one stage of algorithms that have one."""
    algorithm = make_algorithm(config.algorithm, config.num_updates)
    return Stage(config.algorithm.name, algorithm, make_rebalance(config), config.num_updates)


def train(
    config: RunConfig,
    seeds: Sequence[int],
    out: Path,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train seeds that are not finished, side by side in one program where there are several.

    Args:
        config: the run.
        seeds: which; finished ones are left alone.
        out: the run's folder.
        report: called about once a second.
        should_stop: asked about once a second; true saves the state and raises `Interrupted`.

    Raises:
        ReweighError: something does not do.
        Interrupted: `should_stop` said so.
    """
    folder = RunFolder(out)
    if all(folder.seed(seed).finished for seed in seeds):
        transitions, _ = load_data(config)
        folder.claim(to_dict(config), identity(config, transitions.info), environment_record())
        return
    prepared = prepare(config)
    folder.claim(to_dict(config), prepared.identity, environment_record())
    groups: dict[int, list[int]] = {}
    for seed in seeds:
        if not folder.seed(seed).finished:
            checkpoint = folder.seed(seed).load_checkpoint()
            groups.setdefault(checkpoint.update if checkpoint else 0, []).append(seed)
    for group in groups.values():
        _Session(config, prepared, folder, group, report, should_stop).run()


class _Session:
    """Some seeds at the same update, trained to the end."""

    def __init__(
        self,
        config: RunConfig,
        prepared: Prepared,
        folder: RunFolder,
        seeds: list[int],
        report: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ):
        self.config, self.prepared, self.seeds = config, prepared, seeds
        self.folders = [folder.seed(seed) for seed in seeds]
        self.report, self.should_stop = report, should_stop
        self.vmapped = len(seeds) > 1
        self.stage = make_stage(config)
        env = config.data.env or prepared.transitions.info.env
        self.env = env if config.evaluation.enabled else None
        self.reference = reference_of_env(env) if env else None
        self.seconds, self.trained, self.called = 0.0, 0, False

    def run(self) -> None:
        with contextlib.ExitStack() as held:
            for folder in self.folders:
                held.enter_context(folder.locked())
            if all(folder.finished for folder in self.folders):
                return  # by the writer that held the lock before
            environment = make_environment(self.env) if self.env else None
            if environment is not None:
                held.callback(environment.close)
            self._train(environment)

    def _train(self, environment: Any) -> None:
        config, prepared = self.config, self.prepared
        trainer = make_trainer(
            self.stage,
            prepared.shapes,
            config.batch_size,
            prepared.tables,
            prepared.data,
            num_seeds=len(self.seeds) if self.vmapped else None,
        )
        init_key, key = run_keys(self.seeds, vmapped=self.vmapped)
        state = trainer.init(init_key)
        update, state, sums, returns = self._resume(state, trainer.zero_metrics())
        scores = [self._score(r) for r in returns]
        call = trainer.period * 50
        while update < config.num_updates:
            mark = self._next_mark(update)
            count = min(call, mark - update)
            began = time.perf_counter()
            state, sums = trainer.run(
                key, state, sums, prepared.tables, prepared.data, start=update, count=count
            )
            took = time.perf_counter() - began
            update += count
            if self.called:  # the first call compiles
                self.seconds += took
                self.trained += count
                call = self._call_length(trainer, count, took)
            self.called = True
            if update == mark:
                self._record_metrics(update, sums)
                sums = trainer.zero_metrics()
                if environment is not None and self._is_due(update, config.evaluation.interval):
                    returns = self._evaluate(environment, state, update, returns)
                    scores = [self._score(r) for r in returns]
            self._report(update, count / took, scores)
            stop = update < config.num_updates and self.should_stop()
            if stop or (update == mark and self._is_due(update, config.checkpoint_interval)):
                self._checkpoint(update, (state, sums))
            if stop:
                raise Interrupted(update)
        for row in range(len(self.seeds)):
            self.folders[row].save_policy(self._policy(state, row))
            self.folders[row].finish(self._result(returns[row]))

    def _resume(
        self, state: TrainState, sums: MetricSums
    ) -> tuple[int, TrainState, MetricSums, list[Returns]]:
        """Where the folders stand: the update, the state, metrics since the last row, all evaluations."""
        saved: list[Checkpoint] = []
        returns: list[Returns] = []
        for folder in self.folders:
            checkpoint = folder.load_checkpoint()
            returns.append(folder.rewind(checkpoint))
            if checkpoint is not None:
                saved.append(checkpoint)
        if len(saved) < len(self.seeds):
            return 0, state, sums, returns
        leaves, structure = jax.tree.flatten((state, sums))
        per_seed = [checkpoint.leaves for checkpoint in saved]
        stacked = [np.stack(group) if self.vmapped else group[0] for group in zip(*per_seed, strict=True)]
        if [leaf.shape for leaf in stacked] != [leaf.shape for leaf in leaves]:
            raise RunError(
                f"expected a checkpoint of this run's shapes in {self.folders[0].path}, but found "
                "another. Remove the folder to start again."
            )
        restored = [jnp.asarray(new, old.dtype) for new, old in zip(stacked, leaves, strict=True)]
        state, sums = jax.tree.unflatten(structure, restored)
        return saved[0].update, state, sums, returns

    def _next_mark(self, update: int) -> int:
        config = self.config
        intervals = [config.log_interval, config.checkpoint_interval]
        if self.env is not None:
            intervals.append(config.evaluation.interval)
        return min(config.num_updates, *((update // interval + 1) * interval for interval in intervals))

    def _is_due(self, update: int, interval: int) -> bool:
        return update % interval == 0 or update == self.config.num_updates

    @staticmethod
    def _call_length(trainer: Trainer, count: int, took: float) -> int:
        periods = max(1, round(count / trainer.period * _CALL_S / max(took, 1e-9)))
        return periods * trainer.period

    def _report(self, update: int, rate: float, scores: list[float | None]) -> None:
        for seed, score in zip(self.seeds, scores, strict=True):
            self.report(Progress(seed, update, rate, score))

    def _row(self, tree: Any, row: int) -> Any:
        return jax.tree.map(lambda leaf: np.asarray(leaf[row] if self.vmapped else leaf), tree)

    def _record_metrics(self, update: int, sums: MetricSums) -> None:
        for row, folder in enumerate(self.folders):
            own = self._row(sums, row)
            metrics = {name: float(total / own.periods) for name, total in sorted(own.total.items())}
            bad = [name for name, value in metrics.items() if not np.isfinite(value)]
            if bad:
                raise RunError(
                    f"expected finite metrics, but {bad[0]} of seed {self.seeds[row]} is {metrics[bad[0]]} "
                    f"before update {update}: training has diverged. Lower the learning rate."
                )
            folder.append_metrics(update, metrics)

    def _policy(self, state: TrainState, row: int) -> Policy:
        network = self.stage.algorithm.actor(self._row(state.algorithm, row))
        prepared = self.prepared
        return Policy(
            layers=tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in network.layers),
            squash=network.squash,
            normalizer=prepared.normalizer,
            action_low=prepared.transitions.info.action_low,
            action_high=prepared.transitions.info.action_high,
            meta={"env": self.env, "algorithm": self.config.algorithm.name, "identity": prepared.identity},
        )

    def _evaluate(
        self, environment: Any, state: TrainState, update: int, returns: list[Returns]
    ) -> list[Returns]:
        evaluated = []
        for row, (seed, folder) in enumerate(zip(self.seeds, self.folders, strict=True)):
            policy = self._policy(state, row)
            seeds = episode_seeds(seed, update, self.config.evaluation.episodes)
            found = evaluate(environment, policy, seeds)
            record = returns[row].with_evaluation(update, found.episode_return, found.episode_length)
            folder.save_returns(record)
            folder.save_policy(policy)
            evaluated.append(record)
        return evaluated

    def _checkpoint(self, update: int, tree: tuple[TrainState, MetricSums]) -> None:
        for row, folder in enumerate(self.folders):
            folder.save_checkpoint(update, jax.tree.leaves(self._row(tree, row)))

    def _score(self, returns: Returns) -> float | None:
        if not len(returns.update):
            return None
        mean = float(returns.episode_return[-1].mean())
        return float(normalized_score(np.array(mean), self.reference)) if self.reference else mean

    def _result(self, returns: Returns) -> dict[str, Any]:
        result: dict[str, Any] = {
            "num_updates": self.config.num_updates,
            # Since the last start; compilation and evaluation are not in it.
            "updates_per_second": (self.trained / self.seconds) if self.seconds else None,
            "env": self.env,
        }
        if len(returns.update):
            means = returns.episode_return.mean(axis=1)
            result |= {"final_return": float(means[-1]), "last_ten_return": float(means[-10:].mean())}
            if self.reference:
                result |= {
                    "final_score": float(normalized_score(means[-1], self.reference)),
                    "last_ten_score": float(normalized_score(means[-10:].mean(), self.reference)),
                }
        return result
