"""The share of the weight that a mix's good rows get: over all rows, and over episodes' first steps only.

Every policy passes the states in which episodes begin. There good rows are rarer than in the whole data,
because good episodes are long.

python benchmarks/early_share.py mix.hdf5 oper-a=a.npz dw=runs/iql-dw/seed-0/weights.npz --out early.md
"""

import argparse
from pathlib import Path

import numpy as np

from reweigh.datasets.load import load
from reweigh.priorities.by_return import AW, OperR, Shuffled, Top, Uniform, probability_by_return
from reweigh.priorities.file import check_fits, read_weights
from reweigh.transitions import Transitions

FIRST_STEPS = 20


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("files", nargs="*", help="NAME=weights.npz")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    transitions = load(arguments.data)
    lines = [
        f"| weights | all rows | first {FIRST_STEPS} steps | good row to bad row there |",
        "|---|--:|--:|--:|",
    ]
    for method in (Uniform(), Shuffled(), Top(), OperR(), AW()):
        found = probability_by_return(transitions, method).probability
        lines.append(row(method.method, found, transitions))
    for named in arguments.files:
        name, _, path = named.partition("=")
        weights = read_weights(Path(path))
        check_fits(weights, transitions, Path(path))
        lines.append(row(name, weights.probability, transitions))
    arguments.out.write_text("\n".join(lines) + "\n")


def row(name: str, probability: np.ndarray, transitions: Transitions) -> str:
    """One line: the good rows' share of the weight, overall and where episodes begin."""
    good, early = transitions.source == 1, transitions.step < FIRST_STEPS
    overall = probability[good].sum() / probability.sum()
    begin = probability[good & early].sum() / probability[early].sum()
    ratio = probability[good & early].mean() / probability[~good & early].mean()
    return f"| {name} | {overall:.3f} | {begin:.4f} | {ratio:.1f} |"


if __name__ == "__main__":
    main()
