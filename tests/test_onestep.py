"""Onestep RL: its stages against the authors' code, its operators, and its stages shared by several runs."""

import contextlib
import dataclasses
import time
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from goldens import as_dtype, assert_losses, assert_parameters, golden, torch_mlp
from probes import best_action, constant_reward, train_on, two_steps
from reweigh.algorithms.bc import BCConfig, Gaussian, log_likelihood, make_bc, sample
from reweigh.algorithms.onestep import (
    Learned,
    OnestepConfig,
    OnestepNoise,
    OnestepState,
    SarsaState,
    action_value,
    improvement_start,
    make_improvement,
    make_sarsa,
)
from reweigh.config import DataConfig, EvaluationConfig, Resample, Reweight, RunConfig
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.errors import ConfigError
from reweigh.experiment import train
from reweigh.optim import Trained
from reweigh.policy import BestOf, Policy, load_policy, save_policy
from reweigh.priorities.by_return import RW
from reweigh.running.onestep_runs import learn_before, shared_stages
from reweigh.running.preparation import prepare
from reweigh.running.resumable import Interrupted
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

LAYERS = ("net.net.1", "net.net.3", "net.net.5")
SMALL = OnestepConfig(hidden=(32, 32))
both_precisions = pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])


def minibatch_of(arrays, step, dtype) -> Minibatch:
    def column(name):
        return jnp.asarray(arrays[f"in/{name}"][step], dtype)

    discount = 0.99 * (1 - column("d")[:, 0])
    batch = Batch(column("s"), column("a"), column("r")[:, 0], discount, column("sp"), column("ap"))
    ones = jnp.ones(64, dtype)
    return Minibatch(batch, None, TermWeight(ones, ones, ones))


@both_precisions
def test_four_updates_of_the_value_equal_the_authors_code(dtype):
    arrays = golden("08d_onestep_bc")
    with jax.enable_x64(dtype == jnp.float64):
        algorithm = make_sarsa(SMALL)
        fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
        critic = torch_mlp(arrays, "init/q/", LAYERS, dtype)
        state = SarsaState(Trained(critic, fresh.critic.opt_state), critic)
        losses = []
        for step in range(4):
            update = jax.jit(algorithm.updates[step % 2])
            state, metrics = update(state, minibatch_of(arrays, step, dtype), ())
            losses.append(metrics["critic/loss"])
        path = f"sarsa/{'f64' if dtype == jnp.float64 else 'f32'}/"
        assert_losses(np.stack(losses), arrays[f"{path}loss"], dtype)
        assert_parameters(state.critic.model, torch_mlp(arrays, f"{path}final/q/", LAYERS, dtype), dtype)
        target = torch_mlp(arrays, f"{path}final/q_target/", LAYERS, dtype)
        assert_parameters(state.target_critic, target, dtype)


@both_precisions
def test_four_exponentially_weighted_updates_equal_the_authors_code(dtype):
    arrays = golden("08d_onestep_bc")
    with jax.enable_x64(dtype == jnp.float64):
        kind = "f64" if dtype == jnp.float64 else "f32"
        algorithm = make_improvement(SMALL)
        fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
        behavior = torch_mlp(arrays, f"bc_normal/{kind}/final/", LAYERS, dtype)
        critic = torch_mlp(arrays, f"sarsa/{kind}/final/q/", LAYERS, dtype)
        policy = Trained(behavior, fresh.policy.opt_state)
        state = OnestepState(policy, behavior, critic, fresh.candidate_noise)
        losses, baselines = [], []
        for step in range(4):
            several = jnp.asarray(arrays["in/baseline_noise"][step].swapaxes(0, 1), dtype)
            noise = OnestepNoise(several[:, 0], several)
            state, metrics = jax.jit(algorithm.updates[0])(state, minibatch_of(arrays, step, dtype), noise)
            losses.append(metrics["actor/loss"])
            baselines.append(metrics["actor/baseline_mean"])
        path = f"exp_weight/{kind}/"
        assert_losses(np.stack(losses), arrays[f"{path}loss"], dtype)
        assert_losses(np.stack(baselines), arrays[f"{path}baseline"].mean(axis=(1, 2)), dtype)
        assert_parameters(state.policy.model, torch_mlp(arrays, f"{path}final/", LAYERS, dtype), dtype)


@pytest.mark.parametrize("kind", ["normal", "truncated", "squashed"])
def test_samples_follow_the_density_of_their_policy(kind):
    around = Gaussian(jnp.full((1, 1), 0.8), jnp.full((1, 1), -0.7))
    action = sample(kind, around, jax.random.normal(jax.random.key(0), (1, 20_000, 1)))
    grid = jnp.linspace(-1.5, 2.5, 4001) if kind == "normal" else jnp.linspace(-0.999, 0.999, 4001)
    density = np.exp(log_likelihood(kind, around, grid[None, :, None]))[0]
    total = np.trapezoid(density, grid)
    assert total == pytest.approx(1.0, abs=0.02)
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))]) / total
    found = np.asarray(action).ravel()
    distance = stats.kstest(found, lambda x: np.interp(x, grid, cumulative)).statistic
    assert distance < 0.02


SEEKING = {
    "exp-weight": OnestepConfig(inverse_temperature=3.0, advantage_limit=1e4),
    "exp-weight, truncated": OnestepConfig(inverse_temperature=3.0, advantage_limit=1e4, policy="truncated"),
    "reverse-kl": OnestepConfig(improvement="reverse-kl", regularization=0.05),
    "imitation, squashed": OnestepConfig(improvement="imitation", regularization=0.05, policy="squashed"),
    "greedy": OnestepConfig(improvement="greedy"),
    "easy-bcq": OnestepConfig(improvement="easy-bcq", num_samples=60),
}
FAST = {"hidden": (32, 32), "learning_rate": 3e-3}


@cache
def learned_on_best_action(policy: str) -> Learned:
    config = OnestepConfig(**FAST, policy=policy, target_rate=0.05)
    clone = train_on(make_bc(config.behavior), best_action(), 1000)
    return Learned(clone, train_on(make_sarsa(config), best_action(), 1000))


@pytest.mark.parametrize("name", SEEKING)
def test_each_way_to_improve_finds_the_best_action_of_each_state(name):
    config = dataclasses.replace(SEEKING[name], **FAST)
    learned = learned_on_best_action(config.policy)
    algorithm = make_improvement(config)
    start = improvement_start(config, jax.random.key(1), learned)
    one = algorithm._replace(init=lambda key, shapes: start)
    state = train_on(one, best_action(), 2 if name == "easy-bcq" else 1000)
    action = algorithm.act(state, jnp.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(action, [[-0.5], [0.5]], atol=0.15)
    if name != "easy-bcq":  # which acts by the samples of the clone from the start
        moved = np.abs(algorithm.act(start, jnp.array([[-1.0], [1.0]])) - action).max()
        assert moved > 0.2, "the clone found it alone"


@pytest.mark.parametrize("improvement", ["reverse-kl", "imitation"])
def test_a_large_regularization_keeps_the_policy_at_its_clone(improvement):
    config = OnestepConfig(**FAST, improvement=improvement, regularization=1e3)
    start = improvement_start(config, jax.random.key(1), learned_on_best_action("normal"))
    algorithm = make_improvement(config)
    state = train_on(algorithm._replace(init=lambda key, shapes: start), best_action(), 1000)
    states = jnp.array([[-1.0], [1.0]])
    np.testing.assert_allclose(algorithm.act(state, states), algorithm.act(start, states), atol=0.15)


@pytest.mark.parametrize(("data", "expected"), [(constant_reward, [1.0, 1.0]), (two_steps, [0.9, 1.0])])
def test_the_value_of_the_datas_policy_is_found(data, expected):
    rows = data()
    state = train_on(make_sarsa(OnestepConfig(**FAST, target_rate=0.05)), rows)
    q = action_value(state.critic.model, rows.observation[:2], rows.action[:2])
    np.testing.assert_allclose(q, expected, atol=0.06)


@pytest.mark.parametrize("policy", ["normal", "truncated", "squashed"])
def test_the_exported_policy_picks_the_same_sample(policy, tmp_path):
    config = OnestepConfig(hidden=(16,), improvement="easy-bcq", policy=policy)
    algorithm = make_improvement(config)
    state = algorithm.init(jax.random.key(0), Shapes(3, 2))
    network, ones = algorithm.actor(state), np.ones(2, np.float32)

    def in_numpy(layers):
        return tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in layers)

    kind, critic, noise = network.best_of
    best_of = BestOf(kind, in_numpy(critic), np.asarray(noise))
    policy = Policy(in_numpy(network.layers), identity_normalizer(3), -ones, ones, {}, best_of)
    save_policy(tmp_path / "policy.npz", policy)
    observation = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = load_policy(tmp_path / "policy.npz")(observation)
    np.testing.assert_allclose(found, algorithm.act(state, jnp.asarray(observation)), atol=1e-5)
    np.testing.assert_allclose(found[0], policy(observation[0]), atol=1e-6)
    assert len(np.unique(found, axis=0)) == 50


@pytest.fixture
def config(tmp_path, monkeypatch) -> RunConfig:
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    rng, rows = np.random.default_rng(0), 200
    np.savez(
        tmp_path / "data.npz",
        observations=rng.normal(size=(rows, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32),
        next_observations=rng.normal(size=(rows, 3)).astype(np.float32),
        terminals=np.arange(rows) % 20 == 9,
        timeouts=np.arange(rows) % 20 == 19,
    )
    algorithm = OnestepConfig(behavior_updates=120, critic_updates=240, hidden=(8,))
    return RunConfig(
        data=DataConfig(str(tmp_path / "data.npz")),
        algorithm=algorithm,
        rebalance=Resample(RW(), "policy"),
        num_updates=20,
        batch_size=8,
        evaluation=EvaluationConfig(enabled=False),
        log_interval=10,
        checkpoint_interval=10,
    )


def cached(tmp_path) -> set[str]:
    return {path.name for path in (tmp_path / "cache" / "onestep").iterdir()}


def cached_names(config) -> set[str]:
    return {stage.folder.path.name for stage in shared_stages(config, config.algorithm, prepare(config))}


def last_state(out, seed=0) -> list[np.ndarray]:
    return RunFolder(out).seed(seed).load_checkpoint().leaves


def test_runs_that_differ_in_how_they_improve_share_a_clone_and_a_value(config, tmp_path):
    train(config, [0], tmp_path / "one")
    before = cached(tmp_path)
    assert len(before) == 2
    other = dataclasses.replace(config.algorithm, improvement="reverse-kl")
    # Under decoupled weights the clone and the value see none, so other weights share them as well.
    for name, change in (
        ("improvement", {"algorithm": other}),
        ("weights", {"rebalance": Resample(RW(temperature=1.0), "policy"), "num_updates": 30}),
    ):
        train(dataclasses.replace(config, **change), [0], tmp_path / name)
    assert cached(tmp_path) == before
    names = [cached_names(dataclasses.replace(config, **c)) for c in ({}, {"discount": 0.9})]
    assert names[0] == before
    assert len(names[1] & before) == 1, "the discount changes the value alone"
    weighted = cached_names(dataclasses.replace(config, rebalance=Reweight(RW())))
    assert not weighted & before


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"batch_size": 4}, 0),
        ({"action_limit": 0.5}, 0),
        ({"normalize_observations": True}, 0),
        ({"learning_rate": 1e-2}, 0),
        ({"hidden": (4,)}, 0),
        ({"policy": "squashed"}, 1),
        ({"behavior_updates": 60}, 1),
        ({"critic_updates": 120}, 1),
        ({"target_rate": 0.5}, 1),
        ({"reward": "minus-one"}, 1),
        ({"inverse_temperature": 2.0}, 2),
    ],
    ids=str,
)
def test_the_clone_and_the_value_are_shared_as_far_as_their_settings_are(change, shared, config):
    own = {f.name for f in dataclasses.fields(config.algorithm)}
    inner = {name: value for name, value in change.items() if name in own}
    outer = {name: value for name, value in change.items() if name not in own}
    algorithm = dataclasses.replace(config.algorithm, **inner)
    other = cached_names(dataclasses.replace(config, algorithm=algorithm, **outer))
    assert len(other & cached_names(config)) == shared


def test_a_run_stopped_in_any_stage_ends_as_one_left_alone(config, tmp_path, monkeypatch):
    train(config, [0], tmp_path / "whole")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "elsewhere"))
    stops = 0
    for calls in (0, 1, 0, 0):
        remaining = iter(range(calls))
        try:
            train(config, [0], tmp_path / "cut", should_stop=lambda left=remaining: next(left, None) is None)
        except Interrupted:
            stops += 1
    train(config, [0], tmp_path / "cut")
    assert stops == 4
    for one, other in zip(last_state(tmp_path / "whole"), last_state(tmp_path / "cut"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_seeds_side_by_side_end_as_seeds_alone(config, tmp_path):
    train(config, [0, 3], tmp_path / "together")
    train(config, [3], tmp_path / "alone")
    for one, other in zip(
        last_state(tmp_path / "together", 3), last_state(tmp_path / "alone", 3), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_result_holds_the_seconds_of_the_stages_before(config, tmp_path):
    train(config, [0], tmp_path / "one")
    for rate, folder in zip((2.0, 4.0), sorted((tmp_path / "cache" / "onestep").iterdir()), strict=True):
        RunFolder(folder).seed(0).finish({"updates_per_second": rate})
    other = dataclasses.replace(config, algorithm=dataclasses.replace(config.algorithm, improvement="greedy"))
    train(other, [0], tmp_path / "two")
    found = RunFolder(tmp_path / "two").seed(0).result()["earlier_seconds"]
    assert found == config.algorithm.behavior_updates / 2 + config.algorithm.critic_updates / 4


def test_a_run_waits_for_another_that_trains_what_both_share(config, tmp_path):
    train(config, [0], tmp_path / "one")
    critic = next(p for p in (tmp_path / "cache" / "onestep").iterdir() if "critic" in p.name)
    (critic / "seed-0" / "result.json").unlink()
    asked = []

    def let_go() -> bool:
        asked.append(time.monotonic())
        if len(asked) == 3:
            held.close()
        return False

    other = dataclasses.replace(config, algorithm=dataclasses.replace(config.algorithm, improvement="greedy"))
    with contextlib.ExitStack() as held:
        held.enter_context(RunFolder(critic).seed(0).locked())
        train(other, [0], tmp_path / "two", should_stop=let_go)
    assert len(asked) >= 3
    assert RunFolder(tmp_path / "two").seed(0).finished


def test_a_value_that_is_learned_already_puts_no_data_of_its_own_on_the_device(config):
    def learned(stages):
        return learn_before(stages, [0], report=lambda seen: None, should_stop=lambda: False)

    stages = shared_stages(config, config.algorithm, prepare(config))
    first = learned(stages)

    def refuse():
        raise AssertionError("there is nothing to train")

    again = learned([dataclasses.replace(stage, make_work=refuse) for stage in stages])
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_seeds_that_another_process_trained_further_meanwhile_go_on_from_where_they_stand(
    config, tmp_path, monkeypatch
):
    def learned(seeds, stop=lambda: False):
        stages = shared_stages(config, config.algorithm, prepare(config))
        return learn_before(stages, seeds, report=lambda seen: None, should_stop=stop)

    alone = [learned([seed]) for seed in (0, 1)]
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "elsewhere"))
    locked, others = SeedFolder.locked, []

    def locked_late(folder, patient=lambda: False):
        if not others:  # before the first lock is had
            others.append(folder.seed)
            with pytest.raises(Interrupted):
                learned([1], stop=lambda: True)
        return locked(folder, patient)

    monkeypatch.setattr(SeedFolder, "locked", locked_late)
    together = learned([0, 1])
    for row, one in enumerate(alone):
        for left, right in zip(jax.tree.leaves(one), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(left, right[row], rtol=1e-4, atol=1e-6)


def test_the_value_bootstraps_at_clipped_actions_as_it_is_learned_at_them(config):
    data = prepare(dataclasses.replace(config, action_limit=0.5)).data
    assert abs(data.action).max() == abs(data.next_action).max() == 0.5


def test_rows_without_a_next_action_or_a_terminal_teach_no_value(config):
    prepared = prepare(config)
    clone, value = shared_stages(config, config.algorithm, prepared)
    transitions = prepared.transitions
    # With next observations in the file a timeout's row is kept; what was done after it nobody knows.
    assert len(transitions) == len(clone.make_work().data.reward) == 200
    lonely = transitions.raw_index % 20 == 19
    np.testing.assert_array_equal(value.make_work().data.reward, transitions.reward[~lonely])
    weighted = dataclasses.replace(config, rebalance=Reweight(RW()))
    _, value = shared_stages(weighted, config.algorithm, prepare(weighted))
    weight = np.asarray(value.make_work().tables.weight)
    assert len(weight) == 190
    assert weight.mean() == pytest.approx(1, abs=1e-6), "weights must be mean 1 over the rows that are left"


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: OnestepConfig(critic_updates=3), "even"),
        (lambda: OnestepConfig(num_samples=0), "num_samples"),
        (
            lambda: RunConfig(
                DataConfig("x"), OnestepConfig(improvement="easy-bcq"), Resample(RW(), "policy")
            ),
            "easy-bcq",
        ),
        (
            lambda: RunConfig(DataConfig("x"), OnestepConfig(), Reweight(RW(), constraint=False)),
            "weighted alike",
        ),
    ],
)
def test_settings_and_rebalancing_that_onestep_cannot_use_are_refused(build, expected):
    with pytest.raises(ConfigError, match=expected):
        build()


def test_the_clone_is_behavior_cloning_of_the_same_settings():
    assert OnestepConfig(policy="squashed").behavior == BCConfig(policy="squashed")
