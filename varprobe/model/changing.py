"""How far every value of a model is from what other parameters make of the same batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.model.probed import Plan
from varprobe.model.running import Statistics, run
from varprobe.model.stats import MOMENTS, Seen, seen

__all__ = ["changes"]

PAIR = "before and after"
"""The axis along which the program runs twice."""


def changes(plan: Plan, before: Any, after: Any, *batch: Any) -> Statistics:
    """The statistics of (value with the parameters `after`) - (value with those `before`), by slot.

    The program runs with both at once, side by side on an axis of their own; what is tapped is the difference along it.
    """
    taps = plan.taps._replace(tell=difference)
    data = jax.tree.leaves(batch)

    def one(parameters: Any) -> Statistics:
        return run(taps, plan.program, (), [*jax.tree.leaves(parameters), *data], taps.sinks())[1]

    found = jax.vmap(one, axis_name=PAIR)(jax.tree.map(lambda *both: jnp.stack(both), before, after))
    return jax.tree.map(lambda both: both[0], found)


def difference(x: Float[Array, "..."], told: int) -> Seen:
    """Of the second of the pair minus the first."""
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32) if x.dtype.itemsize > 1 else jnp.float32)
    return seen(lax.psum(jnp.where(lax.axis_index(PAIR) == 1, wide, -wide), PAIR), told=MOMENTS)
