"""From recorded rows to transitions: order, episodes, returns, bounds, digests."""

import dataclasses
import math
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reweigh
from goldens import FOLDER, golden
from reweigh import ConfigError, DatasetError, Transitions
from reweigh.datasets.episodes import limit_timeouts, return_to_go
from reweigh.datasets.files import read_hdf5, read_npz
from reweigh.datasets.load import DataConfig, Record, load, load_record
from reweigh.datasets.normalizer import fit_normalizer, identity_normalizer
from reweigh.datasets.rewards import transform_reward
from reweigh.loading import load_data

SETS = ("mix", "sparse", "equal")
F32 = {"rtol": 2e-5, "atol": 1e-5}


def arrays_of(path: Path, names: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: file[name][()] for name in names or file}


def write(path: Path, arrays: dict[str, np.ndarray], **attributes) -> Path:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
        return path
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.attrs.update(attributes)
    return path


def record(terminal, timeout=None, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows in which every field tells its row: observation `(i, -i)`, action `i / M`, an own reward."""
    terminal = np.asarray(terminal, bool)
    count = len(terminal)
    row = np.arange(count)
    arrays = {
        "observations": np.stack([row, -row], axis=1).astype(np.float32),
        "actions": (row / count)[:, None].astype(np.float32),
        "rewards": np.random.default_rng(seed).integers(-8, 9, count).astype(np.float32),
        "terminals": terminal,
    }
    if timeout is not None:
        arrays["timeouts"] = np.asarray(timeout, bool)
    return arrays


def naive_kept(terminal, timeout, limit) -> tuple[list[int], list[bool]]:
    """D4RL's `qlearning_dataset`, one row at a time: rows that are transitions, rows that are timeouts."""
    kept, final_rows, step = [], [False] * len(terminal), 0
    for i in range(len(terminal) - 1):
        final = bool(timeout[i]) if timeout is not None else step == limit - 1
        final_rows[i] = final
        if final:
            step = 0
            continue
        if terminal[i]:
            step = 0
        kept.append(i)
        step += 1
    i = len(terminal) - 1  # D4RL never looks at the last row; whether it ends in a timeout is our question
    final_rows[i] = bool(timeout[i]) if timeout is not None else step == limit - 1
    return kept, final_rows


def naive_episodes(arrays, timeout, kept) -> list[dict]:
    """Episodes of the record that hold a transition, one row at a time."""
    episodes, start = [], 0
    count = len(arrays["rewards"])
    for i in range(count):
        if arrays["terminals"][i] or timeout[i] or i == count - 1:
            rows = list(range(start, i + 1))
            mine = [row for row in rows if row in kept]
            if mine:
                episodes.append(
                    {
                        "rows": rows,
                        "kept": mine,
                        "whole_return": math.fsum(float(arrays["rewards"][row]) for row in rows),
                        "kept_return": math.fsum(float(arrays["rewards"][row]) for row in mine),
                        "terminated": bool(arrays["terminals"][i]),
                        "timed_out": bool(timeout[i]) and not arrays["terminals"][i],
                    }
                )
            start = i + 1
    return episodes


def assert_equals_twin(found: Transitions, arrays, kept, timeout):
    """Every field of every transition and episode, against the slow loops."""
    count = len(arrays["rewards"])
    np.testing.assert_array_equal(found.raw_index, kept)
    np.testing.assert_array_equal(found.observation, arrays["observations"][kept])
    np.testing.assert_array_equal(found.action, arrays["actions"][kept])
    np.testing.assert_array_equal(found.reward, arrays["rewards"][kept])
    np.testing.assert_array_equal(found.raw_reward, arrays["rewards"][kept])
    np.testing.assert_array_equal(found.terminal, arrays["terminals"][kept])
    ends = arrays["terminals"] | np.asarray(timeout)
    followed = [i + 1 < count and not ends[i] for i in kept]
    np.testing.assert_array_equal(found.has_next_action, followed)
    for position, i in enumerate(kept):
        if followed[position]:
            np.testing.assert_array_equal(found.next_action[position], arrays["actions"][i + 1])
    episodes = naive_episodes(arrays, timeout, set(kept))
    assert len(found.episodes) == len(episodes)
    for number, episode in enumerate(episodes):
        inside = found.episode == number
        np.testing.assert_array_equal(found.raw_index[inside], episode["kept"])
        np.testing.assert_array_equal(found.step[inside], [i - episode["rows"][0] for i in episode["kept"]])
        assert found.episodes.whole_return[number] == episode["whole_return"]
        assert found.episodes.kept_return[number] == episode["kept_return"]
        assert found.episodes.whole_length[number] == len(episode["rows"])
        assert found.episodes.kept_length[number] == len(episode["kept"])
        first = arrays["observations"][episode["rows"][0]]
        np.testing.assert_array_equal(found.episodes.first_observation[number], first)
        assert found.episodes.terminated[number] == episode["terminated"]
        assert found.episodes.timed_out[number] == episode["timed_out"]


@pytest.mark.parametrize("name", SETS)
def test_transitions_and_their_order_equal_d4rls_on_golden_files(name):
    expected, raw = golden("01_dataset"), arrays_of(FOLDER / f"{name}.hdf5")
    found = load(FOLDER / f"{name}.hdf5", episode_ends="discontinuity")
    row = expected[f"{name}/q/raw_row"]
    np.testing.assert_array_equal(found.raw_index, row)
    np.testing.assert_array_equal(found.terminal, expected[f"{name}/q/terminals"])
    np.testing.assert_array_equal(found.observation, raw["observations"][row])
    np.testing.assert_array_equal(found.next_observation, raw["observations"][row + 1])
    np.testing.assert_array_equal(found.action, raw["actions"][row])
    np.testing.assert_array_equal(found.next_action, raw["actions"][row + 1])
    np.testing.assert_array_equal(found.reward, raw["rewards"][row])
    assert found.info.num_rows == len(raw["rewards"])


@pytest.mark.parametrize("name", SETS)
def test_episodes_by_discontinuity_equal_the_authors(name):
    expected = golden("01_dataset")
    found = load(FOLDER / f"{name}.hdf5", episode_ends="discontinuity")
    ends = np.append(np.diff(found.episode) == 1, True)
    np.testing.assert_array_equal(ends, expected[f"{name}/dones_float"][:, 0] == 1)
    returns = found.episodes.kept_return[found.episode]
    np.testing.assert_allclose(returns, expected[f"{name}/returns"][:, 0], **F32)
    np.testing.assert_allclose(returns, expected[f"{name}/onestep/returns"][:, 0], rtol=1e-9, atol=1e-12)
    to_go = return_to_go(found.reward, ends, 0.99)
    np.testing.assert_allclose(to_go, expected[f"{name}/ret"][:, 0], rtol=2e-6, atol=5e-5)


def test_flags_keep_apart_two_episodes_that_the_authors_tolerance_merges():
    by_flags = load(FOLDER / "sparse.hdf5")
    by_jumps = load(FOLDER / "sparse.hdf5", episode_ends="discontinuity")
    assert len(by_flags.episodes) == len(by_jumps.episodes) + 1
    np.testing.assert_array_equal(by_flags.raw_index, by_jumps.raw_index)
    for name in ("mix", "equal"):
        one, other = (
            load(FOLDER / f"{name}.hdf5", episode_ends=ends).episode for ends in ("flags", "discontinuity")
        )
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", SETS)
def test_the_normalizer_equals_the_authors_with_the_floor_inside_the_scale(name):
    expected = golden("01_dataset")
    observation = load(FOLDER / f"{name}.hdf5").observation
    normalizer = fit_normalizer(observation)
    np.testing.assert_allclose(normalizer.mean, expected[f"{name}/norm/mean"][0], **F32)
    np.testing.assert_allclose(normalizer.scale, expected[f"{name}/norm/std"][0], **F32)
    np.testing.assert_allclose(normalizer.scale - 1e-3, observation.std(axis=0), **F32)


def test_a_constant_dimension_normalizes_to_zero_and_identity_changes_nothing():
    observation = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    normalizer = fit_normalizer(observation)
    np.testing.assert_allclose(normalizer.mean, [2, 5])
    np.testing.assert_allclose(normalizer.scale, [1.001, 0.001], rtol=1e-6)
    np.testing.assert_allclose(normalizer(observation), [[-1 / 1.001, 0], [1 / 1.001, 0]], rtol=1e-6)
    np.testing.assert_array_equal(identity_normalizer(2)(observation), observation)


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_the_return_range_transform_equals_the_authors(name):
    found = load(FOLDER / f"{name}.hdf5", episode_ends="discontinuity")
    scaled = transform_reward(found, "kept-return-range")
    np.testing.assert_allclose(scaled.reward, golden("01_dataset")[f"{name}/iql/rewards_normalized"], **F32)
    np.testing.assert_array_equal(scaled.raw_reward, found.raw_reward)


def test_rewards_are_shifted_or_divided_by_the_range_of_whole_or_of_kept_returns():
    arrays = record([0, 1, 0, 0, 0], [0, 0, 0, 1, 0])
    arrays["rewards"] = np.array([1, 2, 1, 10, 4], np.float32)
    found = load(arrays)  # rows 0, 1 and 2 are transitions; episodes of returns 3 and 11, of 3 and 1 kept
    np.testing.assert_array_equal(transform_reward(found, "minus-one").reward, [0, 1, 0])
    np.testing.assert_allclose(transform_reward(found, "return-range").reward, [125, 250, 125])
    kept = transform_reward(found, "kept-return-range")
    np.testing.assert_allclose(kept.reward, [500, 1000, 500])
    np.testing.assert_array_equal(transform_reward(kept, "none").reward, [1, 2, 1])


def test_equal_returns_leave_the_rewards_unscaled():
    arrays = record([0, 1, 0, 1, 0, 1])
    arrays["rewards"] = np.array([1, 1, 2, 0, 1, 1], np.float32)
    found = transform_reward(load(arrays, max_episode_steps=100), "return-range")
    np.testing.assert_array_equal(found.reward, [1, 1, 2, 0, 1])


@pytest.mark.parametrize("kind", ["arrays", "npz", "hdf5"])
def test_without_timeouts_the_rows_equal_d4rls_at_a_limit_of_50(kind, tmp_path):
    arrays = arrays_of(FOLDER / "sparse.hdf5")
    del arrays["timeouts"]
    data = arrays if kind == "arrays" else write(tmp_path / f"sparse.{kind}", arrays)
    found = load(data, max_episode_steps=50)
    expected = golden("01_dataset")
    np.testing.assert_array_equal(found.raw_index, expected["sparse/no_timeouts_key_max50/raw_row"])
    np.testing.assert_array_equal(found.terminal, expected["sparse/no_timeouts_key_max50/terminals"])


@st.composite
def flags(draw, min_size: int = 2, max_size: int = 40):
    """Terminals and timeouts, both often set, in every combination."""
    count = draw(st.integers(min_size, max_size))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
    other = draw(st.sampled_from([0.0, 0.1, 0.5, 0.9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random(count) < share, rng.random(count) < other


@given(flags())
def test_transitions_and_episodes_equal_a_loop_over_rows(both):
    terminal, timeout = both
    arrays = record(terminal, timeout)
    kept, _ = naive_kept(terminal, timeout, None)
    if not kept:
        with pytest.raises(DatasetError, match="at least one transition"):
            load(arrays)
        return
    found = load(arrays)
    assert_equals_twin(found, arrays, kept, timeout)
    np.testing.assert_array_equal(found.next_observation, arrays["observations"][np.array(kept) + 1])


@given(flags(), st.integers(1, 12))
def test_without_timeouts_transitions_equal_d4rls_loop(both, limit):
    terminal, _ = both
    arrays = record(terminal)
    kept, final = naive_kept(terminal, None, limit)
    np.testing.assert_array_equal(limit_timeouts(np.asarray(terminal), limit), final)
    if not kept:
        with pytest.raises(DatasetError, match="at least one transition"):
            load(arrays, max_episode_steps=limit)
        return
    assert_equals_twin(load(arrays, max_episode_steps=limit), arrays, kept, final)


@given(flags())
def test_with_next_observations_every_row_is_kept(both):
    terminal, timeout = both
    arrays = record(terminal, timeout)
    arrays["next_observations"] = arrays["observations"] + 0.5
    found = load(arrays)
    assert_equals_twin(found, arrays, list(range(len(terminal))), timeout)
    np.testing.assert_array_equal(found.next_observation, arrays["next_observations"])


@given(flags(min_size=1), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_return_to_go_equals_a_loop_from_the_back(both, discount):
    end, _ = both
    end[-1] = True
    reward = np.random.default_rng(len(end)).normal(size=len(end))
    expected, following = np.zeros(len(end)), 0.0
    for i in reversed(range(len(end))):
        following = reward[i] + discount * following * (not end[i])
        expected[i] = following
    np.testing.assert_allclose(return_to_go(reward, end, discount), expected, rtol=1e-12, atol=1e-12)


def test_whole_returns_count_rows_that_are_no_transitions():
    arrays = record([0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0])
    arrays["rewards"] = np.array([1, 2, 4, 8, 16, 32, 64], np.float32)
    episodes = load(arrays).episodes
    # Rows 2 (a timeout) and 6 (the last) are dropped; the last episode is unfinished.
    np.testing.assert_array_equal(episodes.whole_return, [7, 24, 96])
    np.testing.assert_array_equal(episodes.kept_return, [3, 24, 32])
    np.testing.assert_array_equal(episodes.whole_length, [3, 2, 2])
    np.testing.assert_array_equal(episodes.kept_length, [2, 2, 1])
    np.testing.assert_array_equal(episodes.terminated, [False, True, False])
    np.testing.assert_array_equal(episodes.timed_out, [True, False, False])


def test_a_dropped_timeout_before_the_end_ends_the_last_episode_also_where_states_are_compared():
    arrays = record([0] * 12, [0] * 10 + [1, 0])
    arrays["observations"] = np.arange(12, dtype=np.float32)[:, None]
    for ends in ("flags", "discontinuity"):
        np.testing.assert_array_equal(load(arrays, episode_ends=ends).episodes.timed_out, [True])


def test_a_list_of_episodes_is_refused_without_printing_it():
    # In a process of its own, where annotations are not checked.
    code = "import reweigh; reweigh.load([{'observations': [[0.0]] * 5}])"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    *_, last = process.stderr.strip().splitlines()
    assert last.startswith("reweigh.errors.DatasetError: expected a path, a dataset's name, or a mapping")
    assert "but found list." in last


def test_whole_numbers_beyond_the_bounds_are_taken_for_discrete_actions():
    arrays = record([0, 0, 0], [0, 0, 0]) | {"actions": np.array([[0.0], [1.0], [3.0]], np.float32)}
    with pytest.raises(DatasetError, match="look like discrete actions"):
        load(arrays)


def test_a_record_without_timeouts_that_stops_in_mid_episode_is_said_to_be_unfinished():
    # Three episodes: one ends at a terminal, one in a jump of the state, one with the record.
    observation = np.array([0, 1, 2, 10, 11, 20, 21], np.float32)[:, None]
    arrays = {
        "observations": observation,
        "next_observations": observation + 1,
        "actions": np.zeros((7, 1), np.float32),
        "rewards": np.zeros(7, np.float32),
        "terminals": np.arange(7) == 2,
    }
    episodes = load(arrays).episodes
    np.testing.assert_array_equal(episodes.terminated, [True, False, False])
    np.testing.assert_array_equal(episodes.timed_out, [False, True, False])


def test_an_episode_without_a_transition_enters_no_statistic():
    arrays = record([0, 1, 0, 0, 0, 1, 0, 0], [0, 0, 1, 1, 0, 1, 0, 0])
    arrays["rewards"] = np.array([1, 1, 1000, -1000, 3, 3, 5, 7], np.float32)
    found = load(arrays)  # rows 2 and 3 are one-row episodes of a timeout; row 5 has both flags
    np.testing.assert_array_equal(found.raw_index, [0, 1, 4, 6])
    np.testing.assert_array_equal(found.episode, [0, 0, 1, 2])
    np.testing.assert_array_equal(found.episodes.whole_return, [2, 6, 12])
    scaled = transform_reward(found, "return-range")
    np.testing.assert_allclose(scaled.reward, [100, 100, 300, 500])


def test_a_timeout_is_no_terminal_and_a_terminal_is_no_timeout():
    arrays = record([0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0])
    arrays["next_observations"] = arrays["observations"] + 1
    found = load(arrays)
    np.testing.assert_array_equal(found.terminal, [False, False, False, True, False, False])
    np.testing.assert_array_equal(found.has_next_action, [True, False, True, False, True, False])
    np.testing.assert_array_equal(found.episode, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(found.episodes.timed_out, [True, False, False])
    np.testing.assert_array_equal(found.episodes.terminated, [False, True, False])


@pytest.mark.parametrize("kind", ["arrays", "npz"])
def test_only_a_record_with_next_observations_keeps_timeouts_and_the_last_row(kind, tmp_path):
    arrays = record([0, 1, 0, 0, 0], [0, 0, 0, 1, 0])
    whole = {**arrays, "next_observations": arrays["observations"] + 1}

    def given_as(content):
        return content if kind == "arrays" else write(tmp_path / "rows.npz", content)

    np.testing.assert_array_equal(load(given_as(whole)).raw_index, [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(load(given_as(arrays)).raw_index, [0, 1, 2])


def test_hdf5_follows_d4rls_rule_even_with_next_observations(tmp_path):
    arrays = record([0, 1, 0, 0, 0], [0, 0, 0, 1, 0])
    arrays["next_observations"] = arrays["observations"] + 7
    found = load(write(tmp_path / "rows.hdf5", arrays))
    np.testing.assert_array_equal(found.raw_index, [0, 1, 2])
    np.testing.assert_array_equal(found.next_observation, arrays["observations"][[1, 2, 3]])


def test_without_timeouts_kept_rows_are_split_where_the_state_jumps():
    arrays = record([0, 0, 1, 0, 0, 0])
    arrays["next_observations"] = arrays["observations"] + np.float32([1, -1])
    arrays["next_observations"][3] += np.float32(0.01)
    found = load(arrays)
    np.testing.assert_array_equal(found.episode, [0, 0, 0, 1, 2, 2])
    np.testing.assert_array_equal(found.has_next_action, [True, True, False, False, True, False])
    assert found.info.row_rule == "all, episodes by discontinuity"


@pytest.mark.parametrize("kind", ["arrays", "npz", "hdf5"])
def test_the_source_of_each_row_passes_through(kind, tmp_path):
    arrays = record([0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0])
    arrays["source"] = np.array([1, 1, 0, 0, -1, 1])
    data = arrays if kind == "arrays" else write(tmp_path / f"rows.{kind}", arrays)
    np.testing.assert_array_equal(load(data).source, [1, 1, 0, -1])
    del arrays["source"]
    np.testing.assert_array_equal(load(arrays).source, [-1, -1, -1, -1])


def test_actions_are_scaled_from_the_bounds_of_the_files_environment(tmp_path):
    arrays = record([0, 0, 0], [0, 0, 0])
    arrays["actions"] = np.array([[-0.4, 1], [0.4, 3], [0.0, 2]], np.float32)
    path = write(tmp_path / "humanoid.hdf5", arrays, env="Humanoid-v4")
    asked = []

    def bounds_of(env):
        asked.append(env)
        return np.array([-0.4, 1.0]), np.array([0.4, 3.0])

    found = load(path, bounds_of=bounds_of)
    np.testing.assert_allclose(found.action, [[-1, -1], [1, 1]])
    np.testing.assert_allclose(found.next_action, [[1, 1], [0, 0]], atol=1e-7)
    np.testing.assert_allclose(found.info.action_low, [-0.4, 1])
    np.testing.assert_allclose(found.info.action_high, [0.4, 3])
    assert found.info.env == "Humanoid-v4"
    assert load(path, bounds_of=bounds_of, env="Other-v1").info.env == "Other-v1"
    assert asked == ["Humanoid-v4", "Other-v1"]
    with pytest.raises(DatasetError, match="lie outside"):
        load(path)  # nobody says that these are not [-1, 1]


def test_without_an_environment_no_bounds_are_asked_for():
    arrays = record([0, 0, 0], [0, 0, 0])

    def bounds_of(env):
        raise AssertionError(env)

    found = load(arrays, bounds_of=bounds_of)
    np.testing.assert_array_equal(found.action, arrays["actions"][:2])
    np.testing.assert_array_equal([*found.info.action_low, *found.info.action_high], [-1, 1])


def test_bounds_of_another_width_or_without_a_limit_are_refused():
    arrays = record([0, 0, 0], [0, 0, 0])
    ends = [([0, 0], [1, 1]), ([-np.inf], [np.inf]), ([0], [0]), ([1], [-1])]
    for low, high in [(np.array(low, float), np.array(high, float)) for low, high in ends]:
        with pytest.raises(DatasetError, match="expected finite action bounds of 1 dimensions"):
            load(arrays, env="Any-v0", bounds_of=lambda env, low=low, high=high: (low, high))


def test_an_npz_may_name_its_environment(tmp_path):
    arrays = {**record([0, 0, 0], [0, 0, 0]), "env": np.array("Hopper-v4")}
    assert load(write(tmp_path / "rows.npz", arrays)).info.env == "Hopper-v4"


def test_the_limit_of_a_known_d4rl_file_is_found_by_its_name_or_environment(tmp_path):
    arrays = record(np.zeros(2001, bool))
    by_name = load(write(tmp_path / "hopper_medium-v2.hdf5", arrays))
    np.testing.assert_array_equal(np.setdiff1d(np.arange(2000), by_name.raw_index), [999, 1999])
    by_env = load(write(tmp_path / "mine.hdf5", arrays), env="Hopper-v4")
    np.testing.assert_array_equal(by_env.raw_index, by_name.raw_index)
    of_its_own = load(write(tmp_path / "mine.npz", arrays), env='Hopper-v4 {"max_episode_steps": 500}')
    np.testing.assert_array_equal(np.setdiff1d(np.arange(2000), of_its_own.raw_index), [499, 999, 1499, 1999])
    tried = load(tmp_path / "hopper_medium-v2.hdf5", env='Hopper-v4 {"max_episode_steps": 500}')
    np.testing.assert_array_equal(tried.raw_index, by_name.raw_index)
    given_one = load(tmp_path / "hopper_medium-v2.hdf5", max_episode_steps=10_000)
    assert len(given_one) == 2000


def test_the_digest_depends_on_the_arrays_and_the_row_rule_and_not_on_the_path(tmp_path):
    arrays = record([0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0])
    arrays["next_observations"] = arrays["observations"] + 1
    arrays["source"] = np.array([1, 1, 0, 0, 0, 0], np.int8)
    digest = load(write(tmp_path / "one.npz", arrays)).info.digest
    (tmp_path / "folder").mkdir()
    assert load(write(tmp_path / "folder" / "other.npz", arrays)).info.digest == digest
    assert load(arrays).info.digest == digest
    doubles = {**arrays, "observations": arrays["observations"].astype(np.float64)}
    assert load(doubles).info.digest == digest, "the numbers are the same"
    digests = [digest, load(arrays, episode_ends="discontinuity").info.digest]
    digests.append(load(write(tmp_path / "one.hdf5", arrays)).info.digest)
    for name, array in arrays.items():
        changed = array.copy()
        changed[3] = ~array[3] if array.dtype == bool else array[3] - 1
        digests.append(load({**arrays, name: changed}).info.digest)
    for name in ("timeouts", "next_observations", "source"):
        fewer = {other: array for other, array in arrays.items() if other != name}
        digests.append(load(fewer).info.digest)
    without = {name: arrays[name] for name in ("observations", "actions", "rewards", "terminals")}
    digests.extend(load(without, max_episode_steps=limit).info.digest for limit in (2, 3, 100))
    assert len(set(digests)) == len(digests)


def test_a_builtin_dataset_keeps_every_row_and_is_the_same_each_time():
    one, other = load("builtin:bandit"), load("builtin:bandit")
    assert len(one) == 10_000
    assert one.terminal.all()
    assert len(one.episodes) == 10_000
    assert one.info.digest == other.info.digest


def test_an_episode_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="but found 0"):
        load(record([0, 0, 0]), max_episode_steps=0)


def test_an_episode_limit_that_would_do_nothing_is_refused():
    with pytest.raises(DatasetError, match="has 'timeouts', but found 50"):
        load(record([0, 0, 0], [0, 1, 0]), max_episode_steps=50)
    arrays = record([0, 0, 0])
    arrays["next_observations"] = arrays["observations"] + 1
    with pytest.raises(DatasetError, match="keeps every row, but found 50"):
        load(arrays, max_episode_steps=50)


@pytest.mark.parametrize("name", ["hopper-medium-replay", "hopper-expert", "door-human"])
def test_transitions_of_a_real_d4rl_file_equal_d4rls_loop(name, real_data):
    path = real_data / f"{name}.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    found, raw = load(path), arrays_of(path, ("observations", "terminals", "timeouts"))
    kept, _ = naive_kept(raw["terminals"], raw["timeouts"], None)
    np.testing.assert_array_equal(found.raw_index, kept)
    np.testing.assert_array_equal(found.observation, raw["observations"][kept].astype(np.float32))
    np.testing.assert_array_equal(found.terminal, raw["terminals"][kept])


@pytest.mark.parametrize("options", [{}, {"chunks": (7, 3), "compression": "gzip"}], ids=["whole", "chunks"])
def test_wide_floats_are_narrowed_piece_by_piece_to_the_same_bits(options, tmp_path, monkeypatch):
    monkeypatch.setattr("reweigh.datasets.files._BLOCK_BYTES", 10 * 3 * 8)
    rng = np.random.default_rng(0)
    arrays = {
        "observations": rng.normal(size=(53, 3)),
        "next_observations": rng.normal(size=(53, 3)),
        "actions": rng.uniform(-1, 1, (53, 2)),
        "rewards": rng.normal(size=53),
        "terminals": np.zeros(53),
        "timeouts": np.zeros(53),
    }
    with h5py.File(tmp_path / "rows.hdf5", "w") as file:
        for name, array in arrays.items():
            file.create_dataset(
                name, data=array, **(options if array.ndim == 2 and array.shape[1] == 3 else {})
            )
    np.savez(tmp_path / "rows.npz", **arrays)
    for rows in (read_hdf5(tmp_path / "rows.hdf5"), read_npz(tmp_path / "rows.npz")):
        assert rows.observation.dtype == np.float32
        np.testing.assert_array_equal(rows.observation, arrays["observations"].astype(np.float32))
        np.testing.assert_array_equal(rows.next_observation, arrays["next_observations"].astype(np.float32))
        np.testing.assert_array_equal(rows.reward, arrays["rewards"].astype(np.float32))


def test_flags_that_only_rounding_makes_0_or_1_are_refused(tmp_path):
    rows = {"observations": np.zeros((4, 1)), "actions": np.zeros((4, 1)), "rewards": np.zeros(4)}
    flags = np.array([0, 1 + 1e-12, 0, 0])
    np.savez(tmp_path / "rows.npz", **rows, terminals=flags, timeouts=np.zeros(4))
    with pytest.raises(DatasetError, match="expected 0 or 1 in 'terminals'"):
        read_npz(tmp_path / "rows.npz")


def test_where_the_environment_is_not_installed_actions_have_the_records_bounds():
    arrays = record([0, 0, 0], [0, 0, 0])
    bounds = (np.float32([-0.5]), np.float32([1.5]))
    rows = dataclasses.replace(load_record(arrays).rows, env="Nowhere-v0", bounds=bounds)
    found, notes = load_data(DataConfig("arrays"), record=Record("arrays", rows, always_d4rl=False))
    np.testing.assert_allclose(found.action, arrays["actions"][:2] - 0.5, atol=1e-6)
    assert "the record's bounds" in notes[0]


def test_a_time_limit_that_is_counted_after_a_terminal_is_pointed_out():
    terminal = np.zeros(60, bool)
    terminal[9] = True
    columns = {
        "observations": np.arange(60, dtype=np.float32)[:, None],
        "actions": np.zeros((60, 1), np.float32),
        "rewards": np.ones(60, np.float32),
        "terminals": terminal,
    }
    with pytest.warns(UserWarning, match="from 1 after a terminal"):
        found = reweigh.load(columns, max_episode_steps=20)
    assert found.episodes.whole_length.tolist() == [10, 19, 20, 11]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reweigh.load(columns, max_episode_steps=1000)
