"""A trained policy in NumPy alone: what evaluation runs and `policy.npz` holds."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from reweigh.atomic import atomic_path, read_npz
from reweigh.datasets.normalizer import Normalizer
from reweigh.errors import RunError


@dataclass(frozen=True)
class Policy:
    """Observation -> action in the environment's units."""

    layers: tuple[tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_"]], ...]
    """Kernel and bias of each layer, ReLU between them."""
    squash: bool
    """`tanh` on the last layer, else a clip to [-1, 1]."""
    normalizer: Normalizer
    action_low: Float32[np.ndarray, " A"]
    action_high: Float32[np.ndarray, " A"]
    meta: dict[str, Any] = field(default_factory=dict)

    def __call__(self, observation: Float[np.ndarray, "*B S"]) -> Float32[np.ndarray, "*B A"]:
        """Act greedily. Works on one observation or a batch."""
        x = self.normalizer(np.asarray(observation, np.float32))
        for kernel, bias in self.layers[:-1]:
            x = np.maximum(x @ kernel + bias, 0)
        kernel, bias = self.layers[-1]
        action = x @ kernel + bias
        action = np.tanh(action) if self.squash else np.clip(action, -1, 1)
        return self.action_low + (action + 1) / 2 * (self.action_high - self.action_low)


def save_policy(path: Path, policy: Policy) -> None:
    """Write a policy, whole or not at all."""
    arrays: dict[str, Any] = {
        "squash": np.array(policy.squash),
        "mean": policy.normalizer.mean,
        "scale": policy.normalizer.scale,
        "action_low": policy.action_low,
        "action_high": policy.action_high,
        "meta": np.array(json.dumps(policy.meta)),
    }
    for number, (kernel, bias) in enumerate(policy.layers):
        arrays[f"kernel_{number}"], arrays[f"bias_{number}"] = kernel, bias
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def load_policy(path: Path) -> Policy:
    """Read a policy.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        file = read_npz(path)
        count = sum(name.startswith("kernel_") for name in file)
        layers = tuple((_floats(file[f"kernel_{i}"]), _floats(file[f"bias_{i}"])) for i in range(count))
        mean, scale, low, high = (_floats(file[n]) for n in ("mean", "scale", "action_low", "action_high"))
        squash, meta = bool(file["squash"]), json.loads(str(file["meta"]))
    except (ValueError, KeyError) as error:
        raise RunError(f"expected a policy at {path}, but it cannot be read. Train one first.") from error
    widths, fits = mean.shape, mean.ndim == 1 and len(layers) > 0
    for kernel, bias in layers:
        fits = fits and bias.ndim == 1 and kernel.shape == (*widths, *bias.shape)
        widths = bias.shape
    if not (fits and scale.shape == mean.shape and widths == low.shape == high.shape):
        raise RunError(
            f"expected layers that lead from observations to actions in {path}, but their shapes do not fit "
            "together. Train the policy again."
        )
    if not (isinstance(meta, dict) and isinstance(meta.get("env"), str | None)):
        raise RunError(
            f"expected 'meta' to name an environment or none in {path}, but found something else. Train the "
            "policy again."
        )
    return Policy(layers, squash, Normalizer(mean, scale), low, high, meta)


def _floats(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError("expected finite numbers")
    return array.astype(np.float32, copy=False)
