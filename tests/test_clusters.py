"""Sweeps on real schedulers that lose a node: nothing is lost or run twice, the numbers are one machine's.

They take minutes, so they run when asked: REWEIGH_TEST_CLUSTERS=1 pytest tests/test_clusters.py
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import SHARED
from reweigh.errors import RunError
from reweigh.runs import RunFolder
from reweigh.sweeps.grid import Sweep, read_sweep
from reweigh.sweeps.local import run_locally, slots_of
from reweigh.sweeps.ray_cluster import run_on_ray

SLURM_SCRIPTS = SHARED / "tools"

pytestmark = pytest.mark.skipif(
    os.environ.get("REWEIGH_TEST_CLUSTERS") != "1", reason="set REWEIGH_TEST_CLUSTERS=1 for real schedulers"
)


def small_sweep(folder: Path, *, seeds: int, updates: int) -> Path:
    """Trainings of some seconds, with many checkpoints."""
    rng = np.random.default_rng(0)
    data = folder / "data.npz"
    np.savez(
        data,
        observations=rng.normal(size=(400, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (400, 2)).astype(np.float32),
        rewards=rng.normal(size=400).astype(np.float32),
        next_observations=rng.normal(size=(400, 3)).astype(np.float32),
        terminals=np.zeros(400, bool),
        timeouts=np.arange(400) % 20 == 19,
    )
    path = folder / "sweep.toml"
    path.write_text(
        f"""
seeds = {list(range(seeds))}

[[runs]]
data = "{data}"
algorithm = "td3-bc"
weights = ["uniform", "aw"]
hidden = [[16, 16]]
batch-size = 16
num-updates = {updates}
checkpoint-interval = {updates // 20}
no-evaluate = true
""",
        encoding="utf-8",
    )
    return path


def assert_same_numbers(one: Sweep, other: Sweep) -> None:
    for left, right in zip(one.tasks, other.tasks, strict=True):
        seeds = [RunFolder(task.run).seed(task.seed) for task in (left, right)]
        assert all(seed.finished for seed in seeds)
        for a, b in zip(*(seed.load_checkpoint().leaves for seed in seeds), strict=True):
            np.testing.assert_array_equal(a, b)
        updates = [
            line.split(",")[0] for line in (seeds[0].path / "metrics.csv").read_text().splitlines()[1:]
        ]
        assert len(updates) == len(set(updates))


def at_a_checkpoint(sweep: Sweep) -> None:
    """Wait until something would be lost."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if any((task.run / f"seed-{task.seed}" / "checkpoint.npz").exists() for task in sweep.tasks):
            return
        time.sleep(0.05)
    raise AssertionError("no task began")


def test_ray_goes_on_when_a_node_is_lost_and_ends_with_the_numbers_of_one_machine(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'reweigh[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    path = small_sweep(tmp_path, seeds=2, updates=20_000)
    sweep, events = read_sweep(str(path), tmp_path / "ray"), []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes()

        def lose_a_node() -> None:
            at_a_checkpoint(sweep)
            cluster.remove_node(nodes[0], allow_graceful=False)

        loss = threading.Thread(target=lose_a_node)
        loss.start()
        run_on_ray(sweep, sweep.tasks, events.append, address=cluster.address)
        loss.join()
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()
    assert [event.kind for event in events].count("finished") == len(sweep.tasks)
    here = read_sweep(str(path), tmp_path / "here")
    run_locally(here, here.tasks, slots_of(2), lambda event: None)
    assert_same_numbers(sweep, here)


@pytest.mark.parametrize(("address", "said"), [("127.0.0.1:1", "nobody answers"), ("auto", "there is none")])
def test_a_ray_cluster_that_is_not_there_is_said_in_one_line(address, said, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'reweigh[ray]'")
    sweep = read_sweep(str(small_sweep(tmp_path, seeds=1, updates=100)), tmp_path / "ray")
    with pytest.raises(RunError, match=said) as caught:
        run_on_ray(sweep, sweep.tasks, lambda event: None, address=address)
    assert "\n" not in str(caught.value)


def lose_slurm_node(name: str, spool: Path) -> None:
    """Kill a node's daemon, then its steps, then what they had started, without a word to the controller."""
    os.kill(int((spool / f"slurmd-{name}.pid").read_text()), signal.SIGKILL)
    mine, steps = [], set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if f"SLURMD_NODENAME={name}".encode() in environment:
                mine.append(int(process.name))
                if (Path("/proc") / str(parent) / "comm").read_text().startswith("slurmstepd"):
                    steps.add(parent)
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    for pid in [*steps, *mine]:
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)


def test_slurm_goes_on_when_a_node_is_lost_and_ends_with_the_numbers_of_one_machine(tmp_path):
    if not (shutil.which("slurmctld") and os.geteuid() == 0 and (SLURM_SCRIPTS / "slurm_up.sh").exists()):
        pytest.skip("no slurmctld, not root, or no script that starts one")
    path = small_sweep(tmp_path, seeds=2, updates=20_000)
    sweep = read_sweep(str(path), tmp_path / "on slurm")
    spool = tmp_path / "cluster"
    subprocess.run(
        ["bash", SLURM_SCRIPTS / "slurm_up.sh", spool, "2"],
        env=os.environ | {"DBD": "0"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    try:
        command = [sys.executable, "-m", "reweigh", "sweep", str(path), "--out", str(sweep.folder)]
        subprocess.run([*command, "--launch", "slurm"], check=True, cwd=tmp_path)
        at_a_checkpoint(sweep)
        lose_slurm_node("n1", spool)
        deadline = time.monotonic() + 400
        while not all(RunFolder(task.run).seed(task.seed).finished for task in sweep.tasks):
            assert time.monotonic() < deadline, "not finished"
            time.sleep(0.5)
    finally:
        subprocess.run(["bash", SLURM_SCRIPTS / "slurm_down.sh", spool], check=False)
    here = read_sweep(str(path), tmp_path / "here")
    run_locally(here, here.tasks, slots_of(2), lambda event: None)
    assert_same_numbers(sweep, here)
