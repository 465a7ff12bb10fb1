import numpy as np
import pytest

from reweigh.cli import main
from reweigh.commands.launch import _print_results
from reweigh.datasets.normalizer import identity_normalizer
from reweigh.errors import RunError
from reweigh.policy import Policy
from reweigh.report.curves import draw_curve, learning_curve, spans_over_seeds
from reweigh.report.style import pyplot
from reweigh.runs import RunFolder
from reweigh.seed_folder import Returns

PNG = b"\x89PNG\r\n"


def make_run(path, returns_by_seed, env="Hopper-v4") -> RunFolder:
    """A folder as training leaves it: seed -> evaluations (V, E) at updates 10, 20, ..."""
    folder = RunFolder(path)
    for seed, returns in returns_by_seed.items():
        own = folder.seed(seed)
        own.path.mkdir(parents=True)
        (path / "config.json").write_text("{}")
        update = 10 * np.arange(1, len(returns) + 1)
        array = np.asarray(returns, np.float64)
        own.save_returns(Returns(update, array, np.ones(array.shape, np.int64)))
        ones = np.ones(1, np.float32)
        layers = ((np.ones((2, 1), np.float32), ones),)
        own.save_policy(Policy(layers, identity_normalizer(2), -ones, ones, {"env": env}))
    return folder


def test_a_curve_holds_the_updates_that_every_seed_has_reached(tmp_path):
    folder = make_run(tmp_path / "run", {0: [[1, 3], [5, 5], [9, 9]], 1: [[4, 4], [0, 2]]}, env=None)
    update, scores, normalized = learning_curve(folder)
    assert update.tolist() == [10, 20]
    assert scores.tolist() == [[2, 4], [5, 1]]
    assert not normalized


def test_a_curve_of_a_known_task_is_normalized(tmp_path):
    folder = make_run(tmp_path / "run", {0: [[3234.3, 3234.3], [-20.272305, -20.272305]]})
    _, scores, normalized = learning_curve(folder)
    assert normalized
    np.testing.assert_allclose(scores[:, 0], [100, 0], atol=1e-9)


def test_a_run_without_evaluations_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no evaluation"):
        learning_curve(RunFolder(tmp_path / "nothing"))


# IQM 4, mean 22.2, median 5.
SKEWED = [1.0, 2, 5, 5, 98]


def test_a_learning_curve_is_the_iqm_over_seeds():
    seeds = np.array([SKEWED, [10 * score for score in SKEWED]])
    assert [span.estimate for span in spans_over_seeds(seeds)] == pytest.approx([4, 40])
    figure, axis = pyplot().subplots()
    draw_curve(axis, np.array([10, 20]), seeds, color="black")
    np.testing.assert_allclose(axis.lines[0].get_xydata(), [[10, 4], [20, 40]])
    pyplot().close(figure)


def test_a_finished_run_prints_the_iqm_over_its_seeds(tmp_path, capsys):
    _print_results(tmp_path, [{"seed": k, "last_ten_score": score} for k, score in enumerate(SKEWED)])
    assert "normalized score: 4.0 (IQM over 5 seeds;" in capsys.readouterr().out


def test_the_last_score_is_that_of_the_last_evaluation():
    returns = Returns(np.array([10, 20]), np.array([[1.0, 3.0], [5.0, 9.0]]), np.ones((2, 2), np.int64))
    assert returns.last_score(None) == 7
    assert returns.last_score((-3.0, 17.0)) == 50


def test_figures_are_written_from_the_command_line(tmp_path):
    weights = [str(tmp_path / f"{method}.npz") for method in ("oper-r", "rw")]
    for method, out in zip(("oper-r", "rw"), weights, strict=True):
        assert main(["weigh", "builtin:bandit", "--method", method, "--out", out]) == 0
    make_run(tmp_path / "run", {0: [[1, 2]], 1: [[3, 4]]})
    for what, files in (("weights", weights), ("runs", [str(tmp_path / "run")])):
        out = tmp_path / f"{what}.png"
        assert main(["plot", what, *files, "--out", str(out)]) == 0
        assert out.read_bytes().startswith(PNG)


@pytest.mark.parametrize("out", ["figure.txt", "no/folder/figure.png"])
def test_a_figure_that_cannot_be_written_is_one_line(out, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run", {0: [[1, 2]]})
    assert main(["plot", "runs", "run", "--out", out]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / out).exists()
