"""Constant zeros in a program, such as the first state of a recurrent network. Products with them are zero."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.model.operations import RESHAPING, TAKING
from varprobe.model.tags import Tag

__all__ = ["addend", "is_blank", "is_zero"]

LARGEST = 2**20
"""Entries of a constant that is looked at."""

PRODUCTS = frozenset({"mul", "dot_general", "conv_general_dilated"})
KEEPING = RESHAPING | TAKING | {"neg", "reduce_sum", "concatenate", "cumsum"}
"""Of zeros these make zeros."""


def is_blank(value: Any) -> bool:
    """Whether a constant of floats is zero everywhere."""
    if not isinstance(value, float | np.ndarray | np.generic | jax.Array) or isinstance(value, jax.core.Tracer):
        return False
    if not jnp.issubdtype(jnp.result_type(value), jnp.inexact) or np.size(value) > LARGEST:
        return False
    return not np.any(np.asarray(value))


def is_zero(equation: Any, tags: Sequence[Tag]) -> bool:
    """Whether an equation gives zeros since some of its inputs are."""
    name = equation.primitive.name
    if name in PRODUCTS:
        return any(tag.blank for tag in tags)
    if name == "select_n":
        return all(tag.blank for tag in tags[1:])
    return name in KEEPING and all(tag.blank for tag in (tags if name == "concatenate" else tags[:1]))


def addend(equation: Any, tags: Sequence[Tag]) -> int | None:
    """Which of two inputs a sum is, the other being zeros; None if it is neither."""
    name = equation.primitive.name
    if name not in ("add", "add_any", "sub"):
        return None
    shape = equation.outvars[0].aval.shape
    for kept, other in ((0, 1), (1, 0)) if name != "sub" else ((0, 1),):
        if tags[other].blank and equation.invars[kept].aval.shape == shape:
            return kept
    return None
