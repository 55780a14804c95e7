"""What a function is given behind its parameters: data, parameters that are frozen, or neither."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from varprobe.model.paths import slashed

__all__ = ["DATA", "FROZEN", "OTHER", "Given", "given_of"]

DATA, FROZEN, OTHER = "data", "frozen", "other"
"""The signal; parameters that are not differentiated; random keys and the state of modules."""


class Given(NamedTuple):
    """An array behind the parameters: in which argument, the path within, and what it is taken for.

    stated: whether the user named the role.
    """

    argument: int
    name: str
    role: str
    stated: bool = False


def given_of(names: Sequence[str], batch: tuple[Any, ...], used: Sequence[bool]) -> tuple[Given, ...]:
    """What the arrays of a batch are, as far as their types tell.

    Args:
        names: of the arguments.
        batch: pytrees.
        used: which of their leaves are arrays.
    """
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
