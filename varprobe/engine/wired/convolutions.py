"""Convolutions of stride 1 that keep the number of positions, and what comes out of their backward pass.

z[p] = sum over o of u[p + o - center] K[o], positions beyond the edge wrapped round or zero. The three products that
this takes are written as plain convolutions without flips or other orders of axes, the one form that the CPU's compiler
knows by heart inside loops (elsewhere it is a hundred times slower), net by net: nets that share a base save its draw.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from varprobe.engine.moments import measure
from varprobe.engine.weight_bases import WeightBasis, center
from varprobe.engine.wired.taps import Sink, Slotted, drained, flat
from varprobe.nets.architectures.architecture import WeightSpec
from varprobe.nets.scaled_float import Signal, wide

__all__ = ["CONVOLVED", "adjoint", "convolution", "convolve", "kernel_gradient"]

CONVOLVED = "convolved"
"""The name under which jax.checkpoint keeps a convolution's result."""

Values = Float[Array, "batch ... channels"]


def convolve(u: Values, kernel: Float[Array, "... channels out"], circular: bool) -> Values:
    """The convolution of a batch."""
    return valid(padded(u, kernel.shape[:-2], circular), kernel)


def adjoint(v: Values, kernel: Float[Array, "... channels out"], circular: bool) -> Values:
    """The transposed convolution: the vector-Jacobian product of `convolve` with v, to the kernel's channels in."""
    sides = kernel.shape[:-2]
    flipped = jnp.flip(kernel, range(len(sides))).swapaxes(-1, -2)
    return valid(padded(v, sides, circular, flipped=True), flipped)


def kernel_gradient(u: Values, c: Values, sides: tuple[int, ...], circular: bool) -> Float[Array, "... channels out"]:
    """The vector-Jacobian product of `convolve` with c with respect to the kernel: u's channels stand as the batch."""
    whole = jnp.moveaxis(padded(u, sides, circular), (0, -1), (-1, 0))
    return jnp.moveaxis(valid(whole, jnp.moveaxis(c, 0, -2)), 0, -2)


def padded(u: Values, sides: tuple[int, ...], circular: bool, flipped: bool = False) -> Values:
    """u with what a kernel with these sides reaches beyond its edges."""
    pads = [(low, side - 1 - low) for side, low in zip(sides, center(sides), strict=True)]
    width = [(0, 0), *(pad[::-1] if flipped else pad for pad in pads), (0, 0)]
    return jnp.pad(u, width, mode="wrap") if circular else jnp.pad(u, width)


def valid(u: Values, kernel: Float[Array, "... channels out"]) -> Values:
    """The convolution wherever the kernel fits, always in two dimensions."""
    if u.ndim == 3:
        return valid(u[:, None], kernel[None])[:, 0]
    order = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        u, kernel, (1, 1), "VALID", dimension_numbers=order, precision=lax.Precision.HIGHEST
    )


def convolution(
    bases: tuple[WeightBasis, ...], slot: WeightSpec, circular: bool, h: Signal, matrix: Slotted, sink: Sink
) -> Signal:
    """h convolved with K = (mean + scale * base) 2^e_W, or with its adjoint; the sink receives the moments of dLoss/dK.

    Args:
        bases: of each net; `matrix.drawn` has those of the distinct ones, in order.
        slot: the kernel's shape, and whether its adjoint is meant.
        circular: whether positions beyond an edge are those of the other end; else they are zero.
        h: (nets, batch, positions..., channels).
        matrix: scale, mean and exponent of each net.
        sink: for the weight gradient.
    """
    z = convolved(bases, slot, circular, h.m, matrix, sink)
    return Signal(checkpoint_name(z, CONVOLVED), h.e + matrix.e)


def kernel_of(slot: WeightSpec, drawn: Array, which: Array, matrix: Slotted, dtype: jnp.dtype) -> Array:
    """The mantissa of one net's kernel, rounded to a dtype."""
    base = wide(drawn[which])
    kernel = matrix.mean.astype(base.dtype) + matrix.scale.astype(base.dtype) * base
    return wide(kernel.astype(dtype)).reshape(slot.shape)


def bases_of(bases: tuple[WeightBasis, ...], matrix: Slotted) -> tuple[Array, tuple[Any, ...]]:
    """(the distinct bases, what of `matrix` is each net's own with the index of its base)."""
    distinct = list(dict.fromkeys(bases))
    which = np.array([distinct.index(base) for base in bases])
    return jnp.stack(matrix.drawn), (which, matrix._replace(drawn=()))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def convolved(
    bases: tuple[WeightBasis, ...], slot: WeightSpec, circular: bool, m: Array, matrix: Slotted, sink: Sink
) -> Array:
    """The convolution of mantissas, net by net."""
    drawn, own = bases_of(bases, matrix)
    forward = adjoint if slot.adjoint else convolve

    def one(net: Any) -> Array:
        u, (which, numbers) = net
        return forward(wide(u), kernel_of(slot, drawn, which, numbers, u.dtype), circular)

    return lax.map(one, (m, own))


def convolved_forward(
    bases: tuple[WeightBasis, ...], slot: WeightSpec, circular: bool, m: Array, matrix: Slotted, sink: Sink
) -> tuple[Array, tuple[Array, Slotted, Sink]]:
    """Keeps both sides of the product."""
    return convolved(bases, slot, circular, m, matrix, sink), (m, matrix, sink)


def convolved_backward(
    bases: tuple[WeightBasis, ...], slot: WeightSpec, circular: bool, kept: tuple[Array, Slotted, Sink], c: Array
) -> tuple[Array, None, Sink]:
    """The cotangent through the adjoint, and the moments of the kernel's gradient."""
    m, matrix, sink = kept
    drawn, own = bases_of(bases, matrix)
    backward = convolve if slot.adjoint else adjoint
    measured, _ = measure(Signal(flat(c), jnp.zeros(c.shape[:1], jnp.int32)))

    def one(net: Any) -> tuple[Array, Array]:
        u, c, near_one, (which, numbers) = net
        kernel = kernel_of(slot, drawn, which, numbers, u.dtype)
        back = backward(wide(c.astype(u.dtype)), kernel, circular).astype(u.dtype)
        before, after = (near_one, wide(u)) if slot.adjoint else (wide(u), near_one)
        gradient = kernel_gradient(before, after, slot.kernel, circular)
        return back, gradient.reshape(slot.fan_in, slot.fan_out)

    back, gradient = lax.map(one, (m, c, measured.m.reshape(c.shape), own))
    moments = measure(Signal(gradient, measured.e))[1]
    return back, None, drained(moments, jnp.full_like(moments.mean, jnp.nan), -matrix.e, sink.mean.dtype)


convolved.defvjp(convolved_forward, convolved_backward)
