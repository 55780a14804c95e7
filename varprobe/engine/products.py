"""The linear part of a layer for all nets: one product with the base, then each net's scale and mean."""

import itertools
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.engine.program import LayerNumbers, Program
from varprobe.engine.weight_bases import WeightBasis, rows_times
from varprobe.nets.scaled_float import Signal, add, normalize, scale, wide

__all__ = ["biased", "linear", "products", "weighted"]


def column(values: Float[Array, " nets"], like: Array) -> Float[Array, "nets 1 1"]:
    """One number a net, to multiply (nets, batch, units)."""
    return values.astype(like.dtype)[:, None, None]


def product(
    base: WeightBasis, drawn: Any, m: Float[Array, "nets batch units"], width: int, transpose: bool = False
) -> Float[Array, "nets batch width"]:
    """m base, or m base^T: one product for all nets."""
    nets, batch, units = m.shape
    rows = (base.backward if transpose else base.forward)(drawn, m.reshape(nets * batch, units))
    return jnp.broadcast_to(rows, (nets * batch, width)).reshape(nets, batch, width)


def products(
    program: Program,
    segment: int,
    drawn: dict[Any, Any],
    ms: Sequence[Float[Array, "_ batch _"]],
    numbers: Sequence[LayerNumbers],
    transpose: bool = False,
) -> list[Float[Array, "_ batch _"]]:
    """What `weighted` takes, for every block: each net's m times its base. Nets that share a base share the product.

    Where ranges are real it is m W with the very weights, net by net.
    """
    width = program.segments[segment].fan_in if transpose else program.segments[segment].fan_out
    if program.real_range:
        return [
            jnp.concatenate(
                [
                    each_product(
                        program, segment, base, drawn[base], m[own], jax.tree.map(itemgetter(own), n), transpose
                    )
                    for base, own in runs(block.weights[segment])
                ]
            )
            for block, m, n in zip(program.blocks, ms, numbers, strict=True)
        ]
    parts: dict[tuple[int, int], Array] = {}
    for base in program.bases(segment):
        users = [(b, r) for b, block in enumerate(program.blocks) for c, r in runs(block.weights[segment]) if c == base]
        together = product(base, drawn[base], jnp.concatenate([ms[b][own] for b, own in users]), width, transpose)
        ends = np.cumsum([own.stop - own.start for _, own in users])
        for (b, own), part in zip(users, jnp.split(together, ends[:-1]), strict=True):
            parts[b, own.start] = part
    return [
        jnp.concatenate([parts[b, own.start] for _, own in runs(block.weights[segment])])
        for b, block in enumerate(program.blocks)
    ]


def runs(bases: Sequence[WeightBasis]) -> list[tuple[WeightBasis, slice]]:
    """(base, slice) of every run of neighbors with one base."""
    found, start = [], 0
    for base, run in itertools.groupby(bases):
        length = len(list(run))
        found.append((base, slice(start, start + length)))
        start += length
    return found


def each_product(
    program: Program,
    segment: int,
    base: WeightBasis,
    drawn: Any,
    m: Float[Array, "nets batch units"],
    numbers: LayerNumbers,
    transpose: bool,
) -> Float[Array, "nets batch width"]:
    """The product net by net, with weights of the real dtype and its range, where they may under- or overflow."""
    s = program.segments[segment]
    matrix = wide(base.matrix(drawn, (s.fan_in, s.fan_out)))

    def one(x: tuple[Array, LayerNumbers]) -> Array:
        rows, n = x
        w = scale((n.mean + n.scale * matrix)[None], n.e[None])[0].astype(program.dtype)
        return rows_times(rows, w.T if transpose else w)

    return lax.map(one, (m, numbers))


def weighted(
    program: Program,
    rows: Float[Array, "nets batch width"],
    sums: Float[Array, "nets batch"],
    e: Int[Array, " nets"],
    numbers: LayerNumbers,
) -> Signal:
    """h W (or h W^T) with W = (mean + scale * base) 2^e_W: from `products`, the sums of h's rows, and h's exponent."""
    return Signal(rows, e) if program.real_range else combined(rows, sums, e, numbers)


def combined(
    rows: Float[Array, "nets batch width"], sums: Float[Array, "nets batch"], e: Int[Array, " nets"], n: LayerNumbers
) -> Signal:
    """scale * (h base) + mean * (sums of h's rows)."""
    m = column(n.scale, wide(rows)) * wide(rows) + column(n.mean, wide(rows)) * sums[:, :, None]
    return Signal(m, e + n.e)


def linear(
    base: WeightBasis, drawn: Any, h: Signal, numbers: LayerNumbers, width: int, transpose: bool = False
) -> Signal:
    """h W, or h W^T, to `width` units, with an unbounded exponent."""
    return combined(product(base, drawn, h.m, width, transpose), wide(h.m).sum(2), h.e, numbers)


def biased(program: Program, z: Signal, bias: Array | None, numbers: LayerNumbers) -> Signal:
    """z + b."""
    if bias is None:
        return z
    b = wide(numbers.mean[:, None] + numbers.scale[:, None] * wide(bias)[None])[:, None, :]
    shift = normalize(Signal(b, numbers.e))
    if program.real_range:
        return Signal(z.m + scale(shift.m, shift.e).astype(z.m.dtype), z.e)
    return add(z, Signal(jnp.broadcast_to(shift.m, z.m.shape), shift.e))
