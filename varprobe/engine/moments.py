"""What is kept of an array before it is thrown away: sums over batch and units, net by net, on the device."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.nets.scaled_float import Signal, exponent, scale, wide

__all__ = ["Factor", "Moments", "factor", "gram_is_cheaper", "measure", "product_moments"]


class Moments(NamedTuple):
    """Moments of q = m * 2^e over batch and units: those of m, and e."""

    mean: Float[Array, " nets"]
    ms: Float[Array, " nets"]
    var: Float[Array, " nets"]
    absmax: Float[Array, " nets"]
    e: Int[Array, " nets"]


def measure(signal: Signal) -> tuple[Signal, Moments]:
    """The signal with its largest magnitude in [1, 2), in float32 at least, and its moments.

    The variance is taken about the mean in a second pass, never as E[q^2] - E[q]^2.
    """
    m = wide(signal.m)
    absmax = jnp.max(jnp.max(jnp.abs(m), 1), 1)
    k = exponent(absmax)
    m = scale(m, -k)
    count = m.shape[1] * m.shape[2]
    mean = m.sum(1).sum(1) / count
    ms = (m * m).sum(1).sum(1) / count
    var = jnp.square(m - mean[:, None, None]).sum(1).sum(1) / count
    e = signal.e + k
    return Signal(m, e), Moments(mean, ms, var, scale(absmax, -k), e)


class Factor(NamedTuple):
    """One side of a weight gradient h^T delta: the Gram matrix of its samples or the array itself, and row sums."""

    gram_or_m: Float[Array, "nets batch batch_or_units"]
    sums: Float[Array, "nets batch"]


def gram_is_cheaper(batch: int, fan_in: int, fan_out: int) -> bool:
    """|h^T delta|_F^2 = sum((h h^T) * (delta delta^T)) costs batch^2 (fan_in + fan_out), not batch fan_in fan_out."""
    return batch * (fan_in + fan_out) < fan_in * fan_out


def factor(m: Float[Array, "nets batch units"], by_gram: bool) -> tuple[Factor, Float[Array, " nets"]]:
    """What a weight gradient's moments need of one side, and the mean cosine between distinct samples.

    Samples that are exactly zero have no direction and are left out; below two samples the cosine is NaN.
    """
    if by_gram:
        gram = jnp.einsum("nbu,ncu->nbc", m, m, precision=lax.Precision.HIGHEST)
        square = jnp.diagonal(gram, axis1=1, axis2=2)
        inverse = inverse_norm(square)
        total = (gram * inverse[:, :, None] * inverse[:, None, :]).sum((1, 2))
    else:
        gram = m
        square = (m * m).sum(2)
        unit_sum = (m * inverse_norm(square)[:, :, None]).sum(1)
        total = (unit_sum * unit_sum).sum(1)
    n = (square > 0).sum(1).astype(m.dtype)
    pairs = n * (n - 1)
    return Factor(gram, m.sum(2)), jnp.where(pairs > 0, (total - n) / jnp.maximum(pairs, 1), jnp.nan)


def inverse_norm(square: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 / sqrt(square), 0 where square is 0."""
    return jnp.where(square > 0, lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def product_moments(h: Factor, delta: Factor, by_gram: bool, count: int, e: Int[Array, " nets"]) -> Moments:
    """Moments of h^T delta over its `count` entries; where the matrix is never formed its largest magnitude is NaN."""
    if not by_gram:
        matrix = jnp.einsum("nbi,nbo->nio", h.gram_or_m, delta.gram_or_m, precision=lax.Precision.HIGHEST)
        return measure(Signal(matrix, e))[1]
    ms = (h.gram_or_m * delta.gram_or_m).sum((1, 2)) / count
    mean = (h.sums * delta.sums).sum(1) / count
    return Moments(mean, ms, jnp.maximum(ms - mean * mean, 0), jnp.full_like(ms, jnp.nan), e)
