"""How well OPER-A's value seeds agree, and the fast solver with the published recipe.

python benchmarks/oper_a_agreement.py DATA recipe.npz fast.npz --out docs/results/oper-a.md

The files come from `reweigh weigh DATA --method oper-a ...` with several value seeds each; times are those
of the trainings in the cache.
"""

import argparse
from pathlib import Path

import numpy as np

from reweigh.datasets.load import load
from reweigh.priorities.file import WeightsFile, check_fits, read_weights
from reweigh.priorities.oper_a import ValueLearning
from reweigh.priorities.summary import auc, ranks
from reweigh.running.value_runs import learning_folder
from reweigh.runs import RunFolder
from reweigh.transitions import Transitions
from updates_per_second import describe_machine, write_section

PUBLISHED_UPDATES = 15_000_000


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("recipe", type=Path)
    parser.add_argument("fast", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    transitions = load(arguments.data)
    recipe, fast = read_weights(arguments.recipe), read_weights(arguments.fast)
    for weights, path in ((recipe, arguments.recipe), (fast, arguments.fast)):
        check_fits(weights, transitions, path)
    title = f"OPER-A on {Path(arguments.data).stem}"
    text = "\n".join(
        [*describe_machine("jax"), *agreement(recipe, fast), "", *times(transitions, recipe, fast)]
    )
    if (transitions.source >= 0).any():
        text += "\n" + "\n".join(["", *separation(transitions, recipe, fast)])
    print(text)
    write_section(arguments.out, title, text)


def agreement(recipe: WeightsFile, fast: WeightsFile) -> list[str]:
    """Spearman correlations, by iteration."""
    lines = [
        "Spearman correlation of weights. Recipe: the published one, shortened.",
        "",
        "| iteration | two recipe seeds | one recipe seed, mean of the others | fast mean, recipe mean | "
        "one fast seed, recipe mean | two fast seeds | std of recipe mean | of fast mean |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    assert recipe.priority is not None
    assert fast.priority is not None
    for j in range(recipe.priority.shape[1]):
        own, quick = recipe.priority[:, j], fast.priority[:, j]
        mean, quick_mean = own.mean(axis=0), quick.mean(axis=0)
        others = [np.delete(own, k, axis=0).mean(axis=0) for k in range(len(own))]
        cells = [
            pairs(own),
            np.mean([spearman(a, b) for a, b in zip(own, others, strict=True)]),
            spearman(quick_mean, mean),
            np.mean([spearman(row, mean) for row in quick]),
            pairs(quick),
            mean.std(),
            quick_mean.std(),
        ]
        lines.append(f"| {j + 1} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return lines


def times(transitions: Transitions, recipe: WeightsFile, fast: WeightsFile) -> list[str]:
    """Updates of all seeds, and their time at one rate, because both solvers run the same program."""
    rates, updates = [], {}
    for name, weights in (("recipe, shortened", recipe), ("fast", fast)):
        settings = weights.meta["settings"]
        plain = {**settings["learning"], "hidden": tuple(settings["learning"]["hidden"])}
        learning = ValueLearning(**plain)
        folder = learning_folder(transitions, learning)
        updates[name] = learning.num_updates * len(settings["value_seeds"])
        for stage in range(1, learning.stages + 1):
            for seed in settings["value_seeds"]:
                rates.append(RunFolder(folder / f"stage-{stage}").seed(seed).result()["updates_per_second"])
    rate = float(np.median(rates))
    updates["published recipe, in full"] = PUBLISHED_UPDATES
    lines = [
        f"| | updates of all seeds | core-seconds at {rate:.0f} updates/s, the median of all stages |",
        "|---|--:|--:|",
    ]
    return lines + [f"| {name} | {count:,} | {count / rate:.0f} |" for name, count in updates.items()]


def separation(transitions: Transitions, recipe: WeightsFile, fast: WeightsFile) -> list[str]:
    """AUC of good against bad transitions, by iteration."""
    lines = ["| iteration | AUC, recipe mean | AUC, fast mean |", "|--:|--:|--:|"]
    assert recipe.priority is not None
    assert fast.priority is not None
    for j in range(recipe.priority.shape[1]):
        cells = [auc(w.priority[:, j].mean(axis=0), transitions.source) for w in (recipe, fast)]
        lines.append(f"| {j + 1} | {' | '.join(f'{cell:.3f}' for cell in cells)} |")
    return lines


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation."""
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def pairs(rows: np.ndarray) -> float:
    """Mean Spearman correlation over all pairs of rows."""
    found = [spearman(rows[a], rows[b]) for a in range(len(rows)) for b in range(a + 1, len(rows))]
    return float(np.mean(found))


if __name__ == "__main__":
    main()
