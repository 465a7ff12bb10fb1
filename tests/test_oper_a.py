"""OPER-A from a dataset to weights: known values, stages, resuming, the cache, agreement of seeds."""

import contextlib
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reweigh.algorithms.value import ValueConfig, make_value
from reweigh.cli import main
from reweigh.config import DataConfig
from reweigh.datasets.load import load
from reweigh.errors import ConfigError, RunError
from reweigh.priorities.by_advantage import ValueProblem, values_of
from reweigh.priorities.defaults import as_published, oper_a_for
from reweigh.priorities.file import read_weights
from reweigh.priorities.oper_a import (
    OperA,
    ValueLearning,
    average_over_seeds,
    probability_by_advantage,
    seed_agreement,
    weighting_by_advantage,
)
from reweigh.priorities.summary import ranks
from reweigh.running.resumable import Interrupted
from reweigh.running.value_runs import (
    ValueJob,
    is_being_learned,
    is_learned,
    learn_weights,
    learned_priority,
    learned_weights,
    learning_folder,
    learning_seconds,
)
from reweigh.runs import RunFolder
from reweigh.training import run_keys
from reweigh.types import Shapes

QUICK = ValueLearning(stages=2, first_stage_updates=60, stage_updates=70, hidden=(8,), batch_size=16)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def chain(count=400, seed=0):
    """Two states by turns: 0 -> 1 -> terminal. In state 0 the action pays itself; state 1 pays 1."""
    rng = np.random.default_rng(seed)
    state = np.arange(count) % 2
    action = rng.uniform(-1, 1, (count, 1)).astype(np.float32)
    return {
        "observations": state[:, None].astype(np.float32),
        "actions": action,
        "rewards": np.where(state == 0, action[:, 0], 1.0).astype(np.float32),
        "terminals": state == 1,
        "timeouts": np.zeros(count, bool),
        "next_observations": (1 - state)[:, None].astype(np.float32),
    }


@pytest.mark.parametrize(
    "setting",
    [
        {"critic": "v"},
        {
            "solver": "fast",
            "fast_first_stage_updates": 3000,
            "fast_learning_rate": 3e-3,
            "fast_target_rate": 0.05,
        },
        {"critic": "doublev"},
        {"critic": "vq"},
        {"steps": 3},
        {"target": "monte-carlo"},
        {"advantage": "gae"},
        {"advantage": "monte-carlo", "target": "monte-carlo"},
    ],
)
def test_values_and_advantages_of_a_chain_are_the_ones_worked_by_hand(setting):
    # V(1) = 1, V(0) = E[a] + 0.99 = 0.99 up to the sample's mean; A = a - mean a in state 0 and 0 in state 1.
    data = load(chain())
    learning = ValueLearning(
        stages=1, first_stage_updates=3000, hidden=(32,), learning_rate=3e-3, target_rate=0.05, **setting
    )
    learn_weights(data, learning, 0)
    weight = learned_weights(learning_folder(data, learning), learning, 0)[0]
    mean = float(data.reward[::2].mean())
    advantage = np.where(data.terminal, 0.0, data.reward - mean)
    # Only the differences between advantages can be read from weights: w = (A - min A) / mean.
    above = advantage - advantage.min()
    np.testing.assert_allclose(weight, above / above.mean(), atol=0.12)


def test_the_second_stage_draws_and_multiplies_by_the_weights_of_the_first():
    data = load(chain())
    learning = ValueLearning(
        stages=2,
        first_stage_updates=3000,
        stage_updates=3000,
        hidden=(32,),
        learning_rate=3e-3,
        target_rate=0.05,
    )
    learn_weights(data, learning, 0)
    first, second = learned_weights(learning_folder(data, learning), learning, 0)
    start = ~data.terminal
    # Under the first stage's weights good actions are drawn more often: about 1/3 instead of 0.
    mean = (first * data.reward)[start].sum() / first[start].sum()
    assert mean > 0.25
    advantage = np.where(start, data.reward - mean, 0.0)
    above = first * (advantage - advantage.min())
    np.testing.assert_allclose(second, above / above.mean(), atol=0.25)


def test_values_of_many_states_are_those_of_each_chunk(monkeypatch):
    monkeypatch.setattr("reweigh.priorities.by_advantage._CHUNK", 7)
    value = make_value(ValueConfig(hidden=(8,)), 1).init(jax.random.key(0), Shapes(3, 1)).value.model
    states = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.testing.assert_allclose(values_of(value, states), value(jnp.asarray(states)), rtol=1e-5)


def test_the_fast_way_takes_its_own_lengths_and_has_a_folder_of_its_own():
    fast = ValueLearning(solver="fast")
    assert [fast.updates_of(stage) for stage in (1, 2)] == [10_000, 5_000]
    assert ValueLearning().num_updates / fast.num_updates > 100
    data = load(chain())
    assert learning_folder(data, fast) != learning_folder(data, ValueLearning())
    # A setting of the other way does not make published weights others.
    assert learning_folder(data, ValueLearning(fast_stage_updates=7)) == learning_folder(
        data, ValueLearning()
    )


def test_learning_that_is_stopped_and_resumed_ends_in_the_same_bits(cache, monkeypatch):
    data = load(chain())
    learn_weights(data, QUICK, 0)
    whole = learned_weights(learning_folder(data, QUICK), QUICK, 0)
    monkeypatch.setenv("REWEIGH_CACHE", str(cache.with_name("other")))
    stops = 0
    while not is_learned(learning_folder(data, QUICK), QUICK, 0):
        try:
            learn_weights(data, QUICK, 0, should_stop=lambda: True)
        except Interrupted:
            stops += 1
        assert stops < 20
    assert stops == 2  # in each stage once
    np.testing.assert_array_equal(learned_weights(learning_folder(data, QUICK), QUICK, 0), whole)


def test_a_cache_that_cannot_be_written_is_named_by_its_variable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match="Set REWEIGH_CACHE to a writable folder"):
        learn_weights(load(chain()), QUICK, 0)


def test_what_is_learned_is_not_learned_again():
    data = load(chain())
    method = OperA(value_seeds=(0, 1), learning=QUICK)
    first = learned_priority(data, method)
    assert first.shape == (2, 2, len(data))
    np.testing.assert_allclose(first.mean(axis=-1), 1)
    folder = learning_folder(data, QUICK)
    before = (RunFolder(folder / "stage-1").seed(0).path / "weight.npz").stat().st_mtime_ns
    np.testing.assert_array_equal(learned_priority(data, method), first)
    assert (RunFolder(folder / "stage-1").seed(0).path / "weight.npz").stat().st_mtime_ns == before


def test_a_learning_that_another_process_has_begun_is_waited_for():
    data = load(chain())
    learn_weights(data, QUICK, 0)
    folder = learning_folder(data, QUICK)
    last = RunFolder(folder / "stage-2").seed(0)
    (last.path / "result.json").unlink()
    asked = []

    def let_go() -> bool:
        asked.append(is_being_learned(folder, QUICK, 0))
        if len(asked) == 2:
            held.close()
        return False

    with contextlib.ExitStack() as held:
        held.enter_context(last.locked())
        learn_weights(data, QUICK, 0, should_stop=let_go)
    assert asked[0]
    assert is_learned(folder, QUICK, 0)
    assert not is_being_learned(folder, QUICK, 0)


def test_the_seconds_of_all_seeds_and_stages_are_added_or_unknown():
    data, method = load(chain()), OperA(value_seeds=(0, 1), learning=QUICK)
    assert learning_seconds(data, method) is None, "nothing is learned"
    for seed in method.value_seeds:
        learn_weights(data, QUICK, seed)
        for number, rate in ((1, 10.0), (2, 5.0)):
            RunFolder(learning_folder(data, QUICK) / f"stage-{number}").seed(seed).finish(
                {"updates_per_second": rate}
            )
    assert learning_seconds(data, method) == 2 * (QUICK.updates_of(1) / 10 + QUICK.updates_of(2) / 5)
    first = RunFolder(learning_folder(data, QUICK) / "stage-1").seed(1)
    first.finish({"updates_per_second": None})
    assert learning_seconds(data, method) is None
    (first.path / "result.json").write_text("damaged")
    assert learning_seconds(data, method) is None


def test_other_data_and_other_settings_have_folders_of_their_own():
    data, other = load(chain()), load(chain(seed=1))
    folders = {
        learning_folder(data, QUICK),
        learning_folder(other, QUICK),
        learning_folder(data, ValueLearning()),
        learning_folder(data, ValueLearning(critic="vq")),
    }
    assert len(folders) == 4


def test_seeds_draw_different_numbers():
    found = learned_priority(load(chain()), OperA(value_seeds=(0, 1), learning=QUICK))
    assert not np.allclose(found[0, 0], found[1, 0])


def test_stages_of_one_seed_have_keys_of_their_own():
    keys = [key for stage in range(3) for key in run_keys([0], vmapped=False, stage=stage)]
    assert len({tuple(np.asarray(jax.random.key_data(key)).tolist()) for key in keys}) == 6


def test_a_job_learns_what_its_config_says(tmp_path):
    path = tmp_path / "chain.npz"
    np.savez(path, **chain())
    job = ValueJob(DataConfig(str(path)), QUICK, 3)
    seen = []
    job.run(seen.append, lambda: False)
    assert is_learned(learning_folder(load(path), QUICK), QUICK, 3)
    assert (seen[-1].update, job.num_updates) == (130, 130)


def test_only_the_first_published_sums_leave_the_shift_out():
    # The published AntMaze code shifts rewards for one step and GAE, not for sums of several.
    data = load(chain())
    shifted = ValueLearning(reward="minus-one", steps=5)
    ours, theirs = (
        ValueProblem(data, shifted),
        ValueProblem(data, as_published(OperA(learning=shifted)).learning),
    )
    np.testing.assert_allclose(ours.target.reward[1::2], 0)
    np.testing.assert_allclose(theirs.target.reward[1::2], 1)
    one_step = as_published(OperA(learning=ValueLearning(reward="minus-one"))).learning
    np.testing.assert_allclose(ValueProblem(data, one_step).target.reward[1::2], 0)


def test_presets_are_the_published_recipes():
    antmaze, kitchen = oper_a_for(OperA(), "antmaze"), oper_a_for(OperA(), "kitchen")
    assert (antmaze.std, antmaze.learning.reward) == (5.0, "minus-one")
    assert (kitchen.std, kitchen.learning.steps, kitchen.learning.stage_updates) == (0.5, 5, 500_000)
    assert oper_a_for(OperA(), "mujoco") == OperA()


def test_seeds_are_averaged_by_mean_or_median_and_rescaled_to_mean_one():
    weight = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    np.testing.assert_allclose(average_over_seeds(weight, "mean"), [1, 2 / 3, 4 / 3])
    np.testing.assert_allclose(average_over_seeds(weight, "median"), [0, 1, 2])


def test_the_iteration_that_is_named_is_used():
    rng = np.random.default_rng(0)
    priority = rng.uniform(0.5, 1.5, (2, 3, 50))
    found = probability_by_advantage(
        priority, OperA(iteration=2, std=None, eps=None, learning=ValueLearning(stages=3))
    )
    average = priority[:, 1].mean(axis=0)
    expected = average - average.min()
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-9)


def test_ranks_share_ties_and_agreement_is_spearmans():
    np.testing.assert_array_equal(ranks(np.array([5.0, 1.0, 5.0, 2.0])), [2.5, 0, 2.5, 1])
    rising = np.arange(1.0, 9.0)
    assert seed_agreement(np.stack([rising, rising**3])) == pytest.approx(1)
    assert seed_agreement(np.stack([rising, -rising])) == pytest.approx(-1)
    assert seed_agreement(rising[None]) is None
    assert seed_agreement(np.stack([rising, np.ones(8)])) is None


def test_weights_that_are_mostly_noise_are_said_to_be():
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.5, 1.5, (3, 1, 500))
    assert "mostly noise" in weighting_by_advantage(noise, OperA()).notes[0]
    alike = np.repeat(noise[:1], 3, axis=0)
    assert weighting_by_advantage(alike, OperA()).notes == ()


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: ValueLearning(stages=0), "stages"),
        (lambda: ValueLearning(steps=0), "steps"),
        (lambda: ValueLearning(discount=1.5), "discount"),
        (lambda: ValueLearning(trace_decay=-0.1), "trace_decay"),
        (lambda: ValueLearning(rescale_std=0.0), "rescale_std"),
        (lambda: OperA(iteration=6), "iteration"),
        (lambda: OperA(value_seeds=()), "value_seeds"),
        (lambda: OperA(value_seeds=(1, 1)), "value_seeds"),
        (lambda: OperA(std=float("nan")), "std"),
    ],
)
def test_settings_without_meaning_are_refused(wrong, name):
    with pytest.raises(ConfigError, match=f"expected (distinct )?{name} "):
        wrong()


def test_weigh_learns_prints_agreement_and_its_stages_can_be_drawn(tmp_path, capsys):
    path, out = tmp_path / "chain.npz", str(tmp_path / "w.npz")
    np.savez(path, **chain())
    quick = ("stages=2", "first_stage_updates=20", "stage_updates=20", "hidden=8", "value_seeds=0 1")
    flags = [word for setting in quick for word in ("--set", setting)]
    command = ["weigh", str(path), "--method", "oper-a", *flags]
    assert main([*command, "--out", out, "--quiet"]) == 0
    assert "seed agreement" in capsys.readouterr().out
    stored = read_weights(Path(out))
    assert stored.priority.shape == (2, 2, len(stored.weight))
    assert len(stored.meta["summary"]["stage_std"]) == 2
    for what in ("stages", "advantages", "weights"):
        figure = tmp_path / f"{what}.png"
        assert main(["plot", what, out, "--out", str(figure)]) == 0
        assert figure.stat().st_size > 10_000
    # The same in the authors' form, read back.
    pattern = str(tmp_path / "w_%s.npy")
    assert main([*command, "--format", "oper", "--out", pattern, "--quiet"]) == 0
    hint = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("read with: "))
    assert hint == ["--method", "oper-a-file", "--from", pattern, "--set", "file_seeds=0 1"]
    again = ["weigh", str(path), *hint]
    assert main([*again, "--out", str(tmp_path / "again.npz")]) == 0
    from_files = read_weights(tmp_path / "again.npz")
    np.testing.assert_allclose(from_files.weight, stored.weight, rtol=1e-9)
    assert from_files.meta["settings"]["file_seeds"] == [0, 1]
    assert not {"value_seeds", "learning"} & from_files.meta["settings"].keys()
    run = ["train", str(path), "--algorithm", "bc", "--hidden", "8", "--num-updates", "10", "--quiet"]
    weights = "oper-a:" + ",".join([*quick, "iteration=1"])
    assert main([*run, "--weights", weights, "--out", str(tmp_path / "run")]) == 0
