"""Which rows are transitions, where episodes end, and the sums along them. All vectorized.

Two row rules exist. `d4rl` reproduces the order and count of D4RL's `qlearning_dataset`, with which published
weight files are aligned. `all` keeps every row; it needs next observations in the record.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from reweigh.datasets.rows import Rows
from reweigh.errors import DatasetError
from reweigh.transitions import DatasetInfo, Episodes, Transitions

EpisodeEnds = Literal["flags", "discontinuity"]

# The authors' tolerance on |s_{i+1} - s'_i|, below which two rows count as consecutive.
DISCONTINUITY = 1e-6


def limit_timeouts(terminal: Bool[np.ndarray, " M"], limit: int) -> Bool[np.ndarray, " M"]:
    """Timeouts of a record without a `timeouts` key, by D4RL's own count of steps.

    The count starts at 0; a row at `limit - 1` is a timeout, and the count restarts at 0. After any other
    terminal it restarts at 1, not 0, as alignment with published files requires.

    Args:
        terminal: (M,), the environment ended at this row.
        limit: the environment's episode limit, in steps, at least 1.
    """
    timeout = np.zeros(len(terminal), bool)
    ends = np.append(np.flatnonzero(terminal) + 1, len(terminal))
    begin, count = 0, 0
    for end in ends:  # one iteration per episode, not per row
        timeout[begin + limit - 1 - count : end : limit] = True
        length = end - begin
        count = 0 if (length + count) % limit == 0 else 1
        begin = end
    return timeout


def episode_starts(episode_end: Bool[np.ndarray, " M"]) -> Int64[np.ndarray, " K"]:
    """First row of each episode, given the last rows; the final row always ends an episode.

    Args:
        episode_end: whether a row is the last of its episode, of M >= 1 rows.
    """
    ends = np.flatnonzero(episode_end[:-1])
    return np.concatenate([np.zeros(1, np.int64), ends + 1])


def discontinuities(
    observation: Float32[np.ndarray, "N S"],
    next_observation: Float32[np.ndarray, "N S"],
    terminal: Bool[np.ndarray, " N"],
) -> Bool[np.ndarray, " N"]:
    """Episode ends by the authors' rule: a terminal, a jump of over 1e-6, or the last row.

    Args:
        observation: `s`, one row after the other as recorded.
        next_observation: `s'`.
        terminal: whether the episode ended by its own rules.
    """
    end = terminal.copy()
    end[:-1] |= np.linalg.norm(observation[1:] - next_observation[:-1], axis=1) > DISCONTINUITY
    end[-1] = True
    return end


def return_to_go(
    reward: Float[np.ndarray, " N"], episode_end: Bool[np.ndarray, " N"], discount: float
) -> Float64[np.ndarray, " N"]:
    """Discounted sum of rewards from each row to the end of its episode, without a bootstrap value.

    .. math:: R_t = r_t + γ (1 - e_t) R_{t+1}

    Args:
        reward: `r`, (N,).
        episode_end: `e`, (N,): the row is the last of its episode.
        discount: `γ` in [0, 1]. 0 returns the reward, 1 the undiscounted rest.
    """
    # All episodes step back in parallel: as many iterations as the longest has rows.
    starts = episode_starts(episode_end)
    lengths = np.diff(np.append(starts, len(reward)))
    order = np.argsort(-lengths, kind="stable")
    last = (starts + lengths - 1)[order]
    longest_first = lengths[order]
    total = np.asarray(reward, np.float64).copy()
    for back in range(1, int(longest_first[0])):
        active = int(np.searchsorted(-longest_first, -back, side="left"))
        row = last[:active] - back
        total[row] += discount * total[row + 1]
    return total


def transitions_from_rows(
    rows: Rows,
    info: DatasetInfo,
    *,
    keep_all: bool,
    episode_ends: EpisodeEnds,
) -> Transitions:
    """Apply a row rule to recorded rows.

    Args:
        rows: checked rows with actions in [-1, 1]; without `timeouts` only a terminal ends an episode.
        info: of the dataset, including the rule's name.
        keep_all: the `all` rule; false: D4RL's rule.
        episode_ends: `flags` trusts terminals and timeouts, `discontinuity` compares states.

    Raises:
        DatasetError: no transition is left.
    """
    timeout = np.zeros(len(rows), bool) if rows.timeout is None else rows.timeout
    kept = np.ones(len(rows), bool)
    if not keep_all:
        kept &= ~timeout
        kept[-1] = False
    index = np.flatnonzero(kept)
    if not len(index):
        raise DatasetError(
            f"expected at least one transition, but every row of {info.spec} is a timeout or the last row."
        )
    if keep_all:
        assert rows.next_observation is not None
        next_observation = rows.next_observation
        following = np.minimum(index + 1, len(rows) - 1)
    else:
        following = index + 1
        next_observation = rows.observation[following]
    # If every row is kept, nothing is copied: the columns may be memory-mapped.
    part = slice(None) if keep_all else index
    observation, terminal = rows.observation[part], rows.terminal[part]
    if episode_ends == "discontinuity":
        # Dropped rows belong to no episode here: the authors' code sees only transitions.
        end = discontinuities(observation, next_observation, terminal)
        episode, step, episodes = _number_kept(end, timeout, rows, index)
    else:
        end = rows.terminal | timeout
        episode, step, episodes = _number_whole(end, timeout, rows, index)
    followed = ~(rows.terminal | timeout)
    followed[-1] = False
    has_next_action = followed[index]
    if keep_all and episode_ends == "discontinuity":
        has_next_action = has_next_action & ~end
    source = rows.source if rows.source is not None else np.full(len(rows), -1, np.int8)
    return Transitions(
        observation=observation,
        action=rows.action[part],
        reward=rows.reward[part],
        next_observation=next_observation,
        next_action=rows.action[following],
        has_next_action=has_next_action,
        terminal=terminal,
        raw_reward=rows.reward[part],
        raw_index=index,
        episode=episode,
        step=step,
        source=source[index],
        episodes=episodes,
        info=info,
    )


def _number_whole(
    end: Bool[np.ndarray, " M"], timeout: Bool[np.ndarray, " M"], rows: Rows, index: Int64[np.ndarray, " N"]
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"], Episodes]:
    """Number the episodes of the record; those without a transition get no number."""
    starts = episode_starts(end)
    lengths = np.diff(np.append(starts, len(end)))
    raw_episode = np.repeat(np.arange(len(starts)), lengths)
    step = index - starts[raw_episode[index]]
    kept_length = np.bincount(raw_episode[index], minlength=len(starts))
    counted = kept_length > 0
    number = np.cumsum(counted) - 1
    reward = rows.reward.astype(np.float64)
    kept_return = np.bincount(raw_episode[index], weights=reward[index], minlength=len(starts))
    last = starts + lengths - 1
    episodes = Episodes(
        whole_return=np.add.reduceat(reward, starts)[counted],
        kept_return=kept_return[counted],
        whole_length=lengths[counted],
        kept_length=kept_length[counted].astype(np.int64),
        first_observation=rows.observation[starts[counted]],
        terminated=rows.terminal[last][counted],
        timed_out=(timeout & ~rows.terminal)[last][counted],
    )
    return number[raw_episode[index]].astype(np.int64), step, episodes


def _number_kept(
    end: Bool[np.ndarray, " N"], timeout: Bool[np.ndarray, " M"], rows: Rows, index: Int64[np.ndarray, " N"]
) -> tuple[Int64[np.ndarray, " N"], Int64[np.ndarray, " N"], Episodes]:
    """Number episodes that are delimited among transitions alone."""
    starts = episode_starts(end)
    lengths = np.diff(np.append(starts, len(end)))
    episode = np.repeat(np.arange(len(starts)), lengths)
    returns = np.add.reduceat(rows.reward[index].astype(np.float64), starts)
    terminated = rows.terminal[index[starts + lengths - 1]]
    # A jump counts as a timeout; the record may also stop in the middle of its last episode.
    timed_out = ~terminated
    timed_out[-1] &= timeout[index[-1] : index[-1] + 2].any()  # at its last row, or at a dropped one after it
    episodes = Episodes(
        whole_return=returns,
        kept_return=returns,
        whole_length=lengths,
        kept_length=lengths,
        first_observation=rows.observation[index[starts]],
        terminated=terminated,
        timed_out=timed_out,
    )
    return episode, np.arange(len(end)) - starts[episode], episodes
