import csv
import json
import math
import re

import numpy as np
import pytest

from reweigh.algorithms.bc import BCConfig
from reweigh.cli import main
from reweigh.config import DataConfig, RunConfig
from reweigh.datasets import d4rl
from reweigh.datasets.load import load
from reweigh.datasets.scores import reference_of_env
from reweigh.errors import RunError
from reweigh.experiment import claim
from reweigh.report.collect import group_runs, read_run
from reweigh.report.document import Table, to_latex
from reweigh.report.labels import labels, nearest, settings_of
from reweigh.report.own_scores import read_own_scores
from reweigh.report.ratios import ratio_note
from reweigh.report.scores import did_it_help, summarize_scores
from reweigh.runs import RunFolder, find_runs
from reweigh.seed_folder import Returns
from reweigh.sweeps.grid import Sweep, Task
from reweigh.sweeps.requests import write_requests
from reweigh.system.digests import settings_digest

UNIFORM = {"type": "uniform"}
AW = {"type": "aw", "temperature": 0.1}
REFERENCE = reference_of_env("Hopper-v4")


def config(weights=UNIFORM, *, algorithm="iql", spec="gone.hdf5", terms="all", **fields):
    return {
        "data": {"spec": spec, "env": None, "episode_ends": None, "max_episode_steps": None},
        "algorithm": {"type": algorithm, "learning_rate": 3e-4, "hidden": [8, 8]},
        "rebalance": {"type": "resample", "weights": weights, "terms": terms, "progressive_updates": None},
        "num_updates": 120,
        "evaluation": {"interval": 10, "episodes": 2, "enabled": True},
        "log_interval": 10,
        "checkpoint_interval": 10,
        **fields,
    }


def make_run(
    path,
    last,
    made=None,
    *,
    finished=True,
    env="Hopper-v4",
    digest=None,
    command="reweigh train D",
    identity=None,
):
    """Seeds whose twelve evaluations score 90, 90, nine times 0, and at last what `last` says of the seed."""
    folder = RunFolder(path)
    environment = {"command": command, "versions": {"reweigh": "9.9"}, "commit": "c0ffee" * 6, "machine": "m"}
    made = made or config()
    folder.claim(
        made,
        identity or settings_digest(settings_of(made)),
        environment | ({"dataset": {"digest": digest}} if digest else {}),
    )
    for seed, score in last.items():
        own = folder.seed(seed)
        own.path.mkdir(parents=True)
        result = {"num_updates": 120, "updates_per_second": 40.0, "env": env}
        if env:
            means = as_returns(np.array([90.0, 90.0] + 9 * [0.0] + [score]))
            returns = np.stack([means - 1, means + 1], axis=1)
            own.save_returns(Returns(10 * np.arange(1, 13), returns, np.ones(returns.shape, np.int64)))
            result["final_return"] = float(means[-1])
        if finished:
            own.finish(result)
    return folder


def as_returns(scores):
    low, high = REFERENCE
    return low + scores * (high - low) / 100


def groups_of(path):
    return group_runs([read_run(folder) for folder in find_runs([path])])


def report(capsys, *arguments):
    """Exit status and lines on stderr."""
    status = main(["report", *map(str, arguments)])
    return status, capsys.readouterr().err.splitlines()


def rows_of(out):
    with open(out / "tables.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_three_kinds_of_score_are_kept_apart(tmp_path):
    make_run(tmp_path / "a", {0: 10, 1: 20, 2: 30, 3: 100})
    (group,) = groups_of(tmp_path)
    (found,) = summarize_scores([group])
    np.testing.assert_allclose(found["last"].scores, [10, 20, 30, 100])
    assert found["last"].iqm == pytest.approx(25)
    assert found["last"].mean == pytest.approx(40)
    assert found["last"].deviation == pytest.approx(math.sqrt(5000 / 3))
    np.testing.assert_allclose(found["last_ten"].scores, [1, 2, 3, 10], atol=1e-9)
    np.testing.assert_allclose(found["best"].scores, [90, 90, 90, 100])
    assert found["last"].interval.low == pytest.approx(10)


def test_every_evaluation_of_finished_seeds_is_in_a_file(tmp_path, capsys):
    make_run(tmp_path / "a", {0: 10, 1: 20})
    make_run(tmp_path / "a", {2: 30}, finished=False)
    assert report(capsys, tmp_path, "--out", tmp_path / "out", "--allow-unfinished")[0] == 0
    with open(tmp_path / "out/curves.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert {row["label"] for row in rows} == {"IQL, uniform"}
    assert [(row["seed"], row["update"]) for row in rows[11:13]] == [("0", "120"), ("1", "10")]
    assert [float(row["score"]) for row in rows[9:13]] == pytest.approx([0, 0, 10, 90], abs=1e-6)
    assert float(rows[11]["mean_return"]) == pytest.approx(as_returns(10))


def test_runs_evaluated_otherwise_are_groups_of_their_own(tmp_path):
    for path, episodes in ("a", 2), ("b", 10):
        evaluation = {"interval": 10, "episodes": episodes, "enabled": True}
        make_run(tmp_path / path, {0: 10, 1: 20}, config(evaluation=evaluation))
    labelled = sorted(group.label for group in groups_of(tmp_path))
    assert labelled == ["IQL, uniform (episodes=10)", "IQL, uniform (episodes=2)"]


def test_a_report_warns_of_unequal_numbers_of_seeds_and_of_few_evaluations(tmp_path, capsys):
    make_run(tmp_path / "uniform", {0: 10, 1: 20})
    aw = make_run(tmp_path / "aw", {0: 30}, config(AW)).seed(0)
    whole = aw.load_returns()
    aw.save_returns(Returns(whole.update[-9:], whole.episode_return[-9:], whole.episode_length[-9:]))
    said = (
        "Groups differ in their number of finished seeds: 1 to 2.",
        "Fewer than ten evaluations, so the mean of all: IQL, AW.",
    )
    for runs, expected in (tmp_path / "uniform", False), (tmp_path, True):
        assert report(capsys, runs, "--out", tmp_path / f"out-{expected}")[0] == 0
        page = (tmp_path / f"out-{expected}/report.md").read_text(encoding="utf-8")
        assert [words in page for words in said] == [expected, expected]


def test_a_report_written_again_leaves_no_figure_of_the_one_before(tmp_path, capsys):
    out = tmp_path / "out"
    make_run(tmp_path / "runs/a", {0: 10, 1: 20}, digest="a" * 64)
    make_run(tmp_path / "other/b", {0: 10, 1: 20}, config(spec="other.hdf5"), digest="b" * 64)
    assert report(capsys, tmp_path / "runs", "--out", out)[0] == 0
    before = {path.name for path in (out / "figures").iterdir()}
    (out / "figures/mine.png").write_bytes(b"somebody's own")
    assert report(capsys, tmp_path / "other", "--out", out)[0] == 0
    after = {path.name for path in (out / "figures").iterdir()}
    assert before
    assert after & before == set()
    assert "mine.png" in after
    shown = re.findall(r"\]\(figures/(.*?)\)", (out / "report.md").read_text(encoding="utf-8"))
    assert set(shown) == after - {"mine.png"}


def test_one_seed_has_no_interval_and_no_deviation(tmp_path):
    make_run(tmp_path / "a", {0: 10})
    (found,) = summarize_scores(groups_of(tmp_path))
    assert found["last"].interval is None
    assert found["last"].deviation is None


def test_improvement_is_over_uniform_weights_of_the_same_dataset_and_algorithm(tmp_path):
    make_run(tmp_path / "uniform", {0: 10, 1: 20})
    make_run(tmp_path / "aw", {0: 15, 1: 30}, config(AW))
    make_run(tmp_path / "other-algorithm", {0: 0, 1: 0}, config(algorithm="td3-bc"))
    make_run(tmp_path / "other-data", {0: 0, 1: 0}, config(spec="other.hdf5"))
    (found,) = did_it_help(groups_of(tmp_path))
    assert found.over_uniform["last"].estimate == 0.75
    assert found.over_uniform["last"].interval.low < 0.75
    assert found.over_shuffled is None


def test_every_comparison_is_in_a_file(tmp_path, capsys):
    make_run(tmp_path / "runs/uniform", {0: 10, 1: 20})
    make_run(tmp_path / "runs/shuffled", {0: 5}, config({"type": "shuffled", "temperature": 0.1}))
    make_run(tmp_path / "runs/aw", {0: 15, 1: 30}, config(AW))
    assert report(capsys, tmp_path / "runs", "--out", tmp_path / "out")[0] == 0
    with open(tmp_path / "out/improvement.csv", newline="", encoding="utf-8") as file:
        found = {
            (row["label"], row["compared_with"], row["score"]): (row["probability"], bool(row["low"]))
            for row in csv.DictReader(file)
        }
    assert found == {
        ("IQL, AW", "IQL, uniform", "last_ten"): ("0.75", True),
        ("IQL, AW", "IQL, uniform", "last"): ("0.75", True),
        ("IQL, AW", "IQL, shuffled", "last_ten"): ("1", False),
        ("IQL, shuffled", "IQL, uniform", "last_ten"): ("0", False),
        ("IQL, shuffled", "IQL, uniform", "last"): ("0", False),
    }


def test_shuffled_weights_are_a_control_of_the_others(tmp_path):
    make_run(tmp_path / "shuffled", {0: 10, 1: 20}, config({"type": "shuffled", "temperature": 0.1}))
    make_run(tmp_path / "aw", {0: 30, 1: 40}, config(AW))
    aw, shuffled = did_it_help(groups_of(tmp_path))
    assert aw.over_uniform == {}
    assert aw.over_shuffled.estimate == 1
    assert shuffled.over_shuffled is None


def test_runs_of_other_lengths_are_not_compared():
    uniform = settings_of(config())
    assert nearest(settings_of(config(AW)), [uniform]) == 0
    assert nearest(settings_of(config(AW, num_updates=240)), [uniform]) is None
    assert nearest(settings_of(config(AW)), [uniform, settings_of(config(num_updates=240))]) == 0
    old = settings_of(config())
    del old["algorithm.learning_rate"]
    assert nearest(settings_of(config(AW)), [old]) == 0
    assert nearest(settings_of(config(AW)), [old, uniform]) == 1


def test_a_label_says_no_more_than_tells_runs_apart():
    hot = {**AW, "temperature": 0.5}
    reweigh = {
        "type": "reweight",
        "weights": AW,
        "evaluation": False,
        "improvement": True,
        "constraint": True,
    }
    found = labels(
        [settings_of(made) for made in (
            config(), config(AW), config(hot), config(AW, rebalance=reweigh), config(AW, algorithm="bc"),
        )]
    )  # fmt: skip
    assert found == [
        "IQL, uniform",
        "IQL, AW (resample, temperature=0.1)",
        "IQL, AW (resample, temperature=0.5)",
        "IQL, AW (reweight, temperature=0.1)",
        "BC, AW",
    ]
    assert len(set(found)) == len(found)


def test_labels_differ_when_two_fields_have_one_name():
    weights = [
        {"type": "oper-a", "eps": eps, "learning": {"eps": inner}} for eps in (1, 2) for inner in (1, 2)
    ]
    found = labels([settings_of(config(one)) for one in weights])
    assert len(set(found)) == 4
    assert "rebalance.weights.learning.eps=2" in found[-1]


def test_paths_and_logging_make_no_group_of_their_own(tmp_path):
    make_run(tmp_path / "a", {0: 1}, digest="d" * 64)
    make_run(tmp_path / "b", {1: 1}, config(spec="moved.hdf5", log_interval=60), digest="d" * 64)
    (group,) = groups_of(tmp_path)
    assert [seed.number for seed in group.finished] == [0, 1]


def test_weights_files_of_one_name_and_other_content_are_never_averaged(tmp_path):
    file = {"type": "file", "path": "w.npz"}
    make_run(tmp_path / "uniform", {0: 10, 1: 20})
    make_run(tmp_path / "a", {0: 30}, config(file), identity="1" * 64)
    make_run(tmp_path / "b", {1: 40}, config(file), identity="2" * 64)
    uniform, *apart = groups_of(tmp_path)
    assert [group.label for group in apart] == [
        f"IQL, file w (identity={digit * 12})" for digit in ("1", "2")
    ]
    assert [found.over_uniform["last"].over for found in did_it_help([uniform, *apart])] == [uniform, uniform]


def test_equal_weights_at_two_paths_are_one_group(tmp_path):
    for seed, path in enumerate(("w.npz", "/scratch/w.npz")):
        make_run(tmp_path / str(seed), {seed: 30}, config({"type": "file", "path": path}), identity="1" * 64)
    (group,) = groups_of(tmp_path)
    assert [seed.number for seed in group.finished] == [0, 1]


def test_a_seed_is_never_counted_twice(tmp_path, capsys):
    make_run(tmp_path / "a", {0: 1})
    make_run(tmp_path / "b", {0: 1})
    status, errors = report(capsys, tmp_path, "--out", tmp_path / "out")
    assert status == 1
    assert len(errors) == 1
    assert "seed 0" in errors[0]


def test_runs_are_found_once_at_any_depth(tmp_path):
    make_run(tmp_path / "deep" / "deeper" / "a", {0: 1})
    make_run(tmp_path / "b", {1: 1})
    found = find_runs([tmp_path, tmp_path / "deep", tmp_path / "b"])
    assert [folder.path.name for folder in found] == ["b", "a"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="found no config"):
        find_runs([tmp_path / "b", tmp_path / "empty"])
    (tmp_path / "b" / "config.json").unlink()
    with pytest.raises(RunError, match="their settings are unknown"):
        find_runs([tmp_path])


def test_the_online_training_of_a_family_of_datasets_is_no_run_to_compare(tmp_path):
    make_run(tmp_path / "a", {0: 1})
    RunFolder(tmp_path / "family" / "training").claim({"td3": {"type": "td3"}}, "family", {})
    assert [folder.path.name for folder in find_runs([tmp_path])] == ["a"]
    with pytest.raises(RunError, match="found no config"):
        find_runs([tmp_path / "family"])


def test_unfinished_seeds_are_refused_unless_allowed_and_then_in_no_number(tmp_path, capsys):
    make_run(tmp_path / "r", {0: 10, 1: 20})
    make_run(tmp_path / "r", {2: 90}, finished=False)
    out = tmp_path / "out"
    status, errors = report(capsys, tmp_path / "r", "--out", out)
    assert status == 1
    assert len(errors) == 1
    assert "seed 2" in errors[0]
    assert "--allow-unfinished" in errors[0]
    assert not out.exists()
    status, _ = report(capsys, tmp_path / "r", "--out", out, "--allow-unfinished")
    assert status == 0
    row = next(row for row in rows_of(out) if row["score"] == "last")
    assert (row["seeds"], row["seeds_asked"], row["complete"]) == ("2", "3", "no")
    assert float(row["mean"]) == pytest.approx(15)
    assert "IQL, uniform (unfinished) | 2 of 3" in (out / "tables.md").read_text()
    assert "evaluated up to 120 of 120 updates" in (out / "report.html").read_text()


def test_a_seed_that_a_command_asks_for_and_nobody_started_is_unfinished(tmp_path, capsys):
    folder = make_run(tmp_path / "r", {0: 1})
    folder.claim({}, folder.config()["identity"], {}, seeds=[0, 4])
    status, errors = report(capsys, tmp_path / "r", "--out", tmp_path / "out")
    assert status == 1
    assert "seed 4" in errors[0]
    assert "up to 0 of" in errors[0]


def test_learned_density_ratios_are_shown_and_a_collapse_is_said(tmp_path, capsys):
    made = config() | {"batch_size": 256}
    made["rebalance"] = {"type": "density-ratio", "weights": UNIFORM, "ratio": {"divergence": 0.2},
                         "evaluation": True, "improvement": True, "constraint": True}  # fmt: skip
    folder = make_run(tmp_path / "runs" / "dw", {0: 1, 1: 2}, made)
    for seed, ess in ((0, 0.5), (1, 0.01)):
        names = {"ratio/ess": 0.9, "ratio/largest": 3.0, "ratio/clipped": 0.25, "ratio/data_ess": 0.4}
        folder.seed(seed).append_metrics(110, names)
        folder.seed(seed).append_metrics(120, names | {"ratio/ess": ess})
    make_run(tmp_path / "runs" / "uniform", {0: 1, 1: 2})
    assert report(capsys, tmp_path / "runs", "--out", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "0.255 (0.01 to 0.5) | 3 (3 to 3) | 0.25 (0.25 to 0.25) | 0.4 (0.4 to 0.4) | –" in page
    assert page.count("have collapsed: a batch of 256 counts as 2.6 rows") == 1
    assert "the weights of seed 1 have collapsed" in page


def test_nearly_all_logits_at_their_limit_are_said():
    metrics = {"ratio/ess": 0.1, "ratio/largest": 20.0, "ratio/clipped": 0.96}
    assert "nearly all clipped (0.960 of them)" in ratio_note(3, metrics, 256)
    assert ratio_note(3, metrics | {"ratio/clipped": 0.76}, 256) is None


def test_what_a_sweep_asks_for_and_nobody_started_is_missing_from_its_report(tmp_path, capsys):
    make_run(tmp_path / "sweep" / "d" / "r", {0: 1})
    make_run(tmp_path / "elsewhere", {3: 1})
    tasks = [Task(("D", "--algorithm", "iql"), tmp_path / "sweep/d" / run, seed)
             for run, seed in (("r", 0), ("r", 4), ("other", 0), ("other", 1))]  # fmt: skip
    write_requests(Sweep(tmp_path / "sweep", tuple(tasks)))
    status, (error,) = report(capsys, tmp_path, "--out", tmp_path / "out")
    assert status == 1
    assert "seed 4" in error
    assert "2 seeds of" in error
    for part, missing in (tmp_path / "sweep/d", 2), (tmp_path / "sweep/d/r", 1):
        status, (error,) = report(capsys, part, "--out", tmp_path / "out")
        assert status == 1
        assert f"found {missing} unfinished" in error
        assert "seed 4" in error
    assert not (tmp_path / "out").exists()
    status, _ = report(capsys, tmp_path, "--out", tmp_path / "out", "--allow-unfinished")
    assert status == 0
    page = (tmp_path / "out" / "report.md").read_text()
    assert "Asked for by a sweep, and in no table: 2 seeds of" in page
    assert "seed 4" in page


def test_another_tools_tasks_are_not_a_sweeps(tmp_path, capsys):
    make_run(tmp_path / "runs" / "r", {0: 1})
    for folder in (tmp_path, tmp_path / "runs"):
        (folder / "tasks.json").write_text('{"version": "2.0.0", "tasks": []}')
    assert report(capsys, tmp_path / "runs", "--out", tmp_path / "out")[0] == 0


@pytest.mark.parametrize(
    "name", ["config.json", "environment.json", "seed-1/result.json", "seed-1/returns.npz"]
)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_one_line_that_names_it(name, content, tmp_path, capsys):
    folder = make_run(tmp_path / "r", {0: 1, 1: 2})
    (folder.path / name).write_bytes(content)
    status, errors = report(capsys, folder.path, "--out", tmp_path / "out")
    assert status == 1
    assert len(errors) == 1
    assert name in errors[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"final_return": 1.0}, "final_return"), ({"num_updates": 500}, "update 120"), ({"env": 5}, "env")],
)
def test_a_result_that_does_not_fit_its_evaluations_is_refused(changed, said, tmp_path, capsys):
    folder = make_run(tmp_path / "r", {0: 1})
    path = folder.path / "seed-0" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    status, errors = report(capsys, folder.path, "--out", tmp_path / "out")
    assert status == 1
    assert len(errors) == 1
    assert said in errors[0]


def test_the_cost_of_what_was_learned_before_is_shown(tmp_path, capsys):
    weights = {"type": "oper-a", "value_seeds": [0, 1],
               "learning": {"stages": 2, "first_stage_updates": 300, "stage_updates": 100}}  # fmt: skip
    folder = make_run(tmp_path / "runs/a", {0: 10, 1: 20}, config(weights, algorithm="onestep"))
    for seed, before in ((0, 50.0), (1, 70.0)):
        own = folder.seed(seed)
        own.finish(own.result() | {"earlier_seconds": before, "weights_seconds": 12.0})
    make_run(tmp_path / "runs/b", {0: 10, 1: 20}, config(weights))
    assert report(capsys, tmp_path / "runs", "--out", tmp_path / "out")[0] == 0
    page = (tmp_path / "out/report.md").read_text()
    assert "| 120 | 40 (40 to 40) | 3 | 60 | 800 value updates, once a dataset, in 12 s |" in page
    assert "| 120 | 40 (40 to 40) | 3 | none | 800 value updates, once a dataset |" in page


def test_a_page_needs_nothing_beside_itself_and_says_what_markdown_says(tmp_path, capsys):
    make_run(tmp_path / "r" / "<b>", {0: 10, 1: 20})
    make_run(tmp_path / "r" / "aw", {0: 15, 1: 30}, config(AW))
    out = tmp_path / "out"
    assert report(capsys, tmp_path / "r", "--out", out)[0] == 0
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert not re.search(r"https?:|//|<link|<script|url\(|@import", re.sub(r"base64,[^\"]*", "", page))
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]*)', page))
    assert "<b>" not in page
    assert page.count("<img") == text.count("![") == len(list((out / "figures").glob("*.png"))) == 3
    for said in ("optimistic", "did it help", "Cost", "Provenance", "c0ffee", "40 (40 to 40)", "0.75"):
        assert said in page
        assert said in text
    assert not list(out.glob(".*"))


def test_the_datasets_own_episodes_stand_beside_the_scores(tmp_path):
    path = tmp_path / "d.npz"
    write_dataset(path, np.arange(20.0))
    digest = load(path).info.digest
    make_run(tmp_path / "r", {0: 1}, config(spec=str(path)), digest=digest)
    (group,) = groups_of(tmp_path / "r")
    own = group.dataset.own
    assert (own.returns.mean, own.returns.top_decile, own.returns.best) == (9.5, 18.5, 19)
    write_dataset(path, np.arange(20.0) + 1)
    (group,) = groups_of(tmp_path / "r")
    assert group.dataset.own is None
    assert "no longer" in group.dataset.missing


def test_a_dataset_whose_episodes_end_by_its_environments_limit_has_scores_too(tmp_path):
    path = tmp_path / "d.npz"
    arrays = {"observations": np.zeros((2001, 2)), "actions": np.zeros((2001, 1)), "rewards": np.ones(2001)}
    np.savez(path, terminals=np.zeros(2001, bool), **arrays)
    data = load(path, env="Hopper-v4")
    made = config(spec=str(path))
    made["data"]["env"] = "Hopper-v4"
    make_run(tmp_path / "r", {0: 1}, made, digest=data.info.digest)
    (group,) = groups_of(tmp_path / "r")
    assert group.dataset.own.returns.best == 1000


def write_dataset(path, rewards):
    """Episodes of one step."""
    n = len(rewards)
    same = {
        "observations": np.zeros((n, 2)),
        "next_observations": np.zeros((n, 2)),
        "actions": np.zeros((n, 1)),
    }
    np.savez(path, rewards=rewards, terminals=np.ones(n, bool), timeouts=np.zeros(n, bool), **same)


def test_a_report_downloads_no_dataset(tmp_path, monkeypatch):
    def fetched(*arguments):
        raise AssertionError("a report went to the network")

    monkeypatch.setattr(d4rl, "download", fetched)
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REWEIGH_D4RL", raising=False)
    specs = ("d4rl:hopper-medium-v2", "suite:hopper-random-expert-0.1-v2")
    own, _ = read_own_scores([(config(spec=spec)["data"], {}) for spec in specs])
    assert [why.partition(" is ")[::2] for why in own.values()] == [
        (spec, "not here (it would have to be downloaded)") for spec in specs
    ]


def test_runs_that_were_never_evaluated_are_listed_without_scores(tmp_path, capsys):
    make_run(tmp_path / "r", {0: 1}, env=None)
    out = tmp_path / "out"
    assert report(capsys, tmp_path / "r", "--out", out)[0] == 0
    assert "not evaluated" in (out / "tables.md").read_text()
    assert {row["iqm"] for row in rows_of(out)} == {""}


def test_latex_takes_every_character(tmp_path):
    text = to_latex([Table("5 % of a_b & c", ("a", "b"), (("[x] ± 1", "~^\\{}$#"),))])
    assert "5 \\% of a\\_b \\& c" in text
    assert "{}[x] $\\pm$ 1 & \\textasciitilde{}\\textasciicircum{}\\textbackslash{}\\{\\}\\$\\#" in text


def test_a_run_records_which_dataset_it_saw(tmp_path):
    transitions = load("builtin:bandit")
    made = RunConfig(DataConfig("builtin:bandit"), BCConfig())
    claim([(made, tmp_path / "r")], [0], transitions.info)
    run = read_run(RunFolder(tmp_path / "r"))
    assert run.environment["dataset"]["digest"] == transitions.info.digest
    assert run.started == run.environment["started"]
    (group,) = group_runs([run])
    assert group.dataset.own is not None
    assert not group.complete
    assert "up to 0 of" in group.what_is_missing[0]


def test_every_number_of_a_score_table_stands_in_its_column(tmp_path, capsys):
    make_run(tmp_path / "a", {0: 10, 1: 20, 2: 30, 3: 100})
    out = tmp_path / "out"
    assert report(capsys, tmp_path / "a", "--out", out)[0] == 0
    # Of resampled IQMs 13 of 256 are 10 and as many are 100: more than a fortieth each.
    row = "| IQL, uniform | 4 | 25.0 | 10.0 to 100.0 | 40.0 ± 40.8 | 0: 10.0, 1: 20.0, 2: 30.0, 3: 100.0 |"
    assert row in (out / "tables.md").read_text(encoding="utf-8")
    last = next(row for row in rows_of(out) if row["score"] == "last")
    expected = {"iqm": 25, "iqm_low": 10, "iqm_high": 100, "mean": 40, "std": math.sqrt(5000 / 3)}
    assert {name: float(last[name]) for name in expected} == pytest.approx(expected)


def test_ratios_learned_on_uniform_batches_are_compared_and_are_no_baseline(tmp_path):
    made = config()
    terms = {"evaluation": True, "improvement": True, "constraint": True}
    made["rebalance"] = {"type": "density-ratio", "weights": UNIFORM, "ratio": {"divergence": 0.2}, **terms}
    make_run(tmp_path / "dw", {0: 15, 1: 30}, made)
    make_run(tmp_path / "uniform", {0: 10, 1: 20})
    (found,) = did_it_help(groups_of(tmp_path))
    assert found.group.label == "IQL, DW"
    assert found.over_uniform["last"].estimate == 0.75
