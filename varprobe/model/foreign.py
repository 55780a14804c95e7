"""Models and arrays that JAX does not trace, and what to do instead."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.model.paths import parts_of, slashed

__all__ = ["is_array", "library_of", "refuse_foreign_arrays", "refuse_foreign_model", "refuse_numbers"]

BRIDGED = {"keras": "Layer", "torch": "Module"}
"""Libraries of models that are traced through a bridge, with the name of their base class."""

LIBRARIES = {
    "keras": "model.stateless_call is a function of the arrays [v.value for v in model.trainable_variables]",
    "torch": "torchax.extract_jax(module) gives a dict of arrays and a function of it and of a tuple of arguments",
    "tensorflow": "jax2tf and Keras on its jax backend (KERAS_BACKEND=jax) lead here",
}
"""Libraries of models that jax does not trace, and what to do instead."""

CONVERSIONS = ("numpy", "to_numpy")
"""Methods of arrays and tables that return a NumPy array."""


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array that a function can be traced with."""
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def library_of(thing: Any) -> str:
    """The library of a model that is traced through a bridge; empty for all else."""
    classes = {(t.__module__.partition(".")[0], t.__name__) for t in type(thing).__mro__}
    return next((library for library, base in BRIDGED.items() if (library, base) in classes), "")


def refuse_foreign_model(thing: Any) -> None:
    """Refuse a model of another library where a pytree or a function of JAX is needed.

    Raises:
        InvalidArgumentError: the message says how to make one of it.
    """
    roots = {t.__module__.partition(".")[0] for t in type(thing).__mro__}
    for library, way in LIBRARIES.items():
        if library in roots and callable(thing):
            raise InvalidArgumentError(f"{type(thing).__name__} is a model of {library} and no pytree of arrays: {way}")


def refuse_foreign_arrays(name: str, argument: Any) -> None:
    """Refuse arrays and tables of other libraries in an argument of this name.

    Raises:
        InvalidArgumentError: the message says how to convert the first of them.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(argument):
        if is_array(leaf) or isinstance(leaf, type) or hasattr(leaf, "__jax_array__") or not hasattr(leaf, "__array__"):
            continue
        where, library = "/".join(filter(None, (name, slashed(path)))), type(leaf).__module__.partition(".")[0]
        method = next((f".{m}()" for m in CONVERSIONS if hasattr(leaf, m)), "")
        what = f"{library}.{type(leaf).__name__}, which jax does not trace"
        label = name if name.isidentifier() and not path else type(leaf).__name__.lower()
        raise InvalidArgumentError(f"{where} is a {what}: jnp.asarray({label}{method}) makes it an array")


def refuse_numbers(names: Sequence[str], batch: Sequence[Any]) -> None:
    """Refuse Python's lists of floats, which a trace takes for constants.

    Tuples, and lists of integers, may be settings: they are refused if nothing in the batch is an array.

    Raises:
        InvalidArgumentError: the message names the list.
    """
    settings = any(map(is_array, jax.tree.leaves(batch)))
    for name, argument in zip(names, batch, strict=True):
        for path, part in parts_of(argument):
            if type(part) is list or (type(part) is tuple and not settings):
                numbers = jax.tree.leaves(part)
                known = numbers and all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
                if known and (not settings or any(isinstance(n, float) for n in numbers)):
                    where, kind = "/".join(filter(None, (name, path))), type(part).__name__
                    raise InvalidArgumentError(f"{where} is a {kind} of numbers; jnp.asarray makes it an array")
