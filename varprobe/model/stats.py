"""Statistics of a probed value: on the device a few numbers, computed in few passes; on the host `Seen`."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

__all__ = [
    "ALIKE",
    "ALL",
    "DEAD",
    "ENTROPY",
    "FLAT",
    "LOGISTIC",
    "MOMENTS",
    "RANGE",
    "TANH",
    "ZERO",
    "Numbers",
    "Seen",
    "joined",
    "numbers",
    "seen",
    "sink",
]

MOMENTS, RANGE, ZERO, DEAD, ALL = 0, 1, 2, 4, 7
"""What is computed: moments always; the shares overflow and underflow, zero, and dead; flags that can be combined."""

ENTROPY, ALIKE = 8, 16
"""Flags of what is computed of rows, on the host only: of probabilities their entropy, of others their cosine."""

LOGISTIC, TANH = 32, 64
"""Flags, on the host only, of what such a function gives: the fraction where its slope is below 0.01."""

FLAT = {"logistic": LOGISTIC, "tanh": TANH}

Numbers = Float[Array, "*axes 8"]
"""Of each entry: the largest magnitude; mean and variance of x * `scale_of` that; the shares overflow, underflow, zero
and dead; and 1, so that a branch that is not taken leaves 0.
"""

COLUMNS = 8


class Seen(NamedTuple):
    """Of all entries of an array: moments of m, where it is m * 2^e, and shares; arrays of the host.

    zero: exactly zero. dead: units, along the last axis, that are zero everywhere. overflow: not finite. underflow: not
    zero, but below the smallest normal number of the dtype. Of these what is not wanted is 0. computed: 1; a branch
    that is not taken leaves 0. rows: of rows along the last axis the mean cosine between two, -1 to 1, or the mean
    entropy of probabilities over the log of how many are not 0, 0 to 1; NaN if neither was computed. flat: where the
    slope of a bounded function is below 0.01; NaN if that was not computed.
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
    rows: Any
    flat: Any


def numbers(x: Float[Array, "..."], axes: int = 0, told: int = ALL) -> Numbers:
    """The statistics of an array, or of each entry of its leading axes; of complex numbers those of their magnitudes.

    Values are scaled by a power of two, so that squares neither overflow nor underflow; the variance is taken about the
    mean in a second pass, never as E[x^2] - E[x]^2.
    """
    return reduced(lax.stop_gradient(x), axes, told)


@partial(jax.jit, static_argnames=("axes", "told"))
def reduced(x: Float[Array, "..."], axes: int, told: int) -> Numbers:
    """`numbers` of what is not differentiated. Few operations, since each of them is compiled again for every site."""
    x = jnp.abs(x) if jnp.iscomplexobj(x) else x
    dtype, kind = x.dtype, real_kind(x.dtype)
    if not x.size:
        return sink(x.shape[:axes], dtype)
    x = (x[..., None] if x.ndim == axes else x).astype(kind)  # 8 bits have no arithmetic
    over, size, bits = tuple(range(axes, x.ndim)), jnp.abs(x), bits_of(x)
    absmax = size.max(over)
    m = x * jnp.expand_dims(scale_of(absmax), over)
    mean = m.mean(over)
    var = jnp.square(m - jnp.expand_dims(mean, over)).mean(over)
    share = dict.fromkeys(("overflow", "underflow", "zero", "dead"), jnp.zeros_like(mean))
    if told & RANGE:
        tiny, infinite = bits_of(jnp.asarray([jnp.finfo(dtype).tiny, jnp.inf], kind))
        share["overflow"], share["underflow"] = shares(kind, over, bits >= infinite, (bits > 0) & (bits < tiny))
    if told & ZERO:
        (share["zero"],) = shares(kind, over, bits == 0)
    if told & DEAD:
        (share["dead"],) = shares(kind, (axes,), size.max(over[:-1]) == 0)
    return jnp.stack([absmax, mean, var, *share.values(), jnp.ones_like(mean)], -1)


def joined(found: Numbers, axes: int) -> Numbers:
    """The statistics of all entries behind so many leading axes together, of those that were computed.

    A unit that is dead for one entry may not be for another, so that of these shares the least is kept.
    """
    while found.ndim > axes + 1:
        absmax, mean, var, *share, computed = jnp.moveaxis(found, -1, 0)
        top = absmax.max(-1)
        scale = scale_of(top)[..., None] / scale_of(absmax)
        weight = computed / jnp.maximum(computed.sum(-1, keepdims=True), 1)
        mean = mean * scale
        both = (mean * weight).sum(-1)
        spread = ((var * scale**2 + jnp.square(mean - both[..., None])) * weight).sum(-1)
        overflow, underflow, zero = ((x * weight).sum(-1) for x in share[:3])
        dead = jnp.where(computed > 0, share[3], 1).min(-1)
        found = jnp.stack([top, both, spread, overflow, underflow, zero, dead, computed.max(-1)], -1)
    return found


def bits_of(x: Float[Array, "..."]) -> Array:
    """The bits of magnitudes, in their order; a CPU may compute as if those below the normal numbers were 0."""
    kind = jnp.uint64 if x.dtype.itemsize > 4 else jnp.uint32
    return lax.bitcast_convert_type(x, kind) & (jnp.iinfo(kind).max >> 1)


def scale_of(absmax: Float[Array, "..."]) -> Float[Array, "..."]:
    """The power of two, itself a normal number, that brings a magnitude near 1; 1 for what is not finite."""
    kind = jnp.finfo(absmax.dtype)
    top = 2 * kind.maxexp - 2  # of exponents as they are stored, of normal numbers
    stored = bits_of(absmax) >> kind.nmant
    inverse = jnp.where(stored > top, top // 2, jnp.maximum(top, stored + 1) - stored)
    return lax.bitcast_convert_type(inverse << kind.nmant, absmax.dtype)


def shares(kind: Any, over: tuple[int, ...], *masks: Any) -> list[Array]:
    """The share of each mask that is true over some axes, in one pass."""
    zeros = (np.uint32(0),) * len(masks)
    counts = lax.reduce(tuple(mask.astype(jnp.uint32) for mask in masks), zeros, added, over)
    return [count.astype(kind) / (masks[0].size // count.size) for count in counts]


def added(some: Sequence[Array], others: Sequence[Array]) -> tuple[Array, ...]:
    """The sum of each and the other."""
    return tuple(a + b for a, b in zip(some, others, strict=True))


def sink(lengths: tuple[int, ...], dtype: Any) -> Numbers:
    """Where the statistics of a gradient arrive, one for each iteration of the scans around."""
    return jnp.zeros((*lengths, COLUMNS), real_kind(dtype))


def real_kind(dtype: Any) -> Any:
    """The dtype of statistics: real, and float32 at least."""
    real = jnp.finfo(dtype).dtype
    return real if real.itemsize > 4 else jnp.dtype(jnp.float32)


def seen(found: np.ndarray) -> Seen:
    """What `numbers` say, on the host, in float64."""
    absmax, mean, var, overflow, underflow, zero, dead, computed = np.moveaxis(found.astype(np.float64), -1, 0)
    least, most = np.finfo(found.dtype).minexp - 1, np.finfo(found.dtype).maxexp - 2
    e = np.where(np.isfinite(absmax), np.clip(np.frexp(absmax)[1] - 1, least, most), 0)
    e = np.where(absmax == 0, 0, e)
    with np.errstate(invalid="ignore"):
        ms = np.where(np.isposinf(absmax), np.inf, mean**2 + var)
    sizes = np.ldexp(absmax, -e), e.astype(np.float64)
    return Seen(mean, ms, var, *sizes, zero, dead, overflow, underflow, computed, *np.full((2, *mean.shape), np.nan))
