"""A run's data: loaded, weighed, transformed for the algorithm, and put on the device."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from reweigh.config import (
    DensityRatio,
    Mixture,
    Resample,
    RunConfig,
    Weights,
    WeightsPath,
    identity,
    parts_of,
)
from reweigh.datasets.normalizer import Normalizer, fit_normalizer, identity_normalizer
from reweigh.datasets.rewards import transform_reward
from reweigh.evaluation import check_observations
from reweigh.loading import load_data
from reweigh.priorities.by_return import Uniform, Weighting, probability_by_return
from reweigh.priorities.file import check_fits, read_weights
from reweigh.priorities.oper_a import OperA, weighting_by_advantage
from reweigh.priorities.published import OperAFile, read_published
from reweigh.priorities.scaling import mixture
from reweigh.rebalance.density_ratio import density_ratio_tables
from reweigh.rebalance.static import resample_tables, reweight_tables
from reweigh.running.resumable import Progress
from reweigh.running.value_runs import learned_priority
from reweigh.transitions import Transitions
from reweigh.types import Batch, Shapes, Tables


@dataclass(frozen=True)
class Prepared:
    """A run's data on the device, and what else training and acting need."""

    transitions: Transitions
    """Without observations and actions, which `data` holds."""
    data: Batch
    tables: Tables
    probability: Float64[np.ndarray, " N"] | None
    """`p` of the weights; None: uniform."""
    shapes: Shapes
    normalizer: Normalizer
    identity: str


def compute_weights(
    transitions: Transitions,
    weights: Weights,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Weighting:
    """Probabilities from a method, a file or a mixture.

    Args:
        transitions: the dataset.
        weights: the method, file or mixture.
        report: called about once a second while OPER-A's values are learned.
        should_stop: called as often; true saves their state and raises `Interrupted`.

    Raises:
        WeightsError: they cannot be computed or read, or belong to another dataset.
        RunError: the cache of OPER-A's values cannot be used, or learning them has diverged.
        Interrupted: `should_stop` returned true.
    """
    if isinstance(weights, WeightsPath):
        path = Path(weights.path)
        file = read_weights(path)
        check_fits(file, transitions, path)
        return Weighting(file.probability)
    if isinstance(weights, OperA):
        priority = learned_priority(transitions, weights, report=report, should_stop=should_stop)
        return weighting_by_advantage(priority, weights)
    if isinstance(weights, OperAFile):
        return weighting_by_advantage(read_published(weights.paths, len(transitions)), weights)
    if isinstance(weights, Mixture):
        first, second = (
            compute_weights(transitions, part, report=report, should_stop=should_stop)
            for part in (weights.first, weights.second)
        )
        return Weighting(
            mixture(first.probability, second.probability, share=weights.share), first.notes + second.notes
        )
    return probability_by_return(transitions, weights)


def check_data(config: RunConfig) -> tuple[Transitions, tuple[str, ...]]:
    """Load a run's data and, if it evaluates policies, check that its environment fits.

    Args:
        config: the run.

    Returns:
        The transitions and the notes on them.

    Raises:
        ReweighError: the data or the environment cannot be used.
    """
    transitions, notes = load_data(config.data, must_exist=config.evaluation.enabled)
    env = transitions.info.env
    if config.evaluation.enabled and env is not None:
        check_observations(env, transitions.observation_size)
    return transitions, notes


def check_weights_files(transitions: Transitions, weights: Weights) -> None:
    """Reject unusable weights files early, before the rest of a mixture is learned.

    Args:
        transitions: the dataset.
        weights: the run's weights.

    Raises:
        WeightsError: a file cannot be read, or belongs to another dataset.
    """
    for part in parts_of(weights):
        if isinstance(part, WeightsPath | OperAFile):
            compute_weights(transitions, part)


def prepare(
    config: RunConfig,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Load and weigh a run's data, and put them on the device.

    Args:
        config: the run.
        report: called about once a second while OPER-A's values are learned.
        should_stop: called as often; true saves their state and raises `Interrupted`.

    Raises:
        ReweighError: the data, the weights or the environment cannot be used.
        Interrupted: `should_stop` returned true.
    """
    transitions, _ = load_data(config.data, must_exist=config.evaluation.enabled)
    weights = config.rebalance.weights
    weighting = compute_weights(transitions, weights, report=report, should_stop=should_stop)
    trained_on = transform_reward(transitions, config.reward)
    if config.normalize_observations:
        normalizer = fit_normalizer(transitions.observation)
    else:
        normalizer = identity_normalizer(transitions.observation_size)
    probability = None if isinstance(weights, Uniform) else weighting.probability
    if isinstance(config.rebalance, DensityRatio):
        tables = density_ratio_tables(probability, transitions.raw_reward, config.rebalance.ratio)
    elif isinstance(config.rebalance, Resample):
        tables = resample_tables(probability)
    else:
        tables = reweight_tables(weighting.probability)
    return Prepared(
        transitions=transitions.without_matrices(),
        data=training_batch(trained_on, normalizer, config.discount, config.action_limit),
        tables=tables,
        probability=probability,
        shapes=Shapes(transitions.observation_size, transitions.action_size),
        normalizer=normalizer,
        identity=identity(config, transitions.info),
    )


def training_batch(
    transitions: Transitions, normalizer: Normalizer, discount: float, action_limit: float
) -> Batch:
    """The whole dataset as one batch on the device.

    Args:
        transitions: with the reward that training sees.
        normalizer: applied to `s` and `s'`.
        discount: `γ` in [0, 1]; `Batch.discount` is `γ (1 - terminal)`.
        action_limit: clips data actions to plus or minus this, in (0, 1]; 1: no change.
    """
    live = (1 - transitions.terminal.astype(np.float32)) * np.float32(discount)
    # A terminal's recorded next state may belong to another episode, and must not affect training.
    following = np.where(transitions.terminal[:, None], transitions.observation, transitions.next_observation)
    return Batch(
        observation=jnp.asarray(normalizer(transitions.observation)),
        action=jnp.asarray(np.clip(transitions.action, -action_limit, action_limit)),
        reward=jnp.asarray(transitions.reward),
        discount=jnp.asarray(live),
        next_observation=jnp.asarray(normalizer(following)),
        next_action=jnp.asarray(np.clip(transitions.next_action, -action_limit, action_limit)),
    )
