"""Tapped values that leave the program whole, and their statistics in float64 on the host.

The only addition to the model's program is more outputs. Computing the statistics inside the program would trace and
compile them again for every site; NumPy compiles nothing.
"""

import math
from functools import cache
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from varprobe.model.slots import Way
from varprobe.model.stats import ALIKE, DEAD, ENTROPY, LOGISTIC, MOMENTS, RANGE, TANH, ZERO, Seen
from varprobe.model.tapping import Report

__all__ = ["WHOLE", "Whole", "statistics"]

BLOCK = 1 << 16
"""Entries that are converted at a time, so that they stay in the cache."""


class Whole(NamedTuple):
    """An array, with a leading axis for each scan and shard_map that it is in.

    computed: 1 where a step or a device computed it, else 0.
    """

    value: Any
    computed: Any


def tell(x: Float[Array, "..."], told: int, axes: int) -> Whole:
    """The array itself."""
    return Whole(jax.lax.stop_gradient(x), np.ones((1,) * axes, np.float32))


def sink(lengths: tuple[int, ...], like: Any) -> Whole:
    """Where a gradient arrives."""
    return Whole(jnp.zeros((*lengths, *like.shape), like.dtype), jnp.zeros(lengths, jnp.float32))


@cache
def arrived(told: int, axes: int) -> Report:
    """A gradient that was computed, for each entry of so many leading axes of one entry."""
    return lambda gradient: Whole(gradient, np.ones((1,) * axes, np.float32))


WHOLE = Way(tell, arrived, sink)


def statistics(whole: Any, axes: int = 0, told: int = MOMENTS) -> Seen:
    """The statistics of an array, or of each entry of its leading axes; of `Whole` zeros where not computed.

    What follows these axes in `Whole.computed` are devices: an entry is what those computed that did.
    """
    value, computed = (np.asarray(part) for part in (whole if isinstance(whole, Whole) else (whole, 1)))
    lead, last = value.shape[:axes], value.shape[-1] if value.ndim > axes else 1
    found = np.zeros((prod(lead), len(Seen._fields)))
    found[:, -2:] = np.nan
    if value.size:
        tiny = float(jnp.finfo(value.dtype).tiny)
        known = np.broadcast_to(computed, (*lead, *computed.shape[axes:])).reshape(prod(lead), -1) > 0
        rows = value.reshape(*known.shape, -1, last)
        for i in np.flatnonzero(known.any(1)):
            found[i] = one((rows[i] if known[i].all() else rows[i][known[i]]).reshape(-1, last), told, tiny)
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
            if told:
                some = block.size - int(np.count_nonzero(block))
                zero += some
                underflow += int(np.count_nonzero(np.abs(block) < tiny)) - some
                overflow += 0 if np.isfinite(here) else block.size - int(np.count_nonzero(np.isfinite(block)))
    n = flat.size
    dead = float(1 - rows.any(0).mean()) if told & DEAD and zero else 0.0
    overflow, underflow = (overflow, underflow) if told & RANGE else (0, 0)
    zero = zero if told & ZERO else 0
    sizes = mean, square / n, spread / n, math.ldexp(absmax, -e), e
    return Seen(
        *sizes,
        zero / n,
        dead,
        overflow / n,
        underflow / n,
        1.0,
        of_rows(rows, told, e, np.isfinite(spread)),
        flat_in(flat, told),
    )


def flat_in(values: np.ndarray, told: int) -> float:
    """The fraction of what a logistic function or tanh gives where its slope is below 0.01; NaN of others."""
    if not told & (LOGISTIC | TANH):
        return math.nan
    slope = values * (1 - values) if told & LOGISTIC else 1 - values * values
    return float(np.mean(slope < 0.01))


def of_rows(rows: np.ndarray, told: int, e: int, finite: bool) -> float:
    """The entropy of rows of probabilities over the largest possible, or the mean cosine between two rows."""
    count, length = rows.shape
    if not told & (ENTROPY | ALIKE) or length < 2 or np.iscomplexobj(rows) or not finite:
        return math.nan
    height = max(1, BLOCK // length)
    blocks = (scaled(rows[start : start + height], e) for start in range(0, count, height))
    with np.errstate(all="ignore"):
        if told & ENTROPY:
            return entropy_of([entropies(block * 2.0**e) for block in blocks])
        known, total = 0, np.zeros(length)
        for block in blocks:
            size = np.sqrt(np.einsum("ij,ij->i", block, block))
            known += int(np.count_nonzero(size))
            total += (block[size > 0] / size[size > 0, None]).sum(0)
        return (float(total @ total) - known) / (known * (known - 1)) if known > 1 else math.nan


def entropies(p: np.ndarray) -> np.ndarray:
    """The entropy of each row of probabilities over the log of how many are not 0; NaN where one is not."""
    several = np.count_nonzero(p, axis=1)
    return -np.where(p > 0, p * np.log(p), 0).sum(axis=1) / np.where(several > 1, np.log(several), np.nan)


def entropy_of(parts: list[np.ndarray]) -> float:
    """The mean over rows. A row with one probability, as of a first position that sees itself, is left out if most have
    several; else all probability is on one key.
    """
    every = np.concatenate(parts)
    alone = np.isnan(every)
    return float(every[~alone].mean()) if alone.mean() < 0.5 else float(np.where(alone, 0, every).mean())


def scaled(block: np.ndarray, e: int) -> np.ndarray:
    """x 2^-e in float64, of complex numbers their magnitudes."""
    real = (np.abs(block) if np.iscomplexobj(block) else block).astype(np.float64)
    return np.ldexp(real, -e) if abs(e) > 1000 else real * 2.0**-e if e else real


def dot(m: np.ndarray) -> float:
    """Sum of squares, without the threads that a product would start for each block."""
    return float(np.einsum("i,i->", m, m))
