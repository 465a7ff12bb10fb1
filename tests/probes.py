"""Tasks with known answers, each of which isolates one ability."""

import jax
import jax.numpy as jnp
import numpy as np

from reweigh.rebalance.static import resample, resample_tables
from reweigh.training import make_trainer
from reweigh.types import Algorithm, Batch, Shapes, Stage


def probe(observation, action, reward, next_observation, discount) -> Batch:
    columns = [np.asarray(c, np.float32) for c in (observation, action, reward, discount, next_observation)]
    return Batch(*map(jnp.asarray, columns), jnp.asarray(columns[1]))


def constant_reward(rows: int = 256) -> Batch:
    """One state, every row a terminal, reward 1: the value is 1 whatever is done."""
    action = np.random.default_rng(0).uniform(-1, 1, (rows, 1))
    zero = np.zeros((rows, 1))
    return probe(zero, action, np.ones(rows), zero, np.zeros(rows))


def two_steps(rows: int = 256) -> Batch:
    """State -1 leads to state 1 without reward, state 1 ends with reward 1: values 0.9 and 1."""
    action = np.random.default_rng(0).uniform(-1, 1, (rows, 1))
    state = np.where(np.arange(rows) % 2 == 0, -1.0, 1.0)
    # What follows a terminal is another episode's state, as in D4RL's files.
    return probe(state[:, None], action, state > 0, -state[:, None], np.where(state > 0, 0.0, 0.9))


def best_action(rows: int = 512) -> Batch:
    """The reward is highest where the action is half the state (-1 or 1); actions are uniform."""
    rng = np.random.default_rng(0)
    state = np.where(np.arange(rows) % 2 == 0, -1.0, 1.0)[:, None]
    action = rng.uniform(-1, 1, (rows, 1))
    reward = -4 * (action[:, 0] - 0.5 * state[:, 0]) ** 2
    return probe(state, action, reward, state, np.zeros(rows))


def copied_action(rows: int = 256) -> Batch:
    """Actions are half the state without noise: cloning must find them."""
    state = np.random.default_rng(0).uniform(-1, 1, (rows, 1))
    return probe(state, 0.5 * state, np.zeros(rows), state, np.zeros(rows))


def train_on(algorithm: Algorithm, data: Batch, updates: int = 1500, probability=None):
    shapes = Shapes(data.observation.shape[1], data.action.shape[1])
    tables = resample_tables(probability)
    stage = Stage(algorithm, resample(64), updates)
    trainer = make_trainer(stage, shapes, 64, tables, data)
    init_key, key = jax.random.split(jax.random.key(0))
    state, _ = trainer.run(
        key, trainer.init(init_key), trainer.zero_metrics(), tables, data, start=0, count=updates
    )
    return state.algorithm
