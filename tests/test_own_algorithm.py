"""The worked example of the docs: an algorithm of one's own, without a change of the library."""

import importlib.util
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fakes import SHAPES, differ, make_data, run_period
from probes import best_action, train_on
from reweigh.types import Minibatch, TermWeight

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
