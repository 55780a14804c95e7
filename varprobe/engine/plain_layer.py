"""One layer of one net, forward and backward, on either side of the product that nets share.

All of it is written for arrays with a leading axis of nets and never mixes them.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from varprobe.engine.fractions import LayerValues, fractions_of
from varprobe.engine.moments import Factor, Moments, factor, measure, product_moments
from varprobe.engine.nonlinearity import activate
from varprobe.engine.products import biased, weighted
from varprobe.engine.program import Block, Program, Segment
from varprobe.nets.scaled_float import Signal, wide

__all__ = ["Backward", "Carry", "Forward", "Kept", "backward_net", "forward_net", "rounded", "with_factor"]


class Forward(NamedTuple):
    """Forward statistics of one layer, all of shape (nets,)."""

    preactivation: Moments
    activation: Moments
    activation_correlation: Array
    fractions: dict[str, Array]


class Backward(NamedTuple):
    """Backward statistics of one layer, all of shape (nets,)."""

    gradient: Moments
    gradient_correlation: Array
    weight_gradient: Moments


class Kept(NamedTuple):
    """What the forward pass keeps of one layer and block for the backward pass."""

    slope: Float[Array, "nets batch fan_out"]
    h: Factor
    h_e: Int[Array, " nets"]


class Carry(NamedTuple):
    """h_l of one block on its way forward, with what the next weight gradient needs of it."""

    h: Signal
    factor: Factor


def rounded(program: Program, measured: Signal, raw: Float[Array, "..."]) -> Signal:
    """What goes on to the next layer: the measured signal in the program's dtype, or the raw one if ranges are real."""
    if program.real_range:
        return Signal(raw.astype(program.dtype), jnp.zeros_like(measured.e))
    return Signal(measured.m.astype(program.dtype), measured.e)


def sent(program: Program, measured: Signal, out: Signal) -> Float[Array, "nets batch units"]:
    """What `rounded` returned, in a range where its products are safe."""
    return measured.m if program.real_range else wide(out.m)


def with_factor(program: Program, by_gram: bool, h: Signal) -> Carry:
    """h, with what a weight gradient needs of it."""
    return Carry(h, factor(sent(program, measure(h)[0], h), by_gram)[0])


def forward_net(
    program: Program, block: Block, bias: Array | None, by_gram: bool, x: Any
) -> tuple[Carry, Forward, Float[Array, "nets batch units"]]:
    """(h_l with its factor, statistics, phi'(z_l)) of nets of a block.

    `x` holds their rows of `products`, the sums of h_{l-1}'s rows and its exponent, and their numbers: of the weights,
    the biases and the activation.
    """
    rows, sums, e, weights, biases, phi = x
    z = biased(program, weighted(program, rows, sums, e, weights), bias, biases)
    z_measured, z_moments = measure(z)
    y, slope = activate(program, block.phi, phi, rounded(program, z_measured, z.m))
    y_measured, y_moments = measure(y)
    h = rounded(program, y_measured, y.m)
    side, cosine = factor(sent(program, y_measured, h), by_gram)
    fractions = fractions_of(LayerValues(z_measured.m, y.m, slope))
    return Carry(h, side), Forward(z_moments, y_moments, cosine, fractions), slope


def backward_net(
    program: Program, segment: Segment, by_gram: bool, x: tuple[Signal, Kept]
) -> tuple[Signal, Float[Array, "nets batch"], Backward]:
    """(delta_l, the sums of its rows, statistics) from dLoss/dh_l and what the forward pass kept."""
    g, kept = x
    delta = Signal(kept.slope.astype(g.m.dtype) * g.m, g.e)
    measured, moments = measure(delta)
    out = rounded(program, measured, delta.m)
    side, cosine = factor(sent(program, measured, out), by_gram)
    count = segment.fan_in * segment.fan_out
    weight_gradient = product_moments(kept.h, side, by_gram, count, kept.h_e + measured.e)
    return out, side.sums, Backward(moments, cosine, weight_gradient)
