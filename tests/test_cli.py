"""The command line, end to end."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from typing import get_args, get_type_hints

import h5py
import numpy as np
import pytest

from reweigh.algorithms.iql import IQLConfig
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.cli import main, make_parser
from reweigh.commands.training import env_of
from reweigh.config import (
    ALGORITHMS,
    DataConfig,
    EvaluationConfig,
    Mixture,
    RebalanceConfig,
    Resample,
    Reweight,
    RunConfig,
)
from reweigh.datasets.episodes import EpisodeEnds
from reweigh.datasets.load import load, load_record
from reweigh.datasets.mixtures import Kind, Unit
from reweigh.errors import ConfigError
from reweigh.options.arguments import ALL_METHODS, default_out, run_config, weigh_method
from reweigh.options.presets import with_defaults
from reweigh.priorities.by_return import AW, RW, OperR, Oracle, RewardWeights, Shuffled, Top, Uniform
from reweigh.priorities.defaults import PAPERS
from reweigh.priorities.oper_a import OperA, ValueLearning
from reweigh.priorities.weigh import Scaling, weigh
from reweigh.rebalance.density_ratio import CONVENTIONS
from reweigh.running.preparation import compute_weights


@pytest.fixture
def small(tmp_path):
    """A D4RL-layout file of 40 episodes of 10 rows, of which returns rise with the episode."""
    rng = np.random.default_rng(0)
    path = tmp_path / "small.hdf5"
    episode = np.arange(400) // 10
    with h5py.File(path, "w") as file:
        file["observations"] = rng.normal(size=(400, 3)).astype(np.float32)
        file["actions"] = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
        file["rewards"] = (episode / 10 + rng.normal(size=400)).astype(np.float32)
        file["terminals"] = np.arange(400) % 20 == 9
        file["timeouts"] = np.arange(400) % 20 == 19
    return path


def error_of(capsys, *argv) -> str:
    """The one line that a command fails with."""
    assert main([str(a) for a in argv]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith(f"reweigh {argv[0]}: ")
    return captured.err


def test_help_answers_without_importing_jax():
    code = (
        "import sys; from reweigh.cli import make_parser; make_parser().format_help(); "
        "print('jax' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_output_that_nobody_reads_ends_a_command_without_a_word():
    command = [sys.executable, "-m", "reweigh", "sweep", "--list"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": buffered}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_command_without_an_output_works():
    command = shlex.join([sys.executable, "-m", "reweigh", "sweep", "--list"])
    found = subprocess.run(f"{command} >&-", shell=True, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


def test_inspect_and_weigh_do_not_import_jax(small, tmp_path):
    code = (
        "import sys; from reweigh.cli import main\n"
        f"main(['inspect', {str(small)!r}]); main(['weigh', {str(small)!r}, '--method', 'aw', '--out', "
        f"{str(tmp_path / 'w.npz')!r}]); print('jax' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip().endswith("False")


def test_inspect_counts_what_the_file_holds(small, capsys):
    assert main(["inspect", str(small), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recorded rows"] == 400
    assert found["transitions"] == 380
    assert found["episodes"] == 40
    assert found["ended by terminal"] == 20
    assert found["ended by timeout"] == 20


def test_weigh_then_train_then_evaluate(small, tmp_path, capsys):
    weights, run = tmp_path / "w.npz", tmp_path / "run"
    assert main(["weigh", str(small), "--method", "rw", "--temperature", "0.2", "--out", str(weights)]) == 0
    with np.load(weights) as file:
        assert file["weight"].shape == (380,)
        assert file["weight"].mean() == pytest.approx(1)
    train = [
        "train",
        str(small),
        "--algorithm",
        "bc",
        "--weights",
        str(weights),
        "--num-updates",
        "20",
        "--batch-size",
        "8",
        "--hidden",
        "8",
        "--seeds",
        "0",
        "1",
        "--out",
        str(run),
        "--json",
    ]
    assert main(train) == 0
    found = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    assert [seed["seed"] for seed in found["seeds"]] == [0, 1]
    assert "evaluate" in error_of(capsys, "evaluate", run)


def test_a_real_dataset_goes_from_file_to_score(real_data, tmp_path, capsys):
    mixed, run = tmp_path / "mix.hdf5", tmp_path / "run"
    good, bad = str(real_data / "hopper-expert.hdf5"), str(real_data / "hopper-random.hdf5")
    mix = [
        "mix",
        "--good",
        good,
        "--bad",
        bad,
        "--ratio",
        "0.1",
        "--size",
        "20000",
        "--out",
        str(mixed),
        "--json",
    ]
    assert main(mix) == 0
    made = json.loads(capsys.readouterr().out)
    assert 0.1 <= made["mix_ratio_reached"] < 0.15
    assert main(["weigh", str(mixed), "--method", "aw", "--out", str(tmp_path / "w.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["good_mass"] > 0.9
    train = [
        "train",
        str(mixed),
        "--algorithm",
        "td3-bc",
        "--weights",
        str(tmp_path / "w.npz"),
        "--hidden",
        "32",
        "--num-updates",
        "200",
        "--eval-interval",
        "100",
        "--eval-episodes",
        "2",
        "--out",
        str(run),
        "--json",
    ]
    assert main(train) == 0
    seed = json.loads(capsys.readouterr().out)["seeds"][0]
    assert seed["env"] == "Hopper-v4"
    assert -5 < seed["final_score"] < 130
    assert main(["evaluate", str(run), "--episodes", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_a_target_ess_is_reached_between_the_bounds_that_were_given():
    transitions = load("builtin:bandit")
    priority = np.random.default_rng(0).exponential(size=(1, 5, len(transitions)))
    method = OperA(iteration=5, value_seeds=(0,), eps=0.5, eps_max=4.0)
    found, settings = weigh(transitions, method, Scaling(target_ess=0.7), priority)
    assert (settings["eps"], settings["eps_max"]) == (0.5, 4.0)
    p = found.probability
    assert 1 / (len(p) * (p**2).sum()) == pytest.approx(0.7, abs=1e-6)
    assert p.max() / p.min() == pytest.approx(4.0 / 0.5)
    with pytest.raises(ConfigError, match="eps and eps_max belong to the linear transform"):
        weigh(transitions, RW(), Scaling(target_ess=0.5, eps_max=3.0))


def test_target_ess_is_reached(small, tmp_path, capsys):
    for method in ("aw", "oper-r"):
        argv = [
            "weigh",
            str(small),
            "--method",
            method,
            "--target-ess",
            "0.5",
            "--out",
            str(tmp_path / "w.npz"),
        ]
        assert main([*argv, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["summary"]["ess_fraction"] == pytest.approx(0.5, abs=1e-6)


def parsed(*argv):
    return run_config(make_parser().parse_args(["train", "builtin:bandit", *argv]))


def test_flags_become_the_configuration():
    config = parsed(
        "--algorithm",
        "iql",
        "--weights",
        "aw:temperature=0.2,by_length=true",
        "--terms",
        "policy",
        "--set",
        "algorithm.expectile=0.9",
        "--set",
        "discount=0.9",
        "--hidden",
        "64",
    )
    assert config.rebalance == Resample(AW(0.2, by_length=True), "policy")
    assert (config.algorithm.expectile, config.discount, config.algorithm.hidden) == (0.9, 0.9, (64,))
    config = parsed("--algorithm", "td3-bc", "--rebalance", "reweight", "--terms", "constraint,evaluation")
    assert config.rebalance == Reweight(config.rebalance.weights, True, False, True)
    assert config.normalize_observations
    assert config.num_updates == 1_000_000
    assert parsed("--algorithm", "bc").batch_size == 512


@pytest.mark.parametrize("order", [1, -1])
def test_fields_that_bound_one_another_can_be_set_in_any_order(order):
    def weights(*words):
        text = f"oper-a:{','.join(words[::order])}"
        return parsed("--algorithm", "iql", "--weights", text).rebalance.weights

    method = weights("iteration=7", "stages=7")
    assert (method.iteration, method.learning.stages) == (7, 7)
    method = weights("eps_max=0.05", "eps=0.01")
    assert (method.eps_max, method.eps) == (0.05, 0.01)
    terms = ["rebalance.improvement=false", "rebalance.constraint=false"][::order]
    sets = [word for term in terms for word in ("--set", term)]
    config = parsed("--algorithm", "iql", "--weights", "aw", "--rebalance", "reweight", *sets)
    assert config.rebalance == Reweight(AW(), True, False, False)


def test_runs_of_other_weights_have_other_folders(small):
    def folder(weights):
        words = ["train", str(small), "--algorithm", "iql", "--weights", weights]
        arguments = make_parser().parse_args(words)
        return default_out(arguments, run_config(arguments))

    named = ["aw", "aw:temperature=0.1", "aw:temperature=0.2", "0.7*aw+0.3*uniform", "0.7*aw+0.3*rw"]
    assert main(["weigh", str(small), "--method", "rw", "--out", str(small.with_name("w.npz"))]) == 0
    named += [f"0.7*aw+0.3*{small.with_name('w.npz')}", f"0.7*uniform+0.3*{small.with_name('w.npz')}"]
    folders = {folder(weights) for weights in named}
    assert len(folders) == len(named)
    assert all(name.count("/") == 1 and "*" not in name for name in folders)


def test_a_flag_cut_short_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["train", "builtin:bandit", "--algorithm", "bc", "--seed", "0"])
    assert "did you mean --seeds?" in capsys.readouterr().err


def test_a_file_remembers_the_same_command_whichever_way_flags_are_written(small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mix = ["mix", "--good", "small.hdf5", "--bad=small.hdf5", "--ratio", "0.5", "--size", "100"]
    (tmp_path / "a").mkdir()
    assert main([*mix, "--out=a/m.hdf5"]) == 0
    assert main(["mix", "--good=small.hdf5", "--bad", "small.hdf5", *mix[4:], "--out", "b.hdf5"]) == 0
    assert (tmp_path / "a" / "m.hdf5").read_bytes() == (tmp_path / "b.hdf5").read_bytes()


@pytest.mark.parametrize("domain", ["mujoco", "antmaze", "kitchen", "adroit", "none"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_python_reaches_the_published_settings_that_the_command_line_has(algorithm, domain):
    for weights in (Uniform(), OperR(), AW(), OperA()):
        words = ["--algorithm", algorithm, "--weights", weights.method]
        wanted = parsed(*words, "--preset", domain)
        plain = RunConfig(DataConfig("builtin:bandit"), ALGORITHMS[algorithm](), Resample(weights))
        env = load_record("builtin:bandit").rows.env
        found = with_defaults(plain, env, None if domain == "none" else domain)
        assert dataclasses.replace(found, evaluation=wanted.evaluation) == wanted
        assert found.evaluation.interval == wanted.evaluation.interval


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--weights oper-a:solver=fast,stage_updates=50", "stage_updates has no meaning with solver=fast"),
        (
            "--weights 0.5*oper-a:solver=fast+0.5*oper-a "
            "--set rebalance.weights.second.learning.fast_stage_updates=5",
            "fast_stage_updates has no meaning with solver=published",
        ),
        ("--weights oper-a:fast_stage_updates=50", "fast_stage_updates has no meaning with solver=published"),
        (
            "--weights oper-a:solver=fast --set rebalance.weights.learning.learning_rate=0.1",
            "learning_rate has no meaning with solver=fast. Set fast_learning_rate instead.",
        ),
    ],
)
def test_settings_of_the_other_solver_are_refused(words, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parsed("--algorithm", "bc", *words.split())


def test_settings_of_both_solvers_are_kept_where_each_has_a_meaning():
    weights = parsed("--algorithm", "bc", "--weights", "oper-a:solver=fast,fast_stage_updates=50,steps=3")
    assert weights.rebalance.weights.learning.updates_of(2) == 50
    mixed = "0.5*oper-a:solver=fast+0.5*oper-a"
    path = "rebalance.weights.first.learning.fast_stage_updates"
    first = parsed("--algorithm", "bc", "--weights", mixed, "--set", f"{path}=50").rebalance.weights.first
    assert first.learning.updates_of(2) == 50


def test_clipped_actions_are_counted(small, capsys):
    with h5py.File(small, "r+") as file:
        file["actions"][:30, 0] = 2.0
    assert main(["inspect", str(small), "--clip-actions", "--json"]) == 0
    assert "note: 30 of 400 rows had actions outside the bounds: clipped." in capsys.readouterr().err


def test_transitions_print_as_one_line(small):
    assert repr(load(small)) == (
        f"Transitions({str(small)!r}: 380 transitions, 40 episodes, observation size 3, action size 2)"
    )


def test_three_weights_are_mixed_by_the_shares_that_were_typed(small):
    mixed = parsed("--algorithm", "bc", "--weights", "0.5*aw+0.3*rw+0.2*uniform").rebalance.weights
    transitions = load(small)
    whole, *single = (
        compute_weights(transitions, weights).probability for weights in (mixed, AW(), RW(), Uniform())
    )
    np.testing.assert_allclose(whole, np.dot([0.5, 0.3, 0.2], single), rtol=1e-12)


def test_shares_of_nothing_are_shares():
    mixed = parsed("--algorithm", "bc", "--weights", "1*aw+0*rw+0*uniform").rebalance.weights
    assert mixed == Mixture(1.0, AW(), Mixture(1.0, RW(), Uniform()))


def test_published_terms_come_in_python_whatever_else_of_resampling_was_set():
    plain = RunConfig(DataConfig("x"), TD3BCConfig(), Resample(OperA(), progressive_updates=100))
    assert with_defaults(plain, None, "mujoco").rebalance.terms == "policy"
    assert with_defaults(plain, None, "mujoco").rebalance.progressive_updates == 100
    of_iql = dataclasses.replace(plain, algorithm=IQLConfig())
    found = with_defaults(of_iql, None, "antmaze").rebalance
    assert found == Reweight(found.weights, evaluation=False, progressive_updates=100)


def test_a_domain_that_is_none_is_refused_in_python():
    plain = RunConfig(DataConfig("builtin:bandit"), IQLConfig(), Resample(OperA()))
    message = "expected domain to be one of mujoco, antmaze, kitchen, adroit, but found 'mujco'."
    with pytest.raises(ConfigError, match=re.escape(message)):
        with_defaults(plain, None, "mujco")


def test_what_was_set_in_python_stays_under_the_published_settings():
    mine = RunConfig(
        DataConfig("d4rl:kitchen-mixed-v0"),
        IQLConfig(expectile=0.8),
        Reweight(OperA(eps=0.3, learning=ValueLearning(solver="fast"))),
        batch_size=100,
        evaluation=EvaluationConfig(episodes=3),
    )
    found = with_defaults(mine, None)
    assert (found.algorithm.expectile, found.algorithm.inverse_temperature) == (0.8, 0.5)
    assert (found.batch_size, found.evaluation.episodes) == (100, 3)
    weights = found.rebalance.weights
    assert (weights.eps, weights.std, weights.learning.solver, weights.learning.steps) == (
        0.3,
        0.5,
        "fast",
        5,
    )
    assert isinstance(found.rebalance, Reweight)


def test_presets_set_the_published_numbers_of_iql():
    antmaze = parsed("--algorithm", "iql", "--weights", "oper-r", "--preset", "antmaze")
    assert antmaze.reward == "minus-one"
    assert antmaze.rebalance.weights.base == 0.2
    assert (antmaze.algorithm.expectile, antmaze.algorithm.inverse_temperature) == (0.9, 10.0)
    paper = parsed("--algorithm", "iql", "--paper", "oper")
    assert paper.algorithm.cap_after_weighting
    assert paper.rebalance.weights == OperR(kept_rows_only=True)


def test_paper_and_domain_presets_reach_rewards_terms_and_dropout():
    iql = ("--algorithm", "iql")
    assert parsed(*iql, "--env", "Ant-v4", "--paper", "aw-iql").reward == "none"
    assert parsed(*iql, "--env", "Hopper-v4", "--paper", "aw-iql").reward == "kept-return-range"
    rebalance = parsed(*iql, "--preset", "antmaze", "--weights", "oper-a").rebalance
    assert rebalance == Reweight(rebalance.weights, evaluation=False)
    assert parsed(*iql, "--preset", "kitchen").algorithm.dropout == 0.1
    for name, clips in (("bc", False), ("onestep", False), ("td3-bc", False), ("iql", True)):
        weights = weights_in("--algorithm", name, "--paper", "oper", "--weights", "oper-a")
        assert weights.clip_without_std is clips


@pytest.mark.parametrize(
    ("domain", "iql", "terms"),
    [
        ("mujoco", (0.7, 3.0, 0.0), "policy"),
        ("antmaze", (0.9, 10.0, 0.0), "policy"),
        ("kitchen", (0.7, 0.5, 0.1), "all"),
        ("adroit", (0.7, 0.5, 0.1), "all"),
    ],
)
def test_a_domains_settings_are_the_published_ones(domain, iql, terms):
    found = parsed("--algorithm", "iql", "--preset", domain).algorithm
    assert (found.expectile, found.inverse_temperature, found.dropout) == iql
    learned = parsed("--algorithm", "td3-bc", "--preset", domain, "--weights", "oper-a").rebalance
    assert learned == Resample(learned.weights, terms)


def test_how_a_file_is_read_is_what_the_flags_say(small, capsys):
    words = ("--episode-ends", "discontinuity", "--clip-actions", "--max-episode-steps", "50")
    expected = DataConfig("builtin:bandit", None, "discontinuity", 50, True)
    assert parsed("--algorithm", "bc", *words).data == expected
    assert main(["inspect", str(small), "--episode-ends", "discontinuity", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["row rule"] == "d4rl, episodes by discontinuity"


def weighed(data, *words):
    line = ["weigh", data, "--out", "w.npz", "--method", *words]
    return weigh_method(make_parser().parse_args(line))[0]


def test_weigh_takes_the_settings_of_a_domain_and_of_a_papers_algorithm():
    assert weighed("builtin:bandit", "oper-r", "--preset", "antmaze") == OperR(base=0.2)
    assert weighed("d4rl:antmaze-umaze-v2", "oper-r") == OperR(base=0.2)
    assert weighed("builtin:bandit", "oper-a", "--preset", "kitchen").learning.steps == 5
    assert weighed("builtin:bandit", "aw", "--paper", "aw-cql") == AW(temperature=0.2, guard=False)
    both = ("--paper", "aw-iql", "--preset", "antmaze")
    assert weighed("builtin:bandit", "rw", *both) == RW(kept_rows_only=True, reward_shift=-1.0)


@pytest.mark.parametrize(
    ("words", "method"),
    [
        (("oper-r", "--inverse"), OperR(inverse=True)),
        (("rw", "--by-length"), RW(by_length=True)),
        (("shuffled", "--permutation-seed", "3"), Shuffled(permutation_seed=3)),
    ],
)
def test_flags_of_a_method_reach_it(words, method):
    assert weighed("builtin:bandit", *words) == method


def weights_in(*words):
    return parsed(*words).rebalance.weights


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        ("iql --paper oper --weights uniform", Uniform()),
        ("iql --paper oper --weights oracle", Oracle()),
        ("iql --paper aw-iql --sampler uniform", Uniform()),
        ("iql --paper aw-iql --sampler RewW-1.0", RewardWeights(temperature=1.0)),
        ("iql --paper dw-iql --sampler Top-0.1", Top(0.1, kept_rows_only=True)),
        (
            "iql --paper oper --weights 0.7*aw+0.3*uniform",
            Mixture(0.7, AW(kept_rows_only=True, guard=False), Uniform()),
        ),
    ],
)
def test_a_papers_preset_leaves_the_weights_that_were_named(words, weights):
    assert weights_in("--algorithm", *words.split()) == weights


def test_what_was_typed_stands_above_a_domains_settings():
    iql = ("--algorithm", "iql", "--preset")
    assert weights_in(*iql, "antmaze", "--weights", "oper-a:std=2,iteration=2").std == 2.0
    assert weights_in(*iql, "antmaze", "--weights", "oper-a:std=2,iteration=2").iteration == 2
    assert weights_in(*iql, "antmaze", "--weights", "oper-a:stages=2").iteration == 2
    assert weights_in(*iql, "antmaze", "--weights", "oper-r:base=0").base == 0
    learning = weights_in(*iql, "kitchen", "--weights", "oper-a:stage_updates=20000").learning
    assert (learning.first_stage_updates, learning.stage_updates, learning.steps) == (500_000, 20_000, 5)
    cql = parsed("--algorithm", "cql", "--preset", "kitchen", "--hidden", "32", "32")
    assert (cql.algorithm.hidden, cql.algorithm.max_target_backup) == ((32, 32), True)
    typed = parsed(*iql, "antmaze", "--eval-interval", "5000", "--eval-episodes", "10").evaluation
    assert (typed.interval, typed.episodes) == (5000, 10)


def test_a_domains_settings_reach_every_part_of_the_weights():
    iql = ("--algorithm", "iql", "--preset")
    assert weights_in(*iql, "antmaze", "--paper", "oper") == OperR(base=0.2, kept_rows_only=True)
    mixed = weights_in(*iql, "antmaze", "--weights", "0.5*oper-a+0.5*oper-r")
    assert (mixed.first.std, mixed.first.iteration, mixed.second.base) == (5.0, 3, 0.2)
    assert weights_in(*iql, "antmaze", "--weights", "oper-a-file:path=w.npy").std == 5.0
    mixed = parsed(*iql, "mujoco", "--weights", "0.5*oper-a+0.5*uniform")
    assert (mixed.algorithm.inverse_temperature, mixed.rebalance.terms) == (1.0, "policy")
    assert mixed.reward == "return-range"  # of no known environment
    antmaze = parsed(*iql, "antmaze").evaluation
    assert (antmaze.interval, antmaze.episodes) == (100_000, 100)


def test_cql_takes_its_own_temperature_with_and_without_a_paper():
    for words in (("--paper", "aw-cql"), ("--weights", "aw"), ("--weights", "aw", "--paper", "aw-cql")):
        assert weights_in("--algorithm", "cql", *words).temperature == 0.2
    assert weights_in("--algorithm", "td3-bc", "--weights", "aw").temperature == 0.1


def test_the_dw_papers_presets_keep_the_terms_and_refuse_other_rebalancing(tmp_path, capsys):
    ratios = parsed("--algorithm", "iql", "--paper", "dw-iql", "--terms", "policy").rebalance
    assert (ratios.kind, ratios.evaluation, ratios.improvement) == ("density-ratio", False, True)
    mujoco = ("--algorithm", "iql", "--paper", "dw-iql", "--preset", "mujoco", "--weights", "oper-a")
    assert parsed(*mujoco).rebalance.kind == "density-ratio"
    words = ("--algorithm", "iql", "--paper", "dw-iql", "--rebalance", "reweight", "--out", tmp_path / "r")
    assert "Leave out --rebalance" in error_of(capsys, "train", "builtin:bandit", *words)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ["--algorithm", "iql", "--rebalance", "reweight", "--terms", "improvement"],
            "weighted alike for iql",
        ),
        (["--algorithm", "bc", "--terms", "evaluation"], "only one of bc"),
        (["--algorithm", "td3-bc", "--terms", "improvement"], "at most two batches"),
        (["--algorithm", "td3-bc", "--num-updates", "11"], "num_updates to be a multiple of 2"),
        (["--algorithm", "td3-bc", "--terms", "wrong"], "'wrong'"),
        (["--algorithm", "td3-bc", "--weights", "awx"], "'awx'"),
        (["--algorithm", "td3-bc", "--weights", "nowhere.npz"], "there is none"),
        (["--algorithm", "td3-bc", "--weights", "aw:temperature=-1"], "above 0"),
        (["--algorithm", "td3-bc", "--weights", "aw:heat=1"], "'heat'"),
        (["--algorithm", "td3-bc", "--weights", "top:fraction=2"], "(0, 1]"),
        (["--algorithm", "td3-bc", "--set", "alpha=1"], "'alpha'"),
        (["--algorithm", "td3-bc", "--set", "algorithm.alpha=much"], "'much'"),
        (["--algorithm", "td3-bc", "--set", "algorithm.alpha"], "PATH=VALUE"),
        (["--algorithm", "td3-bc", "--num-updates", "0"], "at least 1"),
        (["--algorithm", "td3-bc", "--batch-size", "-1"], "at least 1"),
        (["--algorithm", "td3-bc", "--eval-interval", "0"], "at least 1"),
        (["--algorithm", "td3-bc", "--env", "Nowhere-v4"], "Nowhere-v4"),
        (["--algorithm", "td3-bc", "--env", "CartPole-v1"], "box"),
        (["--algorithm", "td3-bc", "--env", "Hopper-v4"], "action bounds of 2"),
        (["--algorithm", "td3-bc", "--seeds", "0", "0"], "distinct --seeds"),
        (["--algorithm", "iql", "--paper", "aw-td3bc"], "td3-bc"),
        (["--algorithm", "bc", "--hidden", "0"], "positive widths"),
    ],
)
def test_training_that_makes_no_sense_is_refused_in_one_line(argv, words, capsys, tmp_path):
    assert words in error_of(capsys, "train", "builtin:bandit", "--out", tmp_path / "run", "--quiet", *argv)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["inspect", "nowhere.hdf5"], "no such file"),
        (["inspect", "."], "folder"),
        (["inspect", "data.csv"], "ending in .hdf5"),
        (["inspect", "builtin:nothing"], "builtin:bandit"),
        (["weigh", "builtin:bandit", "--method", "rw", "--base", "1", "--out", "w.npz"], "no meaning"),
        (["weigh", "builtin:bandit", "--method", "rw", "--out", "w.txt"], ".npz"),
        (["weigh", "builtin:bandit", "--method", "rw", "--out", "/no/folder/w.npz"], "cannot write"),
        (["weigh", "builtin:bandit", "--method", "rw", "--std", "2", "--out", "w.npz"], "linear"),
        (
            ["weigh", "builtin:bandit", "--method", "rw", "--target-ess", "2", "--out", "w.npz"],
            "between 0 and 1",
        ),
        (["evaluate", "nowhere"], "config.json"),
        (
            ["mix", "--good", "builtin:bandit", "--bad", "builtin:bandit", "--ratio", "2", "--out", "m.hdf5"],
            "ratio",
        ),
        (["mix", "--good", "a.hdf5", "--bad", "b.hdf5", "--ratio", "0.5", "--out", "m.txt"], ".hdf5"),
        (["mix", "--good", "a.hdf5", "--bad", "b.hdf5", "--ratio", "0.5", "--out", "m.hdf5"], "no such file"),
    ],
)
def test_broken_requests_end_in_one_line(argv, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in error_of(capsys, *argv)
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_flag_suggests_the_nearest(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "builtin:bandit", "--algorithm", "bc", "--num-updates", "10", "--weigths", "aw"])
    assert ended.value.code == 2
    assert "did you mean --weights?" in capsys.readouterr().err


def test_weights_of_another_dataset_are_refused(small, tmp_path, capsys):
    weights = tmp_path / "w.npz"
    main(["weigh", str(small), "--method", "rw", "--out", str(weights)])
    capsys.readouterr()
    argv = [
        "train",
        "builtin:bandit",
        "--algorithm",
        "bc",
        "--weights",
        weights,
        "--out",
        tmp_path / "r",
        "--quiet",
    ]
    assert "10000 weights" in error_of(capsys, *argv)


def test_a_run_without_an_environment_of_its_own_is_scored_in_its_datasets(tmp_path):
    rows = {name: np.zeros((4, 1), np.float32) for name in ("observations", "actions")}
    flags = {name: np.zeros(4, bool) for name in ("terminals", "timeouts")}
    path = tmp_path / "named.npz"
    np.savez(path, rewards=np.zeros(4, np.float32), env=np.array("Hopper-v4"), **rows, **flags)
    assert env_of({"data": {"spec": str(path), "env": None}}) == "Hopper-v4"
    assert env_of({"data": {"spec": str(path), "env": "Ant-v4"}}) == "Ant-v4"
    assert env_of({"data": {"spec": str(tmp_path / "gone.npz"), "env": None}}) is None


def choices_of(command: str, flag: str) -> set[str]:
    """What a command's parser lets a flag be."""
    [commands] = [action for action in make_parser()._actions if isinstance(action.choices, dict)]
    [found] = [a for a in commands.choices[command]._actions if flag in a.option_strings]
    return set(found.choices)


@pytest.mark.parametrize(
    ("command", "flag", "known"),
    [
        ("weigh", "--method", ALL_METHODS),
        ("weigh", "--transform", get_args(get_args(get_type_hints(Scaling)["transform"])[0])),
        ("weigh", "--solver", get_args(get_type_hints(ValueLearning)["solver"])),
        ("train", "--algorithm", ALGORITHMS),
        ("train", "--rebalance", [method.kind for method in get_args(RebalanceConfig)]),
        ("train", "--convention", CONVENTIONS),
        ("train", "--paper", PAPERS),
        ("weigh", "--paper", PAPERS),
        ("train", "--episode-ends", get_args(EpisodeEnds)),
        ("mix", "--kind", get_args(Kind)),
        ("mix", "--share", get_args(Unit)),
    ],
)
def test_the_choices_of_a_flag_are_those_of_its_setting(command, flag, known):
    assert choices_of(command, flag) == set(known)
