"""A table of density-ratio runs of one seed, for choosing K and F.

python benchmarks/ratio_tuning.py runs/tune/* --seed 100 --out tuning.md
"""

import argparse
from pathlib import Path

import numpy as np

from results_table import good_mass, metrics_of
from reweigh.datasets.scores import normalized_score, reference_of_env
from reweigh.runs import RunFolder

LAST = 5


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    lines = [
        f"| algorithm | K | F | last {LAST} | all evaluations | AUC at the end | ESS/B | expert |",
        "|---|--:|--:|--:|---|--:|--:|--:|",
        *(row(RunFolder(path), arguments.seed) for path in arguments.runs),
    ]
    arguments.out.write_text("\n".join(lines) + "\n")


def row(folder: RunFolder, seed: int) -> str:
    """One run's row."""
    config, result = folder.config(), folder.seed(seed).result()
    reference = reference_of_env(result["env"])
    assert reference is not None
    returns = folder.seed(seed).load_returns().episode_return.mean(axis=1)
    scores = normalized_score(returns, reference)
    metrics, ratio = metrics_of(folder.seed(seed)), config["rebalance"]["ratio"]
    cells = [config["algorithm"]["type"], f"{ratio['divergence']:g}", f"{ratio['flow']:g}"]
    cells += [f"{np.mean(scores[-LAST:]):.1f}", ", ".join(f"{score:.0f}" for score in scores)]
    cells += [f"{metrics['ratio/auc'][-1]:.3f}", f"{metrics['ratio/ess'][-1]:.2f}"]
    cells.append(f"{good_mass(folder.seed(seed)):.2f}")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
