"""OPER-A's arithmetic: advantages from values, weights from advantages, stage by stage."""

import numpy as np
from jaxtyping import Float, Float64

from reweigh.datasets.views import TargetView, episode_end, generalized_advantage
from reweigh.errors import WeightsError
from reweigh.transitions import Transitions


def advantage(
    transitions: Transitions,
    view: TargetView,
    value: Float[np.ndarray, " N"],
    end_value: Float[np.ndarray, " N"],
    *,
    trace_decay: float | None = None,
    discount: float = 0.99,
) -> Float64[np.ndarray, " N"]:
    r"""How much better each recorded action was than the policy that recorded it.

    .. math:: A_i = y_i - V(s_i), \quad y_i = R_i + γ^k (1 - D) V(s_{i+k})

    OPER (arXiv 2306.05412), Section 4.2.

    Args:
        transitions: the dataset.
        view: the target's columns; of one step for GAE.
        value: `V(s_i)`.
        end_value: `V(s_{i+k})`; anything where `view.discount` is 0.
        trace_decay: `λ` of GAE; None: no GAE.
        discount: `γ`, for GAE.
    """
    # A terminal's next state may have any value, even infinite: 0 * inf would be NaN.
    bootstrap = np.where(view.discount > 0, end_value, 0.0) * view.discount
    difference = view.reward + bootstrap - value
    if trace_decay is None:
        return difference
    return generalized_advantage(
        difference, episode_end(transitions), discount=discount, trace_decay=trace_decay
    )


def next_weight(
    weight: Float64[np.ndarray, " N"], advantage: Float[np.ndarray, " N"]
) -> Float64[np.ndarray, " N"]:
    r"""One more stage: multiply by the advantage above the smallest, and restore the mean.

    .. math:: w^{(j)} = N w^{(j-1)} c / \sum w^{(j-1)} c, \quad c = N (A - \min A) / \sum (A - \min A)

    OPER (arXiv 2306.05412), Section 4.2. Equal advantages change nothing.

    Args:
        weight: `w^(j-1)`, mean 1.
        advantage: `A`; the smallest gets weight 0.

    Raises:
        WeightsError: an advantage is not finite, or no transition would count.
    """
    if not np.isfinite(advantage).all():
        bad = int((~np.isfinite(advantage)).sum())
        raise WeightsError(
            f"expected finite advantages, but {bad} of {len(advantage)} are not: value learning has "
            "diverged. Lower its learning rate."
        )
    shifted = np.asarray(advantage, np.float64) - advantage.min()
    if not shifted.sum() > 0:
        return weight
    product = weight * shifted
    if not product.sum() > 0:
        raise WeightsError(
            "expected some transition to keep a positive weight, but none does. Use fewer stages."
        )
    return len(weight) * product / product.sum()


def rescaled(weight: Float64[np.ndarray, " N"], *, std: float, eps: float) -> Float64[np.ndarray, " N"]:
    r"""Stretch weights that are spread less than requested (OPER's `scale`).

    .. math:: w \leftarrow \max(f (w - 1) + 1, ε) / mean, \quad f = std / std(w), \text{ where } f > 1

    Args:
        weight: `w`, mean 1.
        std: requested standard deviation, above 0; a smaller one than present changes nothing.
        eps: smallest weight before the last normalization.
    """
    spread = float(weight.std())
    if spread == 0 or std <= spread:
        return weight
    stretched = np.maximum(std / spread * (weight - 1) + 1, eps)
    return len(weight) * stretched / stretched.sum()


def iterated_by_reward(reward: Float[np.ndarray, " N"], stages: int) -> Float64[np.ndarray, "stages N"]:
    r"""OPER-A without states: values are exactly the weighted mean reward.

    .. math:: V = \sum_i p_i r_i, \quad A_i = r_i - V, \quad w^{(j)} \propto (r - \min r)^j

    Args:
        reward: `r`.
        stages: number of iterations.
    """
    weight = np.ones(len(reward))
    weights = []
    for _ in range(stages):
        value = float((weight * reward).mean())
        weight = next_weight(weight, np.asarray(reward, np.float64) - value)
        weights.append(weight)
    return np.stack(weights)
