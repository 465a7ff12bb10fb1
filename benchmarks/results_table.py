"""A table of finished runs on one dataset: every seed, IQM with interval, the dataset's own returns.

python benchmarks/results_table.py mix.hdf5 runs/iql-aw runs/iql-uniform ... --out mix.md

An existing page keeps the rows of runs that are not named again, so that it grows as runs finish.
"""

import argparse
import csv
import datetime
import json
import re
from pathlib import Path

import numpy as np

from reweigh.datasets.describe import episode_scores
from reweigh.datasets.load import load
from reweigh.datasets.scores import normalized_score, reference_of_env
from reweigh.priorities.file import read_weights
from reweigh.runs import RunFolder
from reweigh.seed_folder import SeedFolder
from reweigh.statistics import interval

SEEDS = (0, 1, 2)
ALGORITHMS = ("bc", "td3-bc", "iql", "cql", "onestep")
RATIO_UPDATES = (1_000, 10_000, 50_000, 100_000)
BOOTSTRAP = {"num_resamples": 50_000, "seed": 0}


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--title", help="of the page (default: the recipe in a mix's file)")
    arguments = parser.parse_args()
    transitions = load(arguments.data)
    reference = reference_of_env(transitions.info.env or "")
    assert reference is not None
    attributes = transitions.info.attributes
    lines = [f"# {arguments.title or describe_mix(attributes)}", "", *mix_command(attributes)]
    own = episode_scores(transitions)
    scores = [f"{normalized_score(np.array(value), reference):.1f}" for value in own]
    lines += [
        "| the dataset itself | mean episode | top decile | best episode |",
        "|---|--:|--:|--:|",
        f"| return | {own[0]:.0f} | {own[1]:.0f} | {own[2]:.0f} |",
        f"| normalized score | {scores[0]} | {scores[1]} | {scores[2]} |",
        "",
        "Normalized score, mean of the last ten evaluations (10 episodes each) and last evaluation alone:",
        "",
        "| algorithm | weights | updates | last ten: IQM [95 %] | seeds | last: IQM [95 %] | seeds |",
        "|---|---|--:|--:|---|--:|---|",
    ]
    folders = [RunFolder(path) for path in arguments.runs]
    old = arguments.out.read_text() if arguments.out.exists() else ""
    rows = {name_of(line): line for line in map(row, folders)}
    rows = rows | {name: line for name, line in rows_of(old).items() if name not in rows}
    lines += sorted(rows.values(), key=lambda line: ALGORITHMS.index(name_of(line)[0]))
    ratios = [folder for folder in folders if folder.config()["rebalance"]["type"] == "density-ratio"]
    if ratios:
        lines += ["", *ratio_table(ratios)]
    environments = [json.loads((run / "environment.json").read_text()) for run in arguments.runs]
    environment, versions = environments[0], environments[0]["versions"]
    lines += [
        "",
        f"{datetime.date.today()}; {commits(environments, old)}; {environment['machine']}, one core a seed; "
        f"jax {versions['jax']}, gymnasium {versions['gymnasium']}, mujoco {versions['mujoco']}. "
        f"Intervals: percentile bootstrap over seeds, {BOOTSTRAP['num_resamples']} resamples, seed 0; with "
        "three seeds the IQM is their mean, and the interval their range. "
        "Made by `benchmarks/results_table.py` from runs of `reweigh train`.",
        "",
    ]
    arguments.out.write_text("\n".join(lines))


def describe_mix(attributes: dict) -> str:
    """A title from the recipe in the file."""
    share = 100 * float(attributes["mix_ratio"])
    return (
        f"{attributes['mix_good']} at {share:g} % in {attributes['mix_bad']}, {attributes['mix_size']} rows, "
        f"{attributes['mix_kind']}, seed {attributes['mix_seed']}"
    )


def mix_command(attributes: dict) -> list[str]:
    """How to make the file, as Markdown lines; none if it is not a mix."""
    if "mix_good" not in attributes:
        return []
    kind = "" if attributes["mix_kind"] == "trajectories" else f" --kind {attributes['mix_kind']}"
    return [
        f"Made by `reweigh mix --good {attributes['mix_good']} --bad {attributes['mix_bad']} --ratio "
        f"{float(attributes['mix_ratio']):g} --size {attributes['mix_size']} --seed {attributes['mix_seed']}"
        f"{kind}`.",
        "",
    ]


def name_of(line: str) -> tuple[str, ...]:
    """What identifies a row of the table: algorithm, weights and updates."""
    return tuple(cell.strip() for cell in line.split("|")[1:4])


def rows_of(page: str) -> dict[tuple[str, ...], str]:
    """The rows of an existing page."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return {name_of(line): line for line in lines if name_of(line)[0] in ALGORITHMS and line.count("|") == 8}


def commits(environments: list[dict], page: str) -> str:
    """The commits of runs and of existing rows, and how many runs have none recorded."""
    found = [environment["commit"] for environment in environments]
    known = {commit[:12] for commit in found if commit} | set(re.findall(r"commit ([0-9a-f]{12})", page))
    parts = [f"commit {commit}" for commit in sorted(known)]
    if None in found:
        parts.append(f"{found.count(None)} of {len(found)} runs without a commit on record")
    return ", ".join(parts)


def label(rebalance: dict) -> str:
    """Weights, and how they act if not by resampling for all terms."""
    weights = rebalance["weights"]["type"]
    if rebalance["type"] == "density-ratio":
        return f"density ratio on {weights} batches"
    if rebalance["weights"].get("learning", {}).get("solver") == "fast":
        weights += " (fast)"
    parts = ("evaluation", "improvement", "constraint")
    if rebalance["type"] == "reweight":
        terms = [name for name in parts if rebalance[name]]
        return f"{weights}, reweighting " + ("all" if len(terms) == 3 else " and ".join(terms))
    coupled = weights == "uniform" or rebalance["terms"] == "all"
    return weights if coupled else f"{weights}, for {rebalance['terms']}"


def row(folder: RunFolder) -> str:
    """One run's row; unfinished seeds are named, never left out silently."""
    config = folder.config()
    finished = [folder.seed(seed).result() for seed in SEEDS if folder.seed(seed).finished]
    missing = [seed for seed in SEEDS if not folder.seed(seed).finished]
    cells = [config["algorithm"]["type"], label(config["rebalance"]), f"{config['num_updates']}"]
    for key in ("last_ten_score", "final_score"):
        scores = np.array([result[key] for result in finished])
        # With fewer seeds the interval would be narrower, and the row seem more certain than others.
        found = None if missing else interval(scores[:, None], "iqm", **BOOTSTRAP)
        cells.append(f"{found.estimate:.1f} [{found.low:.1f}, {found.high:.1f}]" if found else "-")
        cells.append(", ".join(f"{score:.1f}" for score in scores))
    if missing:
        cells[-1] += f" (not finished: seeds {', '.join(map(str, missing))})"
    return f"| {' | '.join(cells)} |"


def ratio_table(folders: list[RunFolder]) -> list[str]:
    """How well density ratios tell sources apart during training, and how uneven they end up."""
    first, *later = RATIO_UPDATES
    lines = [
        "Density ratios along training, mean over seeds: the chance that an expert row's ratio exceeds "
        "another's (of 20 000 rows); at the end the share of a batch that counts, and the share of all "
        "weight that the exported file gives to expert rows.",
        "",
        f"| algorithm | weights | K | F | AUC at {first} | {' | '.join(map(str, later))} | ESS/B | expert |",
        f"|---|---|--:|--:|{'--:|' * len(RATIO_UPDATES)}--:|--:|",
    ]
    for folder in folders:
        config = folder.config()
        settings = config["rebalance"]["ratio"]
        seeds = [metrics_of(folder.seed(seed)) for seed in SEEDS if folder.seed(seed).finished]
        found = [rows["ratio/auc"][np.isin(rows["update"], RATIO_UPDATES)] for rows in seeds]
        auc = np.mean(found, axis=0)
        ess = np.mean([rows["ratio/ess"][-1] for rows in seeds])
        mass = np.mean([good_mass(folder.seed(seed)) for seed in SEEDS if folder.seed(seed).finished])
        cells = [config["algorithm"]["type"], label(config["rebalance"])]
        cells += [f"{settings['divergence']:g}", f"{settings['flow']:g}", *(f"{value:.3f}" for value in auc)]
        lines.append(f"| {' | '.join(cells)} | {ess:.2f} | {mass:.2f} |")
    return lines


def metrics_of(folder: SeedFolder) -> dict[str, np.ndarray]:
    """The columns of a seed's metrics.csv."""
    with open(folder.path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def good_mass(folder: SeedFolder) -> float:
    """The good source's share of a seed's final weights."""
    return read_weights(folder.weights_path).meta["summary"]["good_mass"]


if __name__ == "__main__":
    main()
