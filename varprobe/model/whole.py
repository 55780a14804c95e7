"""Tapped values that leave the program whole, and their statistics in float64 on the host.

The only addition to the model's program is more outputs. Computing the statistics inside the program would trace and
compile them again for every site; NumPy compiles nothing.
"""

import math
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero, linear_call
from jaxtyping import Array, Float

from varprobe.model.running import Way
from varprobe.model.stats import ALL, MOMENTS, RANGE, Seen

__all__ = ["WHOLE", "Whole", "statistics"]

BLOCK = 1 << 16
"""Entries that are converted at a time, so that they stay in the cache."""


class Whole(NamedTuple):
    """An array, with a leading axis for each scan that it is in; computed: 1 where a step computed it, else 0."""

    value: Any
    computed: Any


def tell(x: Float[Array, "..."], told: int) -> Whole:
    """The array itself."""
    return Whole(jax.lax.stop_gradient(x), jnp.ones((), jnp.float32))


def sink(lengths: tuple[int, ...], like: Any) -> Whole:
    """Where a gradient arrives."""
    return Whole(jnp.zeros((*lengths, *like.shape), like.dtype), jnp.zeros(lengths, jnp.float32))


@jax.custom_jvp
def tap(x: Float[Array, "..."], drain: Whole) -> Float[Array, "..."]:
    """x; the gradient with respect to `drain` is the cotangent, and 1."""
    return x


def tap_tangent(primals: tuple[Array, Whole], tangents: tuple[Any, Whole]) -> tuple[Array, Array]:
    """As `stats.tapped_tangent`."""
    x, (tangent, drained) = primals[0], tangents
    if isinstance(tangent, SymbolicZero):
        return x, linear_call(lambda _, drain: jnp.zeros_like(x), lambda _, c: arrived(c), None, drained)
    return x, linear_call(lambda _, both: both[0], lambda _, c: (c, arrived(c)), None, (tangent, drained))


def arrived(cotangent: Array) -> Whole:
    """A gradient that was computed."""
    return Whole(cotangent, jnp.ones((), jnp.float32))


tap.defjvp(tap_tangent, symbolic_zeros=True)

WHOLE = Way(tell, tap, sink)


def statistics(whole: Any, axes: int = 0, told: int = MOMENTS) -> Seen:
    """What `stats.seen` says of an array, or of each entry of its leading axes; of `Whole` zeros where not computed."""
    value, computed = (np.asarray(part) for part in (whole if isinstance(whole, Whole) else (whole, 1)))
    lead, last = value.shape[:axes], value.shape[-1] if value.ndim > axes else 1
    found = np.zeros((prod(lead), len(Seen._fields)))
    if value.size:
        tiny = float(jnp.finfo(value.dtype).tiny)
        rows, known = value.reshape(prod(lead), -1, last), np.broadcast_to(computed, lead).reshape(-1)
        for i in np.flatnonzero(known):
            found[i] = one(rows[i], told, tiny)
    return Seen(*found.T.reshape(len(Seen._fields), *lead))


def one(rows: np.ndarray, told: int, tiny: float) -> Seen:
    """The statistics of a matrix (rows, units), of x 2^-e, whose squares float64 holds; block by block (Chan 1979)."""
    flat = rows.reshape(-1)
    absmax = float(np.abs(flat).max()) if np.iscomplexobj(flat) else float(max(flat.max(), -flat.min()))
    e = int(np.frexp(absmax)[1]) - 1 if 0 < absmax < np.inf else 0
    mean = square = spread = 0.0
    zero = overflow = underflow = 0
    with np.errstate(all="ignore"):
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            m = scaled(block, e)
            here = m.mean()
            square += dot(m)
            m -= here
            spread += dot(m) + (here - mean) ** 2 * start * block.size / (start + block.size)
            mean += (here - mean) * block.size / (start + block.size)
            if told >= RANGE:
                some = block.size - int(np.count_nonzero(block))
                zero += some
                underflow += int(np.count_nonzero(np.abs(block) < tiny)) - some
                overflow += 0 if np.isfinite(here) else block.size - int(np.count_nonzero(np.isfinite(block)))
    n = flat.size
    dead = float(1 - rows.any(0).mean()) if told >= ALL and zero else 0.0
    zero = zero if told >= ALL else 0
    return Seen(
        mean, square / n, spread / n, math.ldexp(absmax, -e), e, zero / n, dead, overflow / n, underflow / n, 1.0
    )


def scaled(block: np.ndarray, e: int) -> np.ndarray:
    """x 2^-e in float64, of complex numbers their magnitudes."""
    real = (np.abs(block) if np.iscomplexobj(block) else block).astype(np.float64)
    return np.ldexp(real, -e) if abs(e) > 1000 else real * 2.0**-e if e else real


def dot(m: np.ndarray) -> float:
    """Sum of squares, without the threads that a product would start for each block."""
    return float(np.einsum("i,i->", m, m))
