"""Sweeps: what a file asks for, how tasks run, are killed and go on here, what is started elsewhere."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import reweigh
from reweigh.cli import main, make_parser
from reweigh.commands.sweep_hours import hours_left
from reweigh.datasets.scores import catalog
from reweigh.datasets.suites import d4rl_names, set_names, suite_of
from reweigh.errors import ConfigError, RunError
from reweigh.options.arguments import described_run
from reweigh.runs import RunFolder
from reweigh.sweeps import screen
from reweigh.sweeps.grid import Sweep, Task, choose, make_sweep, named_sweeps, read_sweep
from reweigh.sweeps.local import _next, _start, run_locally, slots_of
from reweigh.sweeps.printed import as_commands, as_docker
from reweigh.sweeps.progress import remember_failure, standing_of
from reweigh.sweeps.ray_cluster import run_on_ray
from reweigh.sweeps.requests import read_requests, write_requests
from reweigh.sweeps.screen import start_screens
from reweigh.sweeps.slurm import SLURM_TEMPLATE, slurm_script, submit_to_slurm
from reweigh.system.atomic import held, write_text
from reweigh.system.processes import CORES

GRID = """
seeds = [0, 1]

[[runs]]
data = ["a.hdf5", "b.hdf5"]
algorithm = ["td3-bc", "iql"]
weights = ["uniform", "aw:temperature=0.2"]
num-updates = 100
hidden = [[32, 32]]
no-evaluate = true

[[runs]]
data = "a.hdf5"
algorithm = "bc"
name = "clone"
set = [["log_interval=10", "discount=0.9"]]
quiet-not = false
"""


def write(tmp_path, text, name="grid.toml") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_run_is_made_of_every_combination_of_choices(tmp_path):
    found = read_sweep(write(tmp_path, GRID), tmp_path / "out")
    assert len(found.tasks) == 2 * (2 * 2 * 2 + 1)
    assert {task.seed for task in found.tasks[:9]} == {0}, "every run has one seed before any has all"
    assert len({task.run for task in found.tasks}) == 9
    first = found.tasks[0]
    assert first.command == (
        "train", "a.hdf5", "--algorithm", "td3-bc", "--weights", "uniform", "--num-updates", "100",
        "--hidden", "32", "32", "--no-evaluate", "--seeds", "0", "--out", str(first.run), "--quiet",
    )  # fmt: skip
    clone = next(task for task in found.tasks if "clone" in task.run.name)
    assert clone.words[-4:] == ("--set", "log_interval=10", "--set", "discount=0.9")


def test_a_datasets_own_file_of_weights_is_named_by_the_dataset(tmp_path):
    runs = [{"data": ["m/a.hdf5", "suite:hopper-random-expert-0.05-v2"], "algorithm": "bc",
             "weights": ["uniform", "W/{data}.npz"]}]  # fmt: skip
    tasks = make_sweep(runs, [0], tmp_path).tasks
    assert [task.words[task.words.index("--weights") + 1] for task in tasks] == [
        "uniform", "W/a.npz", "uniform", "W/suite-hopper-random-expert-0.05-v2.npz",
    ]  # fmt: skip
    assert tasks[1].run.name == tasks[3].run.name, "one column of a report"


def test_a_run_of_a_papers_preset_is_not_called_uniform(tmp_path):
    run = {"data": "a.hdf5", "algorithm": "iql", "paper": "aw-iql"}
    tasks = make_sweep([run | {"weights": ["uniform", "rw"]}, run], [0], tmp_path).tasks
    names = [task.run.name for task in tasks]
    assert names == ["iql-uniform-aw-iql", "iql-rw-aw-iql", "iql-aw-iql"]


def test_a_runs_folder_is_named_by_its_own_settings_alone(tmp_path):
    before = read_sweep(write(tmp_path, GRID), tmp_path / "out")
    more = GRID.replace('"iql"]', '"iql", "cql"]').replace("num-updates = 100", "num-updates = 200")
    after = read_sweep(write(tmp_path, more), tmp_path / "out")
    assert {task.run for task in before.tasks} < {task.run for task in after.tasks}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seeds = [0", "TOML"),
        ("seeds = [0]", "at least one [[runs]]"),
        ("seeds = ['a']\n[[runs]]\n", "seeds = [0, 1"),
        ("seeds = [0, 0]\n[[runs]]\ndata='a'\nalgorithm='bc'", "distinct seeds"),
        ("weights = 'aw'\n[[runs]]\n", "'weights'"),
        ("[[runs]]\nalgorithm='bc'", "expected data"),
        ("[[runs]]\ndata='a'", "expected algorithm"),
        ("[[runs]]\ndata='a'\nalgorithm='bc'\nname=5", "expected name = '...'"),
        ("[[runs]]\ndata='set:mujuco'\nalgorithm='bc'", "set:NAME"),
        ("[[runs]]\ndata='a'\nalgorithm='bc'\nout='x'", "out belongs to the whole sweep"),
        ("[[runs]]\ndata='a'\nalgorithm='bc'\nhidden=[[]]", "words or numbers as hidden"),
        ("[[runs]]\ndata='a'\nalgorithm='bc'\nnum-updates=[1, 2]", "two are called"),
    ],
)
def test_a_malformed_sweep_is_refused_in_one_line(tmp_path, text, why):
    with pytest.raises(ConfigError) as caught:
        read_sweep(write(tmp_path, text), None)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_aw_papers_sweep_is_on_its_73_datasets(tmp_path):
    tasks = read_sweep("aw", tmp_path).tasks
    assert len({task.words[0] for task in tasks}) == 73
    assert len(tasks) == 73 * 3 * 4 * 3  # datasets, algorithms, samplers, seeds


def test_sets_of_datasets_hold_names_that_are_known():
    for specs in set_names().values():
        assert len(set(specs)) == len(specs)
        for spec in specs:
            assert all(name in catalog() for name in d4rl_names(spec)), spec
    assert sum(len(specs) for specs in set_names().values()) == 149


@pytest.mark.parametrize("name", named_sweeps())
def test_every_shipped_sweep_asks_for_runs_that_train_understands(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for data in ("a.hdf5", "b.hdf5"):
        Path(data).touch()
    assert main(["sweep", name, "--data", "a.hdf5", "--data", "b.hdf5", "--dry-run"]) == 0
    assert "core-hours left" in capsys.readouterr().out


def test_a_flag_that_train_does_not_know_is_found_before_anything_starts(tmp_path, capsys):
    path = write(tmp_path, "[[runs]]\ndata='a'\nalgorithm='bc'\nwieghts='aw'")
    with pytest.raises(SystemExit):
        main(["sweep", path, "--out", str(tmp_path / "out")])
    assert "--wieghts" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wanted", "expected"), [("1:3", [1, 2]), (":2", [0, 1]), ("3:", [3, 4]), (None, range(5))]
)
def test_a_range_of_tasks_can_be_chosen(wanted, expected):
    assert list(choose(5, wanted)) == list(expected)


@pytest.mark.parametrize("wanted", ["3", "a:b", "1:2:3", "-1:"])
def test_what_is_no_range_is_refused(wanted):
    with pytest.raises(ConfigError, match="A:B"):
        choose(5, wanted)


def test_a_range_without_tasks_is_refused():
    with pytest.raises(ConfigError, match="7:9 holds none of 5"):
        choose(5, "7:9")


def data_file(tmp_path) -> Path:
    rng, rows = np.random.default_rng(0), 200
    path = tmp_path / "data.npz"
    np.savez(
        path,
        observations=rng.normal(size=(rows, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
        rewards=rng.normal(size=rows).astype(np.float32),
        terminals=np.arange(rows) % 10 == 9,
        timeouts=np.zeros(rows, bool),
    )
    return path


def small_sweep(tmp_path, *, updates: int, seeds: str = "[0, 1]") -> str:
    return write(
        tmp_path,
        f"""
seeds = {seeds}
[[runs]]
data = "{data_file(tmp_path)}"
algorithm = "bc"
weights = ["uniform", "rw"]
hidden = [[8]]
batch-size = 8
num-updates = {updates}
no-evaluate = true
checkpoint-interval = 500
""",
    )


def content(run: Path, seed: int) -> list[np.ndarray]:
    return RunFolder(run).seed(seed).load_checkpoint().leaves


def test_a_sweep_killed_without_warning_ends_complete_as_an_undisturbed_one(tmp_path):
    path = small_sweep(tmp_path, updates=15_000, seeds="[0]")
    command = [sys.executable, "-m", "reweigh", "sweep", path, "--jobs", "2", "--out"]
    out = tmp_path / "killed"
    tasks = read_sweep(path, out).tasks
    process = subprocess.Popen([*command, str(out)], stderr=subprocess.DEVNULL)
    checkpoints = [RunFolder(task.run).seed(task.seed).path / "checkpoint.npz" for task in tasks]
    deadline = time.monotonic() + 120
    while not any(path.exists() for path in checkpoints) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(path.exists() for path in checkpoints), "killed before there was anything to go on from"
    assert not all(RunFolder(task.run).seed(task.seed).finished for task in tasks)
    assert subprocess.run([*command, str(out)], stderr=subprocess.DEVNULL, check=False).returncode == 0
    whole = tmp_path / "whole"
    assert subprocess.run([*command, str(whole)], stderr=subprocess.DEVNULL, check=False).returncode == 0
    for one, other in zip(read_sweep(path, out).tasks, read_sweep(path, whole).tasks, strict=True):
        for left, right in zip(content(one.run, one.seed), content(other.run, other.seed), strict=True):
            np.testing.assert_array_equal(left, right)
        # Once each: no metrics of an update are there twice.
        lines = (one.run / f"seed-{one.seed}" / "metrics.csv").read_text().splitlines()[1:]
        assert [line.split(",")[0] for line in lines] == sorted(
            {line.split(",")[0] for line in lines}, key=int
        )


def fake_sweep(tmp_path, *seeds) -> Sweep:
    """Tasks whose training is refused at once."""
    tasks = tuple(
        Task((str(tmp_path / "absent.npz"), "--algorithm", "bc"), tmp_path / "d/r", s) for s in seeds
    )
    return Sweep(tmp_path, tasks)


def test_a_failed_task_is_remembered_by_its_last_line_and_does_not_stop_the_others(tmp_path):
    sweep, events = fake_sweep(tmp_path, 0, 1), []
    assert not run_locally(sweep, sweep.tasks, slots_of(2), events.append)
    assert [event.kind for event in events].count("failed") == 2
    standing = standing_of(sweep, sweep.tasks[0])
    assert standing.state == "failed"
    assert "absent.npz" in standing.error


def test_an_interrupted_sweep_asks_each_task_once_to_save_its_state(tmp_path, monkeypatch):
    class Training:
        polls = asked = 0

        def poll(self):
            self.polls += 1
            return 130 if self.polls > 5 else None

        def terminate(self):
            self.asked += 1

    training, events = Training(), []
    monkeypatch.setattr("reweigh.sweeps.local._start", lambda *arguments: training)

    def interrupt(event):
        events.append(event.kind)
        if event.kind == "started":
            os.kill(os.getpid(), signal.SIGTERM)

    sweep = fake_sweep(tmp_path, 0)
    assert run_locally(sweep, sweep.tasks, slots_of(1), interrupt)
    assert (training.asked, events) == (1, ["started", "stopped"])


@pytest.mark.parametrize("held", ["locked", "commanded"])
def test_a_task_in_other_hands_is_running_and_not_started(held, tmp_path):
    sweep = fake_sweep(tmp_path, 0)
    seed = RunFolder(sweep.tasks[0].run).seed(0)
    code = f"""
import pathlib, sys, time
from reweigh.runs import RunFolder
with RunFolder(pathlib.Path(sys.argv[1])).seed(0).{held}():
    print(1, flush=True)
    time.sleep(60)
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(sweep.tasks[0].run)], stdout=subprocess.PIPE, text=True
    )
    try:
        holder.stdout.readline()
        assert standing_of(sweep, sweep.tasks[0]).state == "running"
        assert seed.in_use
        (seed.path / "returns.npz").write_bytes(b"damaged")  # no business of those who only wait
        assert _next(sweep, list(sweep.tasks)) is None
    finally:
        holder.kill()
        holder.communicate()
    (seed.path / "returns.npz").unlink()
    assert standing_of(sweep, sweep.tasks[0]).state == "waiting"


def hours_of(standings):
    """`hours_left`, with the runs that the tasks' words describe."""
    parse = make_parser().parse_args
    words = {standing.task.words for standing in standings}
    return hours_left(standings, {each: described_run(parse(["train", *each]), None) for each in words})


def test_hours_come_from_rates_measured_in_the_sweep(tmp_path):
    sweep = Sweep(tmp_path, tuple(
        Task(("x", "--algorithm", "bc", "--num-updates", "7200"), tmp_path / "d/r", seed) for seed in (0, 1)
    ))  # fmt: skip
    seed = RunFolder(sweep.tasks[0].run).seed(0)
    seed.path.mkdir(parents=True)
    seed.finish({"updates_per_second": 2.0, "last_ten_score": 12.5})
    standings = [standing_of(sweep, task) for task in sweep.tasks]
    assert [s.state for s in standings] == ["finished", "waiting"]
    assert standings[0].score == 12.5
    assert hours_of(standings) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        (("--algorithm", "iql"), 120),
        (("--algorithm", "iql", "--paper", "dw-iql"), 0.59 * 120),
        (("--algorithm", "iql", "--paper", "dw-iql", "--sampler", "uniform"), 120),
        (("--algorithm", "cql", "--sampler", "uniform+DRW-K0.2_F1.0_G1.0_T1.0_C0.2_L0.0001"), 0.94 * 8),
        (("--algorithm", "bc", "--hidden", "256", "256"), 16 * 20),
        (("--algorithm", "bc", "--hidden", "1024"), 2 * 20),
        (("--algorithm", "bc", "--set", "algorithm.hidden=512,512"), 4 * 20),
    ],
)
def test_hours_know_what_slows_a_training(words, rate, tmp_path):
    sweep = Sweep(tmp_path, (Task(("x", *words, "--num-updates", "3600"), tmp_path / "d/r", 0),))
    assert hours_of([standing_of(sweep, sweep.tasks[0])]) == pytest.approx(1 / rate)


@pytest.mark.parametrize(
    ("words", "updates"),
    [
        (("--algorithm", "iql", "--set", "num_updates=3600"), 3600),
        (("--algorithm", "iql"), 1_000_000),
        (("--algorithm", "onestep", "--set", "algorithm.improvement=easy-bcq"), 1),
    ],
)
def test_hours_are_of_the_updates_that_a_run_makes(words, updates, tmp_path):
    sweep = Sweep(tmp_path, (Task(("x", *words), tmp_path / "d/r", 0),))
    rate = {"iql": 120, "onestep": 4}[words[1]]
    assert hours_of([standing_of(sweep, sweep.tasks[0])]) == pytest.approx(updates / rate / 3600)


def test_a_training_under_way_tells_its_rate_and_how_far_it_is(tmp_path):
    task = Task(("x", "--algorithm", "bc", "--num-updates", "7200"), tmp_path / "d/r", 0)
    seed = RunFolder(task.run).seed(0)
    with seed.commanded():
        seed.save_progress(3600, 2.0)
        found = standing_of(Sweep(tmp_path, (task,)), task)
    assert (found.state, found.update, found.updates_per_second) == ("running", 3600, 2.0)
    assert hours_of([found]) == pytest.approx(0.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"update": Infinity, "updates_per_second": 1}',
                                  '{"update": 1, "updates_per_second": NaN}',
                                  '{"update": 1, "updates_per_second": %s}' % ("9" * 400)])  # fmt: skip
def test_progress_that_cannot_be_read_is_refused_in_one_line(text, tmp_path):
    seed = RunFolder(tmp_path / "r").seed(0)
    seed.path.mkdir(parents=True)
    (seed.path / "progress.json").write_text(text)
    with pytest.raises(RunError, match="expected numbers at"):
        seed.progress()


def test_a_dry_run_counts_what_tasks_share_once(tmp_path, capsys):
    path = write(tmp_path, f"""
seeds = [0, 1]
[[runs]]
data = "{data_file(tmp_path)}"
algorithm = ["bc", "td3-bc"]
weights = ["uniform", "oper-a"]
num-updates = 6120
[[runs]]
data = "{data_file(tmp_path)}"
algorithm = "td3-bc"
rebalance = "density-ratio"
num-updates = 10030
""")  # fmt: skip
    assert main(["sweep", path, "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    # 2 seeds x 2 weights x 6120 updates at 25/s and at 170/s, and 2 x 10030 at 100/s: 1323 s.
    assert "about 0.4 core-hours left" in said
    # 3 value seeds x 5 stages of a million, at 210/s.
    assert "about 19.8 core-hours more" in said


def test_a_process_killed_by_a_signal_says_which(tmp_path):
    sweep = fake_sweep(tmp_path, 0)
    (tmp_path / "logs").mkdir()
    assert remember_failure(sweep, sweep.tasks[0], -9) == "killed by signal 9"


def test_script_and_docker_print_a_line_a_task_that_a_shell_reads_back(tmp_path, capsys):
    task = Task(("with space.hdf5", "--weights", "aw:temperature=0.1"), Path("out/d/r"), 3)
    line = "train 'with space.hdf5' --weights aw:temperature=0.1 --seeds 3 --out out/d/r --quiet"
    assert as_commands([task]) == [f"reweigh {line}"]
    (docker,) = as_docker([task], "reweigh:1")
    assert " && docker run --rm" in docker
    assert docker.endswith(f"reweigh:1 {line}")
    path = small_sweep(tmp_path, updates=50)
    assert main(["sweep", path, "--out", str(tmp_path / "out"), "--launch", "script"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("reweigh train ") for line in lines)


def fake_client(tmp_path, monkeypatch, name: str, script: str) -> None:
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


# A sbatch that runs the array here, job after job.
ARRAY = r"""
jobs=$(grep -oP '(?<=--array=)[\d,-]+' "$1")
for part in ${jobs//,/ }; do
  for i in $(seq ${part%-*} ${part#*-}); do
    SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_JOB_ID=7 bash "$1" || exit 1
  done
done
echo Submitted batch job 7
"""


@pytest.mark.parametrize(
    ("tasks", "wanted", "expected"),
    [
        (range(5), None, ["0:2", "2:4", "4:5"]),
        (range(3, 7), range(3, 7), ["3:5", "5:7"]),
        (range(3, 12), {4, 7, 9, 11}, ["3:5", "7:9", "9:11", "11:12"]),
        (range(3, 12), {6}, ["5:7"]),
    ],
)
def test_slurm_runs_every_task_once_in_jobs_of_several_and_none_for_chunks_without_any(
    tasks, wanted, expected, tmp_path, monkeypatch
):
    fake_client(tmp_path, monkeypatch, "sbatch", ARRAY)
    # A reweigh that writes down its arguments.
    fake_client(tmp_path, monkeypatch, "python-of-test", f'echo "$@" >> {tmp_path}/said')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python-of-test"))
    sweep = fake_sweep(tmp_path, 0)
    script = slurm_script(sweep, tasks, ["sweep", "x.toml"], chunk=2, jobs=2, wanted=wanted)
    assert submit_to_slurm(sweep, script, "", []) == "Submitted batch job 7"
    ran = [line.split("--tasks ")[1].split()[0] for line in (tmp_path / "said").read_text().splitlines()]
    assert ran == expected


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", True), ("CANCELLED", False)])
def test_a_slurm_job_that_is_stopped_is_queued_again_unless_it_was_cancelled(
    state, requeued, tmp_path, monkeypatch
):
    fake_client(tmp_path, monkeypatch, "sbatch", f"{ARRAY}\nexit 0")
    show = f'[ $1 = show ] && echo "JobId=7 JobState={state} Reason=None" || echo "$@" > {tmp_path}/requeued'
    fake_client(tmp_path, monkeypatch, "scontrol", show)
    fake_client(tmp_path, monkeypatch, "sleep", "true")
    fake_client(tmp_path, monkeypatch, "python-of-test", "exit 130")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python-of-test"))
    sweep = fake_sweep(tmp_path, 0)
    script = slurm_script(sweep, range(1), ["sweep", "x.toml"], chunk=1, jobs=1)
    with contextlib.suppress(RunError):  # the job's code is its own
        submit_to_slurm(sweep, script, "", [])
    assert (tmp_path / "requeued").exists() == requeued
    assert not requeued or (tmp_path / "requeued").read_text() == "requeue 7_0\n"


def test_an_edited_slurm_template_is_kept_and_filled_in_again_for_a_sweep_that_grows(
    tmp_path, monkeypatch, capsys
):
    fake_client(tmp_path, monkeypatch, "sbatch", f'echo "$@" > {tmp_path}/options; echo ok')
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    command = ["sweep", path, "--out", str(out), "--launch", "slurm", "--sbatch=--partition=gpu --gpus=1"]
    assert main(command) == 0
    script, template = out / "slurm" / "sweep.sbatch", out / "slurm" / "template.sbatch"
    assert (tmp_path / "options").read_text() == f"--partition=gpu --gpus=1 {script}\n"
    assert f"reweigh status {path} --out {out}" in capsys.readouterr().out
    assert "--array=0-3" in script.read_text()
    template.write_text(template.read_text() + "# mine\n")
    small_sweep(tmp_path, seeds="[0, 1, 2]", updates=50)
    assert main(command) == 0
    assert "--array=0-5" in script.read_text()
    assert "# mine" in script.read_text()


@pytest.mark.parametrize("launch", ["slurm", "screen", "local"])
def test_a_sweep_whose_tasks_are_finished_starts_nothing_and_says_so(launch, tmp_path, monkeypatch, capsys):
    for client in ("sbatch", "screen"):
        fake_client(tmp_path, monkeypatch, client, f"touch {tmp_path}/started")
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    for task in read_sweep(path, out).tasks:
        RunFolder(task.run).seed(task.seed).path.mkdir(parents=True)
        RunFolder(task.run).seed(task.seed).finish({})
    assert main(["sweep", path, "--out", str(out), "--launch", launch]) == 0
    assert "4 finished, 0 running, 0 failed, 0 waiting" in capsys.readouterr().out
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("edited", [None, "#!/bin/bash\n# mine\n"])
def test_a_template_for_one_submission_is_not_that_of_the_next(edited, tmp_path, monkeypatch, capsys):
    fake_client(tmp_path, monkeypatch, "sbatch", "echo ok")
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    kept, script = out / "slurm" / "template.sbatch", out / "slurm" / "sweep.sbatch"
    if edited:
        kept.parent.mkdir(parents=True)
        kept.write_text(edited)
    other = write(tmp_path, "#!/bin/bash\n# other\n", "t.sbatch")
    command = ["sweep", path, "--out", str(out), "--launch", "slurm"]
    assert main([*command, "--template", other]) == 0
    assert script.read_text() == "#!/bin/bash\n# other\n"
    assert f"made of {other}" in capsys.readouterr().out
    assert main(command) == 0
    assert (edited or "#SBATCH --requeue") in script.read_text()
    assert kept.read_text() == (edited or SLURM_TEMPLATE)


def test_a_failed_task_gets_no_job_and_is_told_of_unless_it_is_retried(tmp_path, monkeypatch, capsys):
    fake_client(tmp_path, monkeypatch, "sbatch", "echo ok")
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    sweep = read_sweep(path, out)
    (out / "logs").mkdir(parents=True)
    remember_failure(sweep, sweep.tasks[1], 1)
    command = ["sweep", path, "--out", str(out), "--launch", "slurm"]
    assert main(command) == 0
    assert "#SBATCH --array=0,2-3\n" in (out / "slurm" / "sweep.sbatch").read_text()
    assert "left out: 1 that had failed before; --retry-failed" in capsys.readouterr().out
    assert main([*command, "--retry-failed"]) == 0
    assert "#SBATCH --array=0-3\n" in (out / "slurm" / "sweep.sbatch").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--launch", "slurm", "--sbatch=--comment='a"], "No closing quotation"),
        (["--data", "d4rl:hopper-medium-v9"], "Did you mean"),
        (["--data", "suite:hopper-random-expert-0.07-v2"], "Did you mean"),
        (["--data", "builtin:nosuch"], "expected builtin:"),
        (["--data", "d4lr:hopper-medium-v2"], "there is no such file"),
        (["--data", "minari:bad name"], "expected an ID like"),
    ],
)
def test_what_no_task_could_use_is_refused_before_a_sweep_starts(words, said, tmp_path, capsys):
    path = small_sweep(tmp_path, updates=50)
    assert main(["sweep", path, "--out", str(tmp_path / "out"), *words]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert said in error
    assert not (tmp_path / "out").exists()


def test_opers_grid_has_its_five_algorithms_and_a_fair_comparison_for_each():
    tasks = read_sweep("oper", "x").tasks
    words = {task.words[1:] for task in tasks}
    assert {w[1] for w in words} == {"bc", "td3-bc", "iql", "cql", "onestep"}
    parse = make_parser().parse_args
    configs = [described_run(parsed, parsed.env) for w in {t.words for t in tasks}
               if (parsed := parse(["train", *w])).data == "d4rl:hopper-medium-v2"]  # fmt: skip
    uniform = [config.algorithm for config in configs if config.rebalance.weights.method == "uniform"]
    assert all(config.algorithm in uniform for config in configs)


def test_a_dry_run_shows_the_slurm_script_and_writes_nothing(tmp_path, capsys):
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    assert main(["sweep", path, "--out", str(out), "--launch", "slurm", "--chunk", "3", "--dry-run"]) == 0
    assert "#SBATCH --array=0-1\n" in capsys.readouterr().out
    assert not out.exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_template_that_is_wrong_or_missing_is_refused_before_anything_is_written(there, tmp_path, capsys):
    path = small_sweep(tmp_path, updates=50)
    wrong = Path(write(tmp_path, "#!/bin/bash\necho ${SLURM_JOB_ID} {nothing}\n", "t.sbatch"))
    template = wrong if there else tmp_path / "gone.sbatch"
    words = ["sweep", path, "--out", str(tmp_path / "out"), "--launch", "slurm", "--template", str(template)]
    assert main(words) == 1
    assert ("in braces" if there else "cannot be read") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("screen") is None, reason="screen is not installed")
def test_screens_share_the_tasks_and_really_start(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "python-of-test", f'sleep 0.3; echo "$@" >> {tmp_path}/said')
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python-of-test"))
    monkeypatch.setattr(screen, "usable_cores", lambda: 7)
    names = start_screens(fake_sweep(tmp_path, 0), range(1, 6), ["sweep", "x.toml"], screens=2)
    assert len(names) == 2
    deadline = time.monotonic() + 20
    while not (tmp_path / "said").exists() or (tmp_path / "said").read_text().count("\n") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ran = [line.split("x.toml ")[1] for line in (tmp_path / "said").read_text().splitlines()]
    assert sorted(ran) == ["--jobs 3 --tasks 1:4", "--jobs 3 --tasks 4:6"]


@pytest.mark.parametrize(("jobs", "gpus", "cores"), [(None, 0, "1"), (4, 0.25, None)])
def test_a_ray_task_asks_for_its_share_of_a_gpu_or_for_one_core(jobs, gpus, cores, tmp_path, monkeypatch):
    asked, sent = [], []

    def remote(**resources):
        asked.append(resources)
        return lambda function: SimpleNamespace(remote=lambda *words: sent.append(words) or len(sent))

    fake = SimpleNamespace(
        init=lambda **how: None,
        remote=remote,
        get=lambda job: 0,
        wait=lambda jobs, **how: (jobs[:1], jobs[1:]),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    sweep, events = fake_sweep(tmp_path, 0, 1), []
    run_on_ray(sweep, sweep.tasks, events.append, address=None, jobs_per_gpu=jobs)
    assert [(one["num_cpus"], one["num_gpus"]) for one in asked] == [(1, gpus)]
    assert [words[-1].get(CORES) for words in sent] == [cores, cores]
    assert [event.kind for event in events] == ["queued", "queued", "finished", "finished"]


def test_a_ray_task_that_its_node_cannot_start_fails_alone(tmp_path, monkeypatch):
    def get(job):
        if job == 1:
            raise OSError("RayTaskError\nno such folder: /scratch")
        return 0

    fake = SimpleNamespace(
        init=lambda **how: None,
        remote=lambda **resources: (
            lambda function: SimpleNamespace(remote=lambda *words: jobs.append(len(jobs) + 1) or jobs[-1])
        ),
        get=get,
        wait=lambda jobs, **how: (jobs[:1], jobs[1:]),
    )
    jobs: list[int] = []
    monkeypatch.setitem(sys.modules, "ray", fake)
    sweep, events = fake_sweep(tmp_path, 0, 1), []
    assert not run_on_ray(sweep, sweep.tasks, events.append, address=None)
    assert [event.kind for event in events] == ["queued", "queued", "failed", "finished"]
    found = standing_of(sweep, sweep.tasks[0])
    assert (found.state, found.error) == ("failed", "could not start on its node: no such folder: /scratch")


def test_a_containers_line_mounts_what_its_task_names(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mix.npz").touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "cache"))
    task = Task(("../data/mix.npz", "--algorithm", "bc"), Path("../out/mix/bc"), 0)
    (line,) = as_docker([task], "reweigh:1")
    words = shlex.split(line)
    folders = [words[i + 1].partition(":")[0] for i, word in enumerate(words) if word == "--volume"]
    assert folders == [str(tmp_path / name) for name in ("here", "cache", "out/mix", "data")]
    assert words[: words.index("&&")] == ["mkdir", "-p", *folders]
    assert f"REWEIGH_CACHE={tmp_path / 'cache'}" in words


def test_a_containers_line_mounts_weights_and_datasets_wherever_they_are(tmp_path, monkeypatch):
    for name in ("here", "weights", "learned", "minari", "d4rl"):
        (tmp_path / name).mkdir()
    (tmp_path / "weights/w.npz").touch()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("REWEIGH_CACHE", str(tmp_path / "here/cache"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("REWEIGH_D4RL", str(tmp_path / "d4rl"))
    weights = (f"0.5*{tmp_path}/weights/w.npz+0.5*uniform", f"oper-a-file:path={tmp_path}/learned/w_%s.npy")
    for chosen, folder in zip(weights, ("weights", "learned"), strict=True):
        task = Task(("minari:a/b-v0", "--algorithm", "bc", "--weights", chosen), Path("out/bc"), 0)
        words = shlex.split(as_docker([task], "reweigh:1")[0])
        folders = [words[i + 1].partition(":")[0] for i, word in enumerate(words) if word == "--volume"]
        assert folders == [str(tmp_path / name) for name in ("here", folder, "d4rl", "minari")]
        assert f"MINARI_DATASETS_PATH={tmp_path / 'minari'}" in words


def test_a_slurm_folder_may_have_a_space_in_its_name(tmp_path):
    sweep = Sweep(tmp_path / "my sweep", ())
    script = slurm_script(sweep, range(3), ["sweep", "x.toml"], chunk=1, jobs=1)
    assert "#SBATCH --job-name=my-sweep\n" in script
    assert f'#SBATCH --output="{tmp_path}/my sweep/slurm/%A_%a.log"\n' in script
    for template in ("{first[0]}", "{folder.foo}"):
        with pytest.raises(ConfigError, match="in braces in the template"):
            slurm_script(sweep, range(3), ["sweep"], chunk=1, jobs=1, template=template)


def test_a_refused_array_that_is_longer_than_most_clusters_take_says_so(tmp_path, monkeypatch):
    fake_client(tmp_path, monkeypatch, "sbatch", "echo Invalid job array specification >&2; exit 1")
    sweep = fake_sweep(tmp_path, 0)
    for tasks, limit, said in ((range(1001), "", False), (range(1002), "", True), (range(1002), "%50", True)):
        template = SLURM_TEMPLATE.replace("{array}", "{array}" + limit)
        script = slurm_script(sweep, tasks, ["sweep", "x.toml"], chunk=1, jobs=1, template=template)
        with pytest.raises(RunError, match="Invalid job array") as caught:
            submit_to_slurm(sweep, script, SLURM_TEMPLATE, ())
        assert ("the last one here is 1001: raise --chunk" in str(caught.value)) == said


@pytest.mark.parametrize(
    "words",
    [
        "--jobs-per-gpu 0 --gpus 0",
        "--jobs 2 --gpus 0",
        "--chunk 0 --launch slurm",
        "--jobs -1 --launch screen",
        "--gpus 0 --launch slurm",
        "--chunk 2",
        "--jobs 0 --launch script",
        "--image x --launch script",
        "--retry-failed --launch docker",
        "--sbatch=--qos=x --launch ray",
        "--jobs-per-gpu 2",
    ],
)
def test_a_flag_that_means_nothing_where_a_sweep_runs_is_refused_in_one_line(words, tmp_path, capsys):
    path = small_sweep(tmp_path, updates=50)
    assert main(["sweep", path, "--out", str(tmp_path / "out"), *words.split()]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert words.partition(" ")[0].partition("=")[0] in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('weights = "aww"', "expected --weights"),
        ('weights = "aw:temprature=1"', "temprature"),
        ('sampler = "AW-x"', "AW-x"),
        ('set = "algorithm.expectil=0.9"', "expectil"),
        ('data = "missing.hdf5"', "missing.hdf5"),
    ],
)
def test_a_value_that_a_training_would_refuse_is_refused_before_any_begins(line, said, tmp_path, capsys):
    own = "" if line.startswith("data") else 'data = "builtin:bandit"\n'
    path = write(tmp_path, f'[[runs]]\nalgorithm = "iql"\n{own}{line}\n')
    assert main(["sweep", path, "--out", str(tmp_path / "out"), "--dry-run"]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert said in error


def test_finished_runs_of_other_settings_are_not_taken_for_the_sweeps_own(tmp_path, capsys):
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    words = ["sweep", path, "--out", str(out), "--launch", "script"]
    assert main(words) == 0
    before = (out / "reweigh-tasks.json").read_bytes()
    small_sweep(tmp_path, updates=60)
    for command in (words, ["status", path, "--out", str(out)]):
        capsys.readouterr()
        assert main(command) == 1
        assert "--num-updates 50" in capsys.readouterr().err
    assert (out / "reweigh-tasks.json").read_bytes() == before


def test_a_sweep_remembers_what_was_asked_before(tmp_path):
    sweep = fake_sweep(tmp_path, 0)
    write_requests(sweep)
    write_requests(fake_sweep(tmp_path, 3))
    (asked,) = read_requests(tmp_path).values()
    assert asked.seeds == (0, 3)
    (tmp_path / "reweigh-tasks.json").write_text('{"runs": {"r": {"words": [1], "seeds": []}}}')
    with pytest.raises(RunError, match="cannot be read"):
        write_requests(sweep)


def test_sweeps_that_start_at_once_in_one_folder_write_down_both(tmp_path):
    first, second = fake_sweep(tmp_path, 0), fake_sweep(tmp_path, 3)
    with ThreadPoolExecutor() as pool, held(tmp_path / "reweigh-tasks.lock", wait=False):
        begun = pool.submit(write_requests, second)
        time.sleep(0.2)
        # What the first writes while the second waits is not written over.
        plain = {str(task.run.relative_to(tmp_path)): list(task.words) for task in first.tasks}
        runs = {run: {"words": words, "seeds": [0]} for run, words in plain.items()}
        write_text(tmp_path / "reweigh-tasks.json", json.dumps({"runs": runs}))
        assert not begun.done()
    begun.result(timeout=10)
    (asked,) = read_requests(tmp_path).values()
    assert asked.seeds == (0, 3)


def test_a_sweep_can_be_made_and_run_in_python(tmp_path):
    runs = [{"data": "builtin:bandit", "algorithm": ["bc"], "hidden": [[8]], "num-updates": 20}]
    sweep = reweigh.make_sweep(runs, [0], tmp_path)
    (standing,) = reweigh.run_sweep(sweep, jobs=1)
    assert (standing.state, standing.update) == ("finished", 20)
    assert read_requests(tmp_path)


def test_a_missing_or_refusing_client_is_said_in_one_line(tmp_path, monkeypatch):
    sweep = fake_sweep(tmp_path, 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="expected screen on the PATH"):
        start_screens(sweep, range(1), ["sweep"], screens=1)
    fake_client(tmp_path, monkeypatch, "sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(RunError, match="invalid partition"):
        submit_to_slurm(sweep, "", "", [])


def test_status_says_what_is_finished_and_what_failed(tmp_path, capsys):
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    sweep = read_sweep(path, out)
    for task, score in ((sweep.tasks[0], 11.0), (sweep.tasks[1], None)):
        if score is not None:
            RunFolder(task.run).seed(task.seed).path.mkdir(parents=True)
            RunFolder(task.run).seed(task.seed).finish({"last_ten_score": score, "updates_per_second": 5.0})
        else:
            (out / "logs").mkdir(parents=True)
            (out / "logs" / f"{task.slug}.log").write_text("first\nreweigh train: out of luck\n")
            remember_failure(sweep, task, 1)
    assert main(["status", path, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "1 finished, 0 running, 1 failed, 2 waiting" in text
    assert "out of luck" in text
    assert main(["status", path, "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [task["state"] for task in said["tasks"]] == ["finished", "failed", "waiting", "waiting"]
    assert (said["finished"], said["running"], said["failed"], said["waiting"]) == (1, 0, 1, 2)
    assert said["core_hours_left"] == pytest.approx(3 * 50 / 5 / 3600)


def test_data_that_is_named_takes_the_place_of_a_shipped_sweeps_own(tmp_path):
    for name in ("aw", "oper", "mix-shares"):
        tasks = read_sweep(name, tmp_path, ["a.hdf5", "b.hdf5"]).tasks
        assert {task.words[0] for task in tasks} == {"a.hdf5", "b.hdf5"}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("mixed", ("trajectories", None)),
        ("mixed-segments", ("segments", None)),
        ("mixed-50000", ("trajectories", 50_000)),
    ],
)
def test_a_set_of_mixes_holds_the_form_that_it_is_called_by(name, form):
    suites = [suite_of(spec.removeprefix("suite:")) for spec in set_names()[name]]
    assert len(suites) == 32
    assert {(suite.kind, suite.size) for suite in suites} == {form}


def test_tasks_are_spread_over_the_gpus_that_are_named(tmp_path, monkeypatch):
    shown, sweep = [], fake_sweep(tmp_path, 0)

    class Started(subprocess.Popen):
        def __init__(self, command, **options):
            names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION", "JAX_PLATFORMS", CORES)
            shown.append(tuple(options["env"].get(name) for name in names))

    monkeypatch.setattr(subprocess, "Popen", Started)
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "JAX_PLATFORMS", CORES):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "logs").mkdir()
    slots = [*slots_of(None, ["5", "7"], 2), *slots_of(None, ["5"]), *slots_of(1)]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    slots += slots_of(1)
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    slots += slots_of(3)
    for slot in slots:
        _start(sweep, sweep.tasks[0], slot)
    shared = [(gpu, "0.450", None, None) for gpu in ("5", "7", "5", "7")]
    assert shown[:4] == shared
    assert shown[4] == ("5", None, None, None)
    assert shown[5:7] == [("3,4", None, "cpu", "1")] * 2, "a core's task leaves GPUs alone"
    assert shown[7:] == [(gpu, "0.450", None, None) for gpu in ("3", "4", "3")], "what Slurm has granted"


def test_only_the_tasks_of_a_range_are_started(tmp_path, capsys):
    path, out = small_sweep(tmp_path, updates=50), tmp_path / "out"
    assert main(["sweep", path, "--out", str(out), "--launch", "script", "--tasks", "1:3"]) == 0
    assert capsys.readouterr().out.splitlines() == as_commands(read_sweep(path, out).tasks[1:3])


def test_failed_tasks_are_tried_again_on_request_alone(tmp_path, monkeypatch):
    path, out = small_sweep(tmp_path, updates=50, seeds="[0]"), tmp_path / "out"
    sweep, tried = read_sweep(path, out), []
    (out / "logs").mkdir(parents=True)
    remember_failure(sweep, sweep.tasks[0], 1)

    def run(sweep, tasks, slots, listen):
        tried.append(list(tasks))
        return False

    monkeypatch.setattr("reweigh.commands.sweeps.run_locally", run)
    assert main(["sweep", path, "--out", str(out)]) == 1
    assert main(["sweep", path, "--out", str(out), "--retry-failed"]) == 1
    assert tried == [[sweep.tasks[1]], list(sweep.tasks)]
