"""The linear part of a layer for all nets of a block: one product with the base, then each net's scale and mean."""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.bases import rows_times
from varprobe.extended import Signal, add, normalize, scale
from varprobe.moments import wide
from varprobe.program import Block, LayerNumbers, Program

__all__ = ["affine", "linear", "transposed"]


def column(values: Float[Array, " nets"], like: Array) -> Float[Array, "nets 1 1"]:
    """One number a net, to multiply (nets, batch, units)."""
    return values.astype(like.dtype)[:, None, None]


def linear(base: Any, has_mean: bool, drawn: Any, h: Signal, numbers: LayerNumbers, transpose: bool = False) -> Signal:
    """h W, or h W^T, with W = (mean + scale * base) 2^e."""
    nets, batch, units = h.m.shape
    multiply = base.backward if transpose else base.forward
    rows = multiply(drawn, h.m.reshape(nets * batch, units))
    rows = jnp.zeros((nets, batch, 1), rows.dtype) if rows.ndim == 0 else rows.reshape(nets, batch, -1)
    product = column(numbers.scale, wide(rows)) * wide(rows)
    if has_mean:
        product = product + column(numbers.mean, product) * wide(h.m).sum(2, keepdims=True)
    return Signal(product, h.e + numbers.e)


def fill(signal: Signal, width: int) -> Signal:
    """A rank-one product repeated for every unit."""
    nets, batch, _ = signal.m.shape
    return Signal(jnp.broadcast_to(signal.m, (nets, batch, width)), signal.e)


def materialized(
    block: Block, segment: int, drawn: Any, shape: tuple[int, int], numbers: LayerNumbers, dtype: str
) -> Any:
    """A function from a net's index to its weights in the real dtype, rounded and of its range."""
    base = wide(block.weights[segment].matrix(drawn[block.weights[segment]], shape))

    def weights(net: Array) -> Float[Array, "fan_in fan_out"]:
        w = numbers.mean[net] + numbers.scale[net] * base
        return scale(w[None], numbers.e[net][None])[0].astype(dtype)

    return weights


def each_net(
    program: Program, segment: int, block: Block, drawn: Any, h: Signal, numbers: LayerNumbers, transpose: bool
) -> Signal:
    """The product net by net with the very weights, for `range=dtype`, where they may under- or overflow."""
    s = program.segments[segment]
    weights = materialized(block, segment, drawn, (s.fan_in, s.fan_out), numbers, program.dtype)

    def one(x: tuple[Array, Array]) -> Array:
        net, rows = x
        return rows_times(rows, weights(net).T if transpose else weights(net))

    return Signal(lax.map(one, (jnp.arange(block.nets), h.m)), h.e)


def affine(
    program: Program,
    segment: int,
    block: Block,
    drawn: Any,
    bias: Array | None,
    h: Signal,
    weights: LayerNumbers,
    biases: LayerNumbers,
) -> Signal:
    """z = h W + b."""
    base, fan_out = block.weights[segment], program.segments[segment].fan_out
    if program.real_range:
        z = each_net(program, segment, block, drawn, h, weights, transpose=False)
    else:
        z = fill(linear(base, block.has_mean[segment], drawn[base], h, weights), fan_out)
    if bias is None:
        return z
    b = wide(biases.mean[:, None] + biases.scale[:, None] * wide(bias)[None])[:, None, :]
    shift = normalize(Signal(b, biases.e))
    if program.real_range:
        return Signal(z.m + scale(shift.m, shift.e).astype(z.m.dtype), z.e)
    return add(z, Signal(jnp.broadcast_to(shift.m, z.m.shape), shift.e))


def transposed(
    program: Program, segment: int, block: Block, drawn: Any, delta: Signal, weights: LayerNumbers
) -> Signal:
    """dLoss/dh = delta W^T, normalized unless ranges are real."""
    base, fan_in = block.weights[segment], program.segments[segment].fan_in
    if program.real_range:
        return each_net(program, segment, block, drawn, delta, weights, transpose=True)
    return normalize(fill(linear(base, block.has_mean[segment], drawn[base], delta, weights, transpose=True), fan_in))
