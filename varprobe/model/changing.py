"""How large every value of a model is, and how far it is from what other parameters make of the same batch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from varprobe.model.layout import Layout
from varprobe.model.probed import Plan
from varprobe.model.running import run
from varprobe.model.slots import Way

__all__ = ["Sizes", "log10_mean_square", "sizes", "sizes_by_row"]

PAIR = "before and after"
"""The axis along which the program runs twice."""

Sizes = dict[int, Float[Array, "*scans 3"]]
"""By slot: log10 of the mean square of the value, of its change, and 1; a branch that is not taken leaves 0."""


def sizes(plan: Plan, before: Any, after: Any, *batch: Any) -> Sizes:
    """The sizes of all values with the parameters `after`, and of what they are more than with those `before`.

    The program runs with both at once, side by side on an axis of their own; what is tapped is the difference along it.
    Values of a shard_map leave it whole before, since JAX has no sum over that axis in it.
    """
    values = {i for i, slot in enumerate(plan.taps.slots) if slot.role == "value"}
    at = {point: kept for point, slots in plan.taps.at.items() if (kept := [i for i in slots if i in values])}
    taps = plan.taps._replace(at=at, way=Way(lambda x, told, axes: x if axes else compared(x), None, lambda *_: None))
    nothing: Any = {
        i: jnp.zeros((*slot.leading, *slot.point.variable.aval.shape), slot.point.variable.aval.dtype)
        if slot.splits
        else jnp.zeros((*slot.lengths, 3), jnp.float32)
        for i, slot in enumerate(taps.slots)
    }
    data = jax.tree.leaves(batch)

    def one(parameters: Any) -> Any:
        found = run(taps, plan.program, (), [*jax.tree.leaves(parameters), *data], nothing)[1]
        whole = {i: len(taps.slots[i].lengths) for i in values if taps.slots[i].splits}
        return {i: compared(found[i], whole[i]) if i in whole else found[i] for i in values}

    found = jax.vmap(one, axis_name=PAIR)(jax.tree.map(lambda *both: jnp.stack(both), before, after))
    return {i: both[0] for i, both in found.items()}


def compared(x: Float[Array, "..."], axes: int = 0) -> Float[Array, "*axes 3"]:
    """`Sizes` of a value of the pair, or of each entry of its leading axes."""
    second = lax.axis_index(PAIR) == 1
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32) if x.dtype.itemsize > 1 else jnp.float32)
    now, change = lax.psum((jnp.where(second, wide, 0), jnp.where(second, wide, -wide)), PAIR)
    return jnp.stack(
        [log10_mean_square(now, axes), log10_mean_square(change, axes), jnp.ones(x.shape[:axes], jnp.float32)], -1
    )


def log10_mean_square(x: Float[Array, "..."], axes: int = 0) -> Float[Array, "..."]:
    """log10 of the mean square of an array, or of each entry of its leading axes, in float32; of zeros -inf."""
    over = tuple(range(axes, x.ndim))
    size = jnp.abs(x)
    largest = size.max(over, keepdims=True, initial=0)
    known = jnp.where(largest > 0, largest, 1)
    ms = jnp.square(size / known).mean(over)
    return (jnp.log10(ms) + 2 * jnp.log10(known.reshape(ms.shape))).astype(jnp.float32)


def sizes_by_row(layout: Layout, found: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """log10 of the mean square of the value and of its change in each row; NaN of what was not computed."""
    values = []
    for row in layout.rows:
        slot, index = next((slot, index) for role, slot, index in row.slots if role == "value")
        size, change, computed = np.asarray(found[slot], np.float64)[index]
        values.append((size, change) if computed else (np.nan, np.nan))
    return np.array([size for size, _ in values]), np.array([change for _, change in values])
