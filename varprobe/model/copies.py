"""A function with a gradient rule of its own, run twice: as it is, and as a copy whose values can be tapped.

The copy changes nothing: the values and the gradient of the call are those of the function with its rule. `fork` gives
each of the two its inputs, and `join` gives each the gradient of the output. The gradients within the copy are those
of the model if the rule is the derivative of the function. Therefore `fork` reports how far the gradients that the two
give to the inputs are apart.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from jaxtyping import Array

from varprobe.model import compat

__all__ = ["NEAR", "fork", "join"]

NEAR = 1e-3
"""The largest difference between two gradients that are taken for the same, relative to the largest entry."""

ROUNDINGS = 16
"""In coarse formats so many roundings instead, if that is more."""

SMALL = 1e-3
"""An input with a gradient this far below the largest of all inputs is compared with that, since it may be rounding."""


def fork(values: Sequence[Any], drain: Any, rounding: float) -> tuple[list[Any], list[Any]]:
    """The values, for the function and for its copy.

    The gradient with respect to the values is what comes from the function. The gradient with respect to `drain`, one
    number of any shape, is how far what comes from the copy is from that; up to `NEAR` they are the same.

    Args:
        values: the inputs of the function.
        drain: a zero.
        rounding: relative, of the coarsest format that the function computes in.
    """
    moving = [value for value in values if is_inexact(value)]
    found = iter(fork_p.bind(*moving, drain, unit=max(1.0, ROUNDINGS * rounding / NEAR)))
    own, copies = ([next(found) if is_inexact(value) else value for value in values] for _ in range(2))
    return own, copies


def join(outputs: Sequence[Any], copies: Sequence[Any]) -> list[Any]:
    """The outputs of the function; those of the copy get the same gradient."""
    return [join_p.bind(a, b) if is_inexact(a) else a for a, b in zip(outputs, copies, strict=True)]


def is_inexact(value: Any) -> bool:
    """Whether it is an array of floats or complex numbers."""
    return bool(jnp.issubdtype(jax.typeof(value).dtype, jnp.inexact))


def forked_tangents(primals: Sequence[Any], tangents: Sequence[Any], *, unit: float) -> tuple[list[Any], list[Any]]:
    """Inputs that are not differentiated are not differentiated behind the fork."""
    *values, _ = primals
    *moving, drain = tangents
    found = iter(())
    if any(type(tangent) is not ad.Zero for tangent in moving):
        found = iter(
            fork_p.bind(*(t for t in moving if type(t) is not ad.Zero), ad.instantiate_zeros(drain), unit=unit)
        )
    return [*values, *values], [t if type(t) is ad.Zero else next(found) for t in (*moving, *moving)]


def forked_back(cotangents: Sequence[Any], *inputs: Any, unit: float) -> list[Any]:
    """The gradient of the function, and how far that of the copy is off."""
    *values, drain = inputs
    own, copies = (list(map(ad.instantiate_zeros, half)) for half in halves(cotangents))
    known = [ad.is_undefined_primal(value) for value in values]
    pairs = [pair for *pair, differentiated in zip(own, copies, known, strict=True) if differentiated]
    report = (
        compat.spread(jnp.full(drain.aval.shape, apart(pairs) / unit), drain.aval)
        if ad.is_undefined_primal(drain)
        else None
    )
    return [*(g if differentiated else None for g, differentiated in zip(own, known, strict=True)), report]


def halves(values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The first half of a sequence and the second."""
    middle = len(values) // 2
    return values[:middle], values[middle:]


def apart(pairs: Sequence[Any]) -> Array:
    """The largest difference between two gradients over the largest entry; infinite if only one of them is finite."""
    own = [largest(jnp.where(jnp.isfinite(a), a, 0)) for a, _ in pairs]
    off = [largest(jnp.where(jnp.isfinite(a) | jnp.isfinite(b), wide(a) - wide(b), 0)) for a, b in pairs]
    scales = [jnp.maximum(size, SMALL * jnp.stack(own).max()) for size in own]
    return jnp.stack([jnp.where(d == 0, 0, d / s) for d, s in zip(off, scales, strict=True)]).max()


def largest(x: Array) -> Array:
    """The largest magnitude."""
    return jnp.abs(wide(x)).max(initial=0).astype(jnp.float32)


def wide(x: Array) -> Array:
    """In 32 bits at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32)) if x.dtype.itemsize < 4 else x


def joined_tangents(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """An output that is not differentiated gives the copy no gradient."""
    own, copy = tangents
    return primals[0], own if type(own) is ad.Zero else join_p.bind(own, ad.instantiate_zeros(copy))


fork_p = Primitive("varprobe_fork")
fork_p.multiple_results = True
fork_p.def_impl(lambda *inputs, unit: [*inputs[:-1], *inputs[:-1]])
fork_p.def_abstract_eval(lambda *inputs, unit: [*inputs[:-1], *inputs[:-1]])
ad.primitive_jvps[fork_p] = forked_tangents
ad.primitive_transposes[fork_p] = forked_back
mlir.register_lowering(fork_p, lambda context, *inputs, unit: list(chain(inputs[:-1], inputs[:-1])))

join_p = Primitive("varprobe_join")
join_p.def_impl(lambda own, copy: own)
join_p.def_abstract_eval(lambda own, copy: own)
ad.primitive_jvps[join_p] = joined_tangents
ad.primitive_transposes[join_p] = lambda cotangent, own, copy: [
    ad.instantiate_zeros(cotangent) if ad.is_undefined_primal(x) else None for x in (own, copy)
]
mlir.register_lowering(join_p, lambda context, own, copy: [own])
