"""Quickstart repeated with other seeds: how often do both weighted arms lie above uniform?

python benchmarks/quickstart_repeats.py --out docs/results/quickstart.md --runs runs/repeats
"""

import argparse
import json
import subprocess
import time
from pathlib import Path

from reweigh.system.processes import usable_cores
from updates_per_second import describe_machine

SEEDS = 5


def main() -> None:
    """Run `reweigh quickstart` and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cores = usable_cores()
    lines = [
        "# Quickstart, repeated with other seeds",
        "",
        *describe_machine("jax", "gymnasium", "mujoco"),
        f"{arguments.repetitions} repetitions of `reweigh quickstart`, {SEEDS} seeds an arm, no seed used "
        "twice. IQM of the last evaluation (10 episodes a seed) with its 95 % bootstrap interval over seeds; "
        "`clear` where the intervals of both weighted arms lie above that of uniform.",
        "",
        f"| seeds | uniform | OPER-R | AW | clear | seconds on {cores} core{'s' if cores > 1 else ''} |",
        "|---|--:|--:|--:|---|--:|",
    ]
    clear = 0
    for repetition in range(arguments.repetitions):
        seeds = [str(SEEDS * repetition + k) for k in range(SEEDS)]
        out = arguments.runs / str(repetition)
        began = time.time()
        command = ["reweigh", "quickstart", "--quiet", "--json", "--out", str(out), "--seeds", *seeds]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        seconds = time.time() - began
        arms = {arm["label"]: arm for arm in found["arms"]}
        above = min(arms["OPER-R"]["low"], arms["AW"]["low"]) > arms["uniform"]["high"]
        clear += above
        cells = [f"{a['iqm']:.1f} [{a['low']:.1f}, {a['high']:.1f}]" for a in arms.values()]
        cells += ["yes" if above else "no", f"{seconds:.0f}"]
        lines.append(f"| {seeds[0]} to {seeds[-1]} | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    data = found["data"]
    lines += [
        "",
        f"Clear in {clear} of {arguments.repetitions}. The dataset's mean episode scores {data['mean']:.1f}, "
        f"its best {data['best']:.1f}. Made by `benchmarks/quickstart_repeats.py`.",
        "",
    ]
    arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
