"""A method's settings before a user changes any: by D4RL domain, by algorithm, by paper."""

from dataclasses import replace
from typing import Any

from reweigh.priorities.by_return import AW, RW, FromReturns, OperR
from reweigh.priorities.oper_a import FromAdvantages, OperA
from reweigh.priorities.published import OperAFile

# This code drops timeout rows from episodes, and weighs after transforming the rewards; the scale of
# locomotion's rewards cancels in the min-max.
IQL_CODE = ("aw-iql", "dw-iql")

PAPERS = {
    "oper": None,
    "aw-iql": "iql",
    "aw-td3bc": "td3-bc",
    "aw-cql": "cql",
    "dw-iql": "iql",
    "dw-td3bc": "td3-bc",
    "dw-cql": "cql",
}
"""Presets of papers, and the algorithm of each; None: several."""

BY_DOMAIN = (OperR, OperA, OperAFile)
"""Methods whose published settings differ between domains."""


def published_defaults(
    method: Any, *, domain: str | None = None, algorithm: str | None = None, paper: str | None = None
) -> Any:
    """A method with its authors' settings.

    Args:
        method: with this library's defaults.
        domain: mujoco, antmaze, kitchen or adroit; None: unknown.
        algorithm: the one trained with the weights; None: unknown.
        paper: one of `PAPERS`, for its arithmetic; None: ours.
    """
    if isinstance(method, OperR) and domain == "antmaze":
        method = replace(method, base=0.2)
    if isinstance(method, RW | AW) and algorithm == "cql":
        method = replace(method, temperature=0.2)
    if isinstance(method, FromAdvantages) and domain:
        method = oper_a_for(method, domain)
    return as_paper(method, paper, domain, algorithm) if paper else method


def as_paper(method: Any, paper: str, domain: str | None, algorithm: str | None) -> Any:
    """The method with the arithmetic of the authors' own code, where it differs.

    Args:
        method: its other settings are kept.
        paper: one of `PAPERS`.
        domain: of D4RL; None: unknown.
        algorithm: the one trained with the weights; None: unknown.
    """
    if isinstance(method, AW):
        method = replace(method, guard=False)
    if isinstance(method, FromReturns) and paper in ("oper", *IQL_CODE):
        method = replace(method, kept_rows_only=True)
    if isinstance(method, FromReturns) and paper in IQL_CODE and domain == "antmaze":
        method = replace(method, reward_shift=-1.0)
    if paper == "oper" and isinstance(method, FromAdvantages) and algorithm in ("bc", "td3-bc", "onestep"):
        method = replace(method, clip_without_std=False)
    return as_published(method) if paper == "oper" and isinstance(method, OperA) else method


def oper_a_for(method: FromAdvantages, domain: str) -> FromAdvantages:
    """The method with the published settings of a D4RL domain.

    Args:
        method: `OperA`, or published weights; settings that do not depend on the domain are kept.
        domain: mujoco, antmaze, kitchen or adroit.
    """
    method = replace(method, std={"mujoco": 2.0, "antmaze": 5.0}.get(domain, 0.5))
    if not isinstance(method, OperA):
        return method
    if domain == "antmaze":
        return replace(method, learning=replace(method.learning, reward="minus-one"))
    if domain in ("kitchen", "adroit"):
        half = 500_000
        learning = replace(method.learning, steps=5, first_stage_updates=half, stage_updates=half)
        return replace(method, learning=learning)
    return method


def as_published(method: OperA) -> OperA:
    """The method with the arithmetic of OPER's own code, where it differs.

    Args:
        method: its other settings are kept.
    """
    learning = replace(method.learning, timeouts_end=True, constant_power=True, unshifted_sums=True)
    return replace(method, learning=learning)
