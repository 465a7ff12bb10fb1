"""Resumable training of one stage for some seeds: what every training here uses."""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reweigh.errors import RunError
from reweigh.seed_folder import Checkpoint, Returns, SeedFolder
from reweigh.training import MetricSums, make_trainer, run_keys
from reweigh.types import Batch, Shapes, Stage, State, Tables, TrainState

# Target duration of a call of the compiled loop, which delays interrupts and progress.
_CALL_S = 1.0


@dataclass(frozen=True)
class Progress:
    """A training's progress, reported about once a second."""

    seed: int
    update: int
    updates_per_second: float | None
    """Since this start; None: not known yet, because the first call compiles."""
    score: float | None = None
    """Of the last evaluation: normalized if there is a reference, else the mean return."""


class Interrupted(Exception):  # noqa: N818 - not an error: a request was met
    """Training was asked to stop and has saved its state."""

    def __init__(self, update: int):
        super().__init__(f"stopped after {update} updates")
        self.update = update


@dataclass(frozen=True)
class Work:
    """What is trained, and on which data."""

    stage: Stage
    shapes: Shapes
    batch_size: int
    tables: Tables
    data: Batch
    log_interval: int = 1000
    checkpoint_interval: int = 20_000
    previous: State = None
    """Last algorithm state of the previous stage, with a seed axis if there are several seeds."""
    number: int = 0
    """Of the stage, from 1, so that stages draw different random numbers; 0: the only stage."""


class Hooks:
    """What a training does besides training; this base class evaluates no policy."""

    @property
    def interval(self) -> int | None:
        """Updates between evaluations; None: no evaluation."""
        return None

    @property
    def measures(self) -> bool:
        """Whether `measure` has metrics; if so, the state is copied from the device for it."""
        return False

    def evaluate(self, folder: SeedFolder, state: TrainState, update: int, returns: Returns) -> Returns:
        """Evaluate a seed's policy; return its evaluations, including the new one."""
        return returns

    def score(self, returns: Returns) -> float | None:
        """The last evaluation as one number; None: there is none."""
        return None

    def measure(self, state: TrainState) -> dict[str, float]:
        """Metrics of the state itself, for the row of the averages."""
        return {}

    def finish(self, folder: SeedFolder, state: TrainState, returns: Returns, rate: float | None) -> None:
        """Write a seed's results; `rate` is in updates per second since the last start."""
        folder.finish({"updates_per_second": rate})


def by_update(folders: Sequence[SeedFolder]) -> list[list[SeedFolder]]:
    """Unfinished seeds, grouped by update; each group can be trained side by side.

    Args:
        folders: seeds of one run.
    """
    groups: dict[int, list[SeedFolder]] = {}
    for folder in folders:
        if not folder.finished:
            checkpoint = folder.load_checkpoint()
            groups.setdefault(checkpoint.update if checkpoint else 0, []).append(folder)
    return list(groups.values())


def counted_from(report: Callable[[Progress], None], before: int) -> Callable[[Progress], None]:
    """A `report` for one stage that counts updates over all stages.

    Args:
        report: called with the total.
        before: updates of earlier stages.
    """
    return lambda seen: report(replace(seen, update=before + seen.update))


def seconds_of(stages: Sequence[tuple[SeedFolder, int]]) -> float | None:
    """Seconds that finished stages took together, at their recorded rates; None: not recorded.

    An emptied or damaged cache must not keep a finished training from its result.

    Args:
        stages: for each, a seed's folder and the number of updates.
    """
    seconds = 0.0
    for folder, num_updates in stages:
        try:
            rate = folder.result().get("updates_per_second")
        except RunError:
            return None
        if not rate:
            return None
        seconds += num_updates / rate
    return seconds


def averages(sums: MetricSums) -> dict[str, float]:
    """Means of one seed's metrics since the last record, by name.

    Args:
        sums: since the last record.
    """
    return {name: float(total / sums.periods) for name, total in sorted(sums.total.items())}


def refuse_divergence(metrics: dict[str, float], where: str) -> None:
    """Stop a training that has diverged.

    Args:
        metrics: of one seed.
        where: the seed and its update, for messages.

    Raises:
        RunError: a metric is not finite.
    """
    bad = [name for name, value in metrics.items() if not np.isfinite(value)]
    if bad:
        raise RunError(
            f"expected finite metrics, but {bad[0]} of {where} is {metrics[bad[0]]}: training has diverged. "
            "Lower the learning rate, or leave that seed out with --seeds."
        )


def last_state(folder: SeedFolder, stage: Stage, shapes: Shapes) -> State:
    """A finished stage's algorithm state, from its last checkpoint.

    Args:
        folder: of one seed.
        stage: what was trained.
        shapes: of the data.

    Raises:
        RunError: the stage is not finished, or its checkpoint is damaged.
    """
    checkpoint = folder.load_checkpoint()
    first = jax.eval_shape(lambda key: stage.algorithm.init(key, shapes), jax.random.key(0))
    leaves, structure = jax.tree.flatten(first)
    if checkpoint is None or checkpoint.update != stage.num_updates:
        raise RunError(f"expected a finished stage in {folder.path}, but found none. Remove that folder.")
    # The algorithm's leaves come first in a checkpoint.
    saved = [jnp.asarray(own, leaf.dtype) for own, leaf in zip(checkpoint.leaves, leaves, strict=False)]
    return jax.tree.unflatten(structure, saved)


def train_seeds(
    work: Work,
    folders: Sequence[SeedFolder],
    hooks: Hooks,
    report: Callable[[Progress], None],
    should_stop: Callable[[], bool],
    *,
    wait: bool = False,
) -> None:
    """Train unfinished seeds, those at the same update side by side.

    Args:
        work: the stage; `previous` holds all seeds.
        folders: of the seeds.
        hooks: what else is done.
        report: called about once a second.
        should_stop: called about once a second; true saves the state and raises `Interrupted`.
        wait: wait for another process that trains the same, instead of raising.

    Raises:
        RunError: a folder is in use or damaged, or training has diverged.
        Interrupted: `should_stop` returned true.
    """

    def patient() -> bool:
        if wait and should_stop():
            raise Interrupted(0)
        return wait

    with contextlib.ExitStack() as held:
        # In a fixed order, so that two processes cannot wait for each other forever.
        for folder in sorted(folders, key=lambda folder: folder.seed):
            held.enter_context(folder.locked(patient))
        # Grouped under the locks, because another process may have trained some seeds meanwhile.
        for group in by_update(folders):
            previous = work.previous
            if len(folders) > 1:
                rows = [folders.index(folder) for folder in group]
                chosen = np.array(rows) if len(rows) > 1 else rows[0]
                previous = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], previous)
            _Training(replace(work, previous=previous), group, hooks, report, should_stop).run()


class _Pace:
    """The loop's speed, and the number of updates in its next call."""

    def __init__(self, period: int):
        self.period, self.call = period, 50 * period
        self.seconds, self.updates, self.compiled = 0.0, 0, False

    def add(self, updates: int, seconds: float) -> None:
        if not self.compiled:  # the first call compiles, so its time says nothing
            self.compiled = True
            return
        self.seconds += seconds
        self.updates += updates
        self.call = max(1, round(updates / self.period * _CALL_S / max(seconds, 1e-9))) * self.period

    @property
    def rate(self) -> float | None:
        return self.updates / self.seconds if self.seconds else None


class _Training:
    """Seeds at the same update, trained side by side to the end; the caller holds their locks."""

    def __init__(
        self,
        work: Work,
        folders: list[SeedFolder],
        hooks: Hooks,
        report: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ):
        self.work, self.folders, self.hooks = work, folders, hooks
        self.report, self.should_stop = report, should_stop
        self.num_updates = work.stage.num_updates
        self.vmapped = len(folders) > 1

    def run(self) -> None:
        work = self.work
        trainer = make_trainer(
            work.stage,
            work.shapes,
            work.batch_size,
            work.tables,
            work.data,
            previous=work.previous,
            num_seeds=len(self.folders) if self.vmapped else None,
        )
        seeds = [folder.seed for folder in self.folders]
        init_key, key = run_keys(seeds, vmapped=self.vmapped, stage=work.number)
        state = trainer.init(init_key)
        update, state, sums, returns = self._resume(state, trainer.zero_metrics())
        pace = _Pace(trainer.period)
        while update < self.num_updates:
            mark = self._next_mark(update)
            count = min(pace.call, mark - update)
            began = time.perf_counter()
            state, sums = trainer.run(key, state, sums, work.tables, work.data, start=update, count=count)
            pace.add(count, time.perf_counter() - began)
            update += count
            if update == mark:
                self._record_metrics(update, state, sums, pace.rate)
                sums = trainer.zero_metrics()
                if self.hooks.interval and self._is_due(update, self.hooks.interval):
                    returns = self._evaluate(update, state, returns)
            for folder, own in zip(self.folders, returns, strict=True):
                self.report(Progress(folder.seed, update, pace.rate, self.hooks.score(own)))
            stop = update < self.num_updates and self.should_stop()
            if stop or (update == mark and self._is_due(update, work.checkpoint_interval)):
                self._checkpoint(update, (state, sums))
            if stop:
                raise Interrupted(update)
        for folder, own_state, own in zip(self.folders, self._per_seed(state), returns, strict=True):
            self.hooks.finish(folder, own_state, own, pace.rate)

    def _resume(
        self, state: TrainState, sums: MetricSums
    ) -> tuple[int, TrainState, MetricSums, list[Returns]]:
        """What the folders hold: the update, the state, metrics since the last row, all evaluations."""
        saved: list[Checkpoint] = []
        returns: list[Returns] = []
        for folder in self.folders:
            checkpoint = folder.load_checkpoint()
            returns.append(folder.rewind(checkpoint))
            if checkpoint is not None:
                saved.append(checkpoint)
        if len(saved) < len(self.folders):
            return 0, state, sums, returns
        leaves, structure = jax.tree.flatten((state, sums))
        shapes = [leaf.shape[1:] if self.vmapped else leaf.shape for leaf in leaves]
        for folder, checkpoint in zip(self.folders, saved, strict=True):
            if [leaf.shape for leaf in checkpoint.leaves] != shapes:
                raise RunError(
                    f"expected a checkpoint of this run's shapes in {folder.path}, but found another. Remove "
                    "the folder to start again."
                )
        per_leaf = zip(*(checkpoint.leaves for checkpoint in saved), strict=True)
        stacked = [np.stack(group) if self.vmapped else group[0] for group in per_leaf]
        restored = [jnp.asarray(new, old.dtype) for new, old in zip(stacked, leaves, strict=True)]
        state, sums = jax.tree.unflatten(structure, restored)
        return saved[0].update, state, sums, returns

    def _next_mark(self, update: int) -> int:
        intervals = [self.work.log_interval, self.work.checkpoint_interval]
        if self.hooks.interval:
            intervals.append(self.hooks.interval)
        return min(self.num_updates, *((update // interval + 1) * interval for interval in intervals))

    def _is_due(self, update: int, interval: int) -> bool:
        return update % interval == 0 or update == self.num_updates

    def _evaluate(self, update: int, state: TrainState, returns: list[Returns]) -> list[Returns]:
        states = self._per_seed(state)
        return [
            self.hooks.evaluate(folder, own, update, before)
            for folder, own, before in zip(self.folders, states, returns, strict=True)
        ]

    def _per_seed(self, tree: Any) -> list[Any]:
        """One tree per seed on the host, by a single transfer."""
        host = jax.device_get(tree)
        if not self.vmapped:
            return [host]
        return [jax.tree.map(lambda leaf, row=row: leaf[row, ...], host) for row in range(len(self.folders))]

    def _record_metrics(self, update: int, state: TrainState, sums: MetricSums, rate: float | None) -> None:
        metrics = [averages(own) for own in self._per_seed(sums)]
        if self.hooks.measures:
            measured = map(self.hooks.measure, self._per_seed(state))
            metrics = [own | more for own, more in zip(metrics, measured, strict=True)]
        for folder, own in zip(self.folders, metrics, strict=True):
            refuse_divergence(own, f"seed {folder.seed} before update {update}")
            folder.append_metrics(update, own)
            folder.save_progress(update, rate)

    def _checkpoint(self, update: int, tree: tuple[TrainState, MetricSums]) -> None:
        for folder, own in zip(self.folders, self._per_seed(tree), strict=True):
            folder.save_checkpoint(update, jax.tree.leaves(own))
