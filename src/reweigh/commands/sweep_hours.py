"""How long one core would need for the rest of a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

from reweigh.config import DensityRatio, RunConfig, parts_of
from reweigh.experiment import stage_lengths
from reweigh.priorities.oper_a import OperA
from reweigh.sweeps.progress import Standing

_TYPICAL_RATE = {
    "td3-bc": 170.0, "iql": 120.0, "cql": 8.0, "bc": 20.0, "onestep": 4.0,
    "value": 210.0, "clone": 20.0, "sarsa": 14.0,
}  # fmt: skip
"""Updates per second on one core with the networks' usual widths, used until some are measured
(docs/results/speed.md; BC is as large as Onestep's clone)."""
# Fraction of that rate if density ratios are learned too.
_WITH_RATIOS = {"cql": 0.94}
_WITH_RATIOS_ELSE = 0.59


def hours_left(standings: Sequence[Standing], configs: Mapping[tuple[str, ...], RunConfig]) -> float:
    """Core-hours of unfinished tasks, at rates measured in this sweep or else typical ones.

    Neither evaluations nor what several tasks share (`hours_shared`) are counted.

    Args:
        standings: of all tasks.
        configs: the run that each task's words describe.
    """
    measured: dict[str, list[float]] = {}
    for standing in standings:
        if standing.updates_per_second:
            algorithm = configs[standing.task.words].algorithm.name
            measured.setdefault(algorithm, []).append(standing.updates_per_second)
    seconds = 0.0
    for standing in standings:
        if standing.state != "finished":
            config = configs[standing.task.words]
            known = measured.get(config.algorithm.name)
            rate = sum(known) / len(known) if known else _typical_rate(config)
            seconds += max(stage_lengths(config)[-1] - standing.update, 0) / rate
    return seconds / 3600


def hours_shared(planned: Sequence[tuple[RunConfig, int]]) -> float:
    """Core-hours of what runs on the same data share: OPER-A's values, Onestep's first two stages.

    Args:
        planned: runs, each with its seed.
    """
    seconds: dict[Any, float] = {}
    for config, run_seed in planned:
        for part in parts_of(config.rebalance.weights):
            for seed in part.value_seeds if isinstance(part, OperA) else ():
                key = config.data.spec, part.learning, seed
                seconds[key] = part.learning.num_updates / _TYPICAL_RATE["value"]
        if config.algorithm.name == "onestep":
            clone, value, _ = stage_lengths(config)
            key = config.data.spec, clone, value, run_seed
            seconds[key] = clone / _TYPICAL_RATE["clone"] + value / _TYPICAL_RATE["sarsa"]
    return sum(seconds.values()) / 3600


def _typical_rate(config: RunConfig) -> float:
    algorithm: Any = config.algorithm
    # Matrix products as wide as the hidden layers take most of the time.
    usual, own = (sum(width**2 for width in one.hidden) for one in (type(algorithm)(), algorithm))
    rate = _TYPICAL_RATE[algorithm.name] * usual / own
    if isinstance(config.rebalance, DensityRatio):
        rate *= _WITH_RATIOS.get(algorithm.name, _WITH_RATIOS_ELSE)
    return rate
