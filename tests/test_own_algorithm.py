"""The worked example of the docs: an algorithm of one's own, without a change of the library."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import reweigh
from fakes import ALGORITHMS, EVALUATIONS, SHAPES, differ, make_data, run_period
from probes import best_action, train_on
from reweigh.contract import check_algorithm
from reweigh.errors import ConfigError
from reweigh.types import Minibatch, Shapes, TermWeight

PAGE = Path(__file__).parents[1] / "docs" / "adding-an-algorithm.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def example(tmp_path, monkeypatch):
    path = tmp_path / "ddpg_bc.py"
    path.write_text(BLOCKS[0], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("ddpg_bc", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ddpg_bc", module)
    spec.loader.exec_module(module)
    return module


def test_the_example_is_short():
    lines = [line for line in BLOCKS[0].splitlines() if line.strip() and "import" not in line]
    assert len(lines) < 60


def test_the_example_finds_the_best_action(example):
    algorithm = example.DDPGBCConfig(closeness=0.01, hidden=(32, 32)).make(1500)
    state = train_on(algorithm, best_action(), 4000)
    action = algorithm.act(state, jnp.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(action, [[-0.5], [0.5]], atol=0.15)


def test_the_example_weighs_its_terms_apart(example):
    algorithm, data, ones = example.DDPGBCConfig().make(10), make_data(8), jnp.ones(8)
    state = algorithm.init(jax.random.key(0), SHAPES)
    plain = run_period(algorithm, state, Minibatch(data, None, TermWeight(ones, ones, ones)))
    for term in ("improvement", "constraint"):
        weights = {"evaluation": ones, "improvement": ones, "constraint": ones} | {term: jnp.arange(8.0)}
        after = run_period(algorithm, state, Minibatch(data, None, TermWeight(**weights)))
        assert differ(plain.actor, after.actor)
        assert not differ(plain.critic, after.critic)


def test_the_example_trains_through_the_library_as_written(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shortened = (
        BLOCKS[1]
        .replace("20_000", "20")
        .replace("num_updates", "evaluation=reweigh.EvaluationConfig(episodes=1), num_updates")
    )
    exec(compile(shortened, "example", "exec"), {})
    assert (tmp_path / "runs" / "ddpg-bc-aw" / "seed-0" / "result.json").exists()


@pytest.mark.parametrize("name", ALGORITHMS | EVALUATIONS)
def test_every_shipped_algorithm_keeps_the_rules(name):
    check_algorithm((ALGORITHMS | EVALUATIONS)[name])


def test_the_example_keeps_the_rules(example):
    check_algorithm(example.DDPGBCConfig(hidden=(8,)).make(10), Shapes(4, 1))


def divided_by_0(state):
    return jax.tree.map(lambda leaf: (leaf / 0).astype(leaf.dtype), state)


def unweighted(minibatch):
    ones = jnp.ones(len(minibatch.evaluation.reward))
    return dataclasses.replace(minibatch, weight=TermWeight(ones, ones, ones))


def batches_swapped(minibatch):
    return dataclasses.replace(minibatch, evaluation=minibatch.policy, policy=minibatch.evaluation)


def without_terminals(minibatch):
    batch = minibatch.evaluation
    live = dataclasses.replace(batch, discount=jnp.full_like(batch.discount, 0.99))
    return dataclasses.replace(minibatch, evaluation=live)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda a: a._replace(init=lambda *_: 1.0), "expected a state of JAX arrays of numbers"),
        (
            lambda a: a._replace(updates=(lambda s, m, n: (jax.tree.map(lambda leaf: leaf[None], s), {}),)),
            "expected updates that keep the shapes and types of the state",
        ),
        (
            lambda a: a._replace(updates=(lambda s, m, n: (divided_by_0(s), {}),)),
            "expected finite numbers after one update",
        ),
        (
            lambda a: a._replace(updates=(lambda s, m, n: a.updates[0](s, unweighted(m), n),)),
            "expected a row of weight 0 in the batch of evaluation to change nothing",
        ),
        (
            lambda a: a._replace(updates=(lambda s, m, n: a.updates[0](s, without_terminals(m), n),)),
            "expected what follows a terminal to change nothing",
        ),
        (
            lambda a: a._replace(init=lambda key, shapes: (a.init(key, shapes), key)),
            "expected a state of JAX arrays of numbers",
        ),
        (
            lambda a: a._replace(updates=(lambda s, m, n: a.updates[0](s, batches_swapped(m), n),)),
            "expected a row of weight 0 in the batch of evaluation to change nothing",
        ),
        (lambda a: a._replace(actor=None), "expected `actor` beside `act`"),
        (lambda a: a._replace(act=lambda s, o: jnp.zeros(2)), r"expected actions of shape \(8, 2\)"),
        (lambda a: a._replace(act=lambda s, o: jnp.zeros((8, 2))), "to be the same policy"),
    ],
)
def test_a_broken_rule_is_named(broken, message, example):
    algorithm = example.DDPGBCConfig(hidden=(8,)).make(10)
    with pytest.raises(ConfigError, match=message):
        check_algorithm(broken(algorithm))


def test_an_algorithm_without_an_actor_is_refused_before_it_trains(example, tmp_path, monkeypatch):
    make = example.DDPGBCConfig.make
    monkeypatch.setattr(example.DDPGBCConfig, "make", lambda self, n: make(self, n)._replace(actor=None))
    config = reweigh.RunConfig(reweigh.DataConfig("builtin:bandit"), example.DDPGBCConfig(), num_updates=20)
    with pytest.raises(ConfigError, match="expected ddpg-bc to have an `actor`"):
        reweigh.train(config, [0], tmp_path / "run")
