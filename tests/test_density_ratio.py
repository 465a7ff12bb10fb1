"""DW in its three published conventions against the authors' code, by hand, and as part of training."""

import dataclasses
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fakes import SHAPES, assert_same, differ, make_data
from goldens import FOLDER, assert_losses, assert_parameters, golden, torch_mlp
from reweigh.algorithms import cql, iql, td3_bc
from reweigh.algorithms.bc import BCConfig, make_bc
from reweigh.datasets.load import load
from reweigh.errors import ConfigError
from reweigh.losses import expectile_loss, td_target, twin_squared_error, weighted_mean
from reweigh.networks import MLP, TwinQ
from reweigh.optim import Trained, trained
from reweigh.priorities.summary import auc
from reweigh.rebalance.density_ratio import (
    CONVENTIONS,
    Logits,
    Ratio,
    RatioSettings,
    batch_weights,
    density_ratio,
    density_ratio_tables,
    make_ratio,
    ratio_loss,
    ratio_step,
)
from reweigh.training import make_trainer, run_keys
from reweigh.types import Batch, Minibatch, Shapes, Stage, TermWeight

# K, F, G, T, C behind the golden numbers.
NUMBERS = {
    "published": (0.2, 1.0, 1.0, 1.0, 0.2),
    "noflow": (0.2, 0.0, 1.0, 1.0, 0.2),
    "other": (1.0, 5.0, 0.9, 2.0, 1.0),
}
NAMES = ("divergence", "flow", "flow_discount", "temperature", "clip")
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def settings_of(convention: str, numbers: str) -> RatioSettings:
    given = dict(zip(NAMES, NUMBERS[numbers], strict=True))
    return dataclasses.replace(CONVENTIONS[convention], **given, ignore_terminals=True)


def float64(arrays, prefix):
    return {
        key.removeprefix(prefix): jnp.asarray(value, jnp.float64)
        for key, value in arrays.items()
        if key.startswith(prefix)
    }


def assert_ratio(given, reward, settings, expected, names):
    """Weights, loss, parts and gradients at given logits."""
    logits = Logits(given["sa"], given["s"], given["next_s"])
    (loss, parts), gradient = jax.value_and_grad(
        lambda logits: ratio_loss(logits, reward, jnp.ones_like(reward), settings), has_aux=True
    )(logits)
    assert_losses(loss, expected["discriminator_loss"], jnp.float64)
    for part, name in names.items():
        np.testing.assert_allclose(parts[f"ratio/{part}"], expected[name], **TIGHT)
    for found, name in zip(gradient, ("sa", "s", "next_s"), strict=True):
        np.testing.assert_allclose(found, expected[f"grad_{name}"], rtol=1e-8, atol=1e-12)
    return batch_weights(logits, settings)


IQL_NAMES = {
    "reward_loss": "reward_loss",
    "divergence": "kl_penalty_loss",
    "flow_loss": "flow_consistency_loss",
}


@pytest.mark.parametrize("numbers", NUMBERS)
def test_iqls_weights_losses_and_gradients_at_given_outputs_equal_the_authors_code(numbers):
    arrays, settings = golden("07a_dw_iql_fixed_outputs"), settings_of("iql", numbers)
    with jax.enable_x64(True):
        given = float64(arrays, "in/")
        expected = float64(arrays, f"{numbers}/f64/")
        logits = {name: given[f"{numbers}/{name}"] for name in ("sa", "s", "next_s")}
        weights = assert_ratio(logits, given["normalized_reward"], settings, expected, IQL_NAMES)
        np.testing.assert_allclose(weights.state_action, expected["weights"], **TIGHT)
        weight = 64 * weights.state_action
        target_q = jnp.minimum(given["q1t"], given["q2t"])
        target = td_target(given["reward"], 0.99 * given["mask"], given["next_v_new"])
        objectives = {
            "value_loss": (
                lambda v: weighted_mean(weight, expectile_loss(target_q - v, expectile=0.7)),
                ("v",),
            ),
            "critic_loss": (
                lambda q1, q2: weighted_mean(weight, twin_squared_error(q1, q2, target)),
                ("q1", "q2"),
            ),
            "actor_loss": (
                lambda log_prob: iql.actor_objective(
                    log_prob, target_q - given["v_new"], weight, iql.IQLConfig()
                ),
                ("log_prob",),
            ),
        }
        for name, (objective, inputs) in objectives.items():
            arguments = tuple(range(len(inputs)))
            loss, gradient = jax.value_and_grad(objective, arguments)(*(given[i] for i in inputs))
            np.testing.assert_allclose(loss, expected[name], **TIGHT)
            for found, key in zip(gradient, inputs, strict=True):
                np.testing.assert_allclose(found, expected[f"grad_{key}"], rtol=1e-8, atol=1e-12)


def dense(arrays, prefix) -> MLP:
    return MLP(
        tuple(
            (
                jnp.asarray(arrays[f"{prefix}/Dense_{i}/kernel"], jnp.float64),
                jnp.asarray(arrays[f"{prefix}/Dense_{i}/bias"], jnp.float64),
            )
            for i in range(3)
        )
    )


def iql_parts(arrays, prefix):
    layers = [f"{prefix}actor/MLP_0/Dense_0", f"{prefix}actor/MLP_0/Dense_1", f"{prefix}actor/Dense_0"]
    mlp = MLP(
        tuple(
            (
                jnp.asarray(arrays[f"{layer}/kernel"], jnp.float64),
                jnp.asarray(arrays[f"{layer}/bias"], jnp.float64),
            )
            for layer in layers
        )
    )
    actor = iql.Actor(mlp, jnp.asarray(arrays[f"{prefix}actor/log_stds"], jnp.float64))
    critic = TwinQ(*(dense(arrays, f"{prefix}critic/Critic_{i}/MLP_0") for i in (0, 1)))
    ratio = Ratio(*(dense(arrays, f"{prefix}discriminator/MLP_{i}") for i in (0, 1)))
    return actor, dense(arrays, f"{prefix}value/MLP_0"), critic, ratio


def fresh_optimizers(state, models):
    """The same models with Adam's state of a fresh start in double precision."""
    zero = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state
    )
    return [Trained(model, part.opt_state) for model, part in zip(models, zero, strict=True)]


@pytest.mark.parametrize("numbers", ["published", "other"])
def test_four_joint_updates_of_iql_equal_the_authors_code(numbers):
    arrays, settings = golden("07b_dw_iql_update"), settings_of("iql", numbers)
    with jax.enable_x64(True):
        algorithm = iql.make_iql(iql.IQLConfig(hidden=(32, 32)), 100)
        fresh = algorithm.init(jax.random.key(0), Shapes(11, 3))
        actor, value, critic, ratio = iql_parts(arrays, "init/")
        nets = density_ratio(64, settings, hidden=(32, 32)).init(jax.random.key(0), Shapes(11, 3))
        trained = fresh_optimizers(
            (fresh.actor, fresh.value, fresh.critic, nets), (actor, value, critic, ratio)
        )
        state, nets = iql.IQLState(*trained[:3], critic), trained[3]
        update, learn = jax.jit(algorithm.updates[0]), jax.jit(partial(ratio_step, settings=settings))
        history = []
        for step in range(4):
            given = {key: value[step] for key, value in float64(arrays, "in/").items()}
            batch = Batch(
                given["observations"],
                given["actions"],
                given["rewards"],
                0.99 * given["masks"],
                given["next_observations"],
                given["actions"],
            )
            nets, weights, metrics = learn(nets, batch, given["normalized_rewards"])
            weight = 64 * weights.state_action
            minibatch = Minibatch(batch, None, TermWeight(weight, weight, weight))
            state, own = update(state, minibatch, ())
            history.append(metrics | own | {"largest": weights.state_action.max()})
        path = f"{numbers}/f64/"
        for name, key in {
            "value/loss": "value_loss",
            "critic/loss": "critic_loss",
            "actor/loss": "actor_loss",
            "ratio/loss": "discriminator_loss",
            "ratio/divergence": "kl_penalty_loss",
            "ratio/flow_loss": "flow_consistency_loss",
            "largest": "weight_max",
        }.items():
            assert_losses(np.stack([found[name] for found in history]), arrays[path + key], jnp.float64)
        expected = iql_parts(arrays, f"{path}final/")
        found = (state.actor.model, state.value.model, state.critic.model, nets.model)
        assert_parameters(found, expected, jnp.float64)
        slow = TwinQ(*(dense(arrays, f"{path}final/target_critic/Critic_{i}/MLP_0") for i in (0, 1)))
        assert_parameters(state.target_critic, slow, jnp.float64)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_td3_bcs_weights_losses_and_gradients_at_given_logits_equal_the_authors_code(numbers):
    arrays, settings = golden("07d_dw_td3bc"), settings_of("td3-bc", numbers)
    with jax.enable_x64(True):
        given = float64(arrays, f"logits/in/{numbers}/")
        reward, (low, high) = (
            jnp.asarray(arrays["logits/in/reward"], jnp.float64),
            arrays["logits/in/reward_min_max"],
        )
        expected = float64(arrays, f"logits/{numbers}/f64/")
        names = {"reward_loss": "reward_loss", "divergence": "kl_loss", "flow_loss": "flow_loss"}
        weights = assert_ratio(given, (reward - low) / (high - low), settings, expected, names)
        np.testing.assert_allclose(weights.state_action, expected["weight_sa"][:, 0], **TIGHT)
        np.testing.assert_allclose(weights.state, expected["weight_s"][:, 0], **TIGHT)


def td3_parts(arrays, prefix):
    def mlp(encoder, head):
        names = (f"{encoder}._fcs.0", f"{encoder}._fcs.1", head)
        return torch_mlp(arrays, prefix, names, jnp.float64)

    critic = TwinQ(*(mlp(f"critic/_q_funcs.{i}._encoder", f"critic/_q_funcs.{i}._fc") for i in (0, 1)))
    ratio = Ratio(
        mlp("discriminator/_state_action_encoder", "discriminator/_state_action_fc"),
        mlp("discriminator/_state_encoder", "discriminator/_state_fc"),
    )
    return mlp("actor/_encoder", "actor/_fc"), critic, ratio


@pytest.mark.parametrize("numbers", ["published", "other"])
def test_four_joint_updates_of_td3_bc_equal_the_authors_code(numbers):
    arrays, settings = golden("07d_dw_td3bc"), settings_of("td3-bc", numbers)
    with jax.enable_x64(True):
        algorithm = td3_bc.make_td3_bc(td3_bc.TD3BCConfig(hidden=(32, 32)))
        fresh = algorithm.init(jax.random.key(0), Shapes(11, 3))
        actor, critic, ratio = td3_parts(arrays, "net/init/")
        nets = density_ratio(64, settings, hidden=(32, 32)).init(jax.random.key(0), Shapes(11, 3))
        trained = fresh_optimizers((fresh.actor, fresh.critic, nets), (actor, critic, ratio))
        state, nets = td3_bc.TD3BCState(trained[0], trained[1], actor, critic), trained[2]
        low, high = arrays["net/in/reward_min_max"]
        learn, history = jax.jit(partial(ratio_step, settings=settings)), []
        for step in range(4):
            given = float64(arrays, f"net/in/batch{step}/")
            batch = Batch(
                given["observations"],
                given["actions"],
                given["rewards"][:, 0],
                0.99 * (1 - given["terminals"][:, 0]),
                given["next_observations"],
                given["actions"],
            )
            nets, weights, metrics = learn(nets, batch, (batch.reward - low) / (high - low))
            pair, of_state = 64 * weights.state_action, 64 * weights.state
            minibatch = Minibatch(batch, None, TermWeight(pair, of_state, pair))
            noise = jnp.asarray(arrays["net/in/noise"][step], jnp.float64)
            # Their actor moves at the first and third update, ours at the second and fourth.
            state, own = jax.jit(algorithm.updates[(step + 1) % 2])(state, minibatch, noise)
            history.append(metrics | own)
        path = f"net/{numbers}/f64/"
        for name, key in {
            "critic/loss": "critic_loss",
            "ratio/loss": "discriminator_loss",
            "ratio/divergence": "kl_loss",
        }.items():
            assert_losses(np.stack([found[name] for found in history]), arrays[path + key], jnp.float64)
        losses = np.stack([history[step]["actor/loss"] for step in (0, 2)])
        assert_losses(losses, arrays[f"{path}actor_loss"], jnp.float64)
        expected = td3_parts(arrays, f"{path}final/")
        assert_parameters((state.actor.model, state.critic.model, nets.model), expected, jnp.float64)
        slow = {key.replace("_target/", "/"): value for key, value in arrays.items() if "_target/" in key}
        actor, critic, _ = td3_parts({**arrays, **slow}, f"{path}final/")
        assert_parameters((state.target_actor, state.target_critic), (actor, critic), jnp.float64)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_cqls_weights_losses_and_gradients_at_given_logits_equal_the_authors_code(numbers):
    arrays, settings = golden("07c_dw_cql"), settings_of("cql", numbers)
    with jax.enable_x64(True):
        given = float64(arrays, f"logits/in/{numbers}/")
        reward = jnp.asarray(arrays["in/normalized_rewards"][0], jnp.float64)
        expected = float64(arrays, f"logits/{numbers}/f64/")
        weights = assert_ratio(given, reward, settings, expected, IQL_NAMES)
        np.testing.assert_allclose(weights.state_action, expected["weights"], **TIGHT)


def cql_parts(arrays, prefix, *, critic="qf"):
    def mlp(name):
        return dense(arrays, f"{prefix}{name}")

    network = "params/FullyConnectedNetwork_"
    policy = cql.Actor(
        mlp("policy/params/base_network"),
        jnp.asarray(arrays[f"{prefix}policy/params/log_std_multiplier_module/value"], jnp.float64),
        jnp.asarray(arrays[f"{prefix}policy/params/log_std_offset_module/value"], jnp.float64),
    )
    log_alpha = jnp.asarray(arrays[f"{prefix}log_alpha/params/value"], jnp.float64)
    ratio = Ratio(*(mlp(f"discriminator/{network}{i}") for i in (0, 1)))
    return policy, TwinQ(*(mlp(f"{critic}{i}/{network}0") for i in (1, 2))), log_alpha, ratio


@pytest.mark.parametrize("numbers", ["published", "other"])
def test_two_joint_updates_of_cql_equal_the_authors_code(numbers):
    arrays, settings = golden("07c_dw_cql"), settings_of("cql", numbers)
    with jax.enable_x64(True):
        algorithm = cql.make_cql(cql.CQLConfig(hidden=(32, 32)), ignore_terminals=True)
        fresh = jax.jit(lambda key: algorithm.init(key, Shapes(11, 3)))(jax.random.key(0))
        policy, critic, log_alpha, ratio = cql_parts(arrays, "net/init/")
        nets = density_ratio(32, settings, hidden=(32, 32)).init(jax.random.key(0), Shapes(11, 3))
        trained = fresh_optimizers(
            (fresh.actor, fresh.critic, fresh.log_alpha, nets), (policy, critic, log_alpha, ratio)
        )
        state = cql.CQLState(trained[0], trained[1], critic, trained[2], fresh.update)
        nets = trained[3]
        update, learn = jax.jit(algorithm.updates[0]), jax.jit(partial(ratio_step, settings=settings))
        path = f"net/{numbers}/f64/"
        for step in (1, 2):
            given = {key: value[step - 1] for key, value in float64(arrays, "in/").items() if value.ndim}
            batch = Batch(
                given["observations"],
                given["actions"],
                given["rewards"],
                0.99 * (1 - given["dones"]),
                given["next_observations"],
                given["actions"],
            )
            nets, weights, metrics = learn(nets, batch, given["normalized_rewards"])
            weight = 32 * weights.state_action
            minibatch = Minibatch(batch, None, TermWeight(weight, weight, weight))
            names = ("noise_pi", "noise_next", "noise_cql_cur", "noise_cql_next", "random_actions")
            noise = cql.CQLNoise(*(given[name] for name in names))
            state, own = update(state, minibatch, noise)
            stored = float64(arrays, f"{path}step{step}/")
            assert_losses(weights.state_action, stored["weights"], jnp.float64)
            assert_losses(metrics["ratio/loss"], stored["discriminator_loss"], jnp.float64)
            assert_losses(own["actor/loss"], stored["policy_loss"], jnp.float64)
            assert_losses(own["critic/loss"], stored["qf1_loss"] + stored["qf2_loss"], jnp.float64)
            assert_losses(own["alpha/loss"], stored["alpha_loss"], jnp.float64)
        expected = cql_parts(arrays, f"{path}final/")
        found = (state.actor.model, state.critic.model, state.log_alpha.model, nets.model)
        assert_parameters(found, expected, jnp.float64)
        target = cql_parts(arrays, f"{path}final/", critic="target_qf")[1]
        assert_parameters(state.target_critic, target, jnp.float64)


def test_weights_are_the_softmax_of_both_logits_and_terminals_have_no_flow():
    # Logits log 2 and 0 (f = 0), T 1, no clipping reached: p = 2/3, 1/3.
    logits = Logits(jnp.log(jnp.array([2.0, 1.0])), jnp.zeros(2), jnp.log(jnp.array([1.0, 3.0])))
    settings = RatioSettings(divergence=1.0, flow=0.5, flow_discount=0.5)
    weights = batch_weights(logits, settings)
    np.testing.assert_allclose(weights.state_action, [2 / 3, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(weights.state, [1 / 2, 1 / 2], rtol=1e-6)
    reward = jnp.array([3.0, 0.0])
    # Flow: (0.5 * 2 - 1)^2 = 0 and (0.5 * 1 - 3)^2 = 6.25, mean 3.125; the second is a terminal below.
    held = 2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)
    loss, _ = ratio_loss(logits, reward, jnp.ones(2), settings)
    np.testing.assert_allclose(loss, -2 + 0.5 * 3.125 + held, rtol=1e-6)
    loss, _ = ratio_loss(logits, reward, jnp.array([1.0, 0.0]), settings)
    np.testing.assert_allclose(loss, -2 + held, rtol=1e-6)


def first_nets() -> Trained:
    return trained(make_ratio(jax.random.key(0), SHAPES, (7, 9), RatioSettings()), optax.adam(1e-4))


def test_what_follows_a_terminal_changes_no_weight():
    data, settings = make_data(16), RatioSettings()
    nets = density_ratio(16, settings, hidden=(8,)).init(jax.random.key(0), SHAPES)
    ended = (data.discount == 0)[:, None]
    garbage = dataclasses.replace(data, next_observation=jnp.where(ended, 77.0, data.next_observation))
    one, *_ = ratio_step(nets, data, data.reward, settings)
    other, *_ = ratio_step(nets, garbage, data.reward, settings)
    assert not differ(one, other)
    careless = dataclasses.replace(settings, ignore_terminals=True)
    other, *_ = ratio_step(nets, garbage, data.reward, careless)
    assert differ(one, other)


@pytest.mark.parametrize(("kind", "expected"), [("min-max", [0, 0.25, 1]), ("deviation", None)])
def test_rewards_are_scaled_over_the_data(kind, expected):
    raw = np.array([1.0, 2.0, 5.0], np.float32)
    tables = density_ratio_tables(None, raw, RatioSettings(reward=kind))
    np.testing.assert_allclose(tables.reward, raw / raw.std() if expected is None else expected, rtol=1e-6)
    flat = density_ratio_tables(None, np.ones(3, np.float32), RatioSettings(reward=kind))
    np.testing.assert_array_equal(flat.reward, 0)


def run(rebalance, tables, data, updates=400):
    stage = Stage(make_bc(BCConfig(hidden=(16,))), rebalance, updates)
    trainer = make_trainer(stage, SHAPES, 16, tables, data)
    init_key, key = run_keys([0], vmapped=False)
    state, sums = trainer.init(init_key), trainer.zero_metrics()
    return trainer.run(key, state, sums, tables, data, start=0, count=updates)


def test_rows_of_high_reward_come_to_weigh_more_and_the_divergence_holds_them_back():
    data = make_data()
    reward = np.asarray(data.observation[:, 0] > 0.5, np.float32)
    found = {}
    for divergence in (0.0, 50.0):
        settings = RatioSettings(divergence=divergence, flow=0.0, learning_rate=1e-2, clip=3.0)
        tables = density_ratio_tables(None, reward, settings)
        state, _ = run(density_ratio(16, settings, hidden=(16,)), tables, data)
        logits = (
            state.rebalance.model.state_action(jnp.concatenate([data.observation, data.action], axis=-1))[
                :, 0
            ]
            + state.rebalance.model.state(data.observation)[:, 0]
        )
        found[divergence] = np.asarray(logits)
    assert auc(found[0.0].astype(np.float64), reward.astype(np.int8)) > 0.99
    assert found[50.0].std() < 0.2 * found[0.0].std()


def test_the_agent_trains_with_the_weights_of_the_ratio():
    data, settings = make_data(), RatioSettings(learning_rate=1e-2)
    tables = density_ratio_tables(None, np.asarray(data.reward), settings)
    own = density_ratio(16, settings, hidden=(8,))

    def learn_unheard(nets, tables, minibatch):
        nets, _, metrics = own.learn(nets, tables, minibatch)
        return nets, minibatch.weight, metrics

    heard, unheard = (
        run(rebalance, tables, data, 10)[0] for rebalance in (own, own._replace(learn=learn_unheard))
    )
    assert differ(heard.algorithm, unheard.algorithm)


@pytest.mark.parametrize("off", ["", "evaluation", "improvement", "constraint"])
def test_each_term_has_its_own_weights_unless_it_is_switched_off(off):
    data, settings = make_data(16), replace(CONVENTIONS["td3-bc"], learning_rate=1e-2)
    tables = density_ratio_tables(None, np.asarray(data.reward), settings)
    rebalance = density_ratio(16, settings, hidden=(8,), **({off: False} if off else {}))
    nets = rebalance.init(jax.random.key(0), SHAPES)
    minibatch = rebalance.draw(jax.random.key(1), tables, data, jnp.int32(0))
    _, weight, _ = rebalance.learn(nets, tables, minibatch)
    _, p, _ = ratio_step(nets, minibatch.evaluation, tables.reward[minibatch.index], settings)
    assert differ(p.state_action, p.state)
    # TD3+BC's convention: the weights of the state alone multiply what seeks value.
    expected = {"evaluation": p.state_action, "improvement": p.state, "constraint": p.state_action}
    for term, own in expected.items():
        np.testing.assert_allclose(getattr(weight, term), np.ones(16) if term == off else 16 * own, rtol=1e-5)
    np.testing.assert_array_equal(minibatch.evaluation.reward, data.reward[minibatch.index])


def test_diagnostics_are_those_of_the_batchs_weights():
    batch = make_data(16)
    _, weights, metrics = ratio_step(first_nets(), batch, batch.reward, RatioSettings())
    p = weights.state_action
    np.testing.assert_allclose(metrics["ratio/ess"], 1 / (16 * (p**2).sum()), rtol=1e-5)
    np.testing.assert_allclose(metrics["ratio/largest"], 16 * p.max(), rtol=1e-6)


def test_batches_come_from_the_weights_underneath():
    data, settings = make_data(), RatioSettings()
    probability = np.zeros(64)
    probability[3] = 1.0
    tables = density_ratio_tables(probability, np.asarray(data.reward), settings)
    minibatch = density_ratio(16, settings).draw(jax.random.key(0), tables, data, jnp.int32(0))
    assert set(np.asarray(minibatch.index)) == {3}


@pytest.mark.parametrize(
    "field", ["divergence", "flow", "temperature", "clip", "learning_rate", "flow_discount"]
)
def test_a_setting_outside_its_range_is_refused(field):
    for value in (-1.0, float("nan")):
        with pytest.raises(ConfigError, match=field):
            RatioSettings(**{field: value})


def test_networks_have_the_shapes_of_critics():
    ratio = make_ratio(jax.random.key(0), SHAPES, (7, 9), RatioSettings())
    assert [kernel.shape for kernel, _ in ratio.state_action.layers] == [(5, 7), (7, 9), (9, 1)]
    assert [kernel.shape for kernel, _ in ratio.state.layers] == [(3, 7), (7, 9), (9, 1)]


@pytest.mark.parametrize("start", ["orthogonal", "fan-in", "lecun"])
def test_networks_start_as_the_critics_of_their_code_base(start):
    ratio = make_ratio(jax.random.key(0), SHAPES, (64, 64), RatioSettings(start=start))
    (first, first_bias), _, (last, last_bias) = ratio.state_action.layers
    if start == "orthogonal":
        np.testing.assert_allclose(first @ first.T, 2 * np.eye(len(first)), atol=1e-5)
    elif start == "fan-in":
        assert 0.8 < jnp.abs(first).max() * len(first) ** 0.5 <= 1
    else:
        # The last layer is uniform with variance 0.01 / 64.
        assert 0.8 < jnp.abs(last).max() / (0.03 / 64) ** 0.5 <= 1
    assert (jnp.abs(first_bias).max() > 0) == (jnp.abs(last_bias).max() > 0) == (start == "fan-in")


def test_what_follows_a_terminal_reaches_no_network():
    settings, nets = RatioSettings(), first_nets()
    batch = make_data(8)
    ended = (batch.discount == 0)[:, None]
    assert ended.any()
    garbage = replace(batch, next_observation=jnp.where(ended, jnp.nan, batch.next_observation))
    after, _, _ = ratio_step(nets, batch, batch.reward, settings)
    same, _, _ = ratio_step(nets, garbage, batch.reward, settings)
    assert_same(after, same)


@pytest.mark.parametrize("by_state", [False, True])
def test_weights_that_round_to_zero_leave_the_loss_and_its_gradient_finite(by_state):
    settings = RatioSettings(temperature=0.01, by_state=by_state)
    logits = Logits(jnp.array([-1.0, 1.0]), jnp.array([-1.0, 1.0]), jnp.zeros(2))
    assert batch_weights(logits, settings).state_action[0] == 0

    def divergence(logits):
        return ratio_loss(logits, jnp.zeros(2), jnp.zeros(2), settings)[1]["ratio/divergence"]

    value, gradient = jax.value_and_grad(divergence)(logits)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert all(jnp.isfinite(leaf).all() for leaf in gradient)


@pytest.mark.parametrize("name", ["mix", "sparse"])
def test_the_reward_that_weights_prefer_is_scaled_as_in_the_authors_code(name):
    expected = golden("06_dw_samplers")
    raw = load(FOLDER / f"{name}.hdf5").raw_reward

    def scaled(kind):
        settings = dataclasses.replace(RatioSettings(), reward=kind)
        return density_ratio_tables(None, raw, settings).reward

    np.testing.assert_allclose(scaled("deviation"), expected[f"{name}/iql/normalized_rewards"], rtol=1e-5)
    np.testing.assert_allclose(
        scaled("min-max"), expected[f"{name}/cql/uniform/normalized_rewards_maxmin"], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_array_equal([raw.min(), raw.max()], expected[f"{name}/td3bc/reward_scaler_min_max"])
