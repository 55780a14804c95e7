"""`tap`: a value as it is, whose gradient is also reported where a second argument's gradient arrives.

A primitive of its own, with rules of a few lines, because a custom rule of a Python function is traced again for every
value that is tapped.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir
from jaxtyping import Array, Float

from varprobe.model import compat

__all__ = ["Report", "tap"]

Report = Callable[[Any], Any]
"""What is reported of a gradient; a pytree like the drain."""


def tap(x: Float[Array, "..."], drain: Any, report: Report) -> Float[Array, "..."]:
    """x; the gradient with respect to `drain`, a pytree, is report(gradient with respect to x).

    It has no rule for jax.vmap, which would add the reports of all samples.
    """
    return tap_p.bind(x, *jax.tree.leaves(drain), report=report)


def tangent_of(primals: tuple[Any, ...], tangents: tuple[Any, ...], *, report: Report) -> tuple[Any, Any]:
    """(x itself, so that no copy of it is kept for the backward pass, a linear function of all tangents)."""
    return primals[0], tap_p.bind(*map(ad.instantiate_zeros, tangents), report=report)


def transposed(cotangent: Any, x: Any, *drain: Any, report: Report) -> list[Any]:
    """The gradient and its report; x has none if nothing before it is differentiated."""
    gradient = ad.instantiate_zeros(cotangent)
    reported = zip(jax.tree.leaves(report(gradient)), drain, strict=True)
    return [gradient if ad.is_undefined_primal(x) else None, *(compat.spread(r, d.aval) for r, d in reported)]


tap_p = Primitive("varprobe_tap")
tap_p.def_impl(lambda x, *drain, report: x)
tap_p.def_abstract_eval(lambda x, *drain, report: x)
ad.primitive_jvps[tap_p] = tangent_of
ad.primitive_transposes[tap_p] = transposed
mlir.register_lowering(tap_p, lambda context, x, *drain, report: [x])
