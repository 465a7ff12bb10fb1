"""Checks, on the data themselves, of what a dataset and this library promise each other."""

from dataclasses import dataclass, replace
from typing import Literal

import jax
import numpy as np

from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.datasets.episodes import DISCONTINUITY
from reweigh.datasets.normalizer import fit_normalizer
from reweigh.datasets.rows import Rows
from reweigh.priorities.by_return import AW, probability_by_return
from reweigh.rebalance.static import resample, resample_tables
from reweigh.running.preparation import training_batch
from reweigh.sampling import build_alias_table, table_probability
from reweigh.training import make_trainer, run_keys
from reweigh.transitions import Transitions
from reweigh.types import Shapes, Stage

NUM_UPDATES = 20
BATCH_SIZE = 256

# Float64 weights and 64-bit thresholds agree to about 1e-15; a float32 sampler would fail by far.
_SAMPLER_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Check:
    """One promise, and whether it holds."""

    what: str
    status: Literal["pass", "fail", "skipped"]
    found: str


def verify(transitions: Transitions, rows: Rows) -> list[Check]:
    """Run every check, in the order of the data flow.

    Args:
        transitions: the dataset.
        rows: the record that its transitions were made from.
    """
    return [
        next_observations(transitions),
        episode_lengths(transitions),
        flags_and_jumps(transitions, rows),
        sampler(transitions),
        terminals_next_observations(transitions),
    ]


def next_observations(transitions: Transitions) -> Check:
    """Inside episodes a transition's next observation is the observation of the row that follows it.

    Args:
        transitions: of the dataset.
    """
    what = "next observations"
    following = (np.diff(transitions.episode) == 0) & (np.diff(transitions.raw_index) == 1)
    jump = np.abs(transitions.next_observation[:-1] - transitions.observation[1:]).max(axis=1)
    wrong = following & (jump > DISCONTINUITY)
    last = transitions.episode[:-1] == transitions.episode[-1]
    if wrong.any():
        row = int(transitions.raw_index[wrong.argmax()])
        found = (
            f"{wrong.sum()} of {following.sum()} rows are not followed by their next observation inside an "
            f"episode (the first is row {row}), {(wrong & last).sum()} of them in the last episode"
        )
        return Check(what, "fail", found)
    rows = f"{following.sum()} rows are followed by theirs, {(following & last).sum()} of them"
    return Check(what, "pass", f"{rows} in the last episode")


def episode_lengths(transitions: Transitions) -> Check:
    """An episode of T rows has T transitions, or T - 1 if its last row is dropped; none inside is lost.

    Args:
        transitions: of the dataset.
    """
    what = "episode lengths"
    episodes = transitions.episodes
    lost = episodes.whole_length - episodes.kept_length
    order = transitions.step == np.arange(len(transitions)) - np.searchsorted(
        transitions.episode, transitions.episode
    )
    wrong = (lost < 0) | (lost > 1)
    if transitions.info.row_rule.startswith("all"):
        wrong |= lost != 0
    counts = np.bincount(transitions.episode, minlength=len(episodes))
    wrong |= counts != episodes.kept_length
    if wrong.any() or not order.all():
        return Check(
            what,
            "fail",
            f"{int(wrong.sum())} of {len(episodes)} episodes have another number of transitions than rows "
            f"allow, and {int((~order).sum())} transitions stand at another step than they are counted at",
        )
    return Check(
        what,
        "pass",
        f"{int((lost == 0).sum())} episodes keep all their T rows, {int((lost == 1).sum())} keep T - 1",
    )


def flags_and_jumps(transitions: Transitions, rows: Rows) -> Check:
    """Wherever the recorded next observation is not the next row's observation, an episode ends.

    Args:
        transitions: of the dataset.
        rows: the record that they were made from.
    """
    what = "flags and jumps"
    if rows.next_observation is None:
        return Check(what, "skipped", "the record has no next observations of its own to see jumps by")
    jump = np.abs(rows.next_observation[:-1] - rows.observation[1:]).max(axis=1) > DISCONTINUITY
    # Ends as applied: by flags, and by the episode limit if there are no timeouts.
    end = np.zeros(len(rows), bool)
    last = np.append(np.diff(transitions.episode) != 0, True)
    first_row = transitions.raw_index[last] - transitions.step[last]
    end[first_row + transitions.episodes.whole_length - 1] = True
    end |= rows.terminal if rows.timeout is None else rows.terminal | rows.timeout
    silent = np.flatnonzero(jump & ~end[:-1])
    smooth = int((~jump & end[:-1]).sum())
    if len(silent):
        return Check(
            what,
            "fail",
            f"{len(silent)} of {int(jump.sum())} jumps have no flag (the first is row {int(silent[0])}): "
            "an end is not marked there, or the record's next observations belong to other rows",
        )
    return Check(
        what,
        "pass",
        f"each of {int(jump.sum())} jumps is an episode's end; {smooth} ends have no jump",
    )


def sampler(transitions: Transitions) -> Check:
    """The alias table holds AW's probabilities, as read back from its integers.

    Args:
        transitions: of the dataset.
    """
    what = "sampler under AW"
    weighting = probability_by_return(transitions, AW())
    wanted = weighting.probability / weighting.probability.sum()
    found = table_probability(build_alias_table(wanted))
    error = np.abs(found - wanted) * len(wanted)
    off = abs(found.sum() - 1)
    told = f"N |p - table| is at most {error.max():.1e}, the table sums to 1 within {off:.1e}"
    notes = "".join(f"; {note}" for note in weighting.notes)
    good = error.max() <= _SAMPLER_TOLERANCE * max(1.0, wanted.max() * len(wanted))
    good = good and off <= _SAMPLER_TOLERANCE and not found[wanted == 0].any()
    return Check(what, "pass" if good else "fail", told + notes)


def terminals_next_observations(transitions: Transitions) -> Check:
    """Garbage in terminals' next observations and actions changes no bit of a trained agent.

    Args:
        transitions: of the dataset.
    """
    what = "next state of terminals"
    count = int(transitions.terminal.sum())
    if not count:
        return Check(what, "skipped", "there are no terminals")
    garbage_state, garbage_action = transitions.next_observation.copy(), transitions.next_action.copy()
    # NaN spreads to everything computed from it, even products with zero.
    garbage_state[transitions.terminal] = np.nan
    garbage_action[transitions.terminal] = np.nan
    other = replace(transitions, next_observation=garbage_state, next_action=garbage_action)
    one, two = _trained(transitions, other)
    differing = sum(a.tobytes() != b.tobytes() for a, b in zip(one, two, strict=True))
    finite = all(np.isfinite(leaf).all() for leaf in one)
    if differing or not finite:
        return Check(what, "fail", f"{differing} of {len(one)} trained arrays differ under garbage")
    return Check(
        what,
        "pass",
        f"NaN there changes no bit of {len(one)} arrays of TD3+BC after {NUM_UPDATES} updates, at least "
        f"half of whose rows are among the {count} terminals",
    )


def _trained(*records: Transitions) -> list[list[np.ndarray]]:
    """Every array of TD3+BC after a few updates on each record, with about half of each batch terminals.

    Args:
        records: equal except for what belongs to no transition.
    """
    terminal = records[0].terminal
    share = terminal / max(1, terminal.sum()) + ~terminal / max(1, (~terminal).sum())
    tables = resample_tables(share / share.sum())
    normalizer = fit_normalizer(records[0].observation)
    data = [training_batch(record, normalizer, discount=0.99, action_limit=1.0) for record in records]
    config = TD3BCConfig(hidden=(32, 32))
    stage = Stage(config.make(NUM_UPDATES), resample(BATCH_SIZE), NUM_UPDATES)
    shapes = Shapes(records[0].observation_size, records[0].action_size)
    trainer = make_trainer(stage, shapes, BATCH_SIZE, tables, data[0])
    init_key, key = run_keys([0], vmapped=False)
    start, zero = trainer.init(init_key), trainer.zero_metrics()
    states = [trainer.run(key, start, zero, tables, batch, start=0, count=NUM_UPDATES)[0] for batch in data]
    return [[np.asarray(leaf) for leaf in jax.tree.leaves(state)] for state in states]
