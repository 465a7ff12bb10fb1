"""`reweigh verify`: each check passes on sound data and fails on its own fault."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from reweigh import verification
from reweigh.cli import main
from reweigh.datasets.load import Record, load, load_record
from reweigh.running.preparation import training_batch


def record(*, own_next: bool = False) -> dict[str, np.ndarray]:
    """30 episodes of 10 rows; every second ends in a terminal, the others in a timeout."""
    rng = np.random.default_rng(0)
    row = np.arange(300)
    observation = rng.normal(size=(300, 3)).astype(np.float32)
    end = row % 10 == 9
    arrays = {
        "observations": observation,
        "actions": rng.uniform(-1, 1, (300, 2)).astype(np.float32),
        "rewards": rng.normal(size=300).astype(np.float32),
        "terminals": end & (row % 20 == 9),
        "timeouts": end & (row % 20 == 19),
    }
    if own_next:
        following = np.roll(observation, -1, axis=0)
        following[end] += 1  # what really followed, before the reset
        arrays["next_observations"] = following
    return arrays


def statuses(checks) -> list[str]:
    return [check.status for check in checks]


@pytest.fixture(scope="module")
def sound():
    return load(record())


def test_sound_data_pass_every_check_that_has_something_to_look_at(sound):
    checks = verification.verify(sound, load_record(record()).rows)
    assert statuses(checks) == ["pass", "pass", "skipped", "pass", "pass"]
    assert checks[0].found == "255 rows are followed by theirs, 8 of them in the last episode"
    assert checks[1].found == "15 episodes keep all their T rows, 15 keep T - 1"


def test_next_observations_that_are_off_by_one_row_fail(sound):
    shifted = dataclasses.replace(sound, next_observation=np.roll(sound.next_observation, 1, axis=0))
    check = verification.next_observations(shifted)
    assert check.status == "fail"
    assert "255 of 255 rows" in check.found
    assert "8 of them in the last episode" in check.found


def test_a_fault_in_the_last_episode_alone_fails(sound):
    following = sound.next_observation.copy()
    following[-2] += 1
    check = verification.next_observations(dataclasses.replace(sound, next_observation=following))
    assert "1 of 255 rows" in check.found
    assert "1 of them in the last episode" in check.found


def test_an_episode_that_has_lost_a_row_inside_fails(sound):
    lengths = sound.episodes.whole_length.copy()
    lengths[3] += 1
    episodes = dataclasses.replace(sound.episodes, whole_length=lengths)
    assert verification.episode_lengths(dataclasses.replace(sound, episodes=episodes)).status == "fail"
    step = sound.step.copy()
    step[4] += 1
    assert verification.episode_lengths(dataclasses.replace(sound, step=step)).status == "fail"


@pytest.mark.parametrize("always_d4rl", [False, True])
def test_a_jump_without_a_flag_fails(always_d4rl):
    arrays = record(own_next=True)
    rows = load_record(arrays).rows
    check = verification.flags_and_jumps(load(Record("a record", rows, always_d4rl)), rows)
    assert check.status == "pass"
    assert check.found == "each of 29 jumps is an episode's end; 0 ends have no jump"
    arrays["timeouts"][59] = False
    rows = load_record(arrays).rows
    check = verification.flags_and_jumps(load(Record("a record", rows, always_d4rl)), rows)
    assert check.status == "fail"
    assert "1 of 29 jumps have no flag (the first is row 59)" in check.found


def test_a_sampler_in_single_precision_fails(sound, monkeypatch):
    exact = verification.table_probability
    monkeypatch.setattr(
        verification, "table_probability", lambda t: exact(t).astype(np.float32).astype(float)
    )
    assert verification.sampler(sound).status == "fail"


def test_training_that_takes_terminals_for_timeouts_fails(sound, monkeypatch):
    def careless(transitions, normalizer, discount, action_limit):
        batch = training_batch(transitions, normalizer, discount, action_limit)
        following = jnp.asarray(normalizer(transitions.next_observation))
        live = jnp.full_like(batch.discount, discount)
        return dataclasses.replace(batch, next_observation=following, discount=live)

    monkeypatch.setattr(verification, "training_batch", careless)
    check = verification.terminals_next_observations(sound)
    assert check.status == "fail"
    assert "differ under garbage" in check.found


def test_without_terminals_there_is_nothing_to_check():
    arrays = record()
    arrays["timeouts"] |= arrays["terminals"]
    arrays["terminals"][:] = False
    assert verification.terminals_next_observations(load(arrays)).status == "skipped"


def test_the_command_exits_with_1_where_a_check_fails(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        verification, "terminals_next_observations", lambda t: verification.Check("t", "pass", "")
    )
    arrays = record(own_next=True)
    np.savez(tmp_path / "sound.npz", **arrays)
    assert main(["verify", str(tmp_path / "sound.npz")]) == 0
    assert capsys.readouterr().out.startswith("pass    next observations  ")
    arrays["timeouts"][59] = False
    np.savez(tmp_path / "faulty.npz", **arrays)
    assert main(["verify", str(tmp_path / "faulty.npz"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [check["status"] for check in found["checks"]] == ["fail", "pass", "fail", "pass", "pass"]
