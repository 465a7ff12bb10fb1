"""The published sampler strings, in every form that the papers' scripts use."""

import dataclasses
from itertools import product

import pytest

from reweigh.config import DensityRatio, Resample
from reweigh.errors import ConfigError
from reweigh.options.sampler_strings import parse_sampler
from reweigh.priorities.by_return import AW, RW, RewardWeights, Top, Uniform
from reweigh.rebalance.density_ratio import CONVENTIONS

NUMBERS = "K0.2_F5.0_G1.0_T1.0_C0.2_L0.0001"


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("uniform", Uniform()),
        ("Top-0.1", Top(0.1)),
        ("Top-0.5", Top(0.5)),
        ("AW-0.2", AW(temperature=0.2)),
        ("RW-0.1", RW(temperature=0.1)),
        ("RW-+0.1", RW(temperature=0.1)),
        ("RewW-1.0", RewardWeights(temperature=1.0)),
    ],
)
def test_static_samplers_draw_batches_by_their_weights(text, weights):
    assert parse_sampler(text, "iql") == Resample(weights)


@pytest.mark.parametrize(
    ("text", "algorithm", "weights", "convention"),
    [
        (f"DRW-{NUMBERS}", "cql", Uniform(), "cql"),
        (f"AW-0.2+DRW-{NUMBERS}", "cql", AW(temperature=0.2), "cql"),
        (f"uniform+DRW-{NUMBERS}", "iql", Uniform(), "iql"),
        (f"AW-0.1+DRW-{NUMBERS}", "iql", AW(temperature=0.1), "iql"),
        (f"RW-0.1+DRW-{NUMBERS}", "iql", RW(temperature=0.1), "iql"),
        (f"DRW2MaxMinScale-{NUMBERS}", "td3-bc", Uniform(), "td3-bc"),
        (f"uniform+DRW2MaxMinScale-{NUMBERS}", "td3-bc", Uniform(), "td3-bc"),
        (f"AW-0.2+DRW2MaxMinScale-{NUMBERS}", "td3-bc", AW(temperature=0.2), "td3-bc"),
        (f"DRW-{NUMBERS}", "bc", Uniform(), "iql"),
    ],
)
def test_ratio_samplers_follow_the_convention_of_their_script(text, algorithm, weights, convention):
    expected = dataclasses.replace(
        CONVENTIONS[convention],
        divergence=0.2,
        flow=5.0,
        flow_discount=1.0,
        temperature=1.0,
        clip=0.2,
        learning_rate=1e-4,
    )
    assert parse_sampler(text, algorithm) == DensityRatio(weights, expected)


def test_every_number_reaches_its_own_field():
    ratio = parse_sampler("DRW-K1_F2_G0.3_T4_C5_L6e-5", "iql").ratio
    found = (ratio.divergence, ratio.flow, ratio.flow_discount, ratio.temperature, ratio.clip)
    assert (*found, ratio.learning_rate) == (1.0, 2.0, 0.3, 4.0, 5.0, 6e-5)


def test_min_max_scaling_can_be_asked_for_by_name():
    assert parse_sampler(f"uniform+DRWMaxMinScale-{NUMBERS}", "iql").ratio.reward == "min-max"
    assert parse_sampler(f"uniform+DRW-{NUMBERS}", "iql").ratio.reward == "deviation"


def test_the_grids_of_the_three_scripts_parse():
    iql = product(["AW-0.1", "uniform"], ["0.2", "1.0"], ["1.0", "5.0"])
    td3_bc = product(["uniform", "AW-0.1", "AW-0.2"], ["0.2", "1.0"], ["5.0", "1.0", "0.1"])
    cql = product(["AW-0.2+", ""], ["0.0"], ["0.1", "5.0"])
    texts = [(f"{base}+DRW-K{k}_F{f}_G1.0_T1.0_C0.2_L0.0001", "iql") for base, k, f in iql]
    texts += [(f"{base}+DRW2MaxMinScale-K{k}_F{f}_G1.0_T1.0_C0.2_L0.0001", "td3-bc") for base, k, f in td3_bc]
    texts += [(f"{base}DRW-K{k}_F{f}_G1.0_T1.0_C0.2_L0.0001", "cql") for base, k, f in cql]
    found = {parse_sampler(text, algorithm) for text, algorithm in texts}
    assert len(found) == len(texts) == 30


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "none of uniform"),
        ("aw-0.1", "none of uniform"),
        ("AW", "needs a number"),
        ("AW-", "none of uniform"),
        ("AW-x", "none of uniform"),
        ("uniform-0.1", "takes no number"),
        ("DRW", "is not DRW-K"),
        ("DRW-", "does not hold"),
        ("DRW-K0.2_F1.0", "does not hold"),
        ("DRW-F1.0_K0.2_G1.0_T1.0_C0.2_L0.0001", "in this order"),
        ("DRW-K0.2_F1.0_G1.0_T1.0_C0.2_Lx", "'x' after L is not a number"),
        ("DRW-K0.2_F0.0010.1_G1.0_T1.0_C0.2_L0.0001", "'0.0010.1' after F is not a number"),
        ("Top-0.1+DRW-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001", "only uniform, AW and RW"),
        ("DRW3-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001", "is not DRW-K"),
        ("DRW-K0.2_F1.0_G1.0_T0_C0.2_L0.0001", "temperature above 0"),
        ("AW-0", "temperature above 0"),
        ("Top-2", "fraction in (0, 1]"),
    ],
)
def test_a_malformed_sampler_is_refused_with_the_reason(text, why):
    with pytest.raises(ConfigError) as caught:
        parse_sampler(text, "iql")
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
