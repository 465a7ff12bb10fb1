"""What a dataset holds, in numbers."""

from typing import Any, NamedTuple

import numpy as np

from reweigh.datasets.scores import normalized_score, reference_of
from reweigh.transitions import Transitions


class EpisodeScores(NamedTuple):
    """Scores of a dataset's own episodes: returns, or normalized."""

    mean: float
    top_decile: float
    """Mean of the best tenth of the episodes, at least one."""
    best: float


def episode_scores(transitions: Transitions) -> EpisodeScores:
    """Three numbers that summarize the episode returns.

    Args:
        transitions: the dataset.
    """
    returns = np.sort(transitions.episodes.whole_return)
    best_tenth = returns[-max(1, len(returns) // 10) :]
    return EpisodeScores(float(returns.mean()), float(best_tenth.mean()), float(returns[-1]))


def describe(transitions: Transitions) -> dict[str, Any]:
    """Counts, returns, ends and ranges of a dataset.

    Args:
        transitions: the dataset.
    """
    episodes, info = transitions.episodes, transitions.info
    returns = episodes.whole_return
    description: dict[str, Any] = {
        "dataset": info.spec,
        "environment": info.env or "unknown: policies will not be scored (name one with --env)",
        "recorded rows": info.num_rows,
        "transitions": len(transitions),
        "row rule": info.row_rule,
        "observation size": transitions.observation_size,
        "action size": transitions.action_size,
        "episodes": len(episodes),
        "ended by terminal": int(episodes.terminated.sum()),
        "ended by timeout": int(episodes.timed_out.sum()),
        "unfinished": int((~episodes.terminated & ~episodes.timed_out).sum()),
        "episode length": _range(episodes.whole_length),
        "episode return": _range(returns),
        "return deviation": float(returns.std()),
        "top-decile return": episode_scores(transitions).top_decile,
    }
    reference = info.reference or reference_of(info.spec, info.env)
    if reference:
        description["normalized return"] = _range(normalized_score(returns, reference))
        whose = "the dataset's own" if info.reference else "D4RL's"
        description["0 and 100 stand for"] = f"{reference[0]:g} and {reference[1]:g}, {whose}"
    description |= {
        "reward": _range(transitions.raw_reward),
        "observation": _range(transitions.observation),
        "action": _range(transitions.action),
    }
    if (transitions.source >= 0).any():
        description["good share"] = float((transitions.source == 1).mean())
    description["digest"] = info.digest
    return description


def _range(values: np.ndarray) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "mean": float(values.mean(dtype=np.float64)),
        "max": float(values.max()),
    }
