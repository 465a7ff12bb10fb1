import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fakes import differ
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.cli import main
from reweigh.commands import launch
from reweigh.config import DataConfig, EvaluationConfig, Resample, RunConfig
from reweigh.datasets.normalizer import fit_normalizer
from reweigh.errors import ConfigError, RunError
from reweigh.evaluation import episode_seeds, evaluate_policy
from reweigh.experiment import claim, train, train_jobs
from reweigh.loading import load
from reweigh.policy import load_policy
from reweigh.priorities.by_return import RW
from reweigh.running.parallel import train_in_processes
from reweigh.running.resumable import Interrupted
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder
from reweigh.system.atomic import atomic_path, held


@pytest.fixture
def config(tmp_path) -> RunConfig:
    """A short TD3+BC run on random pendulum-like data, evaluated in a real simulator."""
    rng = np.random.default_rng(0)
    rows = 400
    path = tmp_path / "data.npz"
    np.savez(
        path,
        observations=rng.normal(size=(rows, 4)).astype(np.float32),
        actions=rng.uniform(-3, 3, (rows, 1)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminals=np.arange(rows) % 10 == 9,
        timeouts=np.zeros(rows, bool),
        env=np.array("InvertedPendulum-v4"),
    )
    return RunConfig(
        data=DataConfig(str(path)),
        algorithm=TD3BCConfig(hidden=(8,)),
        rebalance=Resample(RW()),
        num_updates=60,
        batch_size=8,
        evaluation=EvaluationConfig(interval=20, episodes=2),
        log_interval=10,
        checkpoint_interval=10,
    )


def contents(folder, seed=0) -> dict:
    """Everything of a seed that must not depend on interruptions."""
    path = folder / f"seed-{seed}"
    found = {"metrics": (path / "metrics.csv").read_text()}
    for name in ("checkpoint", "returns", "policy"):
        with np.load(path / f"{name}.npz") as file:
            found[name] = {key: file[key] for key in file.files}
    return found


def assert_equal_runs(one, other):
    assert one["metrics"] == other["metrics"]
    for name in ("checkpoint", "returns", "policy"):
        assert one[name].keys() == other[name].keys()
        for key in one[name]:
            np.testing.assert_array_equal(one[name][key], other[name][key], err_msg=f"{name} {key}")


def stop_after(calls: int):
    remaining = iter(range(calls))
    return lambda: next(remaining, None) is None


def test_a_run_interrupted_again_and_again_equals_one_left_alone(config, tmp_path):
    train(config, [0], tmp_path / "whole")
    for calls in (0, 2):
        with pytest.raises(Interrupted):
            train(config, [0], tmp_path / "cut", should_stop=stop_after(calls))
    train(config, [0], tmp_path / "cut")
    assert_equal_runs(contents(tmp_path / "whole"), contents(tmp_path / "cut"))


def test_what_was_written_after_the_last_checkpoint_is_forgotten(config, tmp_path):
    rare = dataclasses.replace(config, checkpoint_interval=30)
    train(rare, [0], tmp_path / "rare")
    out = tmp_path / "cut"
    with pytest.raises(Interrupted):
        train(rare, [0], out, should_stop=stop_after(3))
    # As if killed later: more metrics and evaluations than the checkpoint knows.
    seed = RunFolder(out).seed(0)
    seed.append_metrics(50, {"x": 1.0})
    seed.save_returns(seed.load_returns().with_evaluation(99, np.ones(2), np.ones(2, np.int64)))
    train(rare, [0], out)
    assert_equal_runs(contents(tmp_path / "rare"), contents(out))


def test_a_policy_is_saved_with_the_normalizer_of_its_training(config, tmp_path):
    rng = np.random.default_rng(0)
    with np.load(config.data.spec) as file:
        arrays = dict(file)
    arrays["observations"] = rng.normal(10, 5, arrays["observations"].shape).astype(np.float32)
    np.savez(config.data.spec, **arrays)
    short = dataclasses.replace(config, num_updates=2, normalize_observations=True, checkpoint_interval=2,
                                log_interval=2, evaluation=EvaluationConfig(2, 1))  # fmt: skip
    train(short, [0], tmp_path / "run")
    expected = fit_normalizer(load(config.data.spec).observation)
    found = load_policy(tmp_path / "run" / "seed-0" / "policy.npz").normalizer
    np.testing.assert_array_equal(found.mean, expected.mean)
    np.testing.assert_array_equal(found.scale, expected.scale)
    assert found.mean.min() > 9


def test_every_seed_and_every_evaluation_has_episodes_of_its_own(config, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "reweigh.experiment.episode_seeds", lambda *given: asked.append(given) or episode_seeds(*given)
    )
    train(config, [0, 3], tmp_path / "run")
    assert sorted(asked) == [(seed, update, 2) for seed in (0, 3) for update in (20, 40, 60)]
    assert len({tuple(episode_seeds(*given)) for given in [*asked, (0, -1, 2), (3, -1, 2)]}) == 8


def test_a_policy_evaluated_afterwards_plays_episodes_that_its_training_did_not(
    config, tmp_path, monkeypatch
):
    train(config, [0], tmp_path / "run")
    asked = []
    monkeypatch.setattr(
        "reweigh.evaluation.episode_seeds", lambda *given: asked.append(given) or episode_seeds(*given)
    )
    policy = load_policy(tmp_path / "run" / "seed-0" / "policy.npz")
    evaluate_policy(policy, 0, "InvertedPendulum-v4", 2)
    assert asked == [(0, -1, 2)]


def test_a_checkpoint_of_other_shapes_beside_one_that_fits_is_refused_by_its_folder(config, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(config, [0, 1], out, should_stop=stop_after(1))
    folder = RunFolder(out).seed(1)
    saved = folder.load_checkpoint()
    folder.save_checkpoint(saved.update, [np.zeros((*leaf.shape, 2), leaf.dtype) for leaf in saved.leaves])
    with pytest.raises(RunError, match=r"checkpoint of this run's shapes in .*seed-1, but found another"):
        train(config, [0, 1], out)


def test_a_killed_process_goes_on_where_its_checkpoint_stands(config, tmp_path):
    longer = dataclasses.replace(config, num_updates=4000, evaluation=EvaluationConfig(1000, 2))
    command = [
        sys.executable,
        "-m",
        "reweigh",
        "train",
        longer.data.spec,
        "--algorithm",
        "td3-bc",
        "--weights",
        "rw",
        "--num-updates",
        "4000",
        "--batch-size",
        "8",
        "--hidden",
        "8",
        "--eval-interval",
        "1000",
        "--eval-episodes",
        "2",
        "--checkpoint-interval",
        "100",
        "--set",
        "log_interval=100",
        "--quiet",
    ]
    environment = os.environ | {"JAX_DEBUG_KEY_REUSE": "false"}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*command, "--out", str(whole)], check=True, env=environment, capture_output=True)
    for checkpoints in (1, 2):
        process = subprocess.Popen([*command, "--out", str(cut)], env=environment, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        seen = set()
        while len(seen) < checkpoints and process.poll() is None and time.monotonic() < deadline:
            checkpoint = cut / "seed-0" / "checkpoint.npz"
            if checkpoint.exists():
                seen.add(checkpoint.stat().st_mtime_ns)
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert len(seen) == checkpoints, "killed before there was anything to go on from"
    subprocess.run([*command, "--out", str(cut)], check=True, env=environment, capture_output=True)
    assert_equal_runs(contents(whole), contents(cut))
    again = subprocess.run([*command, "--out", str(cut)], check=True, env=environment, capture_output=True)
    assert b"Nothing to do" in again.stderr


def test_seeds_trained_together_equal_seeds_trained_alone(config, tmp_path):
    short = dataclasses.replace(config, num_updates=10)
    train(short, [0, 1], tmp_path / "together")
    for seed in (0, 1):
        train(short, [seed], tmp_path / "alone")
        one, other = contents(tmp_path / "together", seed), contents(tmp_path / "alone", seed)
        for key in one["checkpoint"]:
            np.testing.assert_allclose(one["checkpoint"][key], other["checkpoint"][key], rtol=1e-4, atol=1e-5)
    assert differ(
        contents(tmp_path / "alone", 0)["policy"]["kernel_0"],
        contents(tmp_path / "alone", 1)["policy"]["kernel_0"],
    )


def test_a_finished_seed_is_left_alone_and_a_new_one_is_added(config, tmp_path):
    out = tmp_path / "run"
    train(config, [0], out)
    before = (out / "seed-0" / "checkpoint.npz").stat().st_mtime_ns
    train(config, [0, 1], out)
    assert (out / "seed-0" / "checkpoint.npz").stat().st_mtime_ns == before
    assert RunFolder(out).seed(1).finished


def test_a_run_goes_on_with_as_many_episodes_an_evaluation_as_it_began_with(config, tmp_path):
    with pytest.raises(Interrupted):
        train(config, [0], tmp_path / "run", should_stop=stop_after(4))
    assert len(RunFolder(tmp_path / "run").seed(0).load_returns().update)
    episodes = config.evaluation.episodes
    other = dataclasses.replace(
        config, evaluation=dataclasses.replace(config.evaluation, episodes=episodes + 1)
    )
    info = load(config.data.spec).info
    with pytest.raises(RunError, match=f"Give --eval-episodes {episodes}"):
        claim([(other, tmp_path / "run")], [0], info)
    never = dataclasses.replace(other, evaluation=dataclasses.replace(other.evaluation, enabled=False))
    claim([(never, tmp_path / "run")], [0], info)


def test_a_seed_without_evaluations_is_listed_as_not_scored(config, tmp_path, capsys):
    short = ["--algorithm", "td3-bc", "--hidden", "8", "--num-updates", "20", "--eval-interval", "10"]
    command = ["train", config.data.spec, *short, "--eval-episodes", "1", "--out", str(tmp_path / "run")]
    assert main([*command, "--seeds", "0"]) == 0
    capsys.readouterr()
    assert main([*command, "--seeds", "0", "1", "--no-evaluate"]) == 0
    said = capsys.readouterr().out
    assert "seed 0: mean of the last ten" in said
    assert "seed 1: not scored" in said


def test_another_run_in_the_same_folder_is_refused(config, tmp_path):
    train(config, [0], tmp_path / "run")
    other = dataclasses.replace(config, rebalance=Resample())
    for seeds in ([0], [1]):
        with pytest.raises(RunError, match="it holds another run"):
            train(other, seeds, tmp_path / "run")
    longer = dataclasses.replace(
        config, num_updates=2 * config.num_updates, evaluation=EvaluationConfig(enabled=False)
    )
    said = rf"\(num_updates {config.num_updates} there, {2 * config.num_updates} here\)"
    with pytest.raises(RunError, match=said):
        train(longer, [0], tmp_path / "run")


def test_processes_that_begin_a_run_together_share_its_folder(tmp_path):
    class Overtaken(RunFolder):
        def seeds(self):
            RunFolder(self.path).claim({"num_updates": 1}, "same", {}, [0])
            return super().seeds()

    Overtaken(tmp_path / "run").claim({"num_updates": 1}, "same", {}, [1])
    assert [seed.seed for seed in RunFolder(tmp_path / "run").seeds()] == [0, 1]


def test_of_two_different_runs_that_begin_together_one_gets_the_folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with ThreadPoolExecutor() as pool:
        with held(folder.path / "claim.lock", wait=True):  # another run claims the folder now
            claiming = pool.submit(folder.claim, {"num_updates": 1}, "same", {}, [1])
            time.sleep(0.3)
            assert not claiming.done()
            other = {"identity": "other", "num_updates": 2}
            (folder.path / "config.json").write_text(json.dumps(other))
        with pytest.raises(RunError, match=r"it holds another run \(num_updates 2 there, 1 here\)"):
            claiming.result()
    assert folder.seeds() == []


def test_a_finished_run_is_claimed_where_nothing_can_be_written(tmp_path):
    RunFolder(tmp_path / "run").claim({"num_updates": 1}, "same", {}, [0])
    (tmp_path / "run" / "claim.lock").unlink()
    (tmp_path / "run" / "claim.lock").mkdir()  # which even root cannot open
    RunFolder(tmp_path / "run").claim({"num_updates": 1}, "same", {}, [0])


def test_writers_of_one_file_never_share_what_is_half_written(tmp_path):
    path = tmp_path / "a.json"
    with atomic_path(path) as one, atomic_path(path) as other:
        one.write_text("1")
        other.write_text("2")
    assert path.read_text() == "1"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_removed_by_the_next(config, tmp_path):
    left = tmp_path / "run" / "seed-0" / ".checkpoint.npz.0123456789ab.part"
    claim([(config, tmp_path / "run")], [0], load(config.data.spec).info)
    left.write_text("half a checkpoi")
    train(config, [0], tmp_path / "run")
    assert not left.exists()


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1]])
def test_seeds_that_are_none_are_refused_before_a_folder_is_made(seeds, config, tmp_path):
    with pytest.raises(ConfigError, match=r"expected distinct seeds from 0 to 4294967295, but found \["):
        train(config, seeds, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_second_writer_is_refused(config, tmp_path):
    train(config, [1], tmp_path / "run")
    folder = RunFolder(tmp_path / "run").seed(0)
    with folder.locked(), pytest.raises(RunError, match="only writer"):
        train(config, [0], tmp_path / "run")


def test_every_episode_of_every_evaluation_is_kept(config, tmp_path):
    train(config, [0], tmp_path / "run")
    returns = RunFolder(tmp_path / "run").seed(0).load_returns()
    assert returns.update.tolist() == [20, 40, 60]
    assert returns.episode_return.shape == (3, 2)
    # The pendulum gives 1 a step and ends when it falls.
    np.testing.assert_array_equal(returns.episode_return, returns.episode_length)
    result = json.loads((tmp_path / "run" / "seed-0" / "result.json").read_text())
    assert result["final_return"] == returns.episode_return[-1].mean()
    with open(tmp_path / "run" / "seed-0" / "metrics.csv") as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == [10, 20, 30, 40, 50, 60]


def test_the_result_is_the_mean_of_the_last_ten_evaluations(config, tmp_path, monkeypatch):
    monkeypatch.setattr("reweigh.experiment.reference_of_env", lambda env: (0.0, 50.0))
    often = dataclasses.replace(config, num_updates=24, evaluation=EvaluationConfig(2, 1))
    train(often, [0], tmp_path / "run")
    seed = RunFolder(tmp_path / "run").seed(0)
    means, found = seed.load_returns().episode_return.mean(axis=1), seed.result()
    assert len(means) == 12
    assert found["last_ten_return"] == pytest.approx(means[-10:].mean()) != pytest.approx(means.mean())
    assert found["final_return"] == pytest.approx(means[-1])
    # Half of the expert's return of 50 would be a score of 50.
    assert found["last_ten_score"] == pytest.approx(2 * found["last_ten_return"])
    assert found["final_score"] == pytest.approx(2 * found["final_return"])


def test_every_evaluation_of_every_seed_has_episodes_of_its_own_fixed_for_good():
    # -1 stands for the fresh episodes of `reweigh evaluate`.
    found = {tuple(episode_seeds(seed, update, 3)) for seed in range(5) for update in (-1, 0, 5000, 10_000)}
    assert len(found) == 20
    assert episode_seeds(3, 5000, 3) == [1377182974, 1333598935, 1490507043]


def test_a_row_of_metrics_is_the_mean_since_the_row_before(config, tmp_path):
    def rows(interval):
        plain = dataclasses.replace(
            config,
            log_interval=interval,
            checkpoint_interval=60,
            evaluation=EvaluationConfig(enabled=False),
        )
        train(plain, [0], tmp_path / str(interval))
        path = tmp_path / str(interval) / "seed-0/metrics.csv"
        return np.loadtxt(path, delimiter=",", skiprows=1)[:, 1:]

    np.testing.assert_allclose(rows(10).reshape(3, 2, -1).mean(axis=1), rows(20), rtol=1e-5)


def test_an_evaluation_is_on_record_only_when_its_policy_is_too(config, tmp_path, monkeypatch):
    def killed(folder, policy):
        raise KeyboardInterrupt

    monkeypatch.setattr(SeedFolder, "save_policy", killed)
    with pytest.raises(KeyboardInterrupt):
        train(config, [0], tmp_path / "run")
    # `status` and `sweep` ask the policy of a seed with evaluations how they are scored.
    assert not len(RunFolder(tmp_path / "run").seed(0).load_returns().update)


def test_seeds_that_are_finished_start_no_process(config, tmp_path, monkeypatch, capsys):
    train(config, [0], tmp_path / "run")
    started = []
    monkeypatch.setattr(launch, "run_jobs", lambda jobs, saved, quiet: started.extend(jobs))
    assert launch.launch(config, [0], tmp_path / "run", quiet=True, as_json=False) == 0
    assert not started
    assert "all seeds" in capsys.readouterr().err


def test_actions_are_held_in_the_unit_box_and_scaled_back_by_the_policy(config, tmp_path):
    train(config, [0], tmp_path / "run")
    policy = RunFolder(tmp_path / "run").seed(0).load_policy()
    assert policy.action_low.tolist() == [-3]
    assert policy.action_high.tolist() == [3]
    action = policy(np.random.default_rng(0).normal(size=(100, 4)) * 100)
    assert 1 < np.abs(action).max() <= 3


def test_a_policy_trained_without_evaluation_knows_the_environment_of_its_data(config, tmp_path):
    config = dataclasses.replace(config, num_updates=2, evaluation=EvaluationConfig(enabled=False))
    train(config, [0], tmp_path / "run")
    assert RunFolder(tmp_path / "run").seed(0).load_policy().meta["env"] == "InvertedPendulum-v4"


def test_a_training_that_diverges_stops_at_the_metric_that_was_lost(config, tmp_path):
    config = dataclasses.replace(config, algorithm=TD3BCConfig(hidden=(8,), learning_rate=1e30))
    with pytest.raises(RunError, match=r"is (nan|inf|-inf): training has diverged"):
        train(config, [0], tmp_path / "run")
    assert not RunFolder(tmp_path / "run").seed(0).finished
    assert not (tmp_path / "run" / "seed-0" / "metrics.csv").exists(), "the first record was bad already"


def test_a_seed_that_fails_leaves_the_others_to_their_end(config, tmp_path):
    claim([(config, tmp_path / "run")], [0, 1, 2], load(config.data.spec).info)
    (tmp_path / "run" / "seed-0" / "checkpoint.npz").write_text("damaged")
    with pytest.raises(RunError, match="seed-0"):
        train_in_processes(train_jobs(config, [0, 1, 2], tmp_path / "run"), lambda message: None)
    finished = [seed.finished for seed in RunFolder(tmp_path / "run").seeds()]
    assert finished == [False, True, True]
