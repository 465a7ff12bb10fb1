"""TD3 in an environment, every step recorded, resumable.

NumPy steps and JAX updates alternate, `steps_at_once` of each. Update `t` uses `fold_in(key, t)`, and each
round draws its actions and rows from its own generator, so resuming is exact.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from reweigh.algorithms.td3 import TD3Config, make_td3
from reweigh.collection import Recorder, make_act
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.datasets.scores import reference_of_env
from reweigh.errors import DatasetError, RunError
from reweigh.evaluation import episode_seeds, evaluate, make_environment
from reweigh.family.config import FamilyConfig
from reweigh.policy import Policy, in_numpy, save_policy
from reweigh.rebalance.static import resample
from reweigh.running.resumable import Interrupted, Progress, averages, refuse_divergence
from reweigh.seed_folder import Returns, SeedFolder
from reweigh.system.digests import generator
from reweigh.training import MetricSums, Trainer, make_trainer, run_keys
from reweigh.types import Batch, Minibatch, Rebalance, Shapes, Stage, Tables, TermWeight, TrainState

_COLUMNS = ("observations", "actions", "rewards", "terminals", "timeouts", "next_observations")
_REPORT_S = 1.0


def policy_path(folder: SeedFolder, step: int) -> Path:
    """The file of the policy that was evaluated at a step.

    Args:
        folder: of the training.
        step: environment steps before the evaluation.
    """
    return folder.path / "policies" / f"{step:09d}.npz"


class Training:
    """One training, resumed from its folder."""

    def __init__(self, config: FamilyConfig, folder: SeedFolder, held: contextlib.ExitStack):
        """`held` closes the environments."""
        self.config, self.folder = config, folder
        self.environment, self.trial = (make_environment(config.env) for _ in range(2))
        held.callback(self.environment.close)
        held.callback(self.trial.close)
        self.recorder = Recorder(self.environment, config.num_steps, config.seed)
        space = self.environment.action_space
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self.shapes = Shapes(self.environment.observation_space.shape[0], space.shape[0])
        self.algorithm = make_td3(config.td3)
        self.reference = reference_of_env(config.env)

    def run(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> Returns:
        """Train to the end; return the evaluations.

        Args:
            report: called about once a second.
            should_stop: called every few steps; true saves the state and raises `Interrupted`.

        Raises:
            RunError: the folder is damaged, or training has diverged.
            DatasetError: the environment returned non-finite numbers.
            Interrupted: `should_stop` returned true.
        """
        config, trainer, recorder = self.config, self._trainer(), self.recorder
        init_key, key = run_keys([config.seed], vmapped=False)
        state, sums, returns = self._resume(trainer.init(init_key), trainer.zero_metrics())
        clock = _Clock(config.seed, recorder.count, report)
        while recorder.count < config.num_steps:
            rng = generator(f"family {config.seed} {recorder.count}")
            first = recorder.count - config.start_steps
            self._act(state, rng)
            if first >= 0:
                data, tables = self._draw(rng), jnp.int32(first)
                state, sums = trainer.run(
                    key, state, sums, tables, data, start=first, count=config.steps_at_once
                )
                if recorder.count % config.eval_interval == 0:
                    returns = self._evaluate(state, sums, returns)
                    sums = trainer.zero_metrics()
            clock.show(recorder.count, returns.last_score(self.reference))
            stop, end = should_stop(), recorder.count == config.num_steps
            if stop or end or recorder.count % config.checkpoint_interval == 0:
                self._checkpoint(state, sums)
            if stop:
                raise Interrupted(recorder.count)
        return returns

    def _trainer(self) -> Trainer:
        config, (states, actions) = self.config, self.shapes
        stage = Stage(self.algorithm, _in_turn(config.batch_size), config.num_steps)
        rows = config.batch_size * config.steps_at_once
        observation, action, number = (jnp.zeros((rows, states)), jnp.zeros((rows, actions)), jnp.zeros(rows))
        data = Batch(observation, action, number, number, observation, action)
        return make_trainer(stage, self.shapes, config.batch_size, jnp.int32(0), data)

    def _act(self, state: TrainState, rng: np.random.Generator) -> None:
        """Take and record steps with the current policy."""
        config, begin = self.config, self.recorder.count
        actor = None if begin < config.start_steps else self._policy(state)
        noise = config.exploration_noise
        act = make_act(config.env, self.environment, actor, config.steps_at_once, rng, noise)
        self.recorder.run(act, config.steps_at_once)
        for name in ("observations", "rewards", "next_observations"):
            if not np.isfinite(self.recorder.arrays[name][begin : self.recorder.count]).all():
                raise DatasetError(
                    f"expected finite numbers from {config.env}, but found NaN or infinity in its {name} "
                    f"between steps {begin} and {self.recorder.count}. Fix the environment."
                )

    def _draw(self, rng: np.random.Generator) -> Batch:
        """The minibatches of the next updates, end to end, uniform over all recorded rows."""
        config = self.config
        index = rng.integers(0, self.recorder.count, config.steps_at_once * config.batch_size)
        observation, action, reward, terminal, _, following = (
            self.recorder.arrays[name][index] for name in _COLUMNS
        )
        action = jnp.asarray((action - self.low) / (self.high - self.low) * 2 - 1)
        discount = jnp.asarray(np.where(terminal, 0, np.float32(config.discount)))
        return Batch(
            observation=jnp.asarray(observation),
            action=action,
            reward=jnp.asarray(reward),
            discount=discount,
            next_observation=jnp.asarray(following),
            next_action=action,  # unused by TD3
        )

    def _policy(self, state: TrainState, **meta: Any) -> Policy:
        assert self.algorithm.actor is not None
        network = self.algorithm.actor(state.algorithm)
        normalizer = identity_normalizer(self.shapes.observation_size)
        meta = {"env": self.config.env, "algorithm": TD3Config.name, **meta}
        return Policy(in_numpy(network.layers), normalizer, self.low, self.high, meta)

    def _evaluate(self, state: TrainState, sums: MetricSums, returns: Returns) -> Returns:
        """Evaluate the policy greedily and keep it, even if it is worse."""
        count, config = self.recorder.count, self.config
        metrics = averages(sums)
        refuse_divergence(metrics, f"seed {config.seed} before step {count}")
        self.folder.append_metrics(count, metrics)
        policy = self._policy(state, step=count, seed=config.seed)
        found = evaluate(self.trial, policy, episode_seeds(config.seed, count, config.eval_episodes))
        save_policy(policy_path(self.folder, count), policy)
        self.folder.save_policy(policy)
        returns = returns.with_evaluation(count, found.episode_return, found.episode_length)
        self.folder.save_returns(returns)
        return returns

    def _checkpoint(self, state: TrainState, sums: MetricSums) -> None:
        count = self.recorder.count
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves((state, sums))]
        recorded = [self.recorder.arrays[name][:count] for name in _COLUMNS]
        self.folder.save_checkpoint(count, [*leaves, *recorded])

    def _resume(self, state: TrainState, sums: MetricSums) -> tuple[TrainState, MetricSums, Returns]:
        checkpoint = self.folder.load_checkpoint()
        returns = self.folder.rewind(checkpoint)
        policy_path(self.folder, 0).parent.mkdir(exist_ok=True)
        if checkpoint is None:
            return state, sums, returns
        leaves, structure = jax.tree.flatten((state, sums))
        arrays = [self.recorder.arrays[name][: checkpoint.update] for name in _COLUMNS]
        if [leaf.shape for leaf in checkpoint.leaves] != [leaf.shape for leaf in (*leaves, *arrays)]:
            raise RunError(
                f"expected a checkpoint of these settings in {self.folder.path}, but found another. Remove "
                "the folder to start again."
            )
        recorded = checkpoint.leaves[len(leaves) :]
        self.recorder.restore(dict(zip(_COLUMNS, recorded, strict=True)))
        restored = [jnp.asarray(new, old.dtype) for new, old in zip(checkpoint.leaves, leaves, strict=False)]
        state, sums = jax.tree.unflatten(structure, restored)
        return state, sums, returns


class _Clock:
    """Reports about once a second."""

    def __init__(self, seed: int, count: int, report: Callable[[Progress], None]):
        self.seed, self.report = seed, report
        self.count, self.began = count, time.perf_counter()

    def show(self, count: int, score: float | None) -> None:
        now = time.perf_counter()
        if now - self.began > _REPORT_S:
            self.report(Progress(self.seed, count, (count - self.count) / (now - self.began), score))
            self.count, self.began = count, now


def _in_turn(batch_size: int) -> Rebalance:
    """Minibatches drawn before: the data hold them end to end, the tables the first one's update."""
    static = resample(batch_size)

    def draw(key: PRNGKeyArray, tables: Tables, data: Batch, update: Array) -> Minibatch:
        del key
        first, ones = (update - tables) * batch_size, jnp.ones(batch_size, data.reward.dtype)
        batch = jax.tree.map(lambda column: jax.lax.dynamic_slice_in_dim(column, first, batch_size), data)
        return Minibatch(batch, None, TermWeight(ones, ones, ones))

    return Rebalance(static.init, draw, static.learn)
