"""dLoss/dh_L: where the backward pass starts.

cotangent       sum(c * h_L), c ~ N(0, 1): measures the Jacobian, has no scale of its own
mse             mean over batch and outputs of (h_L W_out - t)^2
cross_entropy   mean over the batch of -log softmax(h_L W_out)[label]
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from varprobe.engine.products import linear
from varprobe.engine.program import Block, LayerNumbers, Program
from varprobe.nets.scaled_float import Signal, add, normalize, scale, wide

__all__ = ["gradient", "output_gradient"]

SOFTMAX_EDGE = 30


def gradient(
    program: Program, block: Block, h: Signal, target: Array, numbers: LayerNumbers | None, drawn: Any
) -> Signal:
    """dLoss/dh_L of nets of a block, in the program's dtype; `drawn` is the read-out's base, `numbers` its own."""
    dtype = jnp.dtype(program.dtype)
    if block.readout is None or numbers is None:
        g = Signal(jnp.broadcast_to(target.astype(dtype), h.m.shape), jnp.zeros_like(h.e))
        return g if program.real_range else normalize(g)
    output = linear(block.readout, drawn, h, numbers, program.outputs)
    g = normalize(output_gradient(program.loss, output, target))
    g = Signal(g.m.astype(dtype), g.e)
    back = normalize(linear(block.readout, drawn, g, numbers, h.m.shape[2], transpose=True))
    if program.real_range:
        return Signal(scale(back.m, back.e).astype(dtype), jnp.zeros_like(back.e))
    return Signal(back.m.astype(dtype), back.e)


def output_gradient(loss: str, output: Signal, target: Array) -> Signal:
    """dLoss/d(output); target is (batch, outputs) for mse, integer labels (batch,) for cross_entropy."""
    output = normalize(output)
    batch, outputs = output.m.shape[1:]
    if loss == "mse":
        t = normalize(Signal(jnp.broadcast_to(-wide(target), output.m.shape), jnp.zeros_like(output.e)))
        residual = add(output, t)
        return Signal(residual.m * (2 / (batch * outputs)), residual.e)
    logits = scale(wide(output.m), jnp.clip(output.e, -126, SOFTMAX_EDGE))
    p = jax.nn.softmax(logits, axis=2)
    return Signal((p - jax.nn.one_hot(target, outputs, dtype=p.dtype)) / batch, jnp.zeros_like(output.e))
