"""A sweep of 24 small tasks, killed three times with SIGKILL, compared with one left alone.

    python benchmarks/killed_sweep.py --out docs/results/killed-sweep.md

Each kill hits the sweep's process at a different time; its trainings end with it. Expected: the fourth start
completes it, no update has metrics twice, every state is bit for bit that of the sweep left alone, and no
finished task is trained again.
"""

import argparse
import datetime
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from reweigh.runs import RunFolder
from reweigh.sweeps.grid import Sweep, read_sweep

GRID = """
seeds = [0, 1, 2, 3, 4, 5]

[[runs]]
data = "builtin:hopper-random-expert"
algorithm = "td3-bc"
weights = ["uniform", "aw", "oper-r", "shuffled"]
hidden = [[32, 32]]
batch-size = 32
num-updates = 4000
checkpoint-interval = 500
eval-interval = 2000
eval-episodes = 2
"""
KILLED_AFTER = (3, 10, 17)


def finished(sweep: Sweep) -> set[str]:
    """Tasks that have a result."""
    return {task.slug for task in sweep.tasks if RunFolder(task.run).seed(task.seed).finished}


def start(grid: Path, out: Path) -> subprocess.Popen:
    """Start the sweep in its own process; its output goes to a file."""
    command = [sys.executable, "-m", "reweigh", "sweep", str(grid), "--out", str(out)]
    with open(f"{out}.log", "ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def kill_at(process: subprocess.Popen, sweep: Sweep, count: int) -> set[str]:
    """Kill once `count` tasks are finished and others under way; return the finished ones."""
    while len(finished(sweep)) < count and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Its trainings save their state when they lose their parent; only then is the count final.
    while any(RunFolder(task.run).seed(task.seed).in_use for task in sweep.tasks):
        time.sleep(0.05)
    return finished(sweep)


def twice(sweep: Sweep) -> int:
    """Number of updates whose metrics a file repeats."""
    count = 0
    for task in sweep.tasks:
        text = (task.run / f"seed-{task.seed}" / "metrics.csv").read_text(encoding="utf-8")
        updates = [line.split(",")[0] for line in text.splitlines()[1:]]
        count += len(updates) - len(set(updates))
    return count


def differing(one: Sweep, other: Sweep) -> int:
    """Number of tasks whose final states or evaluations differ."""
    count = 0
    for left, right in zip(one.tasks, other.tasks, strict=True):
        seeds = [RunFolder(task.run).seed(task.seed) for task in (left, right)]
        states = [seed.load_checkpoint().leaves for seed in seeds]
        returns = [seed.load_returns().episode_return for seed in seeds]
        same = all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
        count += not (same and np.array_equal(*returns))
    return count


def main() -> None:
    """Run both sweeps and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        grid = Path(folder) / "grid.toml"
        grid.write_text(GRID, encoding="utf-8")
        killed, whole = (read_sweep(str(grid), Path(folder) / name) for name in ("killed", "whole"))
        at_kill = []
        for count in KILLED_AFTER:
            before = finished(killed)
            at_kill.append(kill_at(start(grid, killed.folder), killed, count))
            assert before <= at_kill[-1]
        stamps = {slug: _stamp(killed, slug) for slug in at_kill[-1]}
        codes = [start(grid, sweep.folder).wait() for sweep in (killed, whole)]
        again = sum(_stamp(killed, slug) != stamp for slug, stamp in stamps.items())
        machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
        total = len(killed.tasks)
        rows = [
            *((f"finished at SIGKILL {n}", f"{len(found)} of {total}") for n, found in enumerate(at_kill, 1)),
            (f"finished after the fourth start (exit {codes[0]})", f"{len(finished(killed))} of {total}"),
            ("finished tasks that were trained again", again),
            ("metrics of an update that stand twice", twice(killed)),
            ("tasks whose state or evaluations differ from the sweep left alone", differing(killed, whole)),
        ]
    text = (
        "# A sweep killed three times\n\n"
        f"`benchmarks/killed_sweep.py`, {datetime.date.today()}, {machine}; {total} tasks of TD3+BC (32x32, "
        "4 000 updates, a checkpoint every 500), two at a time.\n\n| | |\n|---|--:|\n"
        + "".join(f"| {what} | {found} |\n" for what, found in rows)
    )
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


def _stamp(sweep: Sweep, slug: str) -> int:
    task = next(task for task in sweep.tasks if task.slug == slug)
    return (task.run / f"seed-{task.seed}" / "result.json").stat().st_mtime_ns


if __name__ == "__main__":
    main()
