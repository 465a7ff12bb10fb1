import json
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from reweigh.cli import main
from reweigh.config import DataConfig, EvaluationConfig, RunConfig
from reweigh.datasets.describe import describe
from reweigh.datasets.environment_names import environment_name, split_environment
from reweigh.datasets.load import load, load_record, needs_download
from reweigh.datasets.observations import flatten
from reweigh.errors import ConfigError, DatasetError
from reweigh.evaluation import make_environment

minari = pytest.importorskip("minari", reason="minari is not installed: pip install 'reweigh[minari]'")

# Episode k ends after so many steps, by turns in a terminal, a timeout and both.
LENGTHS = (4, 3, 5)


class Goals(gymnasium.Env):
    """Observes what identifies each part of each row; pays the step plus `bonus`."""

    action_space = gymnasium.spaces.Box(np.array([-2, 10], np.float32), np.array([2, 14], np.float32))

    def __init__(self, *, bonus: float = 0.0, flat: bool = False, render_mode: str | None = None):
        self.bonus, self.flat, self.render_mode, self.episode, self.row = bonus, flat, render_mode, -1, 0
        parts = {"achieved_goal": 2, "desired_goal": 1, "observation": 3}
        boxes = {key: gymnasium.spaces.Box(-np.inf, np.inf, (n,), np.float64) for key, n in parts.items()}
        self.observation_space = boxes["observation"] if flat else gymnasium.spaces.Dict(boxes)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode, self.row = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action):
        self.row += 1
        ended, kind = self.row == LENGTHS[self.episode % 3], self.episode % 3
        return self.observe(), self.row + self.bonus, ended and kind != 1, ended and kind != 0, {}

    def observe(self):
        observation = np.array([self.episode, self.row, -1.0])
        if self.flat:
            return observation
        goal = np.array([100.0 + self.episode])
        return {"observation": observation, "achieved_goal": observation[:2] / 2, "desired_goal": goal}


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    gymnasium.register("Goals-v0", entry_point=f"{__name__}:Goals", max_episode_steps=50)
    yield tmp_path / "root"
    del gymnasium.registry["Goals-v0"]


def collect(environment, num_steps=12 + 2, name="made/goals-v0", eval_env=None, **settings):
    """Three whole episodes by Minari's own collector, and a fourth that stops after two steps."""
    collector = minari.DataCollector(environment, **{"data_format": "hdf5", **settings})
    ended = True
    for _ in range(num_steps):
        if ended:
            collector.reset(seed=0)
        _, _, terminal, timeout, _ = collector.step(collector.action_space.sample())
        ended = terminal or timeout
    return collector.create_dataset(name, eval_env=eval_env, description="made in a test")


def buffers(*episodes):
    """Episodes of the observations 10 k + t, as Minari stores them."""
    for k, (steps, terminal, timeout) in enumerate(episodes):
        flags = np.zeros((2, steps), bool)
        flags[:, -1] = terminal, timeout
        observations = np.array([[10.0 * k + t, 0.5] for t in range(steps + 1)], np.float32)
        actions = np.full((steps, 1), 0.25, np.float32)
        yield minari.data_collector.EpisodeBuffer(
            observations=observations, actions=actions, rewards=np.arange(steps) + 1.0,
            terminations=flags[0], truncations=flags[1],
        )  # fmt: skip


def write(name, *episodes, space=None, **settings):
    box = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    actions = space or gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    return minari.create_dataset_from_buffers(
        name, list(buffers(*episodes)), observation_space=box, action_space=actions,
        description="d", **{"data_format": "hdf5", **settings},
    )  # fmt: skip


def assert_round_trip(one, other):
    for name in ("observation", "action", "raw_reward", "terminal", "episode", "step"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    live = ~one.terminal
    np.testing.assert_array_equal(one.next_observation[live], other.next_observation[live])


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_every_step_of_every_episode_is_a_transition_with_its_own_next_observation(data_format):
    if data_format == "arrow":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed, in which Minari keeps Arrow")
    found = collect(gymnasium.make("Goals-v0", flat=True), data_format=data_format)
    data = load("minari:made/goals-v0")
    episode, step = (
        np.repeat([0, 1, 2, 3], [4, 3, 5, 2]),
        np.concatenate([np.arange(n) for n in (4, 3, 5, 2)]),
    )
    np.testing.assert_array_equal(data.observation, np.stack([episode, step, -np.ones(14)], axis=1))
    np.testing.assert_array_equal(data.next_observation, data.observation + np.array([0, 1, 0]))
    np.testing.assert_array_equal(data.raw_reward, step + 1)
    actions = np.concatenate([e.actions for e in found.iterate_episodes()])
    np.testing.assert_allclose(data.action, (actions - [0, 12]) / 2, atol=1e-6)
    np.testing.assert_array_equal(data.episode, episode)
    assert data.info.row_rule.startswith("all")


def test_an_episode_ends_in_a_terminal_a_timeout_or_where_its_record_stops():
    write("made/ends-v0", (2, True, False), (3, False, True), (2, False, False), (2, True, True))
    rows = load_record("minari:made/ends-v0").rows
    np.testing.assert_array_equal(np.flatnonzero(rows.terminal), [1, 8])
    np.testing.assert_array_equal(np.flatnonzero(rows.timeout & ~rows.terminal), [4, 6])
    data = load("minari:made/ends-v0")
    assert data.episodes.terminated.tolist() == [True, False, False, True]
    assert data.episodes.whole_length.tolist() == [2, 3, 2, 2]
    assert data.next_observation[-1, 0] == 32


def test_a_second_load_gives_the_same_bits_and_a_changed_dataset_is_read_again():
    dataset = write("made/ends-v0", (2, True, False), (3, False, True))
    first, second = load("minari:made/ends-v0"), load("minari:made/ends-v0")
    assert_round_trip(first, second)
    assert first.info.digest == second.info.digest
    dataset.update_dataset_from_buffer(list(buffers((4, True, False))))
    assert len(load("minari:made/ends-v0")) == 9


def test_goal_dictionaries_are_flattened_alike_in_data_and_environment():
    collect(gymnasium.make("Goals-v0", bonus=0.5))
    data = load("minari:made/goals-v0")
    np.testing.assert_array_equal(data.observation[-1], [1.5, 0.5, 3, 1, -1, 103])
    assert data.info.env is not None
    environment = make_environment(data.info.env)
    observation, _ = environment.reset(seed=0)
    np.testing.assert_array_equal(observation, data.observation[0])
    observation, reward, *_ = environment.step(environment.action_space.low)
    np.testing.assert_array_equal(observation, data.next_observation[0])
    assert reward == data.raw_reward[0] == 1.5
    assert environment.observation_space.contains(observation)
    environment.close()


def test_dictionaries_without_goals_are_flattened_by_name():
    parts = {"b": np.array([1.0]), "a": {"d": np.array([2.0]), "c": np.array([3.0])}}
    np.testing.assert_array_equal(flatten(parts), [3, 2, 1])


def test_the_environment_comes_back_with_its_options_and_its_limit_but_not_its_window():
    collect(gymnasium.make("Goals-v0", bonus=0.5, max_episode_steps=2, render_mode="ansi"))
    env = load("minari:made/goals-v0").info.env
    assert env is not None
    assert split_environment(env) == ("Goals-v0", {"bonus": 0.5, "max_episode_steps": 2})
    environment = make_environment(env)
    environment.reset(seed=0)
    assert [environment.step(environment.action_space.low)[3] for _ in range(2)] == [False, True]
    environment.close()


def test_an_evaluation_environment_is_preferred_and_a_wrapped_one_is_no_environment():
    collect(gymnasium.make("Goals-v0"), eval_env=gymnasium.make("Goals-v0", bonus=3.0))
    assert load("minari:made/goals-v0").info.env == environment_name(
        "Goals-v0", {"bonus": 3.0, "max_episode_steps": 50}
    )
    wrapped = gymnasium.wrappers.FlattenObservation(gymnasium.make("Goals-v0"))
    collect(wrapped, name="made/wrapped-v0")
    found = load("minari:made/wrapped-v0")
    assert found.info.env is None
    assert describe(found)["environment"].startswith("unknown")


def test_the_datasets_own_references_come_first_and_belong_to_its_own_environment_alone():
    write("made/own-v0", (2, True, False), env="Hopper-v4", ref_min_score=1.0, ref_max_score=5.0)
    write("made/none-v0", (2, True, False), env="Hopper-v4")
    own, none = load("minari:made/own-v0"), load("minari:made/none-v0")
    assert own.info.reference == (1.0, 5.0)
    assert describe(own)["0 and 100 stand for"] == "1 and 5, the dataset's own"
    assert describe(own)["normalized return"]["mean"] == 50
    assert none.info.reference is None
    assert describe(none)["0 and 100 stand for"] == "-20.2723 and 3234.3, D4RL's"
    assert load("minari:made/own-v0", env="Walker2d-v4").info.reference is None


def test_a_policy_of_dictionary_data_is_trained_scored_by_its_own_references_and_tried_again(
    root, tmp_path, capsys
):
    from reweigh.algorithms.bc import BCConfig
    from reweigh.experiment import train
    from reweigh.report.collect import group_runs, read_run
    from reweigh.runs import RunFolder

    collect(gymnasium.make("Goals-v0"))
    metadata = root / "made/goals-v0/data/metadata.json"
    found = json.loads(metadata.read_text()) | {"ref_min_score": 0.0, "ref_max_score": 40.0}
    metadata.write_text(json.dumps(found))
    config = RunConfig(
        data=DataConfig("minari:made/goals-v0"), algorithm=replace(BCConfig(), hidden=(8,)), num_updates=2,
        batch_size=4, evaluation=EvaluationConfig(interval=2, episodes=3), log_interval=2,
    )  # fmt: skip
    train(config, [0], tmp_path / "run")
    result = json.loads((tmp_path / "run/seed-0/result.json").read_text())
    # Returns 10, 6 and 15 of episodes of 4, 3 and 5 steps, whatever the policy does.
    assert result["final_return"] == pytest.approx(31 / 3)
    assert result["final_score"] == pytest.approx(100 * 31 / 3 / 40)
    assert main(["evaluate", str(tmp_path / "run"), "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["normalized_score"] == pytest.approx(100 * 31 / 3 / 40)
    dataset = group_runs([read_run(RunFolder(tmp_path / "run"))])[0].dataset
    assert (dataset.reference, dataset.unit) == ((0.0, 40.0), "normalized score")


@pytest.mark.parametrize("spec", ["record.npz", "record.hdf5"])
def test_what_is_converted_to_minari_loads_as_the_same_transitions(spec, root, tmp_path, capsys):
    import h5py

    rng = np.random.default_rng(0)
    length = np.array([4, 6, 3, 5])
    terminal, timeout = np.zeros(18, bool), np.zeros(18, bool)
    terminal[[3, 12]], timeout[9] = True, True  # the last one stops without a flag
    arrays = {
        "observations": rng.standard_normal((18, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (18, 2)).astype(np.float32),
        "rewards": rng.standard_normal(18).astype(np.float32),
        "terminals": terminal,
        "timeouts": timeout,
    }
    path = tmp_path / spec
    if path.suffix == ".npz":
        following = np.roll(arrays["observations"], -1, axis=0)
        following[length.cumsum() - 1] = rng.standard_normal((4, 3))
        np.savez(path, **arrays, next_observations=following)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    assert main(["convert", str(path), "--out", "minari:made/copy-v0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 4
    one, other = load(path), load("minari:made/copy-v0")
    assert_round_trip(one, other)
    if path.suffix == ".npz":
        np.testing.assert_array_equal(one.next_observation, other.next_observation)
    assert other.episodes.terminated.tolist() == [True, False, True, False]
    assert other.episodes.timed_out.tolist() == [False, True, False, True]
    stored = minari.load_dataset("made/copy-v0")
    assert [len(e.observations) - len(e.rewards) for e in stored.iterate_episodes()] == [1] * 4
    assert main(["convert", str(path), "--out", "minari:made/copy-v0"]) == 1
    assert "already exists" in capsys.readouterr().err
    assert [entry.name for entry in (root / "made").iterdir()] == ["copy-v0"]


def test_units_environment_and_references_survive_the_conversion(capsys):
    collect(gymnasium.make("Goals-v0", bonus=0.5))
    assert main(["convert", "minari:made/goals-v0", "--out", "minari:made/again-v0"]) == 0
    one, other = load("minari:made/goals-v0"), load("minari:made/again-v0")
    assert_round_trip(one, other)
    assert one.info.env == other.info.env
    np.testing.assert_array_equal(other.info.action_low, Goals.action_space.low)
    again = minari.load_dataset("made/again-v0")
    assert again.recover_environment().unwrapped.bonus == 0.5
    first = next(iter(minari.load_dataset("made/goals-v0").iterate_episodes()))
    np.testing.assert_array_equal(next(iter(again.iterate_episodes())).actions, first.actions)


def test_rows_that_minari_cannot_hold_are_not_converted(root, tmp_path, capsys):
    arrays = {
        "observations": np.zeros((4, 2)), "actions": np.zeros((4, 1)), "rewards": np.zeros(4),
        "terminals": np.array([0, 0, 0, 1]), "timeouts": np.zeros(4), "next_observations": np.ones((4, 2)),
    }  # fmt: skip
    np.savez(tmp_path / "apart.npz", **arrays)
    assert main(["convert", str(tmp_path / "apart.npz"), "--out", "minari:made/apart-v0"]) == 1
    assert "3 rows" in capsys.readouterr().err
    assert not (root / "made").exists()
    for out in ("made/apart-v0", "minari:../apart-v0", "minari:apart"):
        assert main(["convert", str(tmp_path / "apart.npz"), "--out", out]) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_a_dataset_that_is_not_here_is_said_to_be_missing_within_seconds(monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.delenv("MINARI_REMOTE", raising=False)
    started = time.monotonic()
    assert main(["inspect", "minari:D4RL/door/human-v2"]) == 1
    assert time.monotonic() - started < 5
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "cannot be reached" in said
    assert "MINARI_DATASETS_PATH" in said


def test_a_missing_dataset_is_downloaded_and_a_broken_download_leaves_nothing(root, tmp_path, monkeypatch):
    write("made/ends-v0", (2, True, False))
    elsewhere = shutil.move(root / "made/ends-v0", tmp_path / "elsewhere")
    monkeypatch.setenv("MINARI_REMOTE", "test://elsewhere")

    def breaks(name):
        (root / name / "data").mkdir(parents=True)
        raise OSError("the line is cut")

    monkeypatch.setattr(minari, "download_dataset", breaks)
    with pytest.raises(DatasetError, match=r"the line is cut"):
        load("minari:made/ends-v0")
    assert not (root / "made/ends-v0/data").exists()
    monkeypatch.setattr(
        minari, "download_dataset", lambda name: shutil.copytree(elsewhere, root / name, dirs_exist_ok=True)
    )
    assert len(load("minari:made/ends-v0")) == 2


def test_a_download_under_way_or_killed_is_never_taken_for_the_whole(root, tmp_path, monkeypatch):
    write("made/ends-v0", (2, True, False))
    elsewhere = shutil.move(root / "made/ends-v0", tmp_path / "elsewhere")
    monkeypatch.setenv("MINARI_REMOTE", "test://elsewhere")
    data, calls, begun = root / "made/ends-v0/data", [], threading.Event()

    def slowly(name):
        calls.append(name)
        assert not data.exists()
        data.mkdir(parents=True)
        begun.set()
        time.sleep(0.5)
        shutil.copytree(elsewhere, root / name, dirs_exist_ok=True)

    monkeypatch.setattr(minari, "download_dataset", slowly)
    data.mkdir(parents=True)  # what a killed one left
    (tmp_path / "cache/minari").mkdir(parents=True)
    (tmp_path / "cache/minari/made-ends-v0.begun").touch()
    assert needs_download("minari:made/ends-v0")
    first = threading.Thread(target=load, args=("minari:made/ends-v0",))
    first.start()
    begun.wait(10)
    assert len(load("minari:made/ends-v0")) == 2
    first.join()
    assert calls == ["made/ends-v0"]
    assert not list((tmp_path / "cache/minari").glob("*.begun"))


def damage(root: Path):
    (root / "made/bad-v0/data/main_data.hdf5").write_bytes(b"not HDF5")


def forget_metadata(root: Path):
    (root / "made/bad-v0/data/metadata.json").unlink()


def from_the_future(root: Path):
    path = root / "made/bad-v0/data/metadata.json"
    path.write_text(path.read_text().replace(minari.__version__, "99.0"))


def without_a_next_observation(root: Path):
    import h5py

    with h5py.File(root / "made/bad-v0/data/main_data.hdf5", "a") as file:
        del file["episode_1/observations"]
        file["episode_1/observations"] = np.zeros((3, 2))


@pytest.mark.parametrize("harm", [damage, forget_metadata, from_the_future, without_a_next_observation])
def test_a_damaged_dataset_is_refused_in_one_line(harm, root, capsys):
    write("made/bad-v0", (2, True, False), (3, False, True))
    harm(root)
    assert main(["inspect", "minari:made/bad-v0"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("reweigh inspect: expected ")
    assert said.count("\n") == 1


def test_discrete_actions_and_wrong_ids_are_refused(capsys):
    episodes = [replace(b, actions=np.zeros(len(b.rewards), np.int64)) for b in buffers((2, True, False))]
    minari.create_dataset_from_buffers(
        "made/discrete-v0", episodes, observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (2,)),
        action_space=gymnasium.spaces.Discrete(3), data_format="hdf5",
    )  # fmt: skip
    with pytest.raises(DatasetError, match="expected actions that are boxes"):
        load("minari:made/discrete-v0")
    for name in ("", "made/ends", "../x-v0", "/etc-v0", "a b-v0", "hf://made/ends-v0"):
        with pytest.raises(DatasetError, match="expected an ID like"):
            load(f"minari:{name}")


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(DatasetError, match=r"pip install 'reweigh\[minari\]'"):
        load("minari:made/ends-v0")


def test_an_environments_text_is_refused_where_it_is_no_id_and_json():
    assert split_environment(environment_name("A-v0", {"b": [1, None], "a": "x"})) == (
        "A-v0",
        {"b": [1, None], "a": "x"},
    )
    for text in ("A-v0 {", "A-v0 [1]", "A-v0 b=1", "A-v0 " + "[" * 100_000):
        with pytest.raises(ConfigError, match="expected an environment like"):
            make_environment(text)
    with pytest.raises(ConfigError, match="expected an installed gymnasium environment"):
        make_environment('Goals-v0 {"no_such_option": 1}')
