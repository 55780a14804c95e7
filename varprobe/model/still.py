"""Parameters that training cannot take apart, or cannot move, by their values and gradients at the start."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["equal_units", "stuck"]

MOST_STEPS = 8
EQUAL = 1e-5
"""Part of the largest entry by which columns of a gradient may differ, as sums in another order do."""


def stuck(parameters: Any, gradients: Any, gradients_at: Callable[[Any], Any]) -> list[bool]:
    """Whether the gradient of each leaf is exactly zero, and stays so after steps that the others make.

    A readout of zeros keeps the gradient from all that is before it for one step; two zeros that multiply each other
    keep it from each other for ever, as a function without a slope does. Steps are made as long as they give some
    parameter its first gradient.

    Args:
        parameters: a pytree of arrays.
        gradients: of the same structure.
        gradients_at: the gradients at other parameters.
    """
    found = still = without(gradients)
    for _ in range(MOST_STEPS):
        if not any(found) or all(still):
            break
        parameters = jax.tree.map(step, parameters, gradients)
        gradients = gradients_at(parameters)
        before, still = still, without(gradients)
        found = [f and s for f, s in zip(found, still, strict=True)]
        if still == before:
            break
    return [False] * len(found) if all(still) else found


def without(gradients: Any) -> list[bool]:
    """Which leaves are exactly zero."""
    return [not np.any(leaf) for leaf in jax.tree.leaves(gradients)]


def step(parameter: Any, gradient: Any) -> Any:
    """A step against the gradient, a hundredth of the parameter in size, or 0.01 where that is zero.

    NumPy takes it, so that no operation is compiled for each shape.
    """
    here, slope = (np.asarray(x).astype(np.result_type(widest(x), np.float32)) for x in (parameter, gradient))
    with np.errstate(all="ignore"):
        size, steep = (np.sqrt(np.mean(np.square(np.abs(x)))) if x.size else 0.0 for x in (here, slope))
        if not np.isfinite(steep) or steep == 0:
            return parameter
        after = (here - 0.01 * (size if size > 0 else 1.0) / steep * slope.conj()).astype(parameter.dtype)
    split = isinstance(parameter, jax.Array) and len(parameter.sharding.device_set) > 1
    return jax.device_put(after, parameter.sharding) if split else jnp.asarray(after)


def widest(x: Any) -> Any:
    """The dtype in which NumPy computes with an array: its own, or float32 for those that NumPy does not have."""
    return x.dtype if x.dtype.kind in "fc" and x.dtype.itemsize > 2 else np.float32


def equal_units(parameters: Any, gradients: Any) -> list[bool]:
    """Whether the units of each matrix or kernel have equal weights, and gradients that are equal but not zero.

    Units are along the last axis, or along the first.
    """
    return [
        any(alike(p, axis, 0.0) and alike(g, axis, EQUAL) and bool(np.any(g)) for axis in (-1, 0))
        for p, g in zip(jax.tree.leaves(parameters), jax.tree.leaves(gradients), strict=True)
    ]


def alike(leaf: Any, axis: int, within: float) -> bool:
    """Whether all entries along an axis, two at least, differ by no more than this part of the largest."""
    if leaf.ndim < 2 or leaf.shape[axis] < 2 or not leaf.size:
        return False
    rows: Sequence[Any] = (np.take(leaf, [0, 1], axis), leaf)  # most are told apart by two units
    return all(is_within(np.asarray(x), axis, within) for x in rows)


def is_within(x: Any, axis: int, within: float) -> bool:
    """Whether entries along an axis differ from the first by no more than this part of the largest."""
    wide = x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)
    return bool(np.max(np.abs(wide - np.take(wide, [0], axis))) <= within * np.max(np.abs(wide)))
