"""OPER-A's value learning against the authors' code."""

import jax
import jax.numpy as jnp
import pytest

from fakes import assert_same
from goldens import as_dtype, assert_losses, assert_parameters, golden, torch_mlp, torch_twin_q
from reweigh.algorithms.value import Value, ValueConfig, ValueState, make_value, next_stage
from reweigh.errors import ConfigError
from reweigh.optim import Trained
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

CASES = {
    "v_n1": "v",
    "doublev_n1": "doublev",
    "doublev_n5": "doublev",
    "doublev_mc": "doublev",
    "vq_n1": "vq",
}
NAMES = (("l1", "l2", "l3"), ("l4", "l5", "l6"))


def value_of(arrays, prefix, critic, dtype) -> Value:
    heads = NAMES if critic == "doublev" else NAMES[:1]
    return Value(tuple(torch_mlp(arrays, prefix, names, dtype) for names in heads))


def minibatch_of(arrays, step, case, dtype) -> Minibatch:
    def column(name):
        return jnp.asarray(arrays[f"in/{name}"][step], dtype)

    following, reward = column("next_state"), column("reward")[:, 0]
    discount = 0.99 * column("not_done")[:, 0]
    if case.endswith("n5"):
        following, reward = column("state_n5"), column("ret_n5")[:, 0]
        discount = 0.99**5 * (1 - column("done_n5")[:, 0])
    if case.endswith("mc"):
        reward, discount = column("ret")[:, 0], jnp.zeros_like(discount)
    batch = Batch(column("state"), column("action"), reward, discount, following, column("action"))
    ones = jnp.ones_like(reward)
    return Minibatch(batch, None, TermWeight(ones, ones, ones))


def first_state(arrays, case, dtype, algorithm) -> ValueState:
    critic = CASES[case]
    fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
    value = value_of(arrays, f"{case}/init/value/", critic, dtype)
    if critic != "vq":
        return ValueState(Trained(value, fresh.value.opt_state), value, None, None)
    twin = torch_twin_q(arrays, f"{case}/init/critic/", dtype)
    return ValueState(
        Trained(value, fresh.value.opt_state), value, Trained(twin, fresh.critic.opt_state), twin
    )


@pytest.mark.parametrize(
    ("case", "dtype"), [("doublev_n1", jnp.float32)] + [(case, jnp.float64) for case in CASES]
)
def test_five_steps_equal_the_authors_code(case, dtype):
    arrays = golden("04c_value_update")
    precision = "f64" if dtype == jnp.float64 else "f32"
    with jax.enable_x64(dtype == jnp.float64):
        config = ValueConfig(critic=CASES[case], hidden=(32, 32))
        algorithm = make_value(config, num_updates=100)
        state = first_state(arrays, case, dtype, algorithm)
        losses: dict[str, list] = {"value/loss": [], "critic/loss": [], "value/mean": []}
        for step in range(5):
            state, metrics = algorithm.updates[0](state, minibatch_of(arrays, step, case, dtype), ())
            for name, value in metrics.items():
                losses[name].append(value)
        where = f"{case}/{precision}/"
        assert_losses(losses["value/loss"], arrays[f"{where}value_loss"], dtype)
        mean = "v1" if CASES[case] == "doublev" else "v"
        assert_losses(losses["value/mean"], arrays[f"{where}{mean}"], dtype)
        found = value_of(arrays, f"{where}final/value/", CASES[case], dtype)
        assert_parameters(state.value.model, found, dtype)
        target = value_of(arrays, f"{where}final/value_target/", CASES[case], dtype)
        assert_parameters(state.target, target, dtype)
        if CASES[case] == "vq":
            assert_losses(losses["critic/loss"], arrays[f"{where}critic_loss"], dtype)
            assert_parameters(state.critic.model, torch_twin_q(arrays, f"{where}final/critic/", dtype), dtype)
            assert_parameters(
                state.target_critic, torch_twin_q(arrays, f"{where}final/critic_target/", dtype), dtype
            )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_new_stage_keeps_networks_and_restarts_the_optimizer_as_the_authors_code(dtype):
    arrays = golden("04c_value_update")
    precision = "f64" if dtype == jnp.float64 else "f32"
    with jax.enable_x64(dtype == jnp.float64):
        config = ValueConfig(hidden=(32, 32))
        algorithm = make_value(config, num_updates=100)
        state = first_state(arrays, "doublev_n1", dtype, algorithm)
        losses = []
        for step in range(7):
            if step == 5:
                state = as_dtype(next_stage(config, 100, state), dtype)
            state, metrics = algorithm.updates[0](state, minibatch_of(arrays, step, "doublev_n1", dtype), ())
            losses.append(metrics["value/loss"])
        where = f"doublev_n1/{precision}/after_reset/"
        assert_losses(losses[5:], arrays[f"{where}value_loss"], dtype)
        assert_parameters(
            state.value.model, value_of(arrays, f"{where}final/value/", "doublev", dtype), dtype
        )


def test_a_value_has_no_policy():
    assert make_value(ValueConfig(), 10).act is None


@pytest.mark.parametrize("wrong", [{"target_rate": 0.0}, {"learning_rate": -1.0}, {"hidden": ()}])
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))} "):
        ValueConfig(**wrong)


def test_a_terminals_next_state_may_be_anything():
    algorithm = make_value(ValueConfig(hidden=(8,)), 10)
    state = algorithm.init(jax.random.key(0), Shapes(2, 1))
    ones = jnp.ones(1)

    def after(following):
        batch = Batch(jnp.ones((1, 2)), jnp.ones((1, 1)), ones, jnp.zeros(1), following, jnp.ones((1, 1)))
        return algorithm.updates[0](state, Minibatch(batch, None, TermWeight(ones, ones, ones)), ())[0]

    assert_same(after(jnp.zeros((1, 2))), after(jnp.full((1, 2), jnp.inf)))
