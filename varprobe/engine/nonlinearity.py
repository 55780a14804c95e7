"""phi and phi' of a signal with an unbounded exponent.

In the middle range phi is computed as it is. Where a net's signal is far out or near zero, its measured slopes stand in
for it: there the two differ by less than the dtype resolves. An activation without slopes (relu_squared) runs in range,
and leaves it as infinity or zero.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.engine.program import ActivationSpec, PhiNumbers
from varprobe.nets.scaled_float import Signal, scale, wide

__all__ = ["activate", "value_alone", "value_and_slope"]

EDGE = {"float64": 60}
EDGE_FLOAT32 = 40
LAST = 126


def value_and_slope(phi: ActivationSpec, parameters: dict[str, Array], x: Array) -> tuple[Array, Array]:
    """phi(x) and phi'(x), elementwise; the function's own derivative rule is respected."""
    shaped = {name: value.astype(x.dtype)[:, None, None] for name, value in parameters.items()}
    y, pullback = jax.vjp(lambda x: phi.function(x, **dict(phi.static), **shaped), x)
    return y, pullback(jnp.ones_like(y))[0]


def value_alone(phi: ActivationSpec, parameters: dict[str, Array], x: Array) -> tuple[Array, None]:
    """phi(x), to be differentiated by whoever asks."""
    shaped = {name: value.astype(x.dtype)[:, None, None] for name, value in parameters.items()}
    return phi.function(x, **dict(phi.static), **shaped), None


def lines(m: Float[Array, "nets batch units"], slopes: Float[Array, "nets 2"]) -> Float[Array, "nets batch units"]:
    """slopes[0] m below zero, slopes[1] m above."""
    left, right = slopes[:, 0, None, None].astype(m.dtype), slopes[:, 1, None, None].astype(m.dtype)
    return m * jnp.where(m > 0, right, left)


def activate(
    program: Any, phi: ActivationSpec, numbers: PhiNumbers, z: Signal, evaluate: Callable[..., Any] = value_and_slope
) -> tuple[Signal, Any]:
    """(phi(z), phi'(z)); z has its largest magnitude in [1, 2) unless ranges are real.

    Args:
        program: has `real_range` and `dtype`.
        phi: the activation.
        numbers: its parameters and slopes.
        z: (nets, batch, units).
        evaluate: `value_and_slope`, or `value_alone`, which has no slope.
    """
    if program.real_range:
        y, slope = evaluate(phi, numbers.parameters, z.m)
        return Signal(y, z.e), slope
    m = wide(z.m)
    if phi.homogeneous:
        y, slope = evaluate(phi, numbers.parameters, m)
        return Signal(y, z.e), slope
    edge = EDGE.get(program.dtype, EDGE_FLOAT32)
    low = -edge if phi.near else -LAST
    high = edge if phi.far or phi.bounded else LAST
    x = scale(m, jnp.clip(z.e, low, high))
    if not phi.near:
        x = jnp.where((z.e < low)[:, None, None], 0, x)
    y, slope = evaluate(phi, numbers.parameters, x)
    e = jnp.zeros_like(z.e)
    if phi.near:
        is_near = z.e < low
        y = jnp.where(is_near[:, None, None], lines(m, numbers.near), y)
        e = jnp.where(is_near, z.e, e)
    if phi.far:
        is_far = z.e > high
        y = jnp.where(is_far[:, None, None], lines(m, numbers.far), y)
        e = jnp.where(is_far, z.e, e)
    if not (phi.far or phi.bounded):
        y = jnp.where((z.e > high)[:, None, None], jnp.inf, y)
    return Signal(y, e), slope
