import numpy as np
import pytest

from reweigh.cli import main
from reweigh.report.across import across_table, compare_across
from reweigh.report.comparison_figures import legend_below
from reweigh.report.style import pyplot
from test_full_report import AW, config, groups_of, make_run


def make_runs(path, weights, by_dataset, **fields):
    """A run a dataset, whose seeds score a tenth of what is given as mean of the last ten evaluations."""
    for number, (dataset, last) in enumerate(by_dataset.items()):
        made = config(weights, spec=f"{dataset}.hdf5", **fields)
        make_run(path / f"{len(list(path.iterdir()))}-{number}", dict(enumerate(last)), made)


def test_datasets_are_averaged_together_and_compared_each_with_itself(tmp_path):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [100, 200], "b": [500, 600]})
    make_runs(tmp_path, AW, {"a": [150, 300], "b": [450, 460]})
    (across,) = compare_across(groups_of(tmp_path))
    uniform, aw = across.columns
    # The middle two of 10, 20, 50, 60 and of 15, 30, 45, 46.
    assert uniform.iqm.estimate == pytest.approx(35)
    assert aw.iqm.estimate == pytest.approx(37.5)
    # 3 of 4 pairs are won on a, none on b; over the datasets together it would be 7 of 16.
    assert aw.over_uniform.estimate == pytest.approx(3 / 8)
    assert uniform.over_uniform is None
    rows = across_table(across).rows
    assert rows[:3] == (
        ("a.hdf5", "15.0", "22.5"),
        ("b.hdf5", "55.0", "45.5"),
        ("mean of these", "35.0", "34.0"),
    )
    # Of resamples the lowest is 15, 15, 45, 45 and the highest 30, 30, 46, 46.
    assert rows[3][2] == "37.5 [30.0 to 38.0]"


def test_an_interval_over_datasets_never_mixes_their_seeds(tmp_path):
    make_runs(tmp_path, AW, {"a": [0, 0, 0], "b": [1000, 1000, 1000]})
    (across,) = compare_across(groups_of(tmp_path))
    found = across.columns[0].iqm
    assert (found.low, found.high) == (found.estimate, found.estimate)


def test_weights_that_not_every_dataset_has_are_compared_where_they_are(tmp_path):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [1], "b": [2], "c": [3]})
    make_runs(tmp_path, {"type": "rw"}, {"a": [1], "b": [2], "c": [3]})
    make_runs(tmp_path, AW, {"a": [4], "c": [5]})
    make_runs(tmp_path, {"type": "oper-r"}, {"a": [4]})
    wide, narrow = compare_across(groups_of(tmp_path))
    assert [dataset.label for dataset in wide.datasets] == ["a.hdf5", "b.hdf5", "c.hdf5"]
    assert [column.label for column in wide.columns] == ["uniform", "RW"]
    assert [dataset.label for dataset in narrow.datasets] == ["a.hdf5", "c.hdf5"]
    assert [column.label for column in narrow.columns] == ["uniform", "AW", "RW"]
    assert all("–" not in cell for row in across_table(narrow).rows[:3] for cell in row)


def test_weights_from_a_file_a_dataset_are_one_column(tmp_path):
    for dataset in "ab":
        make_runs(tmp_path, {"type": "file", "path": f"{dataset}.npz"}, {dataset: [1, 2]})
    (across,) = compare_across(groups_of(tmp_path))
    assert [column.label for column in across.columns] == ["file"]
    # Two files on one dataset are two choices: each is found on one dataset only.
    make_runs(tmp_path, {"type": "file", "path": "other.npz"}, {"a": [1, 2]})
    assert compare_across(groups_of(tmp_path)) == []


def test_returns_of_environments_without_reference_are_never_averaged(tmp_path):
    for dataset in "ab":
        made = config(AW, spec=f"{dataset}.hdf5")
        make_run(tmp_path / dataset, {0: 1, 1: 2}, made, env="Pendulum-v1")
    assert compare_across(groups_of(tmp_path)) == []


def test_datasets_with_other_numbers_of_seeds_have_no_interval_and_are_named(tmp_path):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [1, 2], "b": [3, 4]})
    make_runs(tmp_path, AW, {"a": [1, 2], "b": [3, 4, 5]})
    (across,) = compare_across(groups_of(tmp_path))
    table = across_table(across)
    assert table.rows[-2][2] == table.rows[-1][2] == "–"
    assert table.notes[-1].endswith("differ in seeds: AW.")


def test_weights_whose_other_settings_no_uniform_run_has_are_named(tmp_path):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [1, 2], "b": [3, 4]}, discount=0.99)
    make_runs(tmp_path, AW, {"a": [1, 2], "b": [3, 4]}, discount=0.9)
    (across,) = compare_across(groups_of(tmp_path))
    table = across_table(across)
    assert table.rows[-1][1:] == ("–", "–")
    assert table.notes[-1] == "No uniform runs have the other settings (see Settings) of: AW."


def test_where_no_uniform_run_is_in_a_table_nothing_is_said_of_its_settings(tmp_path):
    make_runs(tmp_path, AW, {"a": [1, 2], "b": [3, 4]})
    make_runs(tmp_path, {"type": "rw", "temperature": 0.1}, {"a": [1, 2], "b": [3, 4]})
    (across,) = compare_across(groups_of(tmp_path))
    assert not any("No uniform runs" in note for note in across_table(across).notes)


def test_one_seed_a_dataset_has_no_interval(tmp_path):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [100], "b": [300]})
    make_runs(tmp_path, AW, {"a": [200], "b": [200]})
    (across,) = compare_across(groups_of(tmp_path))
    assert across_table(across).rows[-2:] == (
        ("IQM over datasets and seeds [95 %]", "20.0", "20.0"),
        ("probability that a seed beats one of uniform weights [95 %]", "–", "0.50"),
    )


def test_a_report_of_several_datasets_opens_with_all_of_them(tmp_path, capsys):
    make_runs(tmp_path, {"type": "uniform"}, {"a": [1, 2], "b": [3, 4]})
    make_runs(tmp_path, AW, {"a": [5, 6], "b": [7, 8]}, algorithm="iql")
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/report.md").read_text()
    assert text.index("## All datasets together") < text.index("## a.hdf5")
    assert (tmp_path / "out/figures/all-01-IQL.png").exists()
    assert "IQL on 2 datasets" in (tmp_path / "out/tables.tex").read_text()
    assert not list((tmp_path / "out/figures").glob("*-profiles.png"))
    capsys.readouterr()
    assert main(["report", str(tmp_path / "0-0"), "--out", str(tmp_path / "one")]) == 0
    assert "All datasets" not in (tmp_path / "one/report.md").read_text()
    make_runs(tmp_path, {"type": "rw"}, {"b": [1, 2]})
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "more")]) == 0
    assert [path.name for path in (tmp_path / "more/figures").glob("*-profiles.png")] == [
        "02-b-hdf5-profiles.png"
    ]


def test_an_across_interval_agrees_with_a_slow_bootstrap(tmp_path):
    scores = np.random.default_rng(0).normal(50, 20, (4, 3))
    make_runs(tmp_path, AW, {name: (10 * own).tolist() for name, own in zip("abc", scores.T, strict=True)})
    (across,) = compare_across(groups_of(tmp_path))
    rng, slow = np.random.default_rng(1), []
    for _ in range(4000):
        drawn = np.sort([value for own in scores.T for value in rng.choice(own, 4)])
        slow.append(drawn[3:9].mean())
    found = across.columns[0].iqm
    assert [found.low, found.high] == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.8)


@pytest.mark.parametrize(
    "name", ["AW", "0.5 AW + OPER-R (terms=policy)", "AW (terms=policy, temperature=0.25)"]
)
def test_a_legend_lies_inside_its_figure_however_long_its_names(name):
    figure, axis = pyplot().subplots(figsize=(10, 4), layout="constrained")
    lines = [axis.plot([0, 1], label=f"{name} {number}")[0] for number in range(9)]
    legend_below(figure, lines, [line.get_label() for line in lines])
    figure.canvas.draw()
    [legend] = figure.legends
    where = legend.get_window_extent()
    pyplot().close(figure)
    assert where.x0 >= 0
    assert where.x1 <= figure.bbox.width
