from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goldens import as_dtype, assert_losses, assert_parameters, golden
from reweigh.algorithms.cql import (
    Actor,
    CQLConfig,
    CQLNoise,
    CQLState,
    conservative_gap,
    make_cql,
    q_of_actions,
    sampled,
    soft_target,
)
from reweigh.errors import ConfigError
from reweigh.networks import MLP, TwinQ
from reweigh.optim import Trained
from reweigh.types import Batch, Minibatch, Shapes, TermWeight

PAPER = {"hidden": (32, 32)}
CONFIGS = {
    "default": CQLConfig(**PAPER),
    "kitchen": CQLConfig(**PAPER, max_target_backup=True, importance_sampling=False),
    "bc": CQLConfig(**PAPER, warmup_updates=10),
}


def mlp_of(arrays, prefix, dtype) -> MLP:
    return MLP(
        tuple(
            (
                jnp.asarray(arrays[f"{prefix}/Dense_{i}/kernel"], dtype),
                jnp.asarray(arrays[f"{prefix}/Dense_{i}/bias"], dtype),
            )
            for i in range(3)
        )
    )


def parts_of(arrays, prefix, dtype) -> tuple[Actor, TwinQ, jax.Array]:
    policy = Actor(
        mlp_of(arrays, f"{prefix}policy/params/base_network", dtype),
        jnp.asarray(arrays[f"{prefix}policy/params/log_std_multiplier_module/value"], dtype),
        jnp.asarray(arrays[f"{prefix}policy/params/log_std_offset_module/value"], dtype),
    )
    return policy, critics_of(arrays, prefix, "qf", dtype), log_alpha_of(arrays, prefix, dtype)


def critics_of(arrays, prefix, name, dtype) -> TwinQ:
    return TwinQ(
        *(mlp_of(arrays, f"{prefix}{name}{i}/params/FullyConnectedNetwork_0", dtype) for i in (1, 2))
    )


def log_alpha_of(arrays, prefix, dtype):
    return jnp.asarray(arrays[f"{prefix}log_alpha/params/value"], dtype)


def first_state(algorithm, shapes) -> CQLState:
    return jax.jit(lambda key: algorithm.init(key, shapes))(jax.random.key(0))


def minibatch_of(arrays, step, dtype) -> Minibatch:
    observation, action, reward, following, done = (
        jnp.asarray(arrays[f"in/{name}"][step], dtype)
        for name in ("observations", "actions", "rewards", "next_observations", "dones")
    )
    batch = Batch(observation, action, reward, 0.99 * (1 - done), following, action)
    ones = jnp.ones_like(reward)
    return Minibatch(batch, None, TermWeight(ones, ones, ones))


def noise_of(arrays, step, variant, dtype) -> CQLNoise:
    names = ("noise_pi", "noise_next", "noise_cql_cur", "noise_cql_next", "random_actions")
    if variant == "kitchen":
        names = (names[0], "noise_next10", *names[2:])
    return CQLNoise(*(jnp.asarray(arrays[f"in/{name}"][step], dtype) for name in names))


@pytest.mark.parametrize(
    ("variant", "dtype"), [("default", jnp.float32)] + [(variant, jnp.float64) for variant in CONFIGS]
)
def test_updates_equal_the_authors_code(variant, dtype):
    arrays = golden("08c_cql_update")
    where = f"{variant}/{'f64' if dtype == jnp.float64 else 'f32'}/"
    with jax.enable_x64(dtype == jnp.float64):
        algorithm = make_cql(CONFIGS[variant], ignore_terminals=True)
        fresh = as_dtype(first_state(algorithm, Shapes(11, 3)), dtype)
        policy, critic, log_alpha = parts_of(arrays, "init/", dtype)
        state = CQLState(
            Trained(policy, fresh.actor.opt_state),
            Trained(critic, fresh.critic.opt_state),
            critic,
            Trained(log_alpha, fresh.log_alpha.opt_state),
            fresh.update,
        )
        steps = [step for step in (1, 2) if f"{where}step{step}/policy_loss" in arrays]
        for step in steps:
            minibatch, noise = (
                minibatch_of(arrays, step - 1, dtype),
                noise_of(arrays, step - 1, variant, dtype),
            )
            state, metrics = jax.jit(algorithm.updates[0])(state, minibatch, noise)

            def stored(name, step=step):
                return arrays[f"{where}step{step}/{name}"]

            assert_losses(metrics["actor/loss"], stored("policy_loss"), dtype)
            assert_losses(metrics["critic/loss"], stored("qf1_loss") + stored("qf2_loss"), dtype)
            assert_losses(metrics["critic/gap"], stored("cql_qf1_diff"), dtype)
            assert_losses(metrics["alpha/loss"], stored("alpha_loss"), dtype)
            assert_losses(metrics["alpha/value"], stored("alpha"), dtype)
        final = parts_of(arrays, f"{where}final/", dtype)
        assert_parameters((state.actor.model, state.critic.model, state.log_alpha.model), final, dtype)
        assert_parameters(
            state.target_critic, critics_of(arrays, f"{where}final/", "target_qf", dtype), dtype
        )


def test_the_gap_divides_by_densities_or_counts_the_datas_action():
    q_data, q = jnp.array([1.0]), jnp.array([[0.0, jnp.log(3.0)]])
    # Densities of 1/2: log((e^0 + e^log 3) / (1/2)) - 1.
    found = conservative_gap(q_data, q, jnp.full((1, 2), jnp.log(0.5)), CQLConfig())
    np.testing.assert_allclose(found, np.log(8) - 1, rtol=1e-6)
    # Without densities the data's action is one of three.
    found = conservative_gap(q_data, q, None, CQLConfig(importance_sampling=False))
    np.testing.assert_allclose(found, np.log(1 + 3 + np.e) - 1, rtol=1e-6)


def test_layers_start_as_jaxcqls():
    state = first_state(make_cql(CQLConfig(hidden=(64, 64))), Shapes(4, 2))
    for network in (state.actor.model.mlp, state.critic.model.first):
        (first, bias), _, (last, _) = network.layers
        assert float(first.std()) == pytest.approx(len(first) ** -0.5, rel=0.2)
        assert not bias.any()
        # Uniform with variance 0.01 / 64.
        assert 0.8 < jnp.abs(last).max() / (0.03 / 64) ** 0.5 <= 1


def test_a_temperature_of_two_softens_the_gaps_maximum():
    # The values are twice 0 and log 3: 2 log((1 + 3) sqrt 2) = log 32, with densities of 1/2.
    q = 2 * jnp.array([[0.0, jnp.log(3.0)]])
    found = conservative_gap(jnp.array([1.0]), q, jnp.full((1, 2), jnp.log(0.5)), CQLConfig(temperature=2.0))
    np.testing.assert_allclose(found, np.log(32) - 1, rtol=1e-6)


def test_a_gap_is_clipped_state_by_state():
    config = CQLConfig(gap_min=-1.0, gap_max=2.0)
    q = jnp.array([[0.0], [10.0], [-10.0]])
    np.testing.assert_allclose(conservative_gap(jnp.zeros(3), q, jnp.zeros((3, 1)), config), [0, 2, -1])


def test_several_actions_a_state_have_the_values_of_each_alone():
    state = first_state(make_cql(CQLConfig(hidden=(16, 16))), Shapes(4, 2))
    observation = jax.random.normal(jax.random.key(1), (5, 4))
    action = jax.random.uniform(jax.random.key(2), (5, 3, 2))
    together = q_of_actions(state.target_critic, observation, action)
    for k in range(3):
        alone = state.target_critic(observation, action[:, k])
        np.testing.assert_allclose(together[0][:, k], alone[0], atol=1e-6)
        np.testing.assert_allclose(together[1][:, k], alone[1], atol=1e-6)


def test_decoupled_batches_reach_their_own_terms():
    # TD learns from the evaluation batch; gap, policy and temperature from the policy batch.
    algorithm = make_cql(CQLConfig(hidden=(8,)))
    state = first_state(algorithm, Shapes(2, 1))
    noise = algorithm.noise(jax.random.key(1), 4, Shapes(2, 1))
    update = jax.jit(algorithm.updates[0])
    ones, zeros = jnp.ones(4), jnp.zeros(4)

    def batch(seed):
        a, b, c = jax.random.split(jax.random.key(seed), 3)
        observation = jax.random.normal(a, (4, 2))
        return Batch(
            observation, jnp.tanh(jax.random.normal(b, (4, 1))), ones, 0.9 * ones, observation + 1,
            jax.random.normal(c, (4, 1)),
        )  # fmt: skip

    def after(evaluation, policy, weight):
        return update(state, Minibatch(evaluation, policy, weight), noise)[0]

    def same(one, other):
        return all(
            np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        )

    td_only = TermWeight(ones, zeros, zeros)
    assert same(after(batch(0), batch(1), td_only).critic, after(batch(0), batch(2), td_only).critic)
    gap_only = TermWeight(zeros, ones, ones)
    assert same(after(batch(0), batch(1), gap_only).critic, after(batch(3), batch(1), gap_only).critic)
    assert same(after(batch(0), batch(1), gap_only).actor, after(batch(3), batch(1), gap_only).actor)
    assert not same(after(batch(0), batch(1), gap_only).critic, after(batch(0), batch(2), gap_only).critic)


def random_batch():
    a, b, c = jax.random.split(jax.random.key(5), 3)
    observation, ones = jax.random.normal(a, (4, 2)), jnp.ones(4)
    action = jnp.tanh(jax.random.normal(b, (4, 1)))
    batch = Batch(observation, action, ones, 0.9 * ones, jax.random.normal(c, (4, 2)), action)
    return Minibatch(batch, None, TermWeight(ones, ones, ones))


def one_update(config):
    algorithm = make_cql(config)
    noise = algorithm.noise(jax.random.key(1), 4, Shapes(2, 1))
    return jax.jit(algorithm.updates[0])(first_state(algorithm, Shapes(2, 1)), random_batch(), noise)


def test_the_warm_up_ends_after_its_updates():
    cloning, plain = (make_cql(CQLConfig(hidden=(8,), warmup_updates=n)) for n in (1, 0))
    noise, state = plain.noise(jax.random.key(1), 4, Shapes(2, 1)), first_state(cloning, Shapes(2, 1))
    for alike in (False, True):
        one, other = (
            float(jax.jit(algorithm.updates[0])(state, random_batch(), noise)[1]["actor/loss"])
            for algorithm in (cloning, plain)
        )
        assert (abs(one - other) < 1e-5) == alike
        state, _ = jax.jit(cloning.updates[0])(state, random_batch(), noise)


def test_the_entropy_backup_lowers_targets_by_the_density_of_the_next_action():
    config = CQLConfig(hidden=(8,), backup_entropy=True, initial_alpha=2.0)
    state, batch = first_state(make_cql(config), Shapes(2, 1)), random_batch().evaluation
    mean, log_std = state.actor.model(batch.next_observation)
    noise = jnp.ones((4, 1))
    _, log_likelihood = sampled(mean, log_std, noise)
    lowered, plain = (
        soft_target(state, batch, (mean, log_std), noise, replace(config, backup_entropy=backup))
        for backup in (True, False)
    )
    np.testing.assert_allclose(plain - lowered, 0.9 * 2 * log_likelihood, rtol=1e-5)


def test_the_lagrange_form_multiplies_what_the_gap_has_above_its_target():
    target_loss, plain, lagrange = (
        one_update(CQLConfig(hidden=(8,), **settings))[1]["critic/loss"]
        for settings in (
            {"min_q_weight": 0.0},
            {"min_q_weight": 2.0},
            {"min_q_weight": 2.0, "gap_target": 1.5},
        )
    )
    gaps = (plain - target_loss) / 2.0
    np.testing.assert_allclose(lagrange, target_loss + np.e * 2.0 * (gaps - 2 * 1.5), rtol=1e-5)


@pytest.mark.parametrize(("gap_target", "sign"), [(-100.0, 1), (100.0, -1)])
def test_the_multiplier_grows_while_the_gap_is_above_its_target_and_falls_below_it(gap_target, sign):
    state, _ = one_update(CQLConfig(hidden=(8,), gap_target=gap_target, learning_rate=0.01))
    np.testing.assert_allclose(state.log_multiplier.model, 1 + sign * 0.01, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [{"num_actions": 0}, {"temperature": 0.0}, {"gap_min": 1.0, "gap_max": 0.0}, {"min_q_weight": -1.0}],
)
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"expected {next(iter(wrong))} "):
        CQLConfig(**wrong)


def test_a_policy_that_clones_actions_at_the_bounds_stays_finite():
    algorithm = make_cql(CQLConfig(hidden=(8,), num_actions=2, warmup_updates=1))
    shapes, ones = Shapes(3, 2), jnp.ones(4)
    state = first_state(algorithm, shapes)
    batch = Batch(jnp.zeros((4, 3)), jnp.ones((4, 2)), ones, ones, jnp.zeros((4, 3)), jnp.ones((4, 2)))
    minibatch = Minibatch(batch, None, TermWeight(ones, ones, ones))
    for number in range(2):  # in the warm-up and after it
        noise = algorithm.noise(jax.random.key(number), 4, shapes)
        state, metrics = algorithm.updates[0](state, minibatch, noise)
        assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((state.actor, metrics)))
