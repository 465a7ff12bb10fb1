"""TD3's update against a slow twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fakes import SHAPES, make_data, make_minibatch
from reweigh.algorithms.td3 import TD3Config, make_td3
from reweigh.errors import ConfigError

CONFIG = TD3Config(hidden=(8,), learning_rate=1e-3)
RATE, FIRST_MOMENT, SECOND_MOMENT = 1e-3, 0.9, 0.999


def forward(layers, x):
    """The network in double precision, with what its gradient needs."""
    (w1, b1), (w2, b2) = layers
    hidden = np.maximum(x @ w1 + b1, 0)
    return hidden @ w2 + b2, hidden


def backward(layers, x, hidden, upstream):
    """Gradient by the parameters and by the input."""
    (w1, _), (w2, _) = layers
    inner = (upstream @ w2.T) * (hidden > 0)
    return ((x.T @ inner, inner.sum(0)), (hidden.T @ upstream, upstream.sum(0))), inner @ w1.T


def first_adam_step(layers, gradient):
    """Adam's first step: both moments start at 0 and are divided by what that costs them."""

    def move(parameter, g):
        first = (1 - FIRST_MOMENT) * g / (1 - FIRST_MOMENT)
        second = (1 - SECOND_MOMENT) * g**2 / (1 - SECOND_MOMENT)
        return parameter - RATE * first / (np.sqrt(second) + 1e-8)

    return tuple((move(w, gw), move(b, gb)) for (w, b), (gw, gb) in zip(layers, gradient, strict=True))


def in_numpy(mlp):
    return tuple((np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in mlp.layers)


def test_an_update_of_critics_and_actor_equals_a_slow_twin_in_numpy():
    with jax.enable_x64(True):
        algorithm, data = make_td3(CONFIG), make_data(16)
        data = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), data)
        state = jax.tree.map(
            lambda leaf: leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf,
            jax.jit(algorithm.init, static_argnums=1)(jax.random.key(0), SHAPES),
        )
        noise = algorithm.noise(jax.random.key(1), 16, SHAPES).astype(jnp.float64)
        after, metrics = jax.jit(algorithm.updates[1])(state, make_minibatch(data), noise)

    s, a, r, discount, following = (
        np.asarray(getattr(data, name))
        for name in ("observation", "action", "reward", "discount", "next_observation")
    )
    actor, critics = (
        in_numpy(state.actor.model),
        [in_numpy(state.critic.model.first), in_numpy(state.critic.model.second)],
    )
    smoothing = np.clip(0.2 * np.asarray(noise), -0.5, 0.5)
    next_action = np.clip(np.tanh(forward(actor, following)[0]) + smoothing, -1, 1)
    next_inputs = np.concatenate([following, next_action], 1)
    next_q = np.minimum(*(forward(critic, next_inputs)[0][:, 0] for critic in critics))
    target = r + discount * next_q
    inputs, moved, loss = np.concatenate([s, a], 1), [], 0.0
    for critic in critics:
        q, hidden = forward(critic, inputs)
        difference = q - target[:, None]
        loss += (difference**2).mean()
        gradient, _ = backward(critic, inputs, hidden, 2 * difference / 16)
        moved.append(first_adam_step(critic, gradient))
    output, actor_hidden = forward(actor, s)
    action = np.tanh(output)
    inputs = np.concatenate([s, action], 1)
    q, hidden = forward(moved[0], inputs)
    _, by_input = backward(moved[0], inputs, hidden, np.full((16, 1), -1 / 16))
    gradient, _ = backward(actor, s, actor_hidden, by_input[:, 3:] * (1 - action**2))
    moved_actor = first_adam_step(actor, gradient)

    np.testing.assert_allclose(metrics["critic/loss"], loss, rtol=1e-10)
    np.testing.assert_allclose(metrics["actor/loss"], -q.mean(), rtol=1e-10)
    found = [after.actor.model, after.critic.model.first, after.critic.model.second]
    for mlp, expected in zip(found, [moved_actor, *moved], strict=True):
        for layer, (w, b) in zip(mlp.layers, expected, strict=True):
            np.testing.assert_allclose(layer[0], w, rtol=1e-6, atol=1e-10)
            np.testing.assert_allclose(layer[1], b, rtol=1e-6, atol=1e-10)
    for slow, old, new in (
        (after.target_actor, actor, moved_actor),
        (after.target_critic.second, critics[1], moved[1]),
    ):
        expected = 0.005 * new[0][0] + 0.995 * old[0][0]
        np.testing.assert_allclose(slow.layers[0][0], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy_noise", -1.0),
        ("noise_clip", -1.0),
        ("target_rate", 0.0),
        ("learning_rate", 0.0),
        ("hidden", ()),
    ],
)
def test_settings_without_meaning_are_refused(field, value):
    with pytest.raises(ConfigError, match=f"expected {field} "):
        TD3Config(**{field: value})
