import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import as_dtype, assert_losses, assert_parameters, golden, torch_mlp, torch_twin_q
from reweigh.algorithms.td3_bc import (
    SpreadActor,
    TD3BCConfig,
    TD3BCState,
    clipped_constraint_weight,
    make_td3_bc,
    sampled_action,
)
from reweigh.networks import MLP
from reweigh.optim import Trained
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

VARIANTS = ("uniform", "reweight_all", "reweight_eval0", "clip1", "clip2", "two_sampler")
ACTOR = ("l1", "l2", "l3")


def minibatch_of(arrays, step, variant, dtype) -> Minibatch:
    def batch(prefix):
        state = jnp.asarray(arrays[f"in/{prefix}state"][step], dtype)
        action = jnp.asarray(arrays[f"in/{prefix}action"][step], dtype)
        if prefix:
            zero = jnp.zeros(len(state), dtype)
            return Batch(state, action, zero, zero, state, action)
        reward = jnp.asarray(arrays["in/reward"][step][:, 0], dtype)
        discount = jnp.asarray(0.99 * arrays["in/not_done"][step][:, 0], dtype)
        next_state = jnp.asarray(arrays["in/next_state"][step], dtype)
        return Batch(state, action, reward, discount, next_state, action)

    weight = jnp.asarray(arrays["in/weight"][step][:, 0], dtype)
    ones = jnp.ones_like(weight)
    if variant in ("uniform", "two_sampler"):
        weight = ones
    evaluation = ones if variant == "reweight_eval0" else weight
    policy = batch("actor_") if variant == "two_sampler" else None
    return Minibatch(batch(""), policy, TermWeight(evaluation, weight, weight))


@pytest.mark.parametrize(
    ("variant", "dtype"), [("uniform", jnp.float32)] + [(variant, jnp.float64) for variant in VARIANTS]
)
def test_four_updates_equal_the_authors_code(variant, dtype):
    arrays = golden("08a_td3bc_update")
    with jax.enable_x64(dtype == jnp.float64):
        clip = {"clip1": "hard", "clip2": "square-root"}.get(variant, "none")
        algorithm = make_td3_bc(TD3BCConfig(hidden=(32, 32), constraint_clip=clip))
        actor = torch_mlp(arrays, "init/actor/", ACTOR, dtype)
        critic = torch_twin_q(arrays, "init/critic/", dtype)
        fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
        state = TD3BCState(
            Trained(actor, fresh.actor.opt_state), Trained(critic, fresh.critic.opt_state), actor, critic
        )
        critic_losses, actor_metrics = [], []
        for step in range(4):
            noise = jnp.asarray(arrays["in/noise"][step], dtype)
            update = jax.jit(algorithm.updates[step % 2])
            state, metrics = update(state, minibatch_of(arrays, step, variant, dtype), noise)
            critic_losses.append(metrics["critic/loss"])
            if step % 2:
                actor_metrics.append(metrics)
        path = f"{variant}/{'f64' if dtype == jnp.float64 else 'f32'}/"
        assert_losses(np.stack(critic_losses), arrays[f"{path}critic_loss"], dtype)
        for name, key in (
            ("loss", "actor_loss"),
            ("constraint_loss", "constraint_loss"),
            ("q_scale", "lambda"),
        ):
            found = np.stack([metrics[f"actor/{name}"] for metrics in actor_metrics])
            assert_losses(found, arrays[f"{path}{key}"], dtype)
        final = f"{path}final/"
        assert_parameters(state.actor.model, torch_mlp(arrays, f"{final}actor/", ACTOR, dtype), dtype)
        assert_parameters(state.critic.model, torch_twin_q(arrays, f"{final}critic/", dtype), dtype)
        stored = f"{final}actor_target/l1.weight" in arrays
        assert stored or path not in ("uniform/f32/", "two_sampler/f64/")
        if stored:
            target_actor = torch_mlp(arrays, f"{final}actor_target/", ACTOR, dtype)
            assert_parameters(state.target_actor, target_actor, dtype)
            target_critic = torch_twin_q(arrays, f"{final}critic_target/", dtype)
            assert_parameters(state.target_critic, target_critic, dtype)


def test_clipping_raises_only_constraint_weights_below_one():
    weight = jnp.array([0.0, 0.25, 1.0, 4.0])
    assert clipped_constraint_weight(weight, "hard").tolist() == [1, 1, 1, 4]
    assert clipped_constraint_weight(weight, "square-root").tolist() == [0, 0.5, 1, 4]
    assert clipped_constraint_weight(weight, "none").tolist() == [0, 0.25, 1, 4]


def test_a_learned_spread_is_what_the_actors_loss_sees():
    zero_mean = MLP(((jnp.zeros((1, 2)), jnp.zeros(2)),))
    actor = SpreadActor(zero_mean, jnp.log(jnp.array([0.5, 2.0])))
    found = sampled_action(actor, jnp.ones((1, 1)), jnp.ones((1, 2)))
    np.testing.assert_allclose(found, [[0.5, 2.0]], rtol=1e-6)
