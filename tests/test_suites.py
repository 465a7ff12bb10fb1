"""Imbalanced datasets by their published names, and mixes of several sources."""

import json
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from reweigh import ConfigError, DatasetError, load
from reweigh.algorithms.bc import BCConfig
from reweigh.cli import main, make_parser
from reweigh.commands.weigh_suite import matching
from reweigh.config import DataConfig, RunConfig
from reweigh.datasets.mixtures import MixRecipe, Source, mix, mix_several
from reweigh.datasets.suites import d4rl_names, suite_names, suite_of
from reweigh.options.arguments import default_out, train_domain
from reweigh.sweeps.grid import read_sweep
from test_mixtures import make_source, pieces_of

NAME = "hopper-random-expert-0.1-v2"


def write_source(path: Path, lengths: list[int], *, low: float) -> None:
    """A file of Hopper's sizes whose rewards, and so its rows, tell it from others."""
    count = sum(lengths)
    rng = np.random.default_rng(int(low))
    last = np.cumsum(lengths) - 1
    with h5py.File(path, "w") as file:
        file["observations"] = rng.normal(size=(count, 11)).astype(np.float32)
        file["actions"] = rng.uniform(-1, 1, (count, 3)).astype(np.float32)
        file["rewards"] = (low + rng.uniform(size=count)).astype(np.float32)
        file["terminals"] = np.isin(np.arange(count), last[::2])
        file["timeouts"] = np.isin(np.arange(count), last[1::2])


@pytest.fixture
def d4rl(tmp_path, monkeypatch):
    """A folder with small files in the place of D4RL's for Hopper, and nothing of the network."""
    folder = tmp_path / "d4rl"
    folder.mkdir()
    for quality, low, lengths in (
        ("random", 0.0, [20] * 300),
        ("medium", 1.0, [300] * 10),
        ("expert", 2.0, [1000] * 6),
    ):
        write_source(folder / f"hopper-{quality}-v2.hdf5", lengths, low=low)
    monkeypatch.setenv("REWEIGH_D4RL", str(folder))
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return folder


def run(line: str) -> int:
    return main(shlex.split(line))


def test_a_mix_that_is_left_without_bad_rows_is_pointed_out(d4rl, capsys):
    sources = "--good d4rl/hopper-expert-v2.hdf5 --bad d4rl/hopper-random-v2.hdf5"
    assert run(f"mix {sources} --ratio 0.95 --size 1000 --out all-good.hdf5") == 0
    assert "note: 1 of the rows are good instead of 0.95" in capsys.readouterr().err


def test_the_authors_scripts_list_96_names_and_each_has_a_recipe_over_d4rl():
    names = suite_names()
    assert len(set(names)) == len(names) == 96
    suites = [suite_of(name) for name in names]
    assert {suite.ratio for suite in suites} == {0.01, 0.05, 0.1, 0.5}
    forms = {(suite.kind, suite.size) for suite in suites}
    assert forms == {("trajectories", None), ("segments", None), ("trajectories", 50_000)}
    for suite in suites:
        assert len(d4rl_names(f"suite:{suite.name}")) == 2
        load_names = {suite.good, suite.bad}
        assert all(name.startswith("d4rl:") for name in load_names)
    assert suite_of("walker2d-random-medium-partial-0.05-v2").good == "d4rl:walker2d-medium-v2"
    assert suite_of("ant-random-expert-0.5-50000-v2").bad == "d4rl:ant-random-v2"
    assert suite_of("ant-random-expert-0.25-5000-v2").size == 5000


@pytest.mark.parametrize(
    "name",
    ["hopper-random-expert-v2", "hopper-random-expert-0.05-v0", "hopper-random-expert-0.050-v2",
     "hopper-random-expert-partial-0.05-50000-v2", "hopper-random-expert-0.05-7-v2",
     "pen-random-expert-0.05-v2", "xhopper-random-expert-0.05-v2"],
)  # fmt: skip
def test_names_that_nobody_gave_are_refused(name):
    with pytest.raises(ConfigError, match="expected the name of an imbalanced dataset") as caught:
        suite_of(name)
    assert "--list-suites" in str(caught.value)


def test_list_suites_prints_every_name(capsys):
    assert run("mix --list-suites") == 0
    assert capsys.readouterr().out.split() == suite_names()


@pytest.mark.parametrize(
    ("name", "size", "longest"),
    [(NAME, 6000, 1000), ("hopper-random-expert-partial-0.1-v2", 6000, 499),
     ("hopper-random-expert-0.1-5000-v2", 5000, 1000)],
)  # fmt: skip
def test_a_suites_name_gives_its_ratio_size_and_kind(name, size, longest, d4rl, capsys):
    assert run(f"mix --suite {name} --out m.hdf5 --json") == 0
    made = json.loads(capsys.readouterr().out)
    found = load("m.hdf5")
    assert found.info.attributes["mix_suite"] == name
    assert (made["mix_good"], made["mix_bad"]) == ("d4rl:hopper-expert-v2", "d4rl:hopper-random-v2")
    assert size <= found.info.num_rows < size + 20
    assert size * 0.1 <= made["mix_good_rows"] < size * 0.1 + longest
    np.testing.assert_array_equal(found.source == 1, found.raw_reward >= 2)
    assert found.episodes.whole_length.max() <= longest
    assert found.info.env == "Hopper-v4"


@pytest.mark.parametrize("name", [NAME, "hopper-random-medium-partial-0.05-v2"])
def test_a_suite_is_the_same_dataset_by_name_and_by_file_and_its_file_the_same_bytes(name, d4rl):
    assert run(f"mix --suite {name} --out one.hdf5") == 0
    assert run(f"mix --suite {name} --out two.hdf5") == 0
    assert run(f"mix --suite {name} --seed 1 --out other.hdf5") == 0
    assert Path("one.hdf5").read_bytes() == Path("two.hdf5").read_bytes()
    by_name = load(f"suite:{name}").info
    assert by_name.digest == load("one.hdf5").info.digest != load("other.hdf5").info.digest
    assert by_name.attributes["mix_suite"] == name


def test_a_suites_recipe_applies_to_sources_of_ones_own(d4rl):
    assert (
        run(f"mix --suite {NAME} --good d4rl/hopper-medium-v2.hdf5 --bad d4rl:hopper-random-v2 --out m.hdf5")
        == 0
    )
    found = load("m.hdf5")
    assert 3000 <= found.info.num_rows < 3020, "as many rows as the good source has"
    np.testing.assert_array_equal(found.source == 1, found.raw_reward >= 1)
    assert found.info.attributes["mix_good"] == "hopper-medium-v2.hdf5"


def test_a_suite_without_its_sources_is_refused_in_one_line(d4rl, capsys):
    assert run("mix --suite ant-random-expert-0.1-v2 --out m.hdf5") == 1
    error = capsys.readouterr().err
    assert "ant_expert-v2.hdf5" in error
    assert error.count("\n") == 1
    assert not Path("m.hdf5").exists()


def test_suites_are_datasets_wherever_one_is_asked_for(d4rl, capsys):
    assert run(f"inspect suite:{NAME} --json") == 0
    assert json.loads(capsys.readouterr().out)["good share"] > 0.1
    assert run(f"weigh suite:{NAME} --method aw --out w.npz") == 0
    arguments = make_parser().parse_args(["train", f"suite:{NAME}", "--algorithm", "iql"])
    assert train_domain(arguments) == "mujoco"
    Path("sweep.toml").write_text(
        '[[runs]]\ndata = ["suite:hopper-random-expert-0.05-v2", "suite:hopper-random-expert-0.5-v2"]\n'
        'algorithm = "bc"\n'
    )
    folders = {task.run.parent.name for task in read_sweep("sweep.toml", None).tasks}
    assert folders == {f"suite-hopper-random-expert-{ratio}-v2" for ratio in ("0.05", "0.5")}


def test_the_ratio_in_a_suites_name_is_part_of_its_runs_folder():
    config = RunConfig(DataConfig("suite"), BCConfig())
    folders = {
        default_out(make_parser().parse_args(["train", f"suite:{name}", "--algorithm", "bc"]), config)
        for name in suite_names()[:8]
    }
    assert len(folders) == 8


def test_several_sources_have_their_shares_of_rows_good_ones_first():
    good, bad, worse = (
        make_source([10] * 9),
        make_source([7] * 9, sign=-1),
        make_source([3] * 9, sign=-1, seed=5),
    )
    shares = [Source(bad, 0.65, good=False, name="b"), Source(good, 0.05, good=True, name="a"),
              Source(worse, 0.3, good=False, name="c")]  # fmt: skip
    recipe = MixRecipe(ratio=0.05, size=1000)
    rows, made = mix_several(shares, recipe)
    each = json.loads(made["mix_sources"])
    assert [(one["source"], one["label"]) for one in each] == [("a", "good"), ("b", "bad"), ("c", "bad")]
    assert [one["rows"] for one in each] == [50, 651, 300]
    assert [one["episodes"] for one in each] == [5, 93, 100]
    assert len({one["digest"] for one in each}) == 3
    np.testing.assert_array_equal(rows.source, np.arange(1001) < 50)
    np.testing.assert_array_equal(rows.observation[:, 0] > 0, rows.source == 1)
    assert made["mix_ratio_reached"] == 50 / 1001
    assert mix_several(shares, recipe)[1] == made


def test_several_good_sources_are_all_labeled_good():
    one, two, bad = make_source([5] * 4), make_source([5] * 4, seed=1), make_source([5] * 4, sign=-1)
    rows, made = mix_several(
        [Source(one, 0.2, good=True), Source(bad, 0.5, good=False), Source(two, 0.3, good=True)],
        MixRecipe(ratio=0.5, size=100),
    )
    assert rows.source.tolist() == [1] * 50 + [0] * 50
    assert made["mix_good_rows"] == 50


@pytest.mark.parametrize("kind", ["trajectories", "segments"])
def test_shares_of_episodes_count_episodes(kind):
    long, short = make_source([400] * 9, ends="timeout"), make_source([3] * 9, sign=-1, ends="timeout")
    rows, made = mix(long, short, MixRecipe(ratio=0.25, size=40, unit="episodes", kind=kind))
    assert (made["mix_good_episodes"], made["mix_bad_episodes"]) == (10, 30)
    assert (len(pieces_of(rows, 1)), len(pieces_of(rows, 0))) == (10, 30)
    assert made["mix_ratio_reached"] == 0.25
    assert made["mix_unit"] == "episodes"
    with pytest.raises(
        DatasetError, match="expected 10 episodes of the good source, but all its 9 episodes are"
    ):
        mix(long, short, MixRecipe(ratio=0.25, size=40, unit="episodes", replacement=False))


def test_a_source_whose_share_is_no_row_is_refused():
    source = make_source([10])
    with pytest.raises(
        ConfigError, match=r"share that asks for episodes of the bad \(c\) source, but 0.1 of 4"
    ):
        mix_several(
            [
                Source(source, 0.5, good=True),
                Source(source, 0.4, good=False),
                Source(source, 0.1, False, "c"),
            ],
            MixRecipe(ratio=0.5, size=4, unit="episodes"),
        )


def test_a_source_for_which_whole_episodes_leave_no_room_is_refused():
    short, long = make_source([1] * 9), make_source([60])
    sources = [Source(short, 0.5, good=True), Source(long, 0.25, good=False, name="b"),
               Source(short, 0.25, good=False, name="c")]  # fmt: skip
    with pytest.raises(ConfigError, match=r"room for the bad \(c\) source"):
        mix_several(sources, MixRecipe(ratio=0.5, size=100))


def test_several_sources_on_the_command_line_say_what_they_gave(d4rl, capsys):
    line = ("mix --good d4rl:hopper-expert-v2:0.1 --bad d4rl/hopper-random-v2.hdf5:0.6 "
            "--bad d4rl:hopper-medium-v2:0.3 --size 9000 --seed 4")  # fmt: skip
    assert run(f"{line} --out one.hdf5 --json") == 0
    made = json.loads(capsys.readouterr().out)
    assert run(f"{line} --out two.hdf5") == 0
    assert Path("one.hdf5").read_bytes() == Path("two.hdf5").read_bytes()
    found = load("one.hdf5")
    each = json.loads(found.info.attributes["mix_sources"])
    names = ["d4rl:hopper-expert-v2", "hopper-random-v2.hdf5", "d4rl:hopper-medium-v2"]
    assert [one["source"] for one in each] == names
    assert made["mix_sources"] == found.info.attributes["mix_sources"]
    edges = np.cumsum([one["rows"] for one in each])
    which = np.searchsorted(edges, found.raw_index, side="right")
    np.testing.assert_array_equal(np.array([2, 0, 1])[which], np.floor(found.raw_reward))
    assert [round(one["rows"] / 9000, 1) for one in each] == [0.1, 0.6, 0.3]


def test_a_suite_is_weighed_once_and_what_fails_is_named_at_the_end(d4rl, capsys):
    for number in range(3):
        line = (
            f"mix --good d4rl:hopper-expert-v2 --bad d4rl:hopper-random-v2 --ratio 0.{number + 1} --size 2000"
        )
        assert run(f"{line} --out mix-{number}.hdf5") == 0
    Path("mix-9.hdf5").write_bytes(b"nothing")
    capsys.readouterr()
    weigh = (
        "weigh --suite 'mix-*.hdf5' suite:hopper-random-??????-0.1-v2 absent.npz --method aw --out weights"
    )
    assert run(weigh) == 1
    said = capsys.readouterr()
    states = "made made made failed made made failed"
    assert [line.split()[0] for line in said.out.splitlines()] == states.split()
    failures = [line for line in said.err.splitlines() if line.startswith("failed: ")]
    assert failures[0].startswith("failed: mix-9.hdf5: expected a complete HDF5 file")
    assert failures[1].startswith("failed: absent.npz: expected a dataset at absent.npz")
    names = [f"mix-{number}" for number in range(3)]
    names += [f"suite-hopper-random-{quality}-0.1-v2" for quality in ("expert", "medium")]
    assert sorted(path.name for path in Path("weights").iterdir()) == [f"{name}.npz" for name in names]
    assert run("weigh mix-1.hdf5 --method aw --out alone.npz") == 0
    assert Path("alone.npz").read_bytes() == Path("weights/mix-1.npz").read_bytes()

    before = {path: path.stat().st_mtime_ns for path in Path("weights").iterdir()}
    Path("mix-9.hdf5").unlink()
    capsys.readouterr()
    assert run(weigh.replace(" absent.npz", "")) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["there"] * 5
    assert {path: path.stat().st_mtime_ns for path in Path("weights").iterdir()} == before


def test_a_set_is_weighed_by_its_name_and_an_unknown_one_refused(capsys):
    assert list(matching("set:kitchen")) == [
        f"d4rl:kitchen-{kind}-v0" for kind in ("complete", "partial", "mixed")
    ]
    assert run("weigh --suite set:ponds --method aw --out w") == 1
    assert "expected set:NAME with one of mixed," in capsys.readouterr().err


def test_weights_of_another_dataset_or_method_are_not_replaced_by_a_suites(d4rl, capsys):
    mix = "mix --good d4rl:hopper-expert-v2 --bad d4rl:hopper-random-v2 --ratio 0.1 --size 2000"
    assert run(f"{mix} --out one.hdf5") == 0
    assert run("weigh --suite one.hdf5 --method aw --out w") == 0
    content = Path("w/one.npz").read_bytes()
    capsys.readouterr()
    assert run("weigh --suite one.hdf5 --method aw --temperature 0.2 --out w --json") == 1
    said = capsys.readouterr()
    assert "expected the weights of this command in w/one.npz, but it holds others" in said.err
    assert json.loads(said.out)[0]["state"] == "failed"
    assert run("weigh --suite one.hdf5 --method aw --transform exp --out w") == 1
    assert run(f"{mix} --seed 1 --out one.hdf5") == 0
    assert run("weigh --suite one.hdf5 --method aw --out w") == 1
    Path("w/one.npz").write_bytes(b"half")
    assert run("weigh --suite one.hdf5 --method aw --out w") == 1
    assert Path("w/one.npz").read_bytes() == b"half"
    Path("w/one.npz").write_bytes(content)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", {"size": 3000, "good_rows": 1500, "bad_rows": 1500}),
        # Both targets are met exactly, and one episode more is drawn: of 300 rows, and of 20.
        ("--overshoot", {"good_rows": 1800, "bad_rows": 1220}),
        ("--share episodes", {"size": 10, "good_episodes": 5, "bad_episodes": 5}),
        ("--kind segments", {"kind": "segments"}),
    ],
)
def test_every_flag_of_mix_reaches_its_recipe(flags, expected, d4rl, capsys):
    sources = "--good d4rl/hopper-medium-v2.hdf5 --bad d4rl/hopper-random-v2.hdf5 --ratio 0.5"
    assert run(f"mix {sources} {flags} --out m.hdf5 --json") == 0
    made = json.loads(capsys.readouterr().out)
    assert {name: made[f"mix_{name}"] for name in expected} == expected
