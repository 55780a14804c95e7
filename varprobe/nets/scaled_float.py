"""Floats with an unbounded exponent: every signal is m * 2^e.

A 50-layer net of width 512 with N(0, 1) weights reaches 1e120, far outside float32, and the gradient of its gradient
is not needed to see why. A `Signal` holds a mantissa array whose largest magnitude is in [1, 2) and one power of two
per net. Scaling by a power of two is exact, so this is the dtype's own arithmetic with nothing to overflow.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

__all__ = ["Signal", "add", "exponent", "normalize", "power_of_two", "scale", "wide"]


class Signal(NamedTuple):
    """The values m * 2^e of `nets` networks."""

    m: Float[Array, "nets batch units"]
    e: Int[Array, " nets"]


def exponent(x: Float[Array, "..."]) -> Int[Array, "..."]:
    """floor(log2 |x|) of a float32 or float64; 0 where x is zero or not finite.

    Subnormal float32 values count as 2^-127, which is close enough to bring them back into range.
    """
    x = jnp.abs(x).astype(jnp.float32)
    biased = lax.bitcast_convert_type(x, jnp.int32) >> 23
    return jnp.where((x > 0) & jnp.isfinite(x), biased - 127, 0)


def power_of_two(e: Int[Array, "..."], dtype: jnp.dtype) -> Float[Array, "..."]:
    """2^e exactly, e clipped to [-126, 127]."""
    return lax.bitcast_convert_type((jnp.clip(e, -126, 127) + 127) << 23, jnp.float32).astype(dtype)


def scale(m: Float[Array, "nets ..."], e: Int[Array, " nets"]) -> Float[Array, "nets ..."]:
    """m * 2^e, net by net; exact unless the result leaves the range of m's dtype, which need not hold 2^e itself."""
    factors = power_of_two(e, wide(m).dtype).reshape(e.shape + (1,) * (m.ndim - 1))
    return (wide(m) * factors).astype(m.dtype)


def normalize(signal: Signal) -> Signal:
    """The same values with the largest magnitude of each net in [1, 2)."""
    k = exponent(jnp.max(jnp.abs(signal.m), axis=(1, 2)))
    return Signal(scale(signal.m, -k), signal.e + k)


def add(a: Signal, b: Signal) -> Signal:
    """a + b at the larger of the two exponents; a net whose part is exactly zero does not set the exponent."""
    a_is_zero = jnp.all(a.m == 0, axis=(1, 2))
    b_is_zero = jnp.all(b.m == 0, axis=(1, 2))
    e = jnp.where(a_is_zero, b.e, jnp.where(b_is_zero, a.e, jnp.maximum(a.e, b.e)))
    return Signal(scale(a.m, jnp.minimum(a.e - e, 0)) + scale(b.m, jnp.minimum(b.e - e, 0)), e)


def wide(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """At least float32: half precision is a storage format here."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
