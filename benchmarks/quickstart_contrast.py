"""Quickstart's comparison on other datasets: a harder mix, and one where weights bring nothing.

python benchmarks/quickstart_contrast.py DATA ... --out docs/results/contrast.md --runs runs/contrast
"""

import argparse
from pathlib import Path

from reweigh import quickstart
from reweigh.datasets.load import load
from reweigh.evaluation import action_bounds
from reweigh.parallel import train_in_processes
from updates_per_second import describe_machine

SEEDS = range(5)


def main() -> None:
    """Train and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="datasets")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [
        "# Quickstart's comparison on other data",
        "",
        *describe_machine("jax", "gymnasium", "mujoco"),
        f"Behaviour cloning as in `reweigh quickstart` ({quickstart.NUM_UPDATES} updates, 64x64), seeds "
        f"{SEEDS[0]} to {SEEDS[-1]}. IQM of the last evaluation and 95 % bootstrap interval; all seeds.",
        "",
        "| dataset | its mean, top decile, best | weights | IQM | seeds | ESS/N | good share |",
        "|---|---|---|--:|---|--:|--:|",
    ]
    for name in arguments.data:
        transitions = load(name, bounds_of=action_bounds)
        compared = quickstart.arms(arguments.runs / Path(name).stem, name)
        train_in_processes(quickstart.jobs(compared, SEEDS), lambda message: None)
        own = quickstart.data_scores(transitions)
        for row in quickstart.results(compared, SEEDS, transitions):
            cells = [
                Path(name).stem,
                f"{own.mean:.1f}, {own.top_decile:.1f}, {own.best:.1f}",
                row.label,
                f"{row.iqm:.1f} [{row.low:.1f}, {row.high:.1f}]",
                ", ".join(f"{score:.1f}" for score in row.scores),
                f"{row.ess_fraction:.2f}",
                "" if row.good_mass is None else f"{row.good_mass:.2f}",
            ]
            lines.append(f"| {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    lines += ["", "Made by `benchmarks/quickstart_contrast.py`.", ""]
    arguments.out.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
