"""The effect of weights on a dataset, in a few numbers."""

import numpy as np
from jaxtyping import Float64, Int8

from reweigh.priorities.scaling import ess_fraction
from reweigh.transitions import Transitions


def summarize(probability: Float64[np.ndarray, " N"], transitions: Transitions) -> dict[str, float]:
    """Numbers to check before training with weights.

    `ess_fraction` is ESS/N; `std` and `largest` are of the mean-1 weights; `share_at_zero` and
    `share_at_floor` are the shares of transitions with weight 0 and with the smallest weight;
    `weighted_return` is the mean whole return of a drawn transition's episode. If the sources of a mix are
    known: `good_mass` is the probability of the good source, and `auc` the chance that a good transition
    outweighs a bad one. An AUC of 1 with most of the mass on bad rows is possible: read both.

    Args:
        probability: `p`, sums to 1.
        transitions: the dataset.
    """
    weight = probability * len(probability)
    returns = transitions.episodes.whole_return[transitions.episode]
    summary = {
        "transitions": float(len(weight)),
        "ess_fraction": ess_fraction(probability),
        "std": float(weight.std()),
        "share_at_zero": float((weight == 0).mean()),
        "share_at_floor": float((weight == weight.min()).mean()),
        "largest": float(weight.max()),
        "mean_return": float(returns.mean()),
        "weighted_return": float((probability * returns).sum()),
    }
    source = transitions.source
    if (source == 1).any() and (source == 0).any():
        summary["good_share"] = float((source == 1).mean())
        summary["good_mass"] = float(probability[source == 1].sum())
        summary["auc"] = auc(weight, source)
    return summary


def auc(weight: Float64[np.ndarray, " N"], source: Int8[np.ndarray, " N"]) -> float:
    """Chance that a good transition outweighs a bad one, ties counting half (Mann-Whitney U).

    Args:
        weight: any numbers.
        source: 1 good, 0 bad, -1 unknown and ignored.
    """
    known = source >= 0
    good = source[known] == 1
    good_count, bad_count = int(good.sum()), int((~good).sum())
    # Excludes pairs of two good transitions.
    pairs = ranks(weight[known])[good].sum() - good_count * (good_count - 1) / 2
    return float(pairs / (good_count * bad_count))


def ranks(values: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Ranks from 0; ties share their mean rank.

    Args:
        values: any numbers.
    """
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    upper = np.cumsum(size)
    return (upper - (size + 1) / 2)[group]
