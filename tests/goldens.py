"""Numbers made with the authors' own code, and how to compare with them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from reweigh.networks import MLP, TwinQ

FOLDER = Path(__file__).parent / "golden"


def golden(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


def as_dtype(tree, dtype):
    """Floating leaves in `dtype`, integers as they are."""
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


def torch_mlp(arrays: dict, prefix: str, names: tuple[str, ...], dtype) -> MLP:
    """PyTorch's (out, in) kernels under `prefix + name + .weight`."""
    return MLP(
        tuple(
            (
                jnp.asarray(arrays[f"{prefix}{name}.weight"].T, dtype),
                jnp.asarray(arrays[f"{prefix}{name}.bias"], dtype),
            )
            for name in names
        )
    )


def torch_twin_q(arrays: dict, prefix: str, dtype) -> TwinQ:
    first, second = ("l1", "l2", "l3"), ("l4", "l5", "l6")
    return TwinQ(torch_mlp(arrays, prefix, first, dtype), torch_mlp(arrays, prefix, second, dtype))


def flax_mlp(arrays: dict, prefix: str, dtype, *, head: str = "MLP_0/Dense_0") -> MLP:
    """An encoder of two layers and a linear head."""
    paths = ("Encoder_0/MLP_0/Dense_0", "Encoder_0/MLP_0/Dense_1", head)
    return MLP(
        tuple(
            (
                jnp.asarray(arrays[f"{prefix}{path}/kernel"], dtype),
                jnp.asarray(arrays[f"{prefix}{path}/bias"], dtype),
            )
            for path in paths
        )
    )


def flax_twin_q(arrays: dict, prefix: str, dtype) -> TwinQ:
    return TwinQ(*(flax_mlp(arrays, f"{prefix}Critic_{i}/", dtype) for i in (0, 1)))


TOLERANCE = {
    jnp.float32: {"losses": {"rtol": 5e-5, "atol": 2e-5}, "parameters": {"rtol": 1e-5, "atol": 3e-6}},
    jnp.float64: {"losses": {"rtol": 1e-8, "atol": 0}, "parameters": {"rtol": 1e-7, "atol": 1e-9}},
}


def assert_losses(found, expected, dtype):
    np.testing.assert_allclose(found, expected, **TOLERANCE[dtype]["losses"])


def assert_parameters(found, expected, dtype):
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == dtype, "a loss or a step changed the precision"
        np.testing.assert_allclose(one, other, **TOLERANCE[dtype]["parameters"])
