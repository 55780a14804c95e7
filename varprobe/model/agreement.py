"""Whether a probed function has the loss and the gradients of the function as it is."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["check_agreement", "disagreement"]

ROUNDINGS = 64
"""So many of the dtype's own, relative to the largest entry."""


def check_agreement(
    function: Callable[..., Any], parameters: Any, batch: tuple[Any, ...], value: Any, gradients: Any
) -> None:
    """Compare a probed step with that of the function as it is.

    The compiler may join other operations where there are taps, so the two may differ by rounding; a function that
    amplifies rounding is measured by what it does when its parameters are rounded otherwise.

    Raises:
        AssertionError: they differ by more.
    """
    step = jax.jit(jax.value_and_grad(lambda p, *batch: function(p, *batch)[0]))
    plain = step(parameters, *batch)
    found = disagreement(plain, (value, gradients))
    if not found:
        return
    other = step(jax.tree.map(rounded_otherwise, parameters), *batch)
    if disagreement(plain, (value, gradients), jax.tree.map(difference, plain, other)):
        raise AssertionError(f"the probe changes what it measures: {found}; please report this")


def rounded_otherwise(x: jax.Array) -> jax.Array:
    """Every other entry larger by one rounding."""
    flat = jnp.arange(x.size).reshape(x.shape) % 2
    return jnp.where(flat == 0, x, x * (1 + jnp.finfo(x.dtype).eps)).astype(x.dtype)


def difference(a: Any, b: Any) -> Any:
    """The largest difference of two arrays."""
    return jnp.max(jnp.abs(wide(a) - wide(b))) if jnp.size(a) else jnp.zeros(())


def disagreement(plain: Any, probed: Any, room: Any = None) -> str | None:
    """What differs by more than rounding, or by ten times `room`; NaN equals NaN."""
    allowed = jax.tree.leaves(room) if room is not None else [0.0] * len(jax.tree.leaves(plain))
    paths = jax.tree_util.tree_leaves_with_path(plain)
    for (path, a), b, more in zip(paths, jax.tree.leaves(probed), allowed, strict=True):
        x, y = (np.asarray(wide(v)) for v in (a, b))
        if not x.size or np.array_equal(x, y, equal_nan=True):
            continue
        finite = x[np.isfinite(x)]
        scale = np.abs(finite).max() if finite.size else 0.0
        room_here = max(ROUNDINGS * float(jnp.finfo(a.dtype).eps) * scale, 10 * float(more))
        if np.array_equal(np.isfinite(x), np.isfinite(y)):
            if not finite.size or np.abs(finite - y[np.isfinite(y)]).max() <= room_here:
                continue
        name = jax.tree_util.keystr(path[1:], simple=True, separator="/")
        return f"the gradient of {name}" if name else "the loss" if path[0].idx == 0 else "the gradient"
    return None


def wide(x: Any) -> jax.Array:
    """At least float32."""
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))
