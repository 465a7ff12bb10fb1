import json

import pytest

from reweigh import doctor
from reweigh.cli import main


def test_a_machine_that_passes_the_tests_has_no_problem(tmp_path, capsys):
    assert main(["doctor", "--out", str(tmp_path), "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["what"] for finding in findings} >= {"Python", "jax", "mujoco", "run folder", "MuJoCo"}
    assert all(finding["remedy"] for finding in findings if finding["status"] != "ok")


def test_a_folder_that_cannot_be_written_is_a_problem_with_a_remedy(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["doctor", "--out", str(tmp_path / "file" / "below")]) == 1
    assert "-> Run in a folder that you may write in" in capsys.readouterr().out


def test_a_folder_that_a_run_would_make_is_fine(tmp_path, capsys):
    main(["doctor", "--out", str(tmp_path / "runs" / "new")])
    assert f"{tmp_path / 'runs' / 'new'} can be written" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tested", "status"),
    [(("1.0", None), "ok"), (("999.0", None), "problem"), (("1.0", "1.5"), "note"), (("1.0", "999"), "ok")],
)
def test_versions_are_held_against_the_tested_range(tested, status, monkeypatch):
    monkeypatch.setattr(doctor, "REQUIRED", {"numpy": tested})
    (finding,) = doctor._versions()
    assert finding.status == status


def test_a_missing_package_is_a_problem(monkeypatch):
    monkeypatch.setattr(doctor, "REQUIRED", {"surely-not-installed": ("1.0", None)})
    (finding,) = doctor._versions()
    assert (finding.status, finding.found) == ("problem", "not installed")
