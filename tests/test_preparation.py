"""What training sees of a dataset: its columns, its batches, and what makes two runs the same."""

import dataclasses

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from fakes import tiny_data
from reweigh import Uniform, load, probability_by_return
from reweigh.algorithms.bc import BCConfig
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.config import (
    DataConfig,
    DensityRatio,
    EvaluationConfig,
    Mixture,
    Resample,
    Reweight,
    RunConfig,
    WeightsPath,
    identity,
)
from reweigh.datasets.normalizer import Normalizer
from reweigh.experiment import make_rebalance
from reweigh.policy import Policy, load_policy, save_policy
from reweigh.priorities.by_return import RW
from reweigh.priorities.published import OperAFile
from reweigh.rebalance.density_ratio import RatioSettings, density_ratio_tables
from reweigh.rebalance.static import resample_tables, reweight_tables
from reweigh.running.preparation import compute_weights, prepare


def column(*numbers):
    return np.array(numbers, np.float32)[:, None]


def test_training_sees_each_column_as_its_settings_say(tmp_path):
    np.savez(
        tmp_path / "d.npz",
        observations=column(0, 2, 4, 2),
        next_observations=column(2, 9, 2, 4),
        actions=column(1, -0.2, 0.5, 0.1),
        rewards=np.array([1, 2, 3, 4], np.float32),
        terminals=np.array([0, 1, 0, 0], bool),
        timeouts=np.array([0, 0, 0, 1], bool),
    )
    config = RunConfig(
        DataConfig(str(tmp_path / "d.npz")),
        BCConfig(),
        discount=0.5,
        action_limit=0.9,
        reward="minus-one",
        normalize_observations=True,
        evaluation=EvaluationConfig(enabled=False),
    )
    prepared = prepare(config)
    assert prepared.transitions.observation.nbytes == 0, "the device has them"
    data = prepared.data
    # Observations have mean 2 and deviation sqrt 2.
    scale = np.sqrt(2) + 1e-3
    np.testing.assert_allclose(data.observation[:, 0] * scale + 2, [0, 2, 4, 2], atol=1e-5)
    # After the terminal stands the state itself, not what the file holds there.
    np.testing.assert_allclose(data.next_observation[:, 0] * scale + 2, [2, 2, 2, 4], atol=1e-5)
    # The timeout of the last row ends no value.
    np.testing.assert_allclose(data.discount, [0.5, 0, 0.5, 0.5])
    np.testing.assert_allclose(data.reward, [0, 1, 2, 3])
    np.testing.assert_allclose(data.action[:, 0], [0.9, -0.2, 0.5, 0.1])


def test_where_every_row_is_kept_no_column_is_copied():
    columns = {
        "observations": np.ones((5, 2), np.float32),
        "next_observations": np.ones((5, 2), np.float32),
        "actions": np.ones((5, 1), np.float32),
        "rewards": np.ones(5, np.float32),
        "terminals": np.array([0, 0, 0, 0, 1], bool),
    }
    transitions = load(columns)
    assert np.shares_memory(transitions.observation, columns["observations"])
    assert np.shares_memory(transitions.raw_reward, columns["rewards"])
    one = load({name: array[-1:] for name, array in columns.items()})
    assert (len(one), one.terminal.tolist()) == (1, [True]), "one row with what came next is a transition"


def test_a_policy_normalizes_what_it_sees_as_its_training_did(tmp_path):
    ones, zeros = np.ones(2, np.float32), np.zeros(2, np.float32)
    normalizer = Normalizer(np.array([1, 2], np.float32), np.array([2, 4], np.float32))
    policy = Policy(((np.eye(2, dtype=np.float32), zeros),), normalizer, -ones, ones)
    save_policy(tmp_path / "p.npz", policy)
    for found in (policy, load_policy(tmp_path / "p.npz")):
        np.testing.assert_allclose(found(np.array([3.0, -2.0])), np.tanh([1, -1]), rtol=1e-6)


def minibatch_of(rebalance, tables, size=500):
    config = RunConfig(DataConfig("x"), TD3BCConfig(), rebalance, batch_size=size)
    return make_rebalance(config).draw(jax.random.key(0), tables, tiny_data(4), jnp.int32(0))


@pytest.mark.parametrize(("terms", "weighted"), [("policy", "policy"), ("evaluation", "evaluation")])
def test_only_one_side_of_two_batches_is_drawn_by_the_weights(terms, weighted):
    minibatch = minibatch_of(Resample(terms=terms), resample_tables(np.array([0.0, 0, 0, 1])))
    for side in ("policy", "evaluation"):
        drawn = set(np.asarray(getattr(minibatch, side).reward).tolist())
        assert drawn == ({3} if side == weighted else {0, 1, 2, 3})


@pytest.mark.parametrize("off", ["", "evaluation", "improvement", "constraint"])
def test_reweighting_weighs_every_term_but_those_switched_off(off):
    p = np.arange(1.0, 5.0)
    minibatch = minibatch_of(Reweight(**({off: False} if off else {})), reweight_tables(p / p.sum()), 64)
    row = np.asarray(minibatch.evaluation.reward, int)
    assert set(row) == {0, 1, 2, 3}
    for term in ("evaluation", "improvement", "constraint"):
        expected = np.ones(64) if term == off else p[row] / p.mean()
        np.testing.assert_allclose(getattr(minibatch.weight, term), expected, rtol=1e-6)


SETTINGS = {"evaluation": False, "improvement": True, "constraint": False}


@pytest.mark.parametrize(
    ("made_by", "method", "expected"),
    [
        (
            "resample",
            Resample(terms="policy", progressive_updates=7),
            {"terms": "policy", "progressive_updates": 7},
        ),
        ("reweight", Reweight(**SETTINGS, progressive_updates=7), {**SETTINGS, "progressive_updates": 7}),
        (
            "density_ratio",
            DensityRatio(ratio=RatioSettings(clip=0.7), **SETTINGS),
            {**SETTINGS, "hidden": (32, 16)},
        ),
    ],
)
def test_every_setting_of_a_rebalance_reaches_the_function_that_makes_it(
    made_by, method, expected, monkeypatch
):
    asked = {}
    monkeypatch.setattr(
        f"reweigh.experiment.{made_by}", lambda *args, **given: asked.update(given, args=args)
    )
    with pytest.raises(jaxtyping.TypeCheckError):  # what it returns is no rebalance
        make_rebalance(RunConfig(DataConfig("x"), TD3BCConfig(hidden=(32, 16)), method, batch_size=9))
    ratio = (method.ratio,) if isinstance(method, DensityRatio) else ()
    assert asked.pop("args") == (9, *ratio)
    assert asked == expected


def test_a_ratio_is_learned_from_the_recorded_reward_and_not_from_the_shifted_one(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(
        path,
        observations=column(0, 1, 2, 3),
        actions=column(0, 0, 0, 0),
        rewards=np.array([1, 2, 4, 8], np.float32),
        terminals=np.array([0, 0, 0, 1], bool),
        next_observations=column(1, 2, 3, 0),
    )
    config = RunConfig(
        DataConfig(str(path)),
        TD3BCConfig(),
        DensityRatio(),
        reward="minus-one",
        evaluation=EvaluationConfig(enabled=False),
    )
    prepared = prepare(config)
    np.testing.assert_allclose(prepared.data.reward, [0, 1, 3, 7])
    expected = density_ratio_tables(None, np.array([1, 2, 4, 8], np.float32), RatioSettings())
    np.testing.assert_array_equal(prepared.tables.reward, expected.reward)
    shifted = density_ratio_tables(None, np.array([0, 1, 3, 7], np.float32), RatioSettings())
    assert not np.array_equal(shifted.reward, expected.reward), "the settings can tell them apart"


def episodes_of(*returns):
    """An episode of two rows for each return, paid at its end."""
    count = 2 * len(returns)
    return load(
        {
            "observations": np.zeros((count, 1), np.float32),
            "actions": np.zeros((count, 1), np.float32),
            "rewards": np.repeat(np.array(returns, np.float32), 2) * (np.arange(count) % 2),
            "terminals": np.arange(count) % 2 == 1,
            "timeouts": np.zeros(count, bool),
            "next_observations": np.zeros((count, 1), np.float32),
        }
    )


def test_a_mixture_has_its_shares_of_both():
    data = episodes_of(0, 5, 10)
    expected = 0.7 * probability_by_return(data, RW(0.5)).probability + 0.3 / len(data)
    found = compute_weights(data, Mixture(0.7, RW(0.5), Uniform())).probability
    np.testing.assert_allclose(found, expected, rtol=1e-12)


INFO = load("builtin:bandit").info
BASE = RunConfig(DataConfig("builtin:bandit"), TD3BCConfig())


@pytest.mark.parametrize(
    "change",
    [
        {"num_updates": 20},
        {"batch_size": 8},
        {"discount": 0.9},
        {"action_limit": 0.5},
        {"reward": "minus-one"},
        {"normalize_observations": True},
        {"algorithm": TD3BCConfig(alpha=1.0)},
        {"rebalance": Resample(RW())},
    ],
    ids=str,
)
def test_what_changes_numbers_makes_another_run(change):
    assert identity(dataclasses.replace(BASE, **change), INFO) != identity(BASE, INFO)


@pytest.mark.parametrize(
    "change",
    [
        {"data": DataConfig("moved.npz")},
        {"log_interval": 10},
        {"checkpoint_interval": 10},
        {"evaluation": EvaluationConfig(10, 1)},
    ],
    ids=str,
)
def test_paths_logging_and_evaluation_make_no_other_run(change):
    assert identity(dataclasses.replace(BASE, **change), INFO) == identity(BASE, INFO)


def test_a_weights_file_counts_by_its_content_wherever_it_lies(tmp_path):
    def found(name, content):
        (tmp_path / name).write_bytes(content)
        weighted = Resample(WeightsPath(str(tmp_path / name)))
        return identity(dataclasses.replace(BASE, rebalance=weighted), INFO)

    assert found("a.npz", b"one") == found("b.npz", b"one") != found("a.npz", b"other")


def test_what_actions_are_scaled_by_makes_another_run():
    wide = dataclasses.replace(INFO, action_high=2 * INFO.action_high)
    assert identity(BASE, wide) != identity(BASE, INFO)


@pytest.mark.parametrize(
    "weights",
    [
        lambda path: Mixture(0.5, WeightsPath(path), Uniform()),
        lambda path: Mixture(0.5, Uniform(), WeightsPath(path)),
        OperAFile,
    ],
)
def test_files_inside_a_mixture_and_published_ones_count_by_their_content(weights, tmp_path):
    def found(name, content):
        (tmp_path / name).write_bytes(content)
        weighted = Resample(weights(str(tmp_path / name)))
        return identity(dataclasses.replace(BASE, rebalance=weighted), INFO)

    assert found("a.npy", b"one") == found("b.npy", b"one") != found("a.npy", b"other")
