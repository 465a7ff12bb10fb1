"""OPER's bandit: iterated priorities, and TD3+BC on original, resampled and reweighted data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.config import DataConfig, EvaluationConfig, Resample, Reweight, RunConfig, WeightsPath
from reweigh.datasets.bandit import ARMS, MEAN_REWARDS
from reweigh.experiment import ComparedRun
from reweigh.priorities.advantage import iterated_by_reward
from reweigh.priorities.file import weights_of, write_weights
from reweigh.runs import RunFolder
from reweigh.transitions import Transitions

ITERATION = 5
"""The one whose weights train the policies."""
STAGES = 10


def iterate(transitions: Transitions, out: Path) -> Float64[np.ndarray, "stages N"]:
    """Weights of every iteration, written beside the runs.

    Args:
        transitions: the bandit.
        out: folder of the study.

    Raises:
        WeightsError: the file cannot be written.
    """
    weight = iterated_by_reward(transitions.raw_reward, STAGES)
    chosen = weight[ITERATION - 1]
    meta = {"method": "oper-a", "settings": {"iteration": ITERATION}, "notes": []}
    write_weights(out / "weights.npz", weights_of(chosen / chosen.sum(), transitions, meta, weight[None]))
    return weight


def arms(out: Path, data_seed: int, num_updates: int) -> list[ComparedRun]:
    """The arms that the study compares.

    Args:
        out: folder of the study, with the weights.
        data_seed: of the dataset.
        num_updates: of each policy (1e5 in the paper).
    """
    weights = WeightsPath(str(out / "weights.npz"))

    def arm(label: str, rebalance: Resample | Reweight) -> ComparedRun:
        config = RunConfig(
            data=DataConfig(f"builtin:bandit-{data_seed}"),
            algorithm=TD3BCConfig(alpha=0.25, learned_spread=True),
            rebalance=rebalance,
            num_updates=num_updates,
            normalize_observations=True,
            reward="minus-ten",
            evaluation=EvaluationConfig(enabled=False),
        )
        return ComparedRun(label, config, out / label)

    return [
        arm("original", Resample()),
        arm("resampled", Resample(weights)),
        arm("reweighted", Reweight(weights)),
    ]


def policy_actions(arm: ComparedRun, seeds: Sequence[int]) -> Float64[np.ndarray, "seeds 2"]:
    """Where each seed's policy acts.

    Args:
        arm: a trained arm.
        seeds: its seeds.
    """
    state = np.zeros(1, np.float32)
    return np.stack([np.float64(RunFolder(arm.out).seed(seed).load_policy()(state)) for seed in seeds])


def expected_reward(action: Float64[np.ndarray, " 2"]) -> float | None:
    """Mean reward of the arm that an action pulls; None if it is six deviations or more from all of them.

    Args:
        action: in [-1, 1].
    """
    distance = np.linalg.norm(ARMS - action, axis=1)
    nearest = int(distance.argmin())
    return float(MEAN_REWARDS[nearest]) if distance[nearest] < 0.3 else None
