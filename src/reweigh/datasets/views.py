"""Rewards, discounts and next states rewritten, so that one value loss serves every kind of target.

A target is always `y = reward + discount V(next_observation)`. One step, n steps and Monte-Carlo differ in
those three columns alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from reweigh.datasets.episodes import return_to_go
from reweigh.errors import ConfigError
from reweigh.transitions import Transitions


@dataclass(frozen=True)
class TargetView:
    """The columns of a target, for every transition."""

    reward: Float64[np.ndarray, " N"]
    """Discounted sum of rewards."""
    discount: Float64[np.ndarray, " N"]
    """Factor of the value of the state reached; 0 where nothing follows."""
    last: Int64[np.ndarray, " N"]
    """The transition whose next observation is the state reached."""


def episode_end(transitions: Transitions) -> Bool[np.ndarray, " N"]:
    """Whether a transition is the last kept one of its episode.

    Args:
        transitions: in the order of the record.
    """
    end = np.ones(len(transitions), bool)
    end[:-1] = transitions.episode[1:] != transitions.episode[:-1]
    return end


def n_step_view(
    transitions: Transitions,
    n: int,
    discount: float,
    *,
    timeouts_end: bool = False,
    constant_power: bool = False,
) -> TargetView:
    r"""Sums of up to `n` rewards, then the value of the state reached.

    .. math:: y_t = \sum_{j<k} γ^j r_{t+j} + γ^k (1 - D) V(s_{t+k}), \quad k = \min(n, \text{rows left})

    Sums stop at their episode's end. `D = 1` at a terminal; at a timeout, and where the record stops, the
    value of the state reached is used.

    Args:
        transitions: the dataset, with the target's reward.
        n: steps, at least 1.
        discount: `γ` in [0, 1].
        timeouts_end: for `n > 1`, `D = 1` wherever a sum reaches its episode's end, as in OPER's code.
        constant_power: `γ^n` even where fewer rewards are left, as in OPER's code; matters only if `D = 0`.

    Raises:
        ConfigError: `n` is below 1.
    """
    if n < 1:
        raise ConfigError(f"expected n of at least 1, but found {n}.")
    count = len(transitions)
    end = episode_end(transitions)
    row = np.arange(count)
    end_row = np.flatnonzero(end)[np.cumsum(end) - end]
    steps = np.minimum(n, end_row - row + 1)
    reward = np.zeros(count)
    for j in range(int(steps.max())):
        going = np.flatnonzero(steps > j)
        reward[going] += discount**j * transitions.reward[going + j].astype(np.float64)
    last = row + steps - 1
    ended = transitions.terminal[last]
    if timeouts_end and n > 1:
        ended = end_row <= row + n - 1
    power = np.full(count, n) if constant_power else steps
    return TargetView(reward, discount**power * ~ended, last)


def monte_carlo_view(transitions: Transitions, discount: float) -> TargetView:
    r"""The discounted rest of the episode's rewards, without a value at its end.

    .. math:: y_t = \sum_{j \ge 0} γ^j r_{t+j}

    Args:
        transitions: the dataset, with the target's reward.
        discount: `γ` in [0, 1].
    """
    rest = return_to_go(transitions.reward, episode_end(transitions), discount)
    return TargetView(rest, np.zeros(len(transitions)), np.arange(len(transitions)))


def generalized_advantage(
    difference: Float[np.ndarray, " N"],
    end: Bool[np.ndarray, " N"],
    *,
    discount: float,
    trace_decay: float,
) -> Float64[np.ndarray, " N"]:
    r"""GAE: temporal differences, summed with decaying weights.

    .. math:: A_t = δ_t + γ λ (1 - e_t) A_{t+1}

    Equation 16 of Schulman et al. (arXiv 1506.02438).

    Args:
        difference: `δ_t = r_t + γ (1 - d_t) V(s_{t+1}) - V(s_t)`.
        end: `e_t`, the last kept row of an episode.
        discount: `γ` in [0, 1].
        trace_decay: `λ` in [0, 1]. 0 is one step, 1 Monte-Carlo with a value at the end.
    """
    return return_to_go(difference, end, discount * trace_decay)


def next_observation_of(transitions: Transitions, view: TargetView) -> Float32[np.ndarray, "N S"]:
    """The state that each target reaches; the transition's own state where `view.discount` is 0.

    Args:
        transitions: the dataset.
        view: its target.
    """
    ended = (view.discount == 0)[:, None]
    return np.where(ended, transitions.observation, transitions.next_observation[view.last])
