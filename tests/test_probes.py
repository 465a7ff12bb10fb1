import jax.numpy as jnp
import numpy as np
import pytest

from probes import best_action, constant_reward, copied_action, train_on, two_steps
from reweigh.algorithms.bc import BCConfig, make_bc
from reweigh.algorithms.cql import CQLConfig, make_cql
from reweigh.algorithms.iql import IQLConfig, make_iql
from reweigh.algorithms.td3_bc import TD3BCConfig, make_td3_bc

FAST = {"hidden": (32, 32), "learning_rate": 3e-3}
UPDATES = 1500

WITH_VALUES = {
    "td3-bc": lambda: make_td3_bc(TD3BCConfig(**FAST, target_rate=0.05)),
    # At expectile 0.5 the value is the mean over actions, which these probes know.
    "iql": lambda: make_iql(IQLConfig(**FAST, expectile=0.5, target_rate=0.05), UPDATES),
    # Without its gap CQL is soft actor-critic, whose values these probes know.
    "cql": lambda: make_cql(CQLConfig(**FAST, min_q_weight=0.0, num_actions=1, target_rate=0.05)),
}
SEEKING = {
    "td3-bc": lambda: make_td3_bc(TD3BCConfig(**FAST, alpha=50.0, target_rate=0.05)),
    "iql": lambda: make_iql(IQLConfig(**FAST, inverse_temperature=10.0, target_rate=0.05), UPDATES),
    "cql": lambda: make_cql(
        CQLConfig(**FAST, min_q_weight=0.1, num_actions=4, target_rate=0.05, target_entropy=-4.0)
    ),
}
CLONING = {
    "bc": lambda: make_bc(BCConfig(**FAST)),
    "bc-truncated": lambda: make_bc(BCConfig(**FAST, policy="truncated")),
    "bc-deterministic": lambda: make_bc(BCConfig(**FAST, policy="deterministic")),
    "td3-bc": lambda: make_td3_bc(TD3BCConfig(**FAST, alpha=0.0)),
    "iql": lambda: make_iql(IQLConfig(**FAST, inverse_temperature=0.0), UPDATES),
    "cql-warm-up": lambda: make_cql(CQLConfig(**FAST, num_actions=1, warmup_updates=UPDATES)),
}


@pytest.mark.parametrize("name", WITH_VALUES)
def test_a_constant_reward_is_its_own_value(name):
    data = constant_reward()
    state = train_on(WITH_VALUES[name](), data)
    q1, q2 = state.critic.model(data.observation, data.action)
    np.testing.assert_allclose(q1, 1.0, atol=0.05)
    np.testing.assert_allclose(q2, 1.0, atol=0.05)


@pytest.mark.parametrize("name", WITH_VALUES)
def test_a_later_reward_is_discounted_and_a_terminal_ends_it(name):
    data = two_steps()
    state = train_on(WITH_VALUES[name](), data)
    q1, _ = state.critic.model(data.observation, data.action)
    expected = jnp.where(data.observation[:, 0] > 0, 1.0, 0.9)
    np.testing.assert_allclose(q1, expected, atol=0.06)


@pytest.mark.parametrize("name", SEEKING)
def test_the_best_action_of_each_state_is_found(name):
    algorithm = SEEKING[name]()
    state = train_on(algorithm, best_action())
    action = algorithm.act(state, jnp.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(action, [[-0.5], [0.5]], atol=0.15)


@pytest.mark.parametrize("name", CLONING)
def test_the_datas_actions_are_copied(name):
    algorithm = CLONING[name]()
    state = train_on(algorithm, copied_action())
    observation = jnp.linspace(-0.8, 0.8, 5)[:, None]
    np.testing.assert_allclose(algorithm.act(state, observation), 0.5 * observation, atol=0.08)


@pytest.mark.parametrize("name", CLONING)
def test_cloning_follows_the_rows_that_count(name):
    data = copied_action()
    good = np.asarray(data.observation[:, 0] > 0, np.float64)
    turned = data.action.at[:, 0].set(jnp.where(data.observation[:, 0] > 0, 0.5, -0.5))
    observation = jnp.abs(data.observation) * 0 + 0.3
    mixed = type(data)(observation, turned, data.reward, data.discount, observation, turned)
    algorithm = CLONING[name]()
    state = train_on(algorithm, mixed, probability=good)
    np.testing.assert_allclose(algorithm.act(state, observation[:1]), [[0.5]], atol=0.08)
