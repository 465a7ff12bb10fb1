"""The published settings as literal numbers: what `train` uses for an algorithm on a D4RL domain."""

import pytest

from reweigh.cli import make_parser
from reweigh.options.arguments import described_run

# num_updates, batch_size, normalize_observations, action_limit, hidden
ALGORITHMS = {
    "bc": (500_000, 512, False, 1.0, (1024, 1024)),
    "td3-bc": (1_000_000, 256, True, 1.0, (256, 256)),
    "iql": (1_000_000, 256, False, 1 - 1e-5, (256, 256)),
    "cql": (1_000_000, 256, False, 0.999, (256, 256)),
    "onestep": (100_000, 512, False, 1.0, (1024, 1024)),
}
DATA = {
    "mujoco": "d4rl:hopper-medium-v2",
    "antmaze": "d4rl:antmaze-umaze-v2",
    "kitchen": "d4rl:kitchen-mixed-v0",
    "adroit": "d4rl:pen-human-v1",
}


def config_of(algorithm: str, domain: str, *words: str):
    line = ["train", DATA[domain], "--algorithm", algorithm, "--no-evaluate", *words]
    return described_run(make_parser().parse_args(line), None)


@pytest.mark.parametrize("domain", DATA)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_algorithm_trains_as_long_and_on_such_data_as_published(algorithm, domain):
    found = config_of(algorithm, domain)
    updates, batch_size, normalized, limit, hidden = ALGORITHMS[algorithm]
    wide = algorithm == "cql" and domain == "kitchen"
    assert (found.num_updates, found.batch_size) == (updates, batch_size)
    assert (found.normalize_observations, found.action_limit) == (normalized, limit)
    assert found.algorithm.hidden == ((512, 512, 512) if wide else hidden)
    scaled = algorithm == "iql" and domain == "mujoco"
    expected = {"antmaze": "minus-one", "mujoco": "return-range" if scaled else "none"}.get(domain, "none")
    assert found.reward == expected
    antmaze = domain == "antmaze"
    assert found.evaluation.interval == (100_000 if antmaze else 5000)
    assert found.evaluation.episodes == (100 if antmaze else 10)


@pytest.mark.parametrize(
    ("domain", "weights", "expected"),
    [
        ("mujoco", "uniform", (0.7, 3.0, 0.0)),
        ("mujoco", "oper-r", (0.7, 3.0, 0.0)),
        ("mujoco", "oper-a", (0.7, 1.0, 0.0)),
        ("antmaze", "oper-a", (0.9, 10.0, 0.0)),
        ("kitchen", "oper-a", (0.7, 0.5, 0.1)),
        ("adroit", "uniform", (0.7, 0.5, 0.1)),
    ],
)
def test_iql_has_the_published_expectile_temperature_and_dropout(domain, weights, expected):
    found = config_of("iql", domain, "--weights", weights).algorithm
    assert (found.expectile, found.inverse_temperature, found.dropout) == expected
    assert found.advantage_limit == 100


@pytest.mark.parametrize("domain", DATA)
def test_cql_has_the_published_targets_and_sampled_actions(domain):
    found, kitchen = config_of("cql", domain).algorithm, domain == "kitchen"
    assert (found.max_target_backup, found.importance_sampling) == (kitchen, not kitchen)
    assert (found.min_q_weight, found.num_actions, found.backup_entropy) == (5.0, 10, False)


def test_onesteps_stages_are_as_long_as_published():
    found = config_of("onestep", "mujoco").algorithm
    assert (found.behavior_updates, found.critic_updates) == (500_000, 2_000_000)
    assert (found.learning_rate, found.inverse_temperature, found.num_samples) == (1e-4, 1.0, 10)


@pytest.mark.parametrize(
    ("domain", "std", "steps", "updates", "reward"),
    [
        ("mujoco", 2.0, 1, 1_000_000, "none"),
        ("antmaze", 5.0, 1, 1_000_000, "minus-one"),
        ("kitchen", 0.5, 5, 500_000, "none"),
        ("adroit", 0.5, 5, 500_000, "none"),
    ],
)
def test_oper_a_learns_and_stretches_as_published(domain, std, steps, updates, reward):
    found = config_of("td3-bc", domain, "--weights", "oper-a").rebalance.weights
    learning = found.learning
    assert (found.std, found.eps, found.eps_max, found.value_seeds) == (std, 0.1, None, (0, 1, 2))
    assert (learning.solver, learning.critic, learning.stages) == ("published", "doublev", 5)
    assert (learning.steps, learning.first_stage_updates, learning.stage_updates) == (steps, updates, updates)
    assert learning.reward == reward


@pytest.mark.parametrize(
    ("algorithm", "domain", "iteration"),
    [
        ("td3-bc", "mujoco", 5),
        ("iql", "mujoco", 4),
        ("onestep", "mujoco", 4),
        ("bc", "mujoco", 4),
        ("iql", "antmaze", 3),
        ("td3-bc", "antmaze", 5),
    ],
)
def test_training_uses_the_published_iteration_of_oper_a(algorithm, domain, iteration):
    assert config_of(algorithm, domain, "--weights", "oper-a").rebalance.weights.iteration == iteration


@pytest.mark.parametrize(("domain", "base"), [("mujoco", 0), ("antmaze", 0.2), ("kitchen", 0), ("adroit", 0)])
def test_oper_r_has_the_published_base(domain, base):
    assert config_of("iql", domain, "--weights", "oper-r").rebalance.weights.base == base
