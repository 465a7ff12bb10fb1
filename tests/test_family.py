"""Families of datasets: what is recorded, which policies are chosen, and that stopping changes nothing."""

import contextlib
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reweigh
from reweigh import cli
from reweigh.algorithms.td3 import TD3Config, make_td3
from reweigh.collection import Recorder, collect, episode_seed
from reweigh.commands.family import family_config
from reweigh.errors import ConfigError, DatasetError, RunError
from reweigh.evaluation import make_environment
from reweigh.family import make
from reweigh.family.config import FamilyConfig
from reweigh.family.make import DATASETS, choose, claim_family, finished_family, make_family
from reweigh.family.online import Training
from reweigh.policy import load_policy
from reweigh.running.resumable import Interrupted
from reweigh.seed_folder import SeedFolder
from reweigh.system.digests import generator
from reweigh.training import Trainer, run_keys
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

LOW, HIGH = np.array([-2], np.float32), np.array([2], np.float32)
LIMIT = 10


class Drift(gymnasium.Env):
    """Pays the action, which drifts the state; a drift too far down is a terminal, ten steps a timeout."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space: Any = gymnasium.spaces.Box(LOW, HIGH)
    calls = 0

    def __init__(self, *, poison: int | None = None, noisy: bool = False):
        self.poison, self.noisy = poison, noisy

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        self.number, self.drift, self.start = 0, 0.0, self.np_random.random()
        return self._observe(), {}

    def step(self, action):
        self.number += 1
        self.drift += float(action[0])
        Drift.calls += 1
        if self.noisy:
            self.drift += 1e-3 * Drift.calls
        reward = np.nan if self.number == self.poison else float(action[0])
        return self._observe(), reward, self.drift < -3, False, {}

    def _observe(self):
        return np.array([self.number, self.drift, self.start], np.float32)


@cache
def trainer_of(training_config: FamilyConfig) -> Trainer:
    with contextlib.ExitStack() as held:
        return COMPILING(Training(training_config, SeedFolder(Path(), 0), held))


COMPILING = Training._trainer


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """All trainings here have the same program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_trainer", lambda training: trainer_of(small()))
        yield


@pytest.fixture(scope="module", autouse=True)
def environments():
    settings = {"Drift-v0": {}, "DriftPoison-v0": {"poison": 5}, "DriftNoisy-v0": {"noisy": True}}
    for name, kwargs in settings.items():
        gymnasium.register(name, entry_point=Drift, kwargs=kwargs, max_episode_steps=LIMIT)
    yield
    for name in settings:
        del gymnasium.registry[name]


def small(num_steps: int = 440, **changed: Any) -> FamilyConfig:
    td3 = TD3Config(hidden=(8,), learning_rate=1e-2)
    settings: dict[str, Any] = {
        "batch_size": 16,
        "start_steps": 104,
        "steps_at_once": 8,
        "eval_interval": 88,
        "eval_episodes": 2,
        "checkpoint_interval": 200,
        "rollout_steps": 65,
    }
    return FamilyConfig("Drift-v0", num_steps, seed=3, td3=td3, **(settings | changed))


@pytest.fixture(scope="module")
def family(environments, compiled_once, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("family")
    make_family(small(), out, history="reweigh collect --env Drift-v0 --family")
    return out


def columns_of(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: np.asarray(file[name]) for name in file}


def attributes_of(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return dict(file.attrs)


def drawn(rng: np.random.Generator, arrays: dict[str, np.ndarray], count: int, draws: int) -> list[Batch]:
    """Minibatches as the training's, from recorded columns; the noise of its actions is drawn first."""
    rng.standard_normal((8, 1))
    batches = []
    for index in rng.integers(0, count, draws * 16).reshape(draws, 16):
        rows = {name: jnp.asarray(column[index]) for name, column in arrays.items()}
        action = rows["actions"] / 2
        discount = jnp.where(rows["terminals"], 0.0, 0.99)
        batches.append(
            Batch(rows["observations"], action, rows["rewards"], discount, rows["next_observations"], action)
        )
    return batches


# What is recorded.


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_is_a_step_of_the_environment_and_every_episode_end_has_its_true_kind(family, name):
    found = columns_of(family / f"{name}.hdf5")
    state, following, action = found["observations"], found["next_observations"], found["actions"]
    np.testing.assert_array_equal(following[:, 0], state[:, 0] + 1)
    np.testing.assert_allclose(following[:, 1], state[:, 1] + action[:, 0], atol=1e-5)
    np.testing.assert_array_equal(following[:, 2], state[:, 2])
    np.testing.assert_array_equal(found["rewards"], action[:, 0])
    assert (np.abs(action) <= 2).all()
    # A drift too far is a terminal, also in the tenth step; the last row is cut.
    np.testing.assert_array_equal(found["terminals"], following[:, 1] < -3)
    timeout = (following[:, 0] == LIMIT) & ~found["terminals"]
    timeout[-1] = not found["terminals"][-1]
    np.testing.assert_array_equal(found["timeouts"], timeout)
    ends = np.flatnonzero(found["terminals"] | found["timeouts"])
    assert ends[-1] == len(state) - 1
    starts = np.append(0, ends[:-1] + 1)
    np.testing.assert_array_equal(np.flatnonzero(state[:, 0] == 0), starts)
    inside = np.setdiff1d(np.arange(len(state) - 1), ends)
    np.testing.assert_array_equal(following[inside], state[inside + 1])


@pytest.mark.parametrize("name", DATASETS)
def test_the_loaded_file_has_the_transitions_of_d4rls_rule(family, name):
    found = columns_of(family / f"{name}.hdf5")
    data = reweigh.load(family / f"{name}.hdf5")
    kept = ~found["timeouts"]
    kept[-1] = False
    np.testing.assert_array_equal(data.raw_index, np.flatnonzero(kept))
    np.testing.assert_array_equal(data.terminal, found["terminals"][kept])
    assert data.info.env == "Drift-v0"
    assert data.info.attributes["history"] == "reweigh collect --env Drift-v0 --family"


def test_the_replay_up_to_the_medium_policy_is_how_the_whole_replay_begins(family):
    made = json.loads((family / "family.json").read_text())["datasets"]
    whole, part = columns_of(family / "full-replay.hdf5"), columns_of(family / "medium-replay.hdf5")
    count = made["medium"]["step"]
    assert made["medium-replay"]["rows"] == count == len(part["rewards"]) <= 440 == len(whole["rewards"])
    for name in ("observations", "actions", "rewards", "terminals", "next_observations"):
        np.testing.assert_array_equal(part[name], whole[name][:count])
    np.testing.assert_array_equal(part["timeouts"][:-1], whole["timeouts"][: count - 1])


def test_the_first_actions_are_uniform_and_all_others_the_policys_with_noise(family):
    whole = columns_of(family / "full-replay.hdf5")
    uniform = generator("family 3 0").uniform(LOW, HIGH, (8, 1)).astype(np.float32)
    np.testing.assert_array_equal(whole["actions"][:8], uniform)
    policy = load_policy(family / "training" / "seed-3" / "policies" / "000000352.npz")
    greedy = np.stack([policy(state) for state in whole["observations"][352:360]])
    noise = generator("family 3 352").standard_normal((8, 1)) * 0.2
    np.testing.assert_allclose(whole["actions"][352:360], np.clip(greedy + noise, LOW, HIGH), atol=1e-6)


def test_episodes_of_training_begin_where_their_seeds_say(family):
    whole = columns_of(family / "full-replay.hdf5")
    starts = whole["observations"][whole["observations"][:, 0] == 0, 2]
    environment = make_environment("Drift-v0")
    expected = [environment.reset(seed=episode_seed(3, k))[0][2] for k in range(len(starts))]
    np.testing.assert_array_equal(starts, expected)


# What is learned.


def test_training_equals_a_naive_loop_over_the_recorded_steps(family):
    arrays = columns_of(family / "full-replay.hdf5")
    algorithm, shapes = make_td3(small().td3), Shapes(3, 1)
    init_key, key = run_keys([3], vmapped=False)
    state = trainer_of(small()).init(init_key).algorithm
    updates, ones, number = [jax.jit(update) for update in algorithm.updates], jnp.ones(16), 0
    for begin in range(104, 176, 8):
        for batch in drawn(generator(f"family 3 {begin}"), arrays, begin + 8, 8):
            noise_key = jax.random.split(jax.random.fold_in(key, number))[1]
            noise = algorithm.noise(noise_key, 16, shapes)
            minibatch = Minibatch(batch, None, TermWeight(ones, ones, ones))
            state, _ = updates[number % 2](state, minibatch, noise)
            number += 1
    policy = load_policy(family / "training" / "seed-3" / "policies" / "000000176.npz")
    assert policy.meta["step"] == 176
    for found, expected in zip(policy.layers, state.actor.model.layers, strict=True):
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-3, atol=1e-5)


def test_a_training_that_was_stopped_in_mid_episode_and_lengthened_gives_the_same_bytes(family, tmp_path):
    calls = 0

    def after_17_turns() -> bool:
        nonlocal calls
        calls += 1
        return calls == 17

    with pytest.raises(Interrupted) as stopped:
        make_family(small(264), tmp_path, should_stop=after_17_turns)
    assert stopped.value.update == 136
    whole = columns_of(family / "full-replay.hdf5")
    assert not (whole["terminals"] | whole["timeouts"])[135]
    assert not list(tmp_path.glob("*.hdf5"))
    make_family(small(), tmp_path, history="reweigh collect --env Drift-v0 --family")
    names = [f"{name}.hdf5" for name in DATASETS] + ["medium.npz", "expert.npz", "family.json"]
    for name in [*names, *(f"training/seed-3/{rest}" for rest in ("metrics.csv", "returns.npz"))]:
        assert (tmp_path / name).read_bytes() == (family / name).read_bytes(), name


def test_the_policies_are_chosen_by_the_evaluations_and_roll_out_again(family):
    made = json.loads((family / "family.json").read_text())["datasets"]
    with np.load(family / "training" / "seed-3" / "returns.npz") as file:
        step, means = file["update"], file["episode_return"].mean(axis=1)
    expert, medium = choose(means, made["random"]["mean_return"], 1 / 3)
    assert step.tolist() == [176, 264, 352, 440]
    for name, chosen in (("expert", expert), ("medium", medium)):
        assert made[name]["step"] == step[chosen]
        assert made[name]["evaluation"] == means[chosen]
        attributes = attributes_of(family / f"{name}.hdf5")
        rows, again = collect(
            "Drift-v0", family / f"{name}.npz", 65, int(attributes["seed"]), action_noise=0.1
        )
        assert {key: attributes[key] for key in again} == again
        np.testing.assert_array_equal(rows.action, columns_of(family / f"{name}.hdf5")["actions"])
        assert made[name]["mean_return"] == again["mean_return"]
    assert made["expert"]["mean_return"] > made["random"]["mean_return"]
    seeds = {int(attributes_of(family / f"{name}.hdf5")["seed"]) for name in ("random", "medium", "expert")}
    assert len(seeds) == 3


def test_medium_is_the_first_to_come_a_third_of_the_way_and_expert_the_first_of_the_best():
    returns = np.array([-5.0, 21.9, 22.0, 10.0, 46.0, 46.0, 30.0])
    assert choose(returns, 10.0, 1 / 3) == (4, 2)
    assert choose(returns, 10.0, 1.0) == (4, 4)
    assert choose(np.array([0.3]), 0.1, 1.0) == (0, 0)
    with pytest.raises(RunError, match=r"better than random .* 46\), but the best of 7 evaluations has 46"):
        choose(returns, 46.0, 1 / 3)


# Simulators.


def test_an_episode_goes_on_after_a_restart_as_if_there_had_been_none():
    environment = make_environment("Drift-v0")

    def upwards(number, observation):
        return np.array([0.5 + observation[2]], np.float32)

    whole, first, second = (Recorder(environment, 30, 5) for _ in range(3))
    whole.run(upwards, 30)
    first.run(upwards, 14)
    second.restore({name: column[:14].copy() for name, column in first.arrays.items()})
    second.run(upwards, 16)
    for name, column in whole.arrays.items():
        np.testing.assert_array_equal(second.arrays[name], column)
    np.testing.assert_array_equal(np.flatnonzero(whole.arrays["timeouts"]), [9, 19, 29])


def test_a_simulator_that_does_not_repeat_itself_ends_its_episode_in_a_timeout_at_a_restart():
    environment = make_environment("DriftNoisy-v0")
    first, second = (Recorder(environment, 30, 5) for _ in range(2))
    first.run(lambda number, observation: np.ones(1, np.float32), 14)
    second.restore({name: column[:14].copy() for name, column in first.arrays.items()})
    second.run(lambda number, observation: np.ones(1, np.float32), 4)
    np.testing.assert_array_equal(np.flatnonzero(second.arrays["timeouts"]), [9, 13])
    np.testing.assert_array_equal(second.arrays["observations"][10:18, 0], [0, 1, 2, 3, 0, 1, 2, 3])


def test_rewards_that_are_not_finite_are_refused_before_anything_learns_from_them(tmp_path):
    config = replace(small(), env="DriftPoison-v0")
    with pytest.raises(
        DatasetError, match=r"finite numbers from DriftPoison-v0, .* rewards between steps 0 and 8"
    ):
        make_family(config, tmp_path)
    assert not list(tmp_path.glob("*.hdf5"))


# What is refused, and the command line.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"num_steps": 100}, r"num_steps to be a multiple of eval_interval \(88\), but found 100"),
        ({"start_steps": 440}, r"start_steps from 0 to below num_steps \(440\), but found 440"),
        ({"start_steps": 100}, r"start_steps to be a multiple of steps_at_once \(8\), but found 100"),
        ({"steps_at_once": 7}, "steps_at_once to be even, but found 7"),
        ({"steps_at_once": 0}, "steps_at_once of at least 1, but found 0"),
        ({"rollout_steps": 1}, "rollout_steps from 2 to .* found 1"),
        ({"rollout_noise": -1.0}, "rollout_noise from 0 to 1000, but found -1.0"),
        ({"exploration_noise": np.nan}, "exploration_noise from 0 to 1000, but found nan"),
        ({"medium_share": 0.0}, r"medium_share in \(0, 1\], but found 0.0"),
        ({"discount": 1.5}, r"discount in \[0, 1\], but found 1.5"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changed, message):
    with pytest.raises(ConfigError, match=message):
        small(**changed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 8}, "it holds another run"),
        ({"num_steps": 352}, "checkpoint of at most 352 updates in .* found 440"),
    ],
)
def test_a_folder_of_another_training_is_refused(family, changed, message):
    with pytest.raises(RunError, match=message):
        claim_family(small(**changed), family)


def test_a_refused_folder_tells_the_setting_that_matters_and_no_other(family):
    with pytest.raises(RunError, match=r"\(discount 0.99 there, 0.5 here\)"):
        claim_family(small(discount=0.5, num_steps=528, rollout_steps=70, medium_share=0.5), family)


def test_a_replay_that_does_not_fit_the_memory_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(make, "available_memory", lambda: 15_000)
    with pytest.raises(RunError, match=r"1.58e-05 GB of free memory for 440 steps .* 1.5e-05 GB are free"):
        claim_family(small(), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def flags(out: Path, *more: str) -> list[str]:
    settings = ("batch_size=16", "start_steps=104", "steps_at_once=8", "eval_interval=88", "eval_episodes=2")
    settings += ("checkpoint_interval=200", "td3.hidden=8", "td3.learning_rate=0.01")
    line = ["collect", "--env", "Drift-v0", "--family", "--num-steps", "440", "--seed", "3"]
    line += ["--rollout-steps", "65", "--out"]
    return [*line, str(out), *(word for setting in settings for word in ("--set", setting)), *more]


def test_the_same_command_on_a_finished_family_shows_its_table_again(family, capsys):
    assert cli.main(flags(family)) == 0
    captured = capsys.readouterr()
    assert "Nothing to do" in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()] == ["dataset", *DATASETS, "folder:"]
    assert cli.main(flags(family, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["datasets"] == finished_family(small(), family)["datasets"]  # pyright: ignore


def test_a_policys_file_collects_and_is_evaluated_as_a_run_is(family, tmp_path, capsys):
    policy, out = str(family / "medium.npz"), tmp_path / "more.hdf5"
    line = ["collect", "--env", "Drift-v0", "--policy", policy, "--num-steps", "20", "--out", str(out)]
    assert cli.main(line) == 0
    assert str(attributes_of(out)["history"]).startswith("reweigh collect --env Drift-v0 --family\nreweigh")
    capsys.readouterr()
    assert cli.main(["evaluate", policy, "--episodes", "3", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["policy"] == policy
    assert found["env"] == "Drift-v0"
    assert np.isfinite(found["return"])
    assert cli.main(["evaluate", policy, "--env", "DriftNoisy-v0", "--episodes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["env"] == "DriftNoisy-v0"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--family --set num_steps=3", "num_steps has a flag of its own. Leave out --set num_steps."),
        ("--family --set bogus=3", "expected --set with one of batch_size, "),
        ("--family --set td3.bogus=3", "expected a field of TD3Config"),
        ("--family --set batch_size=x", "expected batch_size to be int, but found 'x'."),
        ("--family --policy-seed 1", "--policy-seed has no meaning with --family"),
        ("--family --num-steps 0", "expected num_steps of at least 1, but found 0."),
        ("--family --seed -1", "expected distinct --seed from 0 to"),
        ("--policy random --rollout-steps 5", "--rollout-steps has no meaning without --family"),
        ("--policy random --set batch_size=5", "--set has no meaning without --family"),
        ("--policy random --quiet", "--quiet has no meaning without --family"),
    ],
)
def test_flags_that_have_no_meaning_are_refused_in_one_line(tmp_path, capsys, words, message):
    line = ["collect", "--env", "Drift-v0", "--num-steps", "5000", "--out", str(tmp_path / "x.hdf5")]
    assert cli.main([*line, *words.split()]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_noise_of_the_rollouts_is_the_flags(tmp_path):
    arguments = cli.make_parser().parse_args(flags(tmp_path, "--action-noise", "0.3"))
    assert family_config(arguments).rollout_noise == 0.3
