"""The first five minutes: the shipped dataset, the comparison, the bandit."""

import json

import numpy as np
import pytest

from reweigh.cli import main
from reweigh.datasets.load import load
from reweigh.priorities.file import read_weights
from reweigh.runs import RunFolder
from reweigh.studies import quickstart
from reweigh.studies.bandit import expected_reward

PNG = b"\x89PNG\r\n"


def test_the_shipped_dataset_says_how_it_was_made_with_our_own_commands_alone():
    attributes = load(quickstart.DATA).info.attributes
    commands = attributes["history"].splitlines()
    assert [command.split()[:2] for command in commands] == [
        ["reweigh", "train"],
        ["reweigh", "collect"],
        ["reweigh", "collect"],
        ["reweigh", "mix"],
    ]
    assert attributes["env"] == "Hopper-v4"


def test_a_tenth_of_the_shipped_dataset_is_good_and_returns_tell_which():
    data = load(quickstart.DATA)
    assert float((data.source == 1).mean()) == pytest.approx(0.1, abs=0.01)
    returns = data.episodes.whole_return[data.episode]
    assert returns[data.source == 1].min() > returns[data.source == 0].max()


def test_results_are_of_the_seeds_that_were_asked_for(tmp_path):
    compared = quickstart.arms(tmp_path)
    for offset, arm in enumerate(compared):
        for seed in range(4):
            folder = RunFolder(arm.out).seed(seed)
            folder.path.mkdir(parents=True)
            folder.finish({"final_score": 10.0 * offset + seed})
    uniform, oper_r, aw = quickstart.results(compared, [0, 1, 2], load(quickstart.DATA))
    assert (uniform.scores, oper_r.scores, aw.scores) == ([0, 1, 2], [10, 11, 12], [20, 21, 22])
    assert uniform.iqm == pytest.approx(1)
    assert uniform.low <= uniform.iqm <= uniform.high
    # A tenth of the draws is good by nature; AW draws hardly anything else.
    assert uniform.good_mass == pytest.approx(0.104, abs=0.001)
    assert aw.good_mass == pytest.approx(1, abs=0.01)
    text = quickstart.as_text(quickstart.data_scores(load(quickstart.DATA)), [uniform, oper_r, aw])
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["uniform", "OPER-R", "AW"]
    assert "best 113.1" in text
    assert "[" in text
    [alone] = quickstart.results(compared[:1], [2], load(quickstart.DATA))
    assert "none, of one seed" in quickstart.as_text(quickstart.data_scores(load(quickstart.DATA)), [alone])


def rebalances(out, arms):
    """What each arm's run was trained with: how weights act, and which."""
    found = [json.loads((out / arm / "config.json").read_text())["rebalance"] for arm in arms]
    return [(one["type"], one["weights"]) for one in found]


def test_quickstart_ends_in_a_table_and_a_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quickstart, "NUM_UPDATES", 50)
    out = tmp_path / "quickstart"
    assert main(["quickstart", "--out", str(out), "--seeds", "0", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [arm["label"] for arm in found["arms"]] == ["uniform", "OPER-R", "AW"]
    assert all(len(arm["scores"]) == 1 for arm in found["arms"])
    assert (out / "quickstart.png").read_bytes().startswith(PNG)
    assert [weights["type"] for _, weights in rebalances(out, ("uniform", "oper-r", "aw"))] == [
        "uniform",
        "oper-r",
        "aw",
    ]
    # Again: everything is there already, and the table for people names what to do next.
    assert main(["quickstart", "--out", str(out), "--seeds", "0"]) == 0
    text = capsys.readouterr().out
    assert "easiest case" in text
    assert "reweigh inspect DATA" in text


def test_the_bandit_study_ends_in_weights_policies_and_a_figure(tmp_path, capsys):
    out = tmp_path / "bandit"
    assert main(["bandit", "--out", str(out), "--num-updates", "50", "--json", "--quiet"]) == 0
    found = json.loads(capsys.readouterr().out)
    # OPER's Figure: 1.0 at first, then 2.7, 3.7, 4.4, 4.7, 4.9, and 5.07 after ten iterations.
    np.testing.assert_allclose(found["average_return"][:6], [1.0, 2.7, 3.7, 4.4, 4.7, 4.9], atol=0.15)
    assert found["average_return"][10] == pytest.approx(5.07, abs=0.1)
    assert list(found["actions"]) == ["original", "resampled", "reweighted"]
    assert (out / "bandit.png").read_bytes().startswith(PNG)
    assert read_weights(out / "weights.npz").priority.shape == (1, 10, 10_000)
    used = [(kind, weights["type"]) for kind, weights in rebalances(out, found["actions"])]
    assert used == [("resample", "uniform"), ("resample", "file"), ("reweight", "file")]
    # Another study leaves what is there alone.
    before = (out / "weights.npz").read_bytes()
    assert main(["bandit", "--out", str(out), "--data-seed", "1", "--num-updates", "50", "--quiet"]) == 1
    assert (out / "weights.npz").read_bytes() == before


def test_an_action_pulls_the_arm_that_is_near():
    assert expected_reward(np.array([0.65, 0.55])) == 5
    assert expected_reward(np.array([-0.6, -0.6])) == -2
    assert expected_reward(np.zeros(2)) is None


def test_another_bandit_seed_is_another_dataset():
    assert load("builtin:bandit-1").info.digest != load("builtin:bandit").info.digest
    assert load("builtin:bandit-0").info.digest == load("builtin:bandit").info.digest
