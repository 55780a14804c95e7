"""Whether a probed function has the loss and the gradients of the function as it is."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.model.paths import slashed

__all__ = ["ChangedError", "reference", "require_agreement", "rounded_otherwise"]

ROUNDINGS = 64
"""So many of the dtype's own, relative to the largest entry."""

ROOM = 10
"""As many times what rounding the parameters otherwise does."""


class ChangedError(AssertionError):
    """A probe does not leave a model as it is."""


def reference(function: Callable[..., Any], parameters: Any, *batch: Any) -> tuple[Any, Any]:
    """(scalar, gradients) of the function as it is."""
    return jax.value_and_grad(lambda p: function(p, *batch)[0])(parameters)


def require_agreement(plain: Any, probed: Any, other: Callable[[], Any]) -> None:
    """Compare a probed (scalar, gradients) with those of the function as it is.

    The compiler may join other operations where there are taps, so the two may differ by rounding; a function that
    amplifies rounding is measured by what it does when its parameters are rounded otherwise.

    Args:
        plain: what `reference` gives.
        probed: the same with taps.
        other: gives what `reference` gives of parameters that are `rounded_otherwise`.

    Raises:
        ChangedError: they differ by more.
    """
    paths, first, second = jax.tree_util.tree_leaves_with_path(plain), jax.tree.leaves(plain), jax.tree.leaves(probed)
    off = [difference(a, b) for a, b in zip(first, second, strict=True)]
    suspects = [i for i, a in enumerate(first) if off[i] > rounding(a)]
    if not suspects:
        return
    third = jax.tree.leaves(other())
    wrong = [i for i in suspects if off[i] > ROOM * difference(first[i], third[i])]
    if wrong:
        path = paths[wrong[0]][0]
        name = slashed(path[1:])
        what = f"the gradient of {name}" if name else "the loss" if path[0].idx == 0 else "the gradient"
        raise ChangedError(f"the probe changes {what}; please report the model as a defect of varprobe")


def rounded_otherwise(parameters: Any, rounding: float) -> Any:
    """Every other entry larger by one rounding, of its own dtype or of what the model computes in."""

    def one(x: jax.Array) -> jax.Array:
        even = jnp.arange(x.size).reshape(x.shape) % 2 == 0
        return jnp.where(even, x, x * (1 + max(float(jnp.finfo(x.dtype).eps), rounding))).astype(x.dtype)

    return jax.tree.map(one, parameters)


def rounding(x: Any) -> float:
    """What rounding may do to an array."""
    values = np.abs(wide(x))
    finite = values[np.isfinite(values)]
    return ROUNDINGS * float(jnp.finfo(x.dtype).eps) * float(finite.max(initial=0))


def difference(a: Any, b: Any) -> float:
    """The largest between entries of two arrays; infinite where one is finite and the other not, NaN equals NaN."""
    x, y = wide(a), wide(b)
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)) or not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return float("inf")
    return float(np.abs(x[finite] - y[finite]).max(initial=0))


def wide(x: Any) -> np.ndarray:
    """In float64 or complex128, on the host."""
    return np.asarray(x).astype(np.complex128 if np.iscomplexobj(x) else np.float64)
