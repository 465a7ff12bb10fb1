import hashlib
import json
import math
import shlex
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import scipy.stats
from gymnasium.envs.registration import EnvSpec

import reweigh
from reweigh.cli import main
from reweigh.collection import collect, episode_seed, make_act
from reweigh.commands.common import history
from reweigh.datasets.files import write_hdf5
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.errors import ConfigError, DatasetError, RunError
from reweigh.evaluation import environment_spec
from reweigh.policy import Policy, save_policy
from reweigh.runs import RunFolder

LOW, HIGH = np.array([-2, 10], np.float32), np.array([2, 14], np.float32)

# Episode k has 4, 3 or 5 steps and ends in a terminal, a timeout, or both at once.
LENGTHS = (4, 3, 5)


class Counting(gymnasium.Env):
    """Observes (episode, step, a number drawn at reset); pays the step; keeps count of everything."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space: Any = gymnasium.spaces.Box(LOW, HIGH)
    made: ClassVar[list["Counting"]] = []

    def __init__(self, *, bounded: bool = True, poison: int | None = None):
        self.episode, self.step_count, self.total, self.drawn = -1, 0, 0, 0.0
        self.poison, self.closed = poison, False
        self.seeds: list[int | None] = []
        self.actions: list[np.ndarray] = []
        if not bounded:
            self.action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        Counting.made.append(self)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.seeds.append(seed)
        self.episode += 1
        self.step_count = 0
        self.drawn = self.np_random.random()
        return self._observe(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.actions.append(action.copy())
        self.step_count += 1
        self.total += 1
        kind = self.episode % 3
        ended = self.step_count == LENGTHS[kind]
        reward = math.inf if self.total == self.poison else float(self.step_count)
        return self._observe(), reward, ended and kind != 1, ended and kind != 0, {}

    def close(self):
        self.closed = True

    def _observe(self):
        return np.array([self.episode, self.step_count, self.drawn], np.float32)


@pytest.fixture(autouse=True)
def environments():
    Counting.made.clear()
    settings = {
        "Counting-v0": {},
        "Unbounded-v0": {"bounded": False},
        "Poison-v0": {"poison": 7},
    }
    for name, kwargs in settings.items():
        gymnasium.register(name, entry_point=Counting, kwargs=kwargs)
    gymnasium.register("Limited-v0", entry_point=Counting, max_episode_steps=2)
    yield
    for name in (*settings, "Limited-v0"):
        del gymnasium.registry[name]


def saved_policy(folder: Path, states: int = 3, gain: float = 0.0) -> Path:
    """First action: the middle of its range; second: the middle plus `tanh` of `gain` times the step."""
    kernel = np.zeros((states, 2), np.float32)
    kernel[1, 1] = gain
    layers = ((kernel, np.zeros(2, np.float32)),)
    path = folder / "policy.npz"
    save_policy(path, Policy(layers, identity_normalizer(states), LOW, HIGH))
    return path


def assert_same_rows(one, other):
    for name in ("observation", "action", "reward", "terminal", "timeout", "next_observation"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# What is recorded.


def test_every_field_of_every_row_is_the_step_that_was_taken():
    rows, _ = collect("Counting-v0", "random", 14, 0)
    episode = np.repeat([0, 1, 2, 3], [4, 3, 5, 2])
    step = np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 0, 1])
    np.testing.assert_array_equal(rows.observation[:, 0], episode)
    np.testing.assert_array_equal(rows.observation[:, 1], step)
    np.testing.assert_array_equal(rows.next_observation[:, 0], episode)
    np.testing.assert_array_equal(rows.next_observation[:, 1], step + 1)
    np.testing.assert_array_equal(rows.reward, step + 1)
    np.testing.assert_array_equal(rows.action, np.stack(Counting.made[-1].actions))
    assert len(rows) == 14
    assert rows.env == "Counting-v0"


def test_timeouts_stand_apart_from_terminals_and_the_last_cut_is_a_timeout():
    rows, _ = collect("Counting-v0", "random", 14, 0)
    # Rows 3 (terminal), 6 (timeout), 11 (both: a terminal), 13 (cut).
    np.testing.assert_array_equal(np.flatnonzero(rows.terminal), [3, 11])
    np.testing.assert_array_equal(np.flatnonzero(rows.timeout), [6, 13])


@pytest.mark.parametrize(("num_steps", "terminal"), [(4, True), (7, False), (12, True)])
def test_an_episode_that_ends_at_the_last_step_is_not_cut(num_steps, terminal):
    rows, attributes = collect("Counting-v0", "random", num_steps, 0)
    assert rows.terminal[-1] == terminal
    assert rows.timeout[-1] != terminal
    # Nothing was reset for an episode without a step.
    assert len(Counting.made[-1].seeds) == attributes["episodes"]


def test_the_time_limit_of_gymnasium_is_a_timeout():
    rows, attributes = collect("Limited-v0", "random", 6, 0)
    np.testing.assert_array_equal(rows.timeout, [False, True] * 3)
    assert not rows.terminal.any()
    assert attributes["episodes"] == 3


def test_what_is_written_down_of_an_environment_makes_it_again_with_its_limit():
    for env_id, limit in (("Pendulum-v1", 200), ('Pendulum-v1 {"max_episode_steps": 7}', 7)):
        spec = EnvSpec.from_json(environment_spec(env_id))
        assert gymnasium.make(spec).spec.max_episode_steps == limit
    assert environment_spec("Counting-v0") is None, "its class has no name in words"


def test_the_attributes_say_how_the_rows_came_to_be():
    _, attributes = collect("Counting-v0", "random", 14, 5)
    versions = {name: attributes.pop(name) for name in ("gymnasium", "mujoco", "numpy")}
    assert versions["gymnasium"] == gymnasium.__version__
    assert versions["numpy"] == np.__version__
    assert versions["mujoco"][0].isdigit()
    assert attributes == {
        "env": "Counting-v0",
        "policy": "random",
        "action_noise": 0.0,
        "num_steps": 14,
        "seed": 5,
        "episodes": 4,
        # 1 + 2 + 3 + 4 = 10, 1 + 2 + 3 = 6, 15; the episode that was cut is left out.
        "mean_return": pytest.approx(31 / 3),
        "made_by": f"reweigh {reweigh.__version__}",
    }


def test_the_mean_return_of_a_single_cut_episode_is_its_own():
    _, attributes = collect("Counting-v0", "random", 2, 0)
    assert attributes["episodes"] == 1
    assert attributes["mean_return"] == 3


# Policies.


def test_a_word_longer_than_a_files_name_may_be_is_part_of_the_history():
    maze = f'PointMaze_UMaze-v3 {{"maze_map": {[[1] * 200]}}}'
    arguments = Namespace(argv=["collect", "--env", maze])
    assert history(arguments, []) == shlex.join(["reweigh", "collect", "--env", maze])


def test_random_actions_are_uniform_between_the_bounds():
    rows, _ = collect("Counting-v0", "random", 2000, 0)
    for column, low, high in zip(rows.action.T, LOW, HIGH, strict=True):
        assert scipy.stats.kstest(column, "uniform", (low, high - low)).pvalue > 0.001
    assert abs(np.corrcoef(rows.action.T)[0, 1]) < 4 / math.sqrt(2000)


def test_a_saved_policy_acts_greedily_in_the_environments_units(tmp_path):
    rows, attributes = collect("Counting-v0", saved_policy(tmp_path, gain=0.25), 14, 0)
    # The middle of [10, 14] is 12, and half the range 2.
    expected = np.stack([np.zeros(14), 12 + 2 * np.tanh(0.25 * rows.observation[:, 1])], axis=1)
    np.testing.assert_allclose(rows.action, expected, rtol=1e-6)
    digest = hashlib.sha256((tmp_path / "policy.npz").read_bytes()).hexdigest()
    assert attributes["policy"] == digest


def test_the_path_of_a_policy_may_be_text(tmp_path):
    path = saved_policy(tmp_path)
    assert_same_rows(collect("Counting-v0", str(path), 9, 0)[0], collect("Counting-v0", path, 9, 0)[0])


def test_noise_has_the_standard_deviation_that_was_asked_for_where_the_range_is_two(tmp_path):
    rows, attributes = collect("Counting-v0", saved_policy(tmp_path), 2000, 0, action_noise=0.1)
    middle, half = (LOW + HIGH) / 2, (HIGH - LOW) / 2
    noise = (rows.action - middle) / half
    np.testing.assert_allclose(noise.std(axis=0), 0.1, rtol=4 / math.sqrt(2 * 2000))
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=4 * 0.1 / math.sqrt(2000))
    assert attributes["action_noise"] == 0.1


def test_noise_is_clipped_to_the_bounds(tmp_path):
    rows, _ = collect("Counting-v0", saved_policy(tmp_path), 500, 0, action_noise=5.0)
    assert (rows.action >= LOW).all()
    assert (rows.action <= HIGH).all()
    # Beyond one of five standard deviations: 0.84 of a normal law.
    assert 0.75 < ((rows.action == LOW) | (rows.action == HIGH)).mean() < 0.92


# Seeds.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_are_taken_as_they_are_recorded_and_within_the_bounds(dtype):
    low, high = np.array([-0.1, -3.0], dtype), np.array([0.7, -0.8], dtype)
    environment = SimpleNamespace(action_space=gymnasium.spaces.Box(low, high, dtype=dtype))
    act = make_act("E-v0", environment, None, 1000, np.random.default_rng(0), 0.0)
    taken = [act(step, np.zeros(3)) for step in range(1000)]
    assert all(action in environment.action_space for action in taken)
    np.testing.assert_array_equal(taken, np.array(taken, np.float32).astype(dtype))
    layers = ((np.zeros((3, 2), np.float32), np.array([50, -50], np.float32)),)
    extreme = Policy(layers, identity_normalizer(3), low.astype(np.float32), high.astype(np.float32))
    environment.observation_space = gymnasium.spaces.Box(-1, 1, (3,))
    act = make_act("E-v0", environment, extreme, 1, np.random.default_rng(0), 0.0)
    assert act(0, np.zeros(3, np.float32)) in environment.action_space
    alone = extreme(np.zeros(3, np.float32))
    assert (extreme.action_low <= alone).all()
    assert (alone <= extreme.action_high).all()


@pytest.mark.parametrize("noise", [None, 0.0, 0.3])
def test_equal_calls_give_equal_rows_and_other_seeds_others(tmp_path, noise):
    policy = "random" if noise is None else saved_policy(tmp_path, gain=0.1)
    calls = [collect("Counting-v0", policy, 40, seed, action_noise=noise or 0.0) for seed in (3, 3, 4)]
    assert_same_rows(calls[0][0], calls[1][0])
    assert calls[0][1] == calls[1][1]
    assert (calls[0][0].observation != calls[2][0].observation).any()
    assert (calls[0][0].action != calls[2][0].action).any() == (noise != 0.0)


def test_more_steps_begin_with_the_same_ones():
    short, long = (collect("Counting-v0", "random", num_steps, 0)[0] for num_steps in (13, 30))
    for name in ("observation", "action", "reward", "terminal", "next_observation"):
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name)[:13])
    np.testing.assert_array_equal(short.timeout[:-1], long.timeout[:12])


def test_every_episode_is_reset_with_a_seed_of_its_own():
    collect("Counting-v0", "random", 400, 7)
    seeds = Counting.made[-1].seeds
    assert seeds == [episode_seed(7, episode) for episode in range(100)]
    assert len(set(seeds)) == 100


def test_episode_seeds_are_fixed_for_good():
    # The first four bytes of SHA-256 of "collection 0 0", little endian, modulo 2^31 - 1.
    digest = hashlib.sha256(b"collection 0 0").hexdigest()
    first = int("".join(digest[i : i + 2] for i in (6, 4, 2, 0)), 16)
    assert episode_seed(0, 0) == first % (2**31 - 1) == 1123138163
    seeds = {episode_seed(seed, episode) for seed in range(30) for episode in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**31 for seed in seeds)


# Files.


@pytest.mark.parametrize(("num_steps", "transitions"), [(14, 12), (12, 10), (7, 6)])
def test_a_written_file_loads_with_the_transitions_of_d4rls_rule(tmp_path, num_steps, transitions):
    rows, attributes = collect("Counting-v0", "random", num_steps, 0)
    path = tmp_path / "data.hdf5"
    write_hdf5(path, rows, attributes)
    data = reweigh.load(path)
    # 14: timeouts in rows 6 and 13. 12: row 6, and the last row, a terminal. 7: row 6, which is the last.
    assert len(data) == transitions
    index = data.raw_index
    np.testing.assert_allclose(data.action, (rows.action[index] - LOW) / 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(data.terminal, rows.terminal[index])
    inside = ~data.terminal
    np.testing.assert_array_equal(data.next_observation[inside], rows.next_observation[index][inside])
    assert data.info.env == "Counting-v0"
    assert data.info.attributes["seed"] == 0
    assert data.info.attributes["episodes"] == attributes["episodes"]
    np.testing.assert_array_equal(data.episodes.whole_return[:2], [10, 6])


def test_equal_calls_give_equal_files(tmp_path):
    for name in ("one", "other"):
        write_hdf5(tmp_path / name, *collect("Counting-v0", "random", 50, 1))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_short_roll_out_of_hopper_is_a_dataset(tmp_path):
    rows, attributes = collect("Hopper-v4", "random", 300, 0)
    assert_same_rows(rows, collect("Hopper-v4", "random", 300, 0)[0])
    assert np.abs(rows.action).max() <= 1
    # A hopper that acts at random falls long before its limit of 1000 steps.
    assert rows.terminal.sum() >= 5
    np.testing.assert_array_equal(np.flatnonzero(rows.timeout), [299])
    inside = ~rows.terminal[:-1]
    np.testing.assert_array_equal(rows.next_observation[:-1][inside], rows.observation[1:][inside])
    starts = rows.observation[np.append(0, np.flatnonzero(rows.terminal) + 1)]
    assert len(np.unique(starts, axis=0)) == len(starts) == attributes["episodes"]
    write_hdf5(tmp_path / "hopper.hdf5", rows, attributes)
    data = reweigh.load(tmp_path / "hopper.hdf5")
    assert len(data) == 299
    assert (data.observation_size, data.action_size) == (11, 3)
    np.testing.assert_array_equal(data.action, rows.action[:-1])
    whole = data.episodes.whole_return[data.episodes.terminated]
    assert attributes["mean_return"] == pytest.approx(whole.mean())


# What is refused.


def assert_one_line(caught):
    text = str(caught.value)
    assert "\n" not in text
    assert "expected" in text


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", "box of one axis as action space, but 'CartPole-v1' has Discrete"),
        ("FrozenLake-v1", "box of one axis as observation space, but 'FrozenLake-v1' has Discrete"),
        ("Unbounded-v0", r"finite action bounds, but 'Unbounded-v0' has Box\(-inf, inf"),
        ("NoSuchThing-v0", "installed gymnasium environment, but 'NoSuchThing-v0' is none"),
    ],
)
def test_environments_that_do_not_fit_are_refused_in_one_line(env_id, message):
    with pytest.raises(ConfigError, match=message) as caught:
        collect(env_id, "random", 10, 0)
    assert_one_line(caught)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_steps": 1}, "num_steps from 2 to .* found 1"),
        ({"seed": -1}, "seed from 0 .* found -1"),
        ({"seed": 2**63}, "seed from 0 .* found 9223372036854775808"),
        ({"action_noise": -0.1}, "action_noise from 0 to 1000, but found -0.1"),
        ({"action_noise": math.nan}, "action_noise from 0 to 1000, but found nan"),
        ({"action_noise": 0.1}, "action_noise 0 with random actions, but found 0.1"),
    ],
)
def test_settings_outside_their_range_are_refused_before_anything_is_made(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        collect(**{"env_id": "Counting-v0", "policy": "random", "num_steps": 10, "seed": 0} | settings)
    assert_one_line(caught)
    assert not Counting.made


def test_a_policy_of_another_environment_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"observations \(4,\) and .* 'Counting-v0' has \(3,\)") as caught:
        collect("Counting-v0", saved_policy(tmp_path, states=4), 10, 0)
    assert_one_line(caught)
    assert Counting.made[-1].closed


def test_a_policy_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RunError, match="expected a policy at") as caught:
        collect("Counting-v0", tmp_path / "none.npz", 10, 0)
    assert_one_line(caught)


def test_rewards_that_are_not_finite_are_refused():
    with pytest.raises(DatasetError, match=r"finite numbers in 'rewards'.* row 6.* in Poison-v0") as caught:
        collect("Poison-v0", "random", 10, 0)
    assert_one_line(caught)


def test_the_environment_is_closed_in_the_end():
    collect("Counting-v0", "random", 10, 0)
    assert Counting.made[-1].closed


def test_the_seed_that_is_named_collects(tmp_path, capsys):
    run, found, digests = RunFolder(tmp_path / "run"), [], []
    run.claim({}, "0" * 64, {"command": "reweigh train D"})
    for seed in (0, 4):
        run.seed(seed).path.mkdir()
        path = saved_policy(run.seed(seed).path, gain=0.1 * seed)
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())
    line = ["collect", "--env", "Counting-v0", "--policy", str(run.path), "--num-steps", "9", "--json"]
    for words in ([], ["--policy-seed", "4"]):
        assert main([*line, "--out", str(tmp_path / "c.hdf5"), *words]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert [one["policy"] for one in found] == digests
    assert found[1]["history"].startswith("reweigh train D\nreweigh collect")
