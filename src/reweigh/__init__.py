"""Offline reinforcement learning on data of mixed quality."""

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> its module. Imported on first use, so that `import reweigh` costs nothing.
_PUBLIC = {
    "load": "reweigh.loading",
    "Transitions": "reweigh.transitions",
    "Uniform": "reweigh.priorities.by_return",
    "OperR": "reweigh.priorities.by_return",
    "RW": "reweigh.priorities.by_return",
    "AW": "reweigh.priorities.by_return",
    "Top": "reweigh.priorities.by_return",
    "Oracle": "reweigh.priorities.by_return",
    "RewardWeights": "reweigh.priorities.by_return",
    "Shuffled": "reweigh.priorities.by_return",
    "probability_by_return": "reweigh.priorities.by_return",
    "summarize": "reweigh.priorities.summary",
    "read_weights": "reweigh.priorities.file",
    "weights_of": "reweigh.priorities.file",
    "WeightsFile": "reweigh.priorities.file",
    "WeightsPath": "reweigh.config",
    "write_weights": "reweigh.priorities.file",
    "build_alias_table": "reweigh.sampling",
    "draw_indices": "reweigh.sampling",
    "table_probability": "reweigh.sampling",
    "BCConfig": "reweigh.algorithms.bc",
    "TD3BCConfig": "reweigh.algorithms.td3_bc",
    "IQLConfig": "reweigh.algorithms.iql",
    "CQLConfig": "reweigh.algorithms.cql",
    "OnestepConfig": "reweigh.algorithms.onestep",
    "OperA": "reweigh.priorities.oper_a",
    "OperAFile": "reweigh.priorities.published",
    "ValueLearning": "reweigh.priorities.oper_a",
    "RunConfig": "reweigh.config",
    "DataConfig": "reweigh.datasets.load",
    "EvaluationConfig": "reweigh.config",
    "Resample": "reweigh.config",
    "Reweight": "reweigh.config",
    "DensityRatio": "reweigh.config",
    "Mixture": "reweigh.config",
    "RatioSettings": "reweigh.rebalance.density_ratio",
    "parse_sampler": "reweigh.options.sampler_strings",
    "with_defaults": "reweigh.options.presets",
    "set_up_jax": "reweigh.system.jax_setup",
    "check_algorithm": "reweigh.contract",
    "train": "reweigh.experiment",
    "Progress": "reweigh.running.resumable",
    "Interrupted": "reweigh.running.resumable",
    "make_sweep": "reweigh.sweeps.grid",
    "read_sweep": "reweigh.sweeps.grid",
    "run_sweep": "reweigh.sweeps.local",
    "Policy": "reweigh.policy",
    "load_policy": "reweigh.policy",
    "ReweighError": "reweigh.errors",
    "DatasetError": "reweigh.errors",
    "WeightsError": "reweigh.errors",
    "ConfigError": "reweigh.errors",
    "RunError": "reweigh.errors",
}

__all__ = ["__version__", *_PUBLIC]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'reweigh' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
