import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import as_dtype, assert_losses, assert_parameters, golden, torch_mlp
from reweigh.algorithms.bc import BCConfig, BCState, behavior_loss, make_bc
from reweigh.networks import MLP
from reweigh.optim import Trained
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

LAYERS = ("net.net.1", "net.net.3", "net.net.5")


@pytest.mark.parametrize(
    ("variant", "dtype"),
    [("bc_normal", jnp.float32), ("bc_normal", jnp.float64), ("bc_trunc", jnp.float64)],
)
def test_four_updates_equal_the_authors_code(variant, dtype):
    arrays = golden("08d_onestep_bc")
    with jax.enable_x64(dtype == jnp.float64):
        kind = {"bc_normal": "normal", "bc_trunc": "truncated"}[variant]
        algorithm = make_bc(BCConfig(policy=kind, hidden=(32, 32)))
        fresh = as_dtype(algorithm.init(jax.random.key(0), Shapes(11, 3)), dtype)
        policy = torch_mlp(arrays, f"init/{variant}/", LAYERS, dtype)
        state = BCState(Trained(policy, fresh.policy.opt_state))
        ones = jnp.ones(64, dtype)
        losses = []
        for step in range(4):
            observation = jnp.asarray(arrays["in/s"][step], dtype)
            action = jnp.asarray(arrays["in/a"][step], dtype)
            batch = Batch(observation, action, ones, ones, observation, action)
            minibatch = Minibatch(batch, None, TermWeight(ones, ones, ones))
            state, metrics = jax.jit(algorithm.updates[0])(state, minibatch, ())
            losses.append(metrics["actor/loss"])
        path = f"{variant}/{'f64' if dtype == jnp.float64 else 'f32'}/"
        assert_losses(np.stack(losses), arrays[f"{path}loss"], dtype)
        assert_parameters(state.policy.model, torch_mlp(arrays, f"{path}final/", LAYERS, dtype), dtype)


def test_the_deterministic_loss_is_the_squared_distance_averaged_over_action_dimensions():
    policy = MLP(((jnp.zeros((1, 2)), jnp.zeros(2)),))
    action = jnp.array([[0.6, 0.8], [0.0, 1.0]])
    batch = Batch(jnp.ones((2, 1)), action, jnp.ones(2), jnp.ones(2), jnp.ones((2, 1)), action)
    np.testing.assert_allclose(behavior_loss(policy, batch, "deterministic"), [0.5, 0.5], rtol=1e-6)
