"""Statistics that come out of a backward pass: an identity whose gradient with respect to a sink is what it saw.

Signals are m * 2^e, and what jax differentiates is m: dLoss/d(m 2^e) = c 2^(E - e) with c the cotangent of m and E one
exponent a net. `boundary` keeps c near 1 from block to block, and adds what it took away to E.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from varprobe.engine.moments import Moments, factor, gram_is_cheaper, measure, product_moments
from varprobe.engine.products import product, runs
from varprobe.engine.weight_bases import WeightBasis
from varprobe.nets.scaled_float import Signal, exponent, scale, wide

__all__ = [
    "Sink",
    "Slotted",
    "at_unit_variance",
    "boundary",
    "by_base",
    "flat",
    "samples",
    "sink_of",
    "tap",
    "weighted_product",
]


class Sink(NamedTuple):
    """Where the statistics of a cotangent arrive: its moments, exponents as floats, and the samples' mean cosine."""

    mean: Float[Array, " nets"]
    ms: Float[Array, " nets"]
    var: Float[Array, " nets"]
    absmax: Float[Array, " nets"]
    e: Float[Array, " nets"]
    correlation: Float[Array, " nets"]


def sink_of(nets: int, dtype: jnp.dtype) -> Sink:
    """A sink for so many nets."""
    return Sink(*(jnp.zeros((nets,), dtype) for _ in Sink._fields))


def flat(m: Float[Array, "nets batch ... units"]) -> Float[Array, "nets rows units"]:
    """Samples and their positions as rows."""
    return m.reshape(m.shape[0], -1, m.shape[-1])


def samples(m: Float[Array, "nets batch ... units"]) -> Float[Array, "nets batch values"]:
    """All that belongs to a sample as one row."""
    return m.reshape(*m.shape[:2], -1)


def drained(moments: Moments, correlation: Array, e: Array, dtype: jnp.dtype) -> Sink:
    """The statistics as a sink's gradient."""
    *values, own = moments
    return Sink(*(v.astype(dtype) for v in (*values, own + e, correlation)))


@jax.custom_vjp
def tap(m: Float[Array, "nets batch ... units"], e: Int[Array, " nets"], sink: Sink) -> Array:
    """m; the gradient with respect to `sink` has the statistics of the cotangent of m * 2^e, but for E."""
    return m


def tap_forward(m: Array, e: Array, sink: Sink) -> tuple[Array, tuple[Array, Sink]]:
    """Keeps e, and the sink for its dtype."""
    return m, (e, sink)


def tap_backward(kept: tuple[Array, Sink], c: Array) -> tuple[Array, None, Sink]:
    """Statistics of the cotangent."""
    e, sink = kept
    measured, moments = measure(Signal(flat(c), jnp.zeros_like(e)))
    cosine = factor(samples(measured.m.reshape(c.shape)), by_gram=False)[1]
    return c, None, drained(moments, cosine, -e, sink.mean.dtype)


tap.defvjp(tap_forward, tap_backward)


@jax.custom_vjp
def boundary(m: Array, taken: Array, sink: Array, renormalize: Array) -> tuple[Array, Array]:
    """(m, taken): backward, the cotangent of m is brought near 1 where `renormalize`, its exponent added to `taken`'s.

    The gradient with respect to `sink` is then E of the blocks before.
    """
    return m, taken


def boundary_forward(m: Array, taken: Array, sink: Array, renormalize: Array) -> tuple[tuple[Array, Array], Array]:
    """Nothing but the flag is kept."""
    return (m, taken), renormalize


def boundary_backward(renormalize: Array, c: tuple[Array, Array]) -> tuple[Array, Array, Array, None]:
    """The cotangent with its largest magnitude in [1, 2)."""
    g, taken = c
    k = exponent(jnp.max(jnp.abs(wide(g)), axis=tuple(range(1, g.ndim))))
    k = jnp.where(renormalize, k, 0)
    total = taken + k.astype(taken.dtype)
    return scale(g, -k), total, total, None


boundary.defvjp(boundary_forward, boundary_backward)


class Slotted(NamedTuple):
    """One matrix of one layer at run time: what its distinct bases have drawn, and each net's scale, mean and e_W.

    unit: which nets' are to be scaled by `at_unit_variance`; None where none are.
    """

    drawn: tuple[Any, ...]
    scale: Float[Array, " nets"]
    mean: Float[Array, " nets"]
    e: Int[Array, " nets"]
    unit: Bool[Array, " nets"] | None = None


def at_unit_variance(z: Signal, matrix: Slotted) -> tuple[Slotted, Float[Array, " nets"], Float[Array, " nets"]]:
    """(the matrix, f, k): nets of `matrix.unit` have W f 2^k in place of W, so that what W made z has variance 1.

    It is that of all entries about their mean: samples, positions and units. Where it is 0 the matrix stays. Nothing of
    this is differentiated.
    """
    _, moments = measure(lax.stop_gradient(Signal(flat(z.m), z.e)))
    assert matrix.unit is not None
    chosen = matrix.unit & (moments.var > 0)
    f = jnp.where(chosen, lax.rsqrt(jnp.where(chosen, moments.var, 1)), 1)
    k = jnp.where(chosen, -moments.e, 0)
    scaled = Slotted(matrix.drawn, matrix.scale * f, matrix.mean * f, matrix.e + k)
    return scaled, f, k.astype(f.dtype)


def weighted_product(bases: tuple[WeightBasis, ...], h: Signal, matrix: Slotted, sink: Sink, width: int) -> Signal:
    """h W with W = (mean + scale * base) 2^e_W, to `width` units; the sink receives the moments of dLoss/dW.

    Args:
        bases: of each net; `matrix.drawn` has those of the distinct ones, in order.
        h: (nets, batch, ..., fan_in).
        matrix: scale, mean and exponent of each net.
        sink: for the weight gradient.
        width: fan_out.
    """
    z = multiplied(bases, width, flat(h.m), matrix, sink)
    return Signal(z.reshape(*h.m.shape[:-1], width), h.e + matrix.e)


def by_base(bases: tuple[WeightBasis, ...], m: Array, matrix: Slotted, width: int, transpose: bool) -> Array:
    """scale * (m base) + mean * (sums of m's rows); one product for neighbors that share a base."""
    drawn = dict(zip(dict.fromkeys(bases), matrix.drawn, strict=True))
    rows = jnp.concatenate([product(base, drawn[base], m[own], width, transpose) for base, own in runs(bases)])
    spread, mean = (v.astype(wide(rows).dtype)[:, None, None] for v in (matrix.scale, matrix.mean))
    return spread * wide(rows) + mean * wide(m).sum(2, keepdims=True)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def multiplied(bases: tuple[WeightBasis, ...], width: int, m: Array, matrix: Slotted, sink: Sink) -> Array:
    """The product of mantissas."""
    return by_base(bases, m, matrix, width, transpose=False)


def multiplied_forward(
    bases: tuple[WeightBasis, ...], width: int, m: Array, matrix: Slotted, sink: Sink
) -> tuple[Array, tuple[Array, Slotted, Sink]]:
    """Keeps both sides of the product."""
    return multiplied(bases, width, m, matrix, sink), (m, matrix, sink)


def multiplied_backward(
    bases: tuple[WeightBasis, ...], width: int, kept: tuple[Array, Slotted, Sink], c: Array
) -> tuple[Array, None, Sink]:
    """The cotangent times the transpose, and the moments of h^T c."""
    m, matrix, sink = kept
    fan_in = m.shape[2]
    by_gram = gram_is_cheaper(m.shape[1], fan_in, width)
    measured, _ = measure(Signal(c, jnp.zeros(c.shape[:1], jnp.int32)))
    sides = factor(wide(m), by_gram)[0], factor(measured.m, by_gram)[0]
    moments = product_moments(*sides, by_gram, fan_in * width, measured.e)
    nothing = jnp.full_like(moments.mean, jnp.nan)
    back = by_base(bases, c.astype(m.dtype), matrix, fan_in, transpose=True).astype(m.dtype)
    return back, None, drained(moments, nothing, -matrix.e, sink.mean.dtype)


multiplied.defvjp(multiplied_forward, multiplied_backward)
