"""The linear part of a layer for all nets of a block: one product with the base, then each net's scale and mean."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.bases import Base, rows_times
from varprobe.extended import Signal, add, normalize, scale
from varprobe.moments import wide
from varprobe.program import LayerNumbers, Program

__all__ = ["biased", "linear", "products", "weighted"]


def column(values: Float[Array, " nets"], like: Array) -> Float[Array, "nets 1 1"]:
    """One number a net, to multiply (nets, batch, units)."""
    return values.astype(like.dtype)[:, None, None]


def product(
    base: Base, drawn: Any, m: Float[Array, "nets batch units"], transpose: bool = False
) -> Float[Array, "nets batch width"]:
    """m base, or m base^T: one product for all nets. Width 1 stands for units that are all the same."""
    nets, batch, units = m.shape
    rows = (base.backward if transpose else base.forward)(drawn, m.reshape(nets * batch, units))
    return jnp.zeros((nets, batch, 1), rows.dtype) if rows.ndim == 0 else rows.reshape(nets, batch, -1)


def products(
    program: Program,
    segment: int,
    drawn: dict[Any, Any],
    ms: Sequence[Float[Array, "_ batch _"]],
    numbers: Sequence[LayerNumbers],
    transpose: bool = False,
) -> list[Float[Array, "_ batch _"]]:
    """What `weighted` takes, for every block: its m times its base. Blocks that share a base share the product.

    Where ranges are real it is m W with the very weights, net by net.
    """
    bases = [block.weights[segment] for block in program.blocks]
    if program.real_range:
        return [
            each_product(program, segment, base, drawn[base], m, n, transpose)
            for base, m, n in zip(bases, ms, numbers, strict=True)
        ]
    rows: list[Any] = [None] * len(bases)
    for base in dict.fromkeys(bases):
        blocks = [i for i, b in enumerate(bases) if b == base]
        together = product(base, drawn[base], jnp.concatenate([ms[i] for i in blocks]), transpose)
        ends = np.cumsum([ms[i].shape[0] for i in blocks])
        for i, part in zip(blocks, jnp.split(together, ends[:-1]), strict=True):
            rows[i] = part
    return rows


def each_product(
    program: Program,
    segment: int,
    base: Base,
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
    rows: Float[Array, "nets batch width"],
    row_sums: Float[Array, "nets batch"] | None,
    e: Int[Array, " nets"],
    numbers: LayerNumbers,
    width: int,
) -> Signal:
    """h W (or h W^T) with W = (mean + scale * base) 2^e, from h base and, unless all means are 0, the sums of h's rows.

    Both times 2^-e_h, with `e` as e_h.
    """
    m = column(numbers.scale, wide(rows)) * wide(rows)
    if row_sums is not None:
        m = m + column(numbers.mean, m) * row_sums[:, :, None]
    return Signal(jnp.broadcast_to(m, (*m.shape[:2], width)), e + numbers.e)


def linear(base: Base, drawn: Any, h: Signal, numbers: LayerNumbers, width: int, transpose: bool = False) -> Signal:
    """h W, or h W^T, to `width` units, with an unbounded exponent."""
    rows = product(base, drawn, h.m, transpose)
    return weighted(rows, wide(h.m).sum(2), h.e, numbers, width)


def biased(program: Program, z: Signal, bias: Array | None, numbers: LayerNumbers) -> Signal:
    """z + b."""
    if bias is None:
        return z
    b = wide(numbers.mean[:, None] + numbers.scale[:, None] * wide(bias)[None])[:, None, :]
    shift = normalize(Signal(b, numbers.e))
    if program.real_range:
        return Signal(z.m + scale(shift.m, shift.e).astype(z.m.dtype), z.e)
    return add(z, Signal(jnp.broadcast_to(shift.m, z.m.shape), shift.e))
