"""Branches whose cotangent has an exponent of its own, so that it stays near 1 however small the branch is.

All signals of a net share the exponent E of their cotangents. Where a branch is 2^-200 of what it is added to, or
scores are formed of queries of that size, a shared exponent would lose the branch's gradient. So a branch enters with
a number, its lift, which whatever ends it fills on the way back: the sinks in it add the lift to their exponents, and
what leaves it toward the input is scaled by it.
"""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from varprobe.engine.wired.taps import Sink
from varprobe.nets.architectures.layer import Layer, Lift
from varprobe.nets.scaled_float import Signal, scale, wide

__all__ = ["added", "enter"]


def enter(layer: Layer, x: Signal, sinks: Iterable[str]) -> tuple[Signal, Lift]:
    """(x, the lift of a branch that starts here); from now on the branch's sinks, by name, are the layer's."""
    own = {name: layer.sinks[name] for name in sinks if name in layer.sinks}
    kind = jnp.promote_types(layer.program.dtype, jnp.float32)
    m, own, lift = entered(x.m, own, jnp.zeros(x.e.shape, kind))
    layer.sinks = {**layer.sinks, **own}
    return Signal(m, x.e), lift


def added(layer: Layer, x: Signal, branch: Signal, lift: Lift) -> Signal:
    """x + branch, the end of a branch that entered with this lift."""
    if layer.program.real_range:
        return layer.plus(x, branch)
    zero = jnp.all(x.m == 0, axis=tuple(range(1, x.m.ndim))), jnp.all(branch.m == 0, axis=tuple(range(1, x.m.ndim)))
    e = jnp.where(zero[0], branch.e, jnp.where(zero[1], x.e, jnp.maximum(x.e, branch.e)))
    return layer.stored(Signal(aligned(wide(x.m), wide(branch.m), x.e - e, branch.e - e, lift), e))


@jax.custom_vjp
def entered(m: Array, sinks: dict[str, Sink], lift: Lift) -> tuple[Array, dict[str, Sink], Lift]:
    """All as they are; backward, the lift's cotangent is the exponent of the branch's."""
    return m, sinks, lift


def entered_forward(m: Array, sinks: dict[str, Sink], lift: Lift) -> tuple[tuple[Array, dict[str, Sink], Lift], None]:
    """Nothing is kept."""
    return (m, sinks, lift), None


def entered_backward(_: None, c: tuple[Array, dict[str, Sink], Lift]) -> tuple[Array, dict[str, Sink], Lift]:
    """The cotangent at the exponent of the signal that entered, and the sinks at theirs."""
    g, sinks, lift = c
    return scale(g, lift.astype(jnp.int32)), {k: s._replace(e=s.e + lift) for k, s in sinks.items()}, lift


entered.defvjp(entered_forward, entered_backward)


@jax.custom_vjp
def aligned(a: Array, b: Array, e_a: Int[Array, " nets"], e_b: Int[Array, " nets"], lift: Lift) -> Array:
    """a 2^e_a + b 2^e_b; backward, b's cotangent is the sum's, and e_b goes to its lift."""
    return scale(a, e_a) + scale(b, e_b)


def aligned_forward(
    a: Array, b: Array, e_a: Int[Array, " nets"], e_b: Int[Array, " nets"], lift: Lift
) -> tuple[Array, tuple[Array, Array, Lift]]:
    """The exponents are kept."""
    return aligned(a, b, e_a, e_b, lift), (e_a, e_b, lift)


def aligned_backward(kept: tuple[Array, Array, Lift], c: Array) -> tuple[Array, Array, None, None, Lift]:
    """The cotangent for both."""
    e_a, e_b, lift = kept
    return scale(c, e_a), c, None, None, e_b.astype(lift.dtype)


aligned.defvjp(aligned_forward, aligned_backward)
