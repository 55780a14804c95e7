"""Models of libraries, known by their looks and taken apart into parameters and a function of them.

None of the libraries is imported unless the user's model comes from it.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.model.foreign import library_of, refuse_foreign_model

__all__ = [
    "SplitModel",
    "Split",
    "held",
    "is_linen",
    "is_module",
    "is_transformed",
    "name_of",
    "of_transformed",
    "of_tree",
    "of_variables",
]


class Split(NamedTuple):
    """A model taken apart: call(parameters, *batch) -> (output, state).

    frozen: parameters that are not differentiated, by name, which `call` expects among the parameters.
    """

    call: Callable[..., tuple[Any, Any]]
    parameters: Any
    extract: Callable[[Any], Any]
    keep: Callable[[Any], None]
    frozen: dict[str, Any] = {}


class SplitModel(NamedTuple):
    """A model between steps of training: parameters, state (None without), and whole(parameters, state) -> model."""

    parameters: Any
    state: Any
    whole: Callable[[Any, Any], Any]


def name_of(thing: Any) -> str:
    """What an object is called."""
    return str(getattr(thing, "__name__", None) or type(thing).__name__)


def is_nnx(thing: Any) -> bool:
    """A flax.nnx.Module."""
    return any(t.__module__.startswith("flax.nnx") for t in type(thing).__mro__)


def is_linen(thing: Any) -> bool:
    """A flax.linen.Module."""
    return any(t.__module__.startswith("flax.linen") for t in type(thing).__mro__)


def is_transformed(thing: Any) -> bool:
    """What haiku.transform gives."""
    return isinstance(thing, tuple) and hasattr(thing, "init") and hasattr(thing, "apply")


def is_module(thing: Any) -> bool:
    """A model that has its parameters in it, as in flax.nnx, Equinox, Keras and torch."""
    if is_nnx(thing) or library_of(thing):
        return True
    return callable(thing) and any(map(is_inexact, jax.tree.leaves(thing)))


def is_inexact(leaf: Any) -> bool:
    """An array of floats."""
    return hasattr(leaf, "dtype") and jax.numpy.issubdtype(leaf.dtype, np.inexact)


def held(tree: Any) -> SplitModel:
    """A pytree, a flax.nnx.Module or an Equinox module taken apart; what is neither stays as it is.

    Raises:
        InvalidArgumentError: it is a model of another library.
    """
    refuse_foreign_model(tree)
    if is_nnx(tree):
        from flax import nnx

        parts: Any = nnx.split(tree, nnx.Param, ...)
        return SplitModel(parts[1], parts[2], lambda *others: nnx.merge(parts[0], *others, copy=True))
    leaves, shape = jax.tree.leaves(tree), structure_of(tree)
    inexact = [is_inexact(leaf) for leaf in leaves]

    others = [None if yes else leaf for leaf, yes in zip(leaves, inexact, strict=True)]

    def whole(parameters: Any, state: None) -> Any:
        found = iter(jax.tree.leaves(parameters))
        return shape.unflatten([next(found) if yes else leaf for leaf, yes in zip(others, inexact, strict=True)])

    parameters = shape.unflatten([leaf if yes else None for leaf, yes in zip(leaves, inexact, strict=True)])
    return SplitModel(parameters, None, whole)


def structure_of(tree: Any) -> Any:
    """Of a pytree."""
    return jax.tree.structure(tree)


def of_tree(function: Callable[..., Any], tree: Any) -> Split:
    """A function of a pytree: what of it is arrays of floats are parameters."""
    if is_nnx(tree):
        return of_nnx(function, tree)
    parameters, state, whole = held(tree)
    shape = structure_of(tree)

    def extract(fresh: Any) -> Any:
        if structure_of(fresh) != shape:
            raise InvalidArgumentError("init returns parameters of another structure", "init")
        return held(fresh).parameters

    def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        return function(whole(parameters, state), *batch), None

    return Split(call, parameters, extract, lambda state: None)


def of_nnx(function: Callable[..., Any], model: Any) -> Split:
    """A flax.nnx.Module; what it changes besides its parameters, such as running means, is its state."""
    from flax import nnx

    parameters, state, whole = held(model)

    def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        module = whole(parameters, state)
        return function(module, *batch), held(module).state

    return Split(call, parameters, lambda model: held(model).parameters, lambda state: nnx.update(model, state))


def of_variables(apply: Callable[..., Any], variables: Any) -> Split:
    """A Linen module's apply; only `params` is differentiated, and what it would change is thrown away.

    Raises:
        InvalidArgumentError: there is no `params`.
    """
    if not hasattr(variables, "items") or "params" not in variables:
        raise InvalidArgumentError("the variables of a Linen module need 'params': probe((module, variables), x)")
    rest = {name: value for name, value in variables.items() if name != "params"}

    def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        if not rest:
            return apply({"params": parameters}, *batch), None
        return apply({"params": parameters, **rest}, *batch, mutable=list(rest))[0], None

    return Split(call, variables["params"], lambda fresh: fresh.get("params", fresh), lambda state: None)


def of_transformed(model: Any, given: Any) -> Split:
    """A Haiku function; it is given a fixed random key, and its state if it was transformed with one."""
    wanted = inspect.signature(model.apply).parameters.get("rng")  # hk.without_apply_rng takes it away
    key = (jax.random.key(0),) if wanted is not None and wanted.annotation is not wanted.empty else ()
    if isinstance(given, tuple):
        first, state = given

        def call(parameters: Any, *batch: Any) -> tuple[Any, Any]:
            return model.apply(parameters, state, *key, *batch)[0], None

        return Split(call, first, lambda fresh: fresh[0], lambda state: None)

    def stateless(parameters: Any, *batch: Any) -> tuple[Any, Any]:
        return model.apply(parameters, *key, *batch), None

    return Split(stateless, given, lambda fresh: fresh, lambda state: None)
