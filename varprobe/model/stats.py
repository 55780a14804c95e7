"""What is kept of a probed value: moments with an exponent of their own, and the shares that its dtype cannot hold."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.extended import Signal
from varprobe.moments import measure

__all__ = ["Seen", "seen", "sink", "tapped"]


class Seen(NamedTuple):
    """Of all entries of an array: moments of m, where it is m * 2^e; shares of entries.

    zero: exactly zero. overflow: not finite. underflow: not zero, but below the smallest normal number of the dtype.
    count: 1, so that what was never computed is known by its 0.
    """

    mean: Float[Array, ""]
    ms: Float[Array, ""]
    var: Float[Array, ""]
    absmax: Float[Array, ""]
    e: Float[Array, ""]
    zero: Float[Array, ""]
    overflow: Float[Array, ""]
    underflow: Float[Array, ""]
    count: Float[Array, ""]


def seen(x: Float[Array, "..."]) -> Seen:
    """The statistics of an array."""
    last = x.shape[-1] if x.ndim else 1
    rows = jax.lax.stop_gradient(x).reshape(1, -1, last)
    moments = measure(Signal(rows, jnp.zeros((1,), jnp.int32)))[1]
    kind = moments.ms.dtype
    *values, e = (part[0].astype(kind) for part in moments)
    size = jnp.abs(rows)
    shares = (size == 0), ~jnp.isfinite(rows), (size > 0) & (size < jnp.finfo(x.dtype).tiny)
    zero, overflow, underflow = (share.mean(dtype=kind) for share in shares)
    return Seen(*values, e, zero, overflow, underflow, jnp.ones((), kind))


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
