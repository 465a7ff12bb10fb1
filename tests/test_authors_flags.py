"""Every line of the table of the authors' flags does what it says here."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from reweigh.cli import make_parser
from reweigh.config import RunConfig
from reweigh.options.arguments import run_config, weigh_method

PAGE = Path(__file__).parent.parent / "docs" / "coming-from-the-authors-code.md"
COMMANDS = sorted(set(re.findall(r"`((?:train|weigh) [^`]+)`", PAGE.read_text())))
OPER = """reweight resample reweight_eval two_sampler bc_eval weight_num weight_path weight_ensemble iter std
eps eps_max weight_func exp_lambd base_prob clip_constraint first_eval_steps bc_eval_steps n_step critic_type
td_type adv_type lambd scale pb"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("flags") / "rows.npz"
    rng = np.random.default_rng(0)
    np.savez(
        path,
        observations=rng.normal(size=(40, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (40, 2)).astype(np.float32),
        rewards=rng.normal(size=40).astype(np.float32),
        terminals=np.arange(40) % 10 == 9,
        timeouts=np.zeros(40, bool),
        next_observations=rng.normal(size=(40, 3)).astype(np.float32),
    )
    return str(path)


def parsed(command: str, data: str):
    verb, method, *rest = shlex.split(command)
    if verb == "train":
        return run_config(make_parser().parse_args(["train", data, "--algorithm", method, *rest]))
    return weigh_method(
        make_parser().parse_args(["weigh", data, "--method", method, "--out", "w.npz", *rest])
    )


@pytest.mark.parametrize("flag", OPER.split())
def test_every_flag_of_oper_has_a_line(flag):
    assert re.search(rf"^\| `{flag}` \|.*\| `(train|weigh) ", PAGE.read_text(), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_line_of_the_table_parses(command, data):
    found = parsed(command, data)
    assert isinstance(found, RunConfig if command.startswith("train") else tuple)


def test_terms_files_and_iterations_of_the_lines_are_the_authors(data):
    decoupled = parsed("train td3-bc --weights oper-r --rebalance resample --terms policy", data).rebalance
    assert (decoupled.kind, decoupled.terms) == ("resample", "policy")
    unweighted = parsed("train iql --weights oper-r --rebalance reweight --terms policy", data).rebalance
    assert (unweighted.evaluation, unweighted.improvement, unweighted.constraint) == (False, True, True)
    files = parsed('train td3-bc --weights "oper-a-file:path=w_%s.npy,file_seeds=1 2 3"', data)
    assert [path.name for path in files.rebalance.weights.paths] == ["w_1.npy", "w_2.npy", "w_3.npy"]
    assert files.rebalance.weights.iteration == 5  # TD3+BC's, where none is named
    assert parsed("train iql --weights oper-a", data).rebalance.weights.iteration == 4
    learning = parsed("weigh oper-a --set critic=vq", data)[0].learning
    assert learning.critic == "vq"
    assert parsed("weigh oper-a --paper oper", data)[0].learning.timeouts_end
    _, scaling = parsed("weigh oper-a --transform exp --strength 2", data)
    assert (scaling.transform, scaling.strength) == ("exp", 2.0)
