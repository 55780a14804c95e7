"""What is kept of a probed value: moments with an exponent of their own, and the shares that its dtype cannot hold."""

from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.extended import Signal
from varprobe.moments import measure

__all__ = ["Seen", "seen", "sink", "tapped"]


class Seen(NamedTuple):
    """Of all entries of an array: moments of m, where it is m * 2^e; shares of entries.

    zero: exactly zero. dead: units, along the last axis, that are zero everywhere. overflow: not finite. underflow: not
    zero, but below the smallest normal number of the dtype. count: 1, so that what was never computed is known by its 0.
    """

    mean: Float[Array, "*axes"]
    ms: Float[Array, "*axes"]
    var: Float[Array, "*axes"]
    absmax: Float[Array, "*axes"]
    e: Float[Array, "*axes"]
    zero: Float[Array, "*axes"]
    dead: Float[Array, "*axes"]
    overflow: Float[Array, "*axes"]
    underflow: Float[Array, "*axes"]
    count: Float[Array, "*axes"]


def seen(x: Float[Array, "..."], axes: int = 0) -> Seen:
    """The statistics of an array, or of each entry of its leading axes; of complex numbers those of their magnitudes."""
    x, lead = jnp.abs(x) if jnp.iscomplexobj(x) else x, x.shape[:axes]
    last = x.shape[-1] if x.ndim > axes else 1
    rows = jax.lax.stop_gradient(x).reshape(prod(lead), -1, last)
    moments = measure(Signal(rows, jnp.zeros(rows.shape[:1], jnp.int32)))[1]
    kind = moments.ms.dtype
    size = jnp.abs(rows)
    nothing = size == 0
    shares = (
        nothing.mean((1, 2), dtype=kind),
        nothing.all(1).mean(1, dtype=kind),
        (~jnp.isfinite(rows)).mean((1, 2), dtype=kind),
        ((size > 0) & (size < jnp.finfo(x.dtype).tiny)).mean((1, 2), dtype=kind),
        jnp.ones(rows.shape[:1], kind),
    )
    return Seen(*(value.astype(kind).reshape(lead) for value in (*moments, *shares)))


def sink(lengths: tuple[int, ...], dtype: Any) -> Seen:
    """Where the statistics of a gradient arrive, one for each iteration of the scans around."""
    kind = jnp.promote_types(dtype, jnp.float32)
    return Seen(*(jnp.zeros(lengths, kind) for _ in Seen._fields))


@jax.custom_vjp
def tapped(x: Float[Array, "..."], drain: Seen) -> Float[Array, "..."]:
    """x; the gradient with respect to `drain` is the statistics of the cotangent."""
    return x


def tapped_forward(x: Array, drain: Seen) -> tuple[Array, None]:
    """Nothing is kept."""
    return x, None


def tapped_backward(kept: None, c: Array) -> tuple[Array, Seen]:
    """The cotangent as it is, and its statistics."""
    return c, seen(c)


tapped.defvjp(tapped_forward, tapped_backward)
