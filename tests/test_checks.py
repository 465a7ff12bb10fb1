"""Settings are refused where they are made."""

from copy import copy

import pytest

from reweigh.algorithms.bc import BCConfig
from reweigh.algorithms.cql import CQLConfig
from reweigh.algorithms.onestep import OnestepConfig
from reweigh.algorithms.td3_bc import TD3BCConfig
from reweigh.algorithms.value import ValueConfig
from reweigh.checks import check_seeds
from reweigh.config import ALGORITHMS, DataConfig, EvaluationConfig, Resample, RunConfig
from reweigh.errors import ConfigError
from reweigh.priorities.by_return import AW, RW, OperR, Shuffled, Top
from reweigh.priorities.oper_a import OperA, ValueLearning
from reweigh.priorities.weigh import Scaling
from reweigh.rebalance.density_ratio import RatioSettings

RUN = RunConfig(DataConfig("d.hdf5"), CQLConfig())
MISSPELLED = [
    (Resample(), "terms", "critic"),
    (RUN.data, "episode_ends", "flag"),
    (RUN, "reward", "minus_one"),
    (OperA(), "average", "avg"),
    (ValueLearning(), "solver", "quick"),
    (ValueLearning(), "critic", "w"),
    (ValueLearning(), "target", "td"),
    (ValueLearning(), "advantage", "mc"),
    (RatioSettings(), "clipping", "joint"),
    (RatioSettings(), "reward", "std"),
    (Scaling(), "transform", "lin"),
    (BCConfig(), "policy", "gaussian"),
    (TD3BCConfig(), "constraint_clip", "soft"),
    (OnestepConfig(), "improvement", "kl"),
    (OnestepConfig(), "policy", "deterministic"),
]


@pytest.mark.parametrize(("settings", "name", "value"), MISSPELLED)
def test_a_misspelled_choice_is_refused_with_the_choices(settings, name, value):
    # Set on a copy, because the types that tests check would refuse it before.
    changed = copy(settings)
    object.__setattr__(changed, name, value)
    with pytest.raises(ConfigError, match=f"^expected {name} to be one of [a-z, -]+, but found '{value}'"):
        changed.__post_init__()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, "learning_rate") for kind in (*ALGORITHMS.values(), ValueConfig, ValueLearning, RatioSettings)]
    + [(CQLConfig, "temperature"), (CQLConfig, "initial_alpha"), (ValueLearning, "rescale_std")],
)
def test_no_rate_or_divisor_is_infinite_nan_or_negative(kind, name, number):
    with pytest.raises(ConfigError, match=f"expected {name} above 0, but found {number}"):
        kind(**{name: number})


@pytest.mark.parametrize("kind", [OperR, RW, AW, Top, Shuffled])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1e300])
def test_no_method_of_returns_shifts_rewards_beyond_reason(kind, number):
    with pytest.raises(ConfigError, match="expected reward_shift from -1e"):
        kind(reward_shift=number)


@pytest.mark.parametrize("name", ["gap_min", "gap_max", "gap_target", "target_entropy"])
def test_cql_refuses_limits_that_are_nan(name):
    with pytest.raises(ConfigError, match=f"expected {name} to be finite, but found nan"):
        CQLConfig(**{name: float("nan")})


def test_an_evaluation_without_episodes_is_refused():
    with pytest.raises(ConfigError, match="expected evaluation episodes of at least 1, but found 0"):
        EvaluationConfig(episodes=0)


@pytest.mark.parametrize("number", [1e5, 100.5, True])
@pytest.mark.parametrize(
    ("settings", "name"),
    [(RUN, "num_updates"), (CQLConfig(), "num_actions"), (OnestepConfig(), "behavior_updates")],
)
def test_a_count_that_is_no_integer_is_refused(settings, name, number):
    changed = copy(settings)
    object.__setattr__(changed, name, number)
    with pytest.raises(ConfigError, match=f"{name} to be a Python int of at least 1, but found {number}"):
        changed.__post_init__()


@pytest.mark.parametrize("seeds", [[0.5], [1, 2.0], [True]])
def test_a_seed_that_is_no_integer_is_refused(seeds):
    with pytest.raises(ConfigError, match="expected seeds to be integers"):
        check_seeds("seeds", seeds)
