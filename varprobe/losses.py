"""dLoss/dh_L: where the backward pass starts.

cotangent       sum(c * h_L), c ~ N(0, 1): measures the Jacobian, has no scale of its own
mse             mean over batch and outputs of (h_L W_out - t)^2
cross_entropy   mean over the batch of -log softmax(h_L W_out)[label]
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from varprobe.bases import Draw
from varprobe.dense import fill, linear
from varprobe.extended import Signal, add, normalize, scale
from varprobe.moments import wide
from varprobe.program import Block, Numbers, Program

__all__ = ["gradient", "output_gradient"]

SOFTMAX_EDGE = 30


def gradient(program: Program, block: Block, h: Signal, target: Array, numbers: Numbers, key: Array) -> Signal:
    """dLoss/dh_L of every net of a block, in the program's dtype."""
    dtype = jnp.dtype(program.dtype)
    if program.loss == "cotangent":
        g = Signal(jnp.broadcast_to(target.astype(dtype), h.m.shape), jnp.zeros_like(h.e))
        return g if program.real_range else normalize(g)
    assert block.readout is not None and numbers.readout is not None
    shape = (h.m.shape[2], program.outputs)
    drawn = block.readout.draw(Draw(key, shape, program.depth + 1, program.depth, dtype))
    output = fill(linear(block.readout, True, drawn, h, numbers.readout), program.outputs)
    g = normalize(output_gradient(program.loss, output, target))
    g = Signal(g.m.astype(dtype), g.e)
    back = normalize(fill(linear(block.readout, True, drawn, g, numbers.readout, transpose=True), shape[0]))
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
