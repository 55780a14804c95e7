"""How the values of a program are used."""

from collections import Counter
from typing import Any

import jax.numpy as jnp

from varprobe.model import compat
from varprobe.model.operations import RESHAPING

__all__ = ["holds", "is_power", "users_in"]


def holds(wide: Any, narrow: Any) -> bool:
    """Whether a dtype has all numbers of another, so that a cast rounds nothing."""
    if wide == narrow or not (jnp.issubdtype(wide, jnp.inexact) and jnp.issubdtype(narrow, jnp.inexact)):
        return bool(wide == narrow)
    more, less = jnp.finfo(wide), jnp.finfo(narrow)
    return bool(more.nmant >= less.nmant and more.maxexp >= less.maxexp and more.minexp <= less.minexp)


def is_power(equation: Any) -> bool:
    """Whether it gives a power or the size of one value: summed, that is a loss or a mean square and no activation."""
    name, inputs = equation.primitive.name, equation.invars
    return name in ("square", "integer_pow", "abs") or (name == "mul" and inputs[0] is inputs[1])


def users_in(jaxpr: Any) -> Counter[Any]:
    """How often each variable of a program is computed with, reshaped or not; stacks and outputs are no computation."""
    origin: dict[Any, Any] = {}
    count: Counter[Any] = Counter()
    for equation in jaxpr.eqns:
        atoms = [None if compat.is_literal(atom) else atom for atom in equation.invars]
        if equation.primitive.name in RESHAPING:
            pairs = zip(equation.outvars, atoms, strict=False)
            origin |= {found: origin.get(given, given) for found, given in pairs if given is not None}
        elif equation.primitive.name not in ("stack", "concatenate"):
            count.update(origin.get(atom, atom) for atom in atoms if atom is not None)
    return count + Counter({atom: count[first] for atom, first in origin.items()})
