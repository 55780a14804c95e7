"""From what a library calls a model to a function of its parameters; libraries are known by their looks.

None of them is imported unless the user's model comes from it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from varprobe.errors import RequestError
from varprobe.names import did_you_mean

__all__ = ["Subject", "subject_of"]

LOSSES = ("cotangent", "mse", "cross_entropy")
CLASSES = "cross_entropy needs labels, the second thing in the batch"


class Subject(NamedTuple):
    """function(parameters, *batch) -> (scalar, anything); parameters: a pytree of inexact arrays alone."""

    function: Callable[..., tuple[Any, Any]]
    parameters: Any
    batch: tuple[Any, ...]


def subject_of(model: Any, arguments: tuple[Any, ...], loss: Any) -> Subject:
    """What `vp.probe` is given, read.

    Raises:
        RequestError: it is no function or model, has no parameters, or there is no loss.
    """
    if isinstance(model, tuple) and len(model) == 2 and is_linen(model[0]):
        module, variables = model
        return of_variables(module.apply, variables, arguments, loss or "cotangent")
    if is_transformed(model):
        if not arguments:
            raise RequestError("a transformed function needs its parameters: probe(transformed, params, x)")
        return of_transformed(model, arguments[0], arguments[1:], loss or "cotangent")
    if is_module(model):
        return of_tree(lambda model, *batch: model(*batch), model, arguments, loss or "cotangent")
    if not callable(model):
        raise RequestError(f"{type(model).__name__} is no function and no model")
    if not arguments:
        raise RequestError("a function needs parameters: probe(loss_fn, params, *batch)")
    return of_tree(model, arguments[0], arguments[1:], loss)


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
    """A pytree that is called, as in flax.nnx and Equinox."""
    if is_nnx(thing):
        return True
    return callable(thing) and any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(thing))


def of_tree(function: Callable[..., Any], tree: Any, batch: tuple[Any, ...], loss: Any) -> Subject:
    """A function of a pytree: what of it is inexact arrays are parameters."""
    if is_nnx(tree):
        from flax import nnx

        graph, parameters, rest = nnx.split(tree, nnx.Param, ...)
        return subject(lambda p, *batch: function(nnx.merge(graph, p, rest, copy=True), *batch), parameters, batch, loss)
    leaves, shape = jax.tree.flatten(tree)
    inexact = [is_inexact(leaf) for leaf in leaves]
    parameters = jax.tree.unflatten(shape, [leaf if yes else None for leaf, yes in zip(leaves, inexact, strict=True)])

    def whole(parameters: Any) -> Any:
        found = iter(jax.tree.leaves(parameters))
        return jax.tree.unflatten(shape, [next(found) if yes else leaf for leaf, yes in zip(leaves, inexact, strict=True)])

    return subject(lambda p, *batch: function(whole(p), *batch), parameters, batch, loss)


def of_variables(apply: Callable[..., Any], variables: Any, batch: tuple[Any, ...], loss: Any) -> Subject:
    """A Linen module's apply; only `params` is differentiated."""
    rest = {name: value for name, value in variables.items() if name != "params"}
    return subject(lambda p, *batch: apply({"params": p, **rest}, *batch), variables["params"], batch, loss)


def of_transformed(model: Any, parameters: Any, batch: tuple[Any, ...], loss: Any) -> Subject:
    """A Haiku function; a random key is given to what takes one."""
    key = jax.random.key(0)
    return subject(lambda p, *batch: model.apply(p, key, *batch), parameters, batch, loss)


def subject(function: Callable[..., Any], parameters: Any, batch: tuple[Any, ...], loss: Any) -> Subject:
    """The function with its loss.

    Raises:
        RequestError: there is nothing to differentiate, or no such loss.
    """
    if not jax.tree.leaves(parameters):
        raise RequestError("there are no parameters: no array of floats among what comes after the function")
    if isinstance(loss, str) and loss not in LOSSES:
        raise RequestError(f"unknown loss {loss!r}{did_you_mean(loss, LOSSES)}", "loss")
    if loss is None:
        return Subject(lambda p, *batch: scalar(function(p, *batch)), parameters, batch)
    if loss == "cotangent":
        return Subject(lambda p, *batch: against_noise(function(p, *batch)), parameters, batch)
    if loss in ("mse", "cross_entropy") and len(batch) < 2:
        raise RequestError(f"{loss} needs a target: probe(model, x, y, loss={loss!r})", "loss")
    measure = {"mse": squared_error, "cross_entropy": cross_entropy}.get(loss, loss)
    return Subject(lambda p, x, *rest: scalar(measure(function(p, x), *rest)), parameters, batch)


def scalar(found: Any) -> tuple[Any, Any]:
    """(scalar, anything) of what a loss returns.

    Raises:
        RequestError: it is no scalar.
    """
    value, more = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    shape, dtype = jnp.shape(value), jnp.result_type(value)
    if shape or not jnp.issubdtype(dtype, jnp.floating):
        raise RequestError(
            f"the function returns {dtype} {list(shape)}, not a scalar; give loss= (cotangent, mse, cross_entropy or a "
            "function of the output)",
            "loss",
        )
    return value, more


def against_noise(output: Any) -> tuple[Any, Any]:
    """(sum of outputs times N(0, 1), None)."""
    key, total = jax.random.key(0), jnp.zeros(())
    for i, leaf in enumerate(leaf for leaf in jax.tree.leaves(output) if is_inexact(leaf)):
        total = total + jnp.sum(leaf * jax.random.normal(jax.random.fold_in(key, i), leaf.shape, leaf.dtype))
    return total, None


def squared_error(output: Any, target: Any) -> Any:
    """Mean over everything."""
    return jnp.mean(jnp.square(output - target))


def cross_entropy(output: Any, labels: Any) -> Any:
    """Mean over samples, of whole-number labels."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), jnp.asarray(labels)[..., None], axis=-1))


def is_inexact(leaf: Any) -> bool:
    """An array of floats."""
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)
