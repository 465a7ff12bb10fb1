"""DW as a run: metrics, the weights that it ends with, resuming, and the command line."""

import contextlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

from fakes import assert_same, differ
from reweigh import load, read_weights
from reweigh.algorithms.bc import BCConfig
from reweigh.algorithms.onestep import OnestepConfig
from reweigh.cli import main, make_parser
from reweigh.config import DataConfig, DensityRatio, EvaluationConfig, Resample, RunConfig, WeightsPath
from reweigh.errors import ConfigError
from reweigh.experiment import train
from reweigh.networks import MLP
from reweigh.options.arguments import run_config
from reweigh.priorities.by_return import AW, RW, Top
from reweigh.rebalance.density_ratio import CONVENTIONS, Ratio, RatioSettings
from reweigh.rebalance.static import resample_tables
from reweigh.running.onestep_runs import shared_stages
from reweigh.running.preparation import compute_weights, prepare
from reweigh.running.ratio_weights import RatioWeights
from reweigh.running.resumable import Interrupted
from reweigh.runs import RunFolder

CONTENT = ("checkpoint", "weights")


@pytest.fixture
def data(tmp_path):
    """Rewards are high where the first observation is, and such rows are of the good source."""
    rng, rows = np.random.default_rng(0), 200
    observation = rng.normal(size=(rows, 3)).astype(np.float32)
    good = observation[:, 0] > 0.5
    path = tmp_path / "data.npz"
    np.savez(
        path,
        observations=observation,
        next_observations=rng.normal(size=(rows, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        rewards=good.astype(np.float32),
        terminals=np.arange(rows) % 10 == 9,
        timeouts=np.zeros(rows, bool),
        source=good.astype(np.int8),
    )
    return path


def config_of(data, **change) -> RunConfig:
    settings = RatioSettings(divergence=0.05, flow=0.0, clip=1.0, learning_rate=1e-2)
    return RunConfig(
        **{
            "data": DataConfig(str(data)),
            "algorithm": BCConfig(hidden=(8,)),
            "rebalance": DensityRatio(ratio=settings),
            "num_updates": 300,
            "batch_size": 32,
            "evaluation": EvaluationConfig(enabled=False),
            "log_interval": 100,
            "checkpoint_interval": 100,
        }
        | change
    )


def test_a_run_measures_its_ratio_and_ends_with_weights_of_every_row(data, tmp_path):
    train(config_of(data), [0], tmp_path / "run")
    seed = RunFolder(tmp_path / "run").seed(0)
    last = seed.last_metrics()
    assert last["update"] == 300
    assert last["ratio/auc"] > 0.9
    assert 0 < last["ratio/data_ess"] < 0.95
    assert 0 <= last["ratio/clipped"] <= 1
    file, transitions = read_weights(seed.weights_path), load(data)
    assert file.meta["summary"]["auc"] == pytest.approx(last["ratio/auc"])
    good = transitions.source == 1
    assert file.weight[good].mean() > 1.5 * file.weight[~good].mean()
    # And they can be used as any other weights.
    weights = compute_weights(transitions, WeightsPath(str(seed.weights_path)))
    np.testing.assert_allclose(weights.probability * len(transitions), file.weight)


def test_a_run_stopped_in_between_ends_as_one_left_alone(data, tmp_path):
    train(config_of(data), [0], tmp_path / "whole")
    for calls in (0, 1):
        remaining = iter(range(calls))
        with contextlib.suppress(Interrupted):
            train(
                config_of(data),
                [0],
                tmp_path / "cut",
                should_stop=lambda left=remaining: next(left, None) is None,
            )
    train(config_of(data), [0], tmp_path / "cut")
    for name in CONTENT:
        one, other = (np.load(tmp_path / run / "seed-0" / f"{name}.npz") for run in ("whole", "cut"))
        for key in one.files:
            np.testing.assert_array_equal(one[key], other[key])
    assert (tmp_path / "whole/seed-0/metrics.csv").read_text() == (
        tmp_path / "cut/seed-0/metrics.csv"
    ).read_text()


@pytest.mark.parametrize("rows_at_once", [7, 2**16])
def test_weights_are_the_softmax_of_the_clipped_logit_times_those_underneath(data, rows_at_once, monkeypatch):
    monkeypatch.setattr("reweigh.running.ratio_weights._ROWS_AT_ONCE", rows_at_once)
    config = config_of(data, rebalance=DensityRatio(Top(0.5), CONVENTIONS["td3-bc"]))
    prepared = prepare(config)

    def first_input(inputs: int, scale: float) -> MLP:
        return MLP(((jnp.zeros((inputs, 1)).at[0, 0].set(scale), jnp.zeros(1)),))

    ratio = Ratio(first_input(5, 1.0), first_input(3, 0.5))
    found = RatioWeights(config.rebalance.ratio, prepared).weights_file(ratio, {}).probability
    logit = np.clip(1.5 * np.asarray(prepared.data.observation[:, 0], np.float64), -1.2, 1.2)
    expected = np.exp(logit) * prepared.probability
    np.testing.assert_allclose(found, expected / expected.sum(), rtol=1e-6)
    assert (found == 0).sum() == (prepared.probability == 0).sum() > 0


def test_the_clone_and_value_of_onestep_see_the_weights_underneath_alone(data, tmp_path, monkeypatch):
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    algorithm = OnestepConfig(hidden=(8,))
    paths = []
    for rebalance in (DensityRatio(RW(), RatioSettings()), Resample(RW())):
        config = config_of(data, algorithm=algorithm, rebalance=rebalance)
        prepared = prepare(config)
        clone, value = shared_stages(config, algorithm, prepared)
        paths.append([clone.folder.path, value.folder.path])
        assert_same(clone.make_work().tables, resample_tables(prepared.probability))
        assert differ(clone.make_work().tables, resample_tables(np.ones(len(prepared.transitions))))
    assert paths[0] == paths[1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"rebalance": DensityRatio(constraint=False)}, "only one of bc"),
        ({"discount": 0.0}, "discount above 0"),
    ],
)
def test_terms_that_bc_lacks_and_a_discount_of_0_are_refused(data, change, expected):
    with pytest.raises(ConfigError, match=expected):
        config_of(data, **change)


def run_cli(capsys, *words) -> tuple[int, str, str]:
    code = main([str(word) for word in words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


TRAIN = ("--algorithm", "bc", "--hidden", "8", "--num-updates", "100", "--batch-size", "32", "--no-evaluate")


def test_the_command_line_trains_exports_and_says_when_weights_do_nothing(data, tmp_path, capsys):
    out, weights = tmp_path / "run", tmp_path / "w.npz"
    train_words = ("train", data, *TRAIN, "--rebalance", "density-ratio", "--seeds", "0", "1", "--out", out)
    code, _, err = run_cli(capsys, *train_words, "--set", "rebalance.ratio.temperature=1e6")
    assert code == 0
    assert "seed 0 are uniform to rounding" in err
    code, text, _ = run_cli(capsys, "export", out, "--out", weights, "--json")
    assert code == 0
    assert json.loads(text)["seeds"] == [0, 1]
    file = read_weights(weights)
    of_seed = read_weights(RunFolder(out).seed(0).weights_path)
    assert of_seed.meta["settings"] == file.meta["settings"] == RunFolder(out).config()["rebalance"]
    each = [read_weights(RunFolder(out).seed(seed).weights_path).weight for seed in (0, 1)]
    np.testing.assert_allclose(file.weight, (each[0] + each[1]) / 2)
    assert run_cli(capsys, "export", out, "--seed", "0")[0] == 0
    np.testing.assert_allclose(read_weights(out / "weights.npz").weight, each[0])
    own = RunFolder(out).seed(0).weights_path
    code, _, err = run_cli(capsys, "export", out, "--out", own)
    assert code == 1
    assert "is read by this very command" in err
    code, _, err = run_cli(capsys, "export", out, "--out", weights, "--seed", "7")
    assert code == 1
    assert "found none" in err
    for data_of_config in ({"spec": str(data), "of_another_version": 1}, None):
        config = json.loads((out / "config.json").read_text()) | {"data": data_of_config}
        (out / "config.json").write_text(json.dumps(config))
        code, _, err = run_cli(capsys, "export", out, "--out", weights)
        assert code == 1
        assert "expected the settings of DataConfig in" in err


def test_a_sampler_string_trains_what_it_stands_for(data, tmp_path, capsys):
    text = "AW-0.1+DRW-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001"
    out = tmp_path / "run"
    assert run_cli(capsys, "train", data, *TRAIN, "--sampler", text, "--out", out)[0] == 0
    found = json.loads((out / "config.json").read_text())["rebalance"]
    assert (found["type"], found["weights"]["type"], found["ratio"]["divergence"]) == (
        "density-ratio",
        "aw",
        0.2,
    )
    code, _, err = run_cli(capsys, "train", data, *TRAIN, "--sampler", "uniform", "--weights", "aw")
    assert code == 1
    assert "Leave out --weights" in err


def test_a_run_without_ratios_has_nothing_to_export(data, tmp_path, capsys):
    train(config_of(data, rebalance=Resample(), num_updates=100), [0], tmp_path / "run")
    code, _, err = run_cli(capsys, "export", tmp_path / "run", "--out", tmp_path / "w.npz")
    assert code == 1
    assert "known before training" in err


@pytest.mark.parametrize("paper", ["dw-iql", "dw-td3bc", "dw-cql", "aw-cql"])
def test_paper_presets_take_the_authors_form(data, paper):
    study, code = paper.split("-")
    algorithm = {"td3bc": "td3-bc"}.get(code, code)
    words = ["train", str(data), "--algorithm", algorithm, "--no-evaluate", "--paper", paper]
    config = run_config(make_parser().parse_args(words))
    if study == "dw":
        assert config.rebalance.ratio.ignore_terminals
        assert config.rebalance.ratio.clipping == CONVENTIONS[algorithm].clipping
    else:
        assert config.rebalance == Resample(AW(temperature=0.2, guard=False))
    if code == "cql":
        assert config.algorithm.min_q_weight == 10.0


def test_metrics_look_at_rows_from_the_first_to_the_last(data, monkeypatch):
    monkeypatch.setattr("reweigh.running.ratio_weights._MEASURED_ROWS", 5)
    config = config_of(data)
    found = RatioWeights(config.rebalance.ratio, prepare(config))
    assert found.measured.tolist() == [0, 49, 99, 149, 199]
