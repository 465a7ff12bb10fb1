"""How well and how steadily runs end: resampling compared with reweighting.

python benchmarks/steadiness.py runs/td3-bc-aw-reweight-all runs/td3-bc-aw-resample-policy ... --out table.md
"""

import argparse
from pathlib import Path

from reweigh.report.curves import learning_curve
from reweigh.report.labels import algorithm_name, settings_of, weights_name
from reweigh.runs import RunFolder

LAST = 10


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [
        "| algorithm | weights | how they act | terms | last ten | seeds | standard deviation within a seed "
        "| lowest evaluation |",
        "|---|---|---|---|--:|---|--:|--:|",
        *(row(RunFolder(path)) for path in arguments.runs),
    ]
    arguments.out.write_text("\n".join(lines) + "\n")


def row(folder: RunFolder) -> str:
    """One run's row: the last ten evaluations of its finished seeds."""
    settings = settings_of(folder.config())
    finished = [seed.seed for seed in folder.seeds() if seed.finished]
    last = learning_curve(folder, finished)[1][-LAST:]
    means = last.mean(axis=0)
    cells = [algorithm_name(settings), weights_name(settings), settings["rebalance.type"]]
    cells += [settings["rebalance.terms"], f"{means.mean():.1f}", ", ".join(f"{mean:.1f}" for mean in means)]
    cells += [f"{last.std(axis=0, ddof=1).mean():.1f}", f"{last.min():.1f}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
