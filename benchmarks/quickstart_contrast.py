"""Quickstart's comparison on other datasets: a harder mix, and one on which weights do not help.

python benchmarks/quickstart_contrast.py DATA ... --out docs/results/contrast.md --runs runs/contrast
"""

import argparse
from dataclasses import replace
from pathlib import Path

from reweigh.algorithms.bc import BCConfig
from reweigh.config import RunConfig
from reweigh.experiment import comparison_jobs
from reweigh.loading import load
from reweigh.running.parallel import train_in_processes
from reweigh.studies import quickstart
from updates_per_second import describe_machine


def main() -> None:
    """Train and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+", help="datasets")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trained-well", action="store_true", help="rate 1e-3 and normalized observations")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + 5)
    how = ", learning rate 1e-3, normalized observations" if arguments.trained_well else ""
    lines = [
        "# Quickstart's comparison on other data",
        "",
        *describe_machine("jax", "gymnasium", "mujoco"),
        f"Behavior cloning as in `reweigh quickstart` ({quickstart.NUM_UPDATES} updates, 64x64){how}, seeds "
        f"{seeds[0]} to {seeds[-1]}. IQM of the last evaluation and 95 % bootstrap interval; all seeds.",
        "",
        "| dataset | its mean, top decile, best | weights | IQM | seeds | ESS/N | good share |",
        "|---|---|---|--:|---|--:|--:|",
    ]
    for name in arguments.data:
        transitions = load(name)
        compared = quickstart.arms(arguments.runs / Path(name).stem, name)
        jobs = comparison_jobs(compared, seeds)
        if arguments.trained_well:
            jobs = [replace(job, config=trained_well(job.config)) for job in jobs]
        train_in_processes(jobs, lambda message: None)
        own = quickstart.data_scores(transitions)
        for row in quickstart.results(compared, seeds, transitions):
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


def trained_well(config: RunConfig) -> RunConfig:
    """Train more: quickstart's settings undertrain behavior cloning if several policies overlap."""
    assert isinstance(config.algorithm, BCConfig)
    algorithm = replace(config.algorithm, learning_rate=1e-3)
    return replace(config, algorithm=algorithm, normalize_observations=True)


if __name__ == "__main__":
    main()
