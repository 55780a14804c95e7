"""What a function is given behind its parameters: data, parameters that are frozen, or neither."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from varprobe.model.paths import slashed

__all__ = ["DATA", "FROZEN", "OTHER", "Given", "given_of"]

DATA, FROZEN, OTHER = "data", "frozen", "other"
"""The signal; parameters that are not differentiated; random keys and the state of modules."""


class Given(NamedTuple):
    """An array behind the parameters: in which argument, the path within, and what it is taken for."""

    argument: int
    name: str
    role: str


def given_of(function: Callable[..., Any], batch: tuple[Any, ...], used: Sequence[bool]) -> tuple[Given, ...]:
    """What the arrays of a batch are, as far as their types tell.

    Args:
        function: that is called with the batch last, for the names of its arguments.
        batch: pytrees.
        used: which of their leaves are arrays.
    """
    names = argument_names(function, len(batch))
    leaves = [
        Given(i, "/".join(filter(None, (names[i], slashed(path)))), role)
        for i, argument in enumerate(batch)
        for path, leaf in jax.tree_util.tree_leaves_with_path(argument)
        for role in (role_of(argument, leaf),)
    ]
    return tuple(leaf for leaf, array in zip(leaves, used, strict=True) if array)


def role_of(argument: Any, leaf: Any) -> str:
    """By the types of an argument and of a leaf in it."""
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
        return OTHER
    if any(t.__module__.startswith(("equinox", "flax.nnx")) for t in type(argument).__mro__):
        return FROZEN if callable(argument) else OTHER
    return DATA


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the last arguments of a function; numbers where it does not tell."""
    try:
        found = [p.name for p in inspect.signature(function).parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):
        found = []
    return found[1 : count + 1] if len(found) > count else [f"argument {i + 1}" for i in range(count)]
