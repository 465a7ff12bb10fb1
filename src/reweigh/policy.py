"""A trained policy without JAX: what evaluation runs and `policy.npz` holds."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from reweigh.datasets.normalizer import Normalizer
from reweigh.datasets.scores import is_reference, reference_of_env
from reweigh.errors import RunError
from reweigh.system.atomic import parse_json, read_npz, write_npz

Layers = tuple[tuple[Float32[np.ndarray, "_ _"], Float32[np.ndarray, "_"]], ...]
"""Kernel and bias of each layer, ReLU between them."""


def in_numpy(layers: Iterable[tuple[Any, Any]]) -> Layers:
    """Layers in the form that a policy holds.

    Args:
        layers: kernel and bias of each, as arrays of any kind.
    """
    return tuple((np.asarray(kernel), np.asarray(bias)) for kernel, bias in layers)


# Range of the log deviation given by the second half of a normal policy's output.
_LOG_STD_MIN, _LOG_STD_MAX = -5.0, 0.0


@dataclass(frozen=True)
class BestOf:
    """Picks the best of a normal policy's samples."""

    kind: str
    """`normal`, `truncated` or `squashed`."""
    critic: Layers
    """`Q(s, a)`."""
    noise: Float32[np.ndarray, "n A"]
    """Standard normal draws, the same at every state, so that actions depend on the state alone."""


@dataclass(frozen=True)
class Policy:
    """Observation -> action in the environment's units."""

    layers: Layers
    normalizer: Normalizer
    action_low: Float32[np.ndarray, " A"]
    action_high: Float32[np.ndarray, " A"]
    meta: dict[str, Any] = field(default_factory=dict)
    best_of: BestOf | None = None

    def __call__(self, observation: Float[np.ndarray, "*B S"]) -> Float32[np.ndarray, "*B A"]:
        """Act greedily on one observation or a batch."""
        x = self.normalizer(np.asarray(observation, np.float32))
        output = _forward(self.layers, x)
        action = np.tanh(output) if self.best_of is None else _best_sample(self.best_of, x, output)
        action = self.action_low + (action + 1) / 2 * (self.action_high - self.action_low)
        return np.clip(action, self.action_low, self.action_high)  # rounding may exceed them

    def reference_in(self, env: str) -> tuple[float, float] | None:
        """Random and expert return that score returns in an environment; None: there are none.

        Those of the training data if this is their environment, else D4RL's.

        Args:
            env: environment of the evaluation.
        """
        own = self.meta.get("reference")
        if own is not None and env == self.meta.get("env"):
            return own[0], own[1]
        return reference_of_env(env)


def _forward(layers: Layers, x: np.ndarray) -> np.ndarray:
    for kernel, bias in layers[:-1]:
        x = np.maximum(x @ kernel + bias, 0)
    kernel, bias = layers[-1]
    return x @ kernel + bias


def _best_sample(best_of: BestOf, observation: np.ndarray, output: np.ndarray) -> np.ndarray:
    """The sample with the highest value; mean and deviation as in `reweigh.algorithms.bc`."""
    mean, spread = np.split(output[..., None, :], 2, axis=-1)
    std = np.exp(_LOG_STD_MIN + 0.5 * (_LOG_STD_MAX - _LOG_STD_MIN) * (np.tanh(spread) + 1))
    if best_of.kind == "squashed":
        action = np.tanh(mean + std * best_of.noise)
    elif best_of.kind == "truncated":
        from scipy.special import ndtr, ndtri

        mean = np.tanh(mean)
        below = ndtr((-1 - mean) / std)
        share = below + ndtr(best_of.noise) * (ndtr((1 - mean) / std) - below)
        action = mean + std * ndtri(np.clip(share, 1e-6, 1 - 1e-6))
    else:
        action = np.tanh(mean) + std * best_of.noise
    action = np.clip(action, -1, 1).astype(np.float32)
    states = np.broadcast_to(observation[..., None, :], (*action.shape[:-1], observation.shape[-1]))
    q = _forward(best_of.critic, np.concatenate([states, action], axis=-1))
    return np.take_along_axis(action, q.argmax(axis=-2)[..., None], axis=-2)[..., 0, :]


def save_policy(path: Path, policy: Policy) -> None:
    """Write a policy, whole or not at all.

    Args:
        path: of the file; an existing one is replaced.
        policy: layers, normalizer, bounds.
    """
    arrays: dict[str, Any] = {
        "mean": policy.normalizer.mean,
        "scale": policy.normalizer.scale,
        "action_low": policy.action_low,
        "action_high": policy.action_high,
        "meta": np.array(json.dumps(policy.meta)),
    }
    arrays |= _named("", policy.layers)
    if policy.best_of is not None:
        arrays |= _named("critic_", policy.best_of.critic)
        arrays |= {"candidate_noise": policy.best_of.noise, "candidate_kind": np.array(policy.best_of.kind)}
    write_npz(path, arrays)


def load_policy(path: Path | str) -> Policy:
    """Read a policy.

    Args:
        path: a `policy.npz`.

    Raises:
        RunError: the file is missing, damaged or inconsistent.
    """
    try:
        file = read_npz(Path(path))
        layers, best_of = _layers("", file), None
        if "candidate_noise" in file:
            noise = _floats(file["candidate_noise"])
            best_of = BestOf(str(file["candidate_kind"]), _layers("critic_", file), noise)
        mean, scale, low, high = (_floats(file[n]) for n in ("mean", "scale", "action_low", "action_high"))
        meta = parse_json(str(file["meta"]))
    except (ValueError, KeyError) as error:
        raise RunError(
            f"expected a policy at {path}, but it cannot be read. Name a run's folder or its policy.npz."
        ) from error
    fits = mean.ndim == low.ndim == 1 and scale.shape == mean.shape and low.shape == high.shape
    if fits and best_of is None:
        fits = _lead(layers, len(mean), len(low))
    elif fits and best_of is not None:
        fits = best_of.kind in ("normal", "truncated", "squashed") and best_of.noise.ndim == 2
        fits = fits and best_of.noise.shape[0] > 0 and best_of.noise.shape[1:] == low.shape
        fits = fits and _lead(layers, len(mean), 2 * len(low))
        fits = fits and _lead(best_of.critic, len(mean) + len(low), 1)
    if not fits:
        raise RunError(
            f"expected layers that lead from observations to actions in {path}, but their shapes do not fit "
            "together. Train the policy again."
        )
    if not (isinstance(meta, dict) and isinstance(meta.get("env"), str | None)):
        raise RunError(
            f"expected 'meta' to name an environment or none in {path}, but found something else. Train the "
            "policy again."
        )
    if not is_reference(meta.get("reference")):
        raise RunError(
            f"expected two rising numbers or none as 'reference' of 'meta' in {path}, but found "
            f"{meta['reference']!r}. Train the policy again."
        )
    return Policy(layers, Normalizer(mean, scale), low, high, meta, best_of)


def _named(prefix: str, layers: Layers) -> dict[str, np.ndarray]:
    kernels = {f"{prefix}kernel_{i}": kernel for i, (kernel, _) in enumerate(layers)}
    return kernels | {f"{prefix}bias_{i}": bias for i, (_, bias) in enumerate(layers)}


def _layers(prefix: str, file: dict[str, np.ndarray]) -> Layers:
    count = sum(name.startswith(f"{prefix}kernel_") for name in file)
    names = [(f"{prefix}kernel_{i}", f"{prefix}bias_{i}") for i in range(count)]
    return tuple((_floats(file[kernel]), _floats(file[bias])) for kernel, bias in names)


def _lead(layers: Layers, inputs: int, outputs: int) -> bool:
    """Whether layers fit together, from `inputs` to `outputs`."""
    widths: tuple[int, ...] = (inputs,)
    for kernel, bias in layers:
        if bias.ndim != 1 or kernel.shape != (*widths, *bias.shape):
            return False
        widths = bias.shape
    return len(layers) > 0 and widths == (outputs,)


def _floats(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32, copy=False) if array.dtype.kind == "f" else None
    if numbers is None or not np.isfinite(numbers).all():
        raise ValueError("expected finite numbers")
    return numbers
