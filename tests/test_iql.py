import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fakes import SHAPES, assert_same, differ, make_data, make_minibatch
from goldens import as_dtype, assert_losses, assert_parameters, flax_mlp, flax_twin_q, golden
from reweigh.algorithms.iql import (
    Actor,
    IQLConfig,
    IQLState,
    actor_objective,
    make_iql,
    value_loss,
)
from reweigh.losses import td_target, twin_squared_error, weighted_mean
from reweigh.optim import Trained
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

VARIANTS = ("uniform", "reweight_all", "reweight_eval0", "two_sampler")
PAPER = IQLConfig(hidden=(32, 32), cap_after_weighting=True)


def minibatch_of(arrays, step, variant, dtype) -> Minibatch:
    def batch(prefix):
        observation, action, reward, mask, following = (
            jnp.asarray(arrays[f"in/{prefix}{name}"][step], dtype)
            for name in ("observations", "actions", "rewards", "masks", "next_observations")
        )
        discount = jnp.asarray(0.99, dtype) * mask
        return Batch(observation, action, reward, discount, following, action)

    weight = jnp.asarray(arrays["in/weights"][step], dtype)
    ones = jnp.ones_like(weight)
    if variant in ("uniform", "two_sampler"):
        weight = ones
    evaluation = ones if variant == "reweight_eval0" else weight
    if variant == "two_sampler":
        return Minibatch(batch("uni_"), batch(""), TermWeight(evaluation, weight, weight))
    return Minibatch(batch(""), None, TermWeight(evaluation, weight, weight))


def actor_of(arrays, prefix, dtype) -> Actor:
    mlp = flax_mlp(arrays, prefix, dtype, head="Dense_0")
    return Actor(mlp, jnp.asarray(arrays[f"{prefix}log_stds"], dtype))


@pytest.mark.parametrize(
    ("variant", "dtype"), [("uniform", jnp.float32)] + [(variant, jnp.float64) for variant in VARIANTS]
)
def test_four_updates_equal_the_authors_code(variant, dtype):
    arrays = golden("08b_iql_update")
    with jax.enable_x64(dtype == jnp.float64):
        algorithm = make_iql(PAPER, num_updates=100)
        fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
        state = IQLState(
            Trained(actor_of(arrays, "init/actor/", dtype), fresh.actor.opt_state),
            Trained(flax_mlp(arrays, "init/value/", dtype), fresh.value.opt_state),
            Trained(flax_twin_q(arrays, "init/critic/", dtype), fresh.critic.opt_state),
            flax_twin_q(arrays, "init/critic/", dtype),
        )
        update = jax.jit(algorithm.updates[0])
        history = []
        for step in range(4):
            state, metrics = update(state, minibatch_of(arrays, step, variant, dtype), ())
            history.append(metrics)
        path = f"{variant}/{'f64' if dtype == jnp.float64 else 'f32'}/"
        for name, key in (
            ("value/loss", "value_loss"),
            ("critic/loss", "critic_loss"),
            ("actor/loss", "actor_loss"),
            ("value/mean", "v"),
            ("critic/q_mean", "q1"),
        ):
            assert_losses(np.stack([metrics[name] for metrics in history]), arrays[path + key], dtype)
        final = f"{path}final/"
        assert_parameters(state.actor.model, actor_of(arrays, f"{final}actor/", dtype), dtype)
        assert_parameters(state.value.model, flax_mlp(arrays, f"{final}value/", dtype), dtype)
        assert_parameters(state.critic.model, flax_twin_q(arrays, f"{final}critic/", dtype), dtype)
        stored = f"{final}target_critic/Critic_0/MLP_0/Dense_0/bias" in arrays
        assert stored or path not in ("uniform/f32/", "two_sampler/f64/")
        if stored:
            target = flax_twin_q(arrays, f"{final}target_critic/", dtype)
            assert_parameters(state.target_critic, target, dtype)


def test_layers_start_orthogonal():
    state = make_iql(IQLConfig(hidden=(64, 64)), 1).init(jax.random.key(0), SHAPES)
    for network in (state.actor.model.mlp, state.value.model, state.critic.model.first):
        kernel, bias = network.layers[0]
        np.testing.assert_allclose(kernel @ kernel.T, 2 * np.eye(len(kernel)), atol=1e-5)
        assert not bias.any()


@pytest.mark.parametrize("variant", ["reweight_all", "reweight_eval0"])
def test_losses_and_gradients_at_given_outputs_equal_the_authors_code(variant):
    arrays = golden("08b_iql_update")
    with jax.enable_x64(True):
        given = {
            key.removeprefix("fixed/in/"): jnp.asarray(value, jnp.float64)
            for key, value in arrays.items()
            if key.startswith("fixed/in/")
        }
        weight = given["weights"]
        evaluation = weight if variant == "reweight_all" else jnp.ones_like(weight)
        target_q = jnp.minimum(given["q1t"], given["q2t"])
        target = td_target(given["reward"], 0.99 * given["mask"], given["next_v_new"])
        advantage = target_q - given["v_new"]
        objectives = {
            "value": (lambda v: weighted_mean(evaluation, value_loss(v, target_q, expectile=0.7)), ("v",)),
            "critic": (
                lambda q1, q2: weighted_mean(evaluation, twin_squared_error(q1, q2, target)),
                ("q1", "q2"),
            ),
            "actor": (lambda log_prob: actor_objective(log_prob, advantage, weight, PAPER), ("log_prob",)),
        }
        for name, (objective, inputs) in objectives.items():
            arguments = tuple(range(len(inputs)))
            loss, gradient = jax.value_and_grad(objective, arguments)(*(given[i] for i in inputs))
            expected = f"fixed/{variant}/f64/"
            np.testing.assert_allclose(loss, arrays[f"{expected}{name}_loss"], rtol=1e-9, atol=1e-12)
            for of, found in zip(inputs, gradient, strict=True):
                np.testing.assert_allclose(found, arrays[f"{expected}grad_{of}"], rtol=1e-8, atol=1e-12)


def test_the_cap_bounds_the_advantage_weight_before_the_transition_weight_by_default():
    config = IQLConfig(inverse_temperature=1.0, advantage_limit=2.0)
    log_likelihood, advantage, weight = jnp.array([-1.0]), jnp.array([5.0]), jnp.array([3.0])
    assert actor_objective(log_likelihood, advantage, weight, config) == 6.0
    paper = IQLConfig(inverse_temperature=1.0, advantage_limit=2.0, cap_after_weighting=True)
    assert actor_objective(log_likelihood, advantage, weight, paper) == 2.0


def test_a_weight_of_zero_beside_an_advantage_without_bounds_counts_nothing():
    weight, advantage = jnp.array([0.0, 2.0]), jnp.array([1000.0, 0.0])
    assert actor_objective(jnp.array([-1.0, -1.0]), advantage, weight, PAPER) == 1.0


def test_dropout_leaves_out_that_share_of_the_actors_hidden_units_and_keeps_their_mean():
    algorithm = make_iql(IQLConfig(hidden=(64, 32), dropout=0.25), 10)
    masks = algorithm.noise(jax.random.key(0), 256, Shapes(3, 2))
    assert [mask.shape for mask in masks] == [(256, 64), (256, 32)]
    for mask in masks:
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.75)}
        assert float((mask == 0).mean()) == pytest.approx(0.25, abs=0.02)


def test_dropout_reaches_the_actor_alone():
    data = make_data(8)
    after = []
    for dropout in (0.0, 0.5):
        algorithm = make_iql(IQLConfig(hidden=(16,), dropout=dropout), 10)
        state = algorithm.init(jax.random.key(0), SHAPES)
        noise = algorithm.noise(jax.random.key(1), 8, SHAPES)
        after.append(algorithm.updates[0](state, make_minibatch(data), noise)[0])
    assert differ(after[0].actor, after[1].actor)
    assert_same(after[0].critic, after[1].critic)
    assert_same(after[0].value, after[1].value)


def test_the_policys_rate_falls_to_nothing_over_the_run_and_the_values_does_not():
    algorithm, minibatch = IQLConfig(hidden=(8,)).make(10), make_minibatch(make_data())
    states = [algorithm.init(jax.random.key(0), SHAPES)]
    update = jax.jit(algorithm.updates[0])
    for _ in range(10):
        states.append(update(states[-1], minibatch, ())[0])

    def moved(part, before, after) -> float:
        leaves = (jax.tree.leaves(getattr(state, part).model) for state in (before, after))
        return max(float(jnp.abs(a - b).max()) for a, b in zip(*leaves, strict=True))

    for part, falls in (("actor", True), ("value", False), ("critic", False)):
        share = moved(part, *states[-2:]) / moved(part, *states[:2])
        assert (share < 0.1) == falls, (part, share)
