"""What is kept of a probed value: moments with an exponent of their own, and the shares that its dtype cannot hold."""

from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero, linear_call
from jaxtyping import Array, Bool, Float

from varprobe.extended import Signal
from varprobe.moments import measure
from varprobe.platforms import by_platform

__all__ = ["ALL", "MOMENTS", "RANGE", "Seen", "seen", "sink", "tapped"]

PIECE = 1 << 15
"""Entries of a piece at most, if it has more than one row."""

MOMENTS, RANGE, ALL = range(3)
"""What is told: moments, also shares that are not finite or below the normal numbers, also shares that are zero."""


class Seen(NamedTuple):
    """Of all entries of an array: moments of m, where it is m * 2^e, and shares; arrays, of the device or the host.

    zero: exactly zero. dead: units, along the last axis, that are zero everywhere. overflow: not finite. underflow:
    not zero, but below the smallest normal number of the dtype. Of these what is not wanted is 0. computed: 1; a branch
    that is not taken leaves 0.
    """

    mean: Any
    ms: Any
    var: Any
    absmax: Any
    e: Any
    zero: Any
    dead: Any
    overflow: Any
    underflow: Any
    computed: Any


@partial(jax.jit, static_argnames=("axes", "told"))
def seen(x: Float[Array, "..."], axes: int = 0, told: int = ALL) -> Seen:
    """The statistics of an array, or of each entry of its leading axes; of complex numbers those of their magnitudes.

    On a CPU an array is taken piece by piece, so that what is made of a piece stays in the cache.
    """
    x, lead = jnp.abs(x) if jnp.iscomplexobj(x) else x, x.shape[:axes]
    last = x.shape[-1] if x.ndim > axes else 1
    if not x.size:
        return sink(lead, x.dtype)
    rows = jax.lax.stop_gradient(x).reshape(prod(lead), -1, last)
    found = by_platform(rows, cpu=partial(in_pieces, told), default=partial(of_rows, told))
    return Seen(*(value.reshape(lead) for value in found))


def in_pieces(told: int, rows: Float[Array, "entries rows units"]) -> Seen:
    """`of_rows`, each piece of some whole rows for itself."""
    entries, count, units = rows.shape
    height = max(n for n in range(1, count + 1) if count % n == 0 and (n == 1 or n * units <= PIECE)) if count else 0
    if height == count:
        return of_rows(told, rows)
    pieces = jax.lax.map(partial(one, told), rows.reshape(-1, height, units))
    found, alive = jax.tree.map(lambda v: v.reshape(entries, count // height, *v.shape[1:]), pieces)
    return merged(found)._replace(dead=1 - alive.any(1).mean(1, dtype=found.ms.dtype))


def of_rows(told: int, rows: Float[Array, "entries rows units"]) -> Seen:
    """The statistics of each entry."""
    found, alive = jax.vmap(partial(one, told))(rows)
    return found._replace(dead=1 - alive.mean(1, dtype=found.ms.dtype))


def one(told: int, rows: Float[Array, "rows units"]) -> tuple[Seen, Bool[Array, " units"]]:
    """(statistics of a matrix, which of its units are not zero everywhere)."""
    tiny = float(jnp.finfo(rows.dtype).tiny)
    rows = rows.astype(real_kind(rows.dtype)) if rows.dtype.itemsize < 2 else rows  # of 8 bits there is no arithmetic
    moments = measure(Signal(rows[None], jnp.zeros((1,), jnp.int32)))[1]
    kind, size = moments.ms.dtype, jnp.abs(rows)
    nothing, computed = jnp.zeros((), kind), jnp.ones((), kind)
    zero = (size == 0).mean(dtype=kind) if told >= ALL else nothing
    alive = (size != 0).any(0) if told >= ALL else jnp.ones(rows.shape[1:], bool)
    overflow = (~jnp.isfinite(size)).mean(dtype=kind) if told >= RANGE else nothing
    underflow = ((size > 0) & (size < tiny)).mean(dtype=kind) if told >= RANGE else nothing
    mean, ms, var, absmax, e = (value[0].astype(kind) for value in moments)
    return Seen(mean, ms, var, absmax, e, zero, nothing, overflow, underflow, computed), alive


def merged(found: Seen) -> Seen:
    """Of pieces along the second axis, which are equally large; what is exactly zero does not set the exponent."""
    known = found.absmax != 0
    e = jnp.where(known.any(1), jnp.where(known, found.e, -jnp.inf).max(1), 0)
    shift = jnp.where(known, jnp.exp2(found.e - e[:, None]), 1)
    means = found.mean * shift
    mean = means.mean(1)
    return Seen(
        mean,
        (found.ms * shift * shift).mean(1),
        (found.var * shift * shift).mean(1) + jnp.square(means - mean[:, None]).mean(1),
        (found.absmax * shift).max(1),
        e,
        found.zero.mean(1),
        found.dead.mean(1),
        found.overflow.mean(1),
        found.underflow.mean(1),
        found.computed[:, 0],
    )


def sink(lengths: tuple[int, ...], dtype: Any) -> Seen:
    """Where the statistics of a gradient arrive, one for each iteration of the scans around."""
    kind = real_kind(dtype)
    return Seen(*(jnp.zeros(lengths, kind) for _ in Seen._fields))


def real_kind(dtype: Any) -> Any:
    """The dtype of statistics: real, and float32 at least."""
    real = jnp.finfo(dtype).dtype
    return real if real.itemsize > 4 else jnp.dtype(jnp.float32)


@jax.custom_jvp
def tapped(x: Float[Array, "..."], drain: Seen) -> Float[Array, "..."]:
    """x; the gradient with respect to `drain` is the statistics of the cotangent.

    The rule gives x itself back, and not a copy, so that nothing is kept twice for the way back.
    """
    return x


def tapped_tangent(primals: tuple[Array, Seen], tangents: tuple[Any, Seen]) -> tuple[Array, Array]:
    """A linear function of (tangent of x, tangent of drain) whose transpose gives the cotangent and its statistics."""
    x, (tangent, drained) = primals[0], tangents
    if isinstance(tangent, SymbolicZero):  # nothing before x is differentiated, but what x does is still wanted
        return x, linear_call(lambda _, drain: jnp.zeros_like(x), lambda _, c: seen(c, told=RANGE), None, drained)
    return x, linear_call(lambda _, both: both[0], lambda _, c: (c, seen(c, told=RANGE)), None, (tangent, drained))


tapped.defjvp(tapped_tangent, symbolic_zeros=True)
