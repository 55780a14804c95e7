"""What is differentiated: the scalar that a function returns, or one made of a model's output."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.model.outputs import chosen_array, chosen_part, is_float, require_output
from varprobe.model.paths import parts_of

__all__ = ["LOSSES", "objective_of"]

LOSSES = ("cotangent", "mse", "cross_entropy")

Objective = Callable[..., tuple[Any, Any]]
"""(call, parameters, batch, more) -> (scalar, (what else the function returns, or what the loss is made of, state))."""


def objective_of(loss: Any, size: int, output: Any = None) -> Objective:
    """What is made of the output of call(parameters, *batch), of a batch of so many things.

    Args:
        loss: a name, a function, or None for a function that is the loss.
        size: number of arguments in the batch.
        output: which of the outputs the loss is made of; None for the default.

    Raises:
        InvalidArgumentError: the loss is unknown or needs a target, or `output` was given without a loss.
    """
    if loss is None:
        if output is not None:
            raise InvalidArgumentError(
                f"{output!r} picks the output for a loss, and without loss= the function itself is the loss "
                f"(allowed with loss=: {', '.join(LOSSES)} or a function)",
                "output",
            )
        return own
    if isinstance(loss, str) and loss not in LOSSES:
        raise InvalidArgumentError(f"unknown loss {loss!r}{did_you_mean(loss, LOSSES)}", "loss")
    if not isinstance(loss, str) and not callable(loss):
        raise InvalidArgumentError(
            f"{loss!r} is no loss (allowed: {', '.join(LOSSES)} or a function of the output)", "loss"
        )
    require_output(output)
    if loss == "cotangent":
        return against_noise(output)
    if loss in LOSSES and size < 2:
        raise InvalidArgumentError(f"{loss} needs a target: probe(model, x, y, loss={loss!r})", "loss")
    return of_output({"mse": squared_error, "cross_entropy": cross_entropy}.get(loss, loss), output)


def own(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...]) -> tuple[Any, Any]:
    """The function is the loss."""
    found, state = call(parameters, *batch)
    return scalar(found, state)


def of_output(measure: Callable[..., Any], output: Any) -> Objective:
    """measure(output of the first of the batch, *rest)."""

    def objective(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...]) -> tuple[Any, Any]:
        found, state = call(parameters, *batch[:1])
        part, chosen = chosen_part(found, output)
        value, _ = scalar(measure(part, *batch[1:]), state)
        return value, (chosen, state)

    return objective


def against_noise(output: Any) -> Objective:
    """The sum of one output times N(0, 1): the first array of floats, or that of the output that is picked."""

    def objective(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...], seed: Any) -> tuple[Any, Any]:
        found, state = call(parameters, *batch)
        array, chosen = chosen_array(found, output)
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(seed), 0), array.shape, array.dtype)
        return jnp.zeros(()) + jnp.sum(array * noise), (chosen, state)

    return objective


def scalar(found: Any, state: Any) -> tuple[Any, Any]:
    """(scalar, (anything, state)) of what a loss returns.

    Raises:
        InvalidArgumentError: it is no scalar.
    """
    value, more = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    leaves = jax.tree.leaves(value)
    alone = len(leaves) == 1 and leaves[0] is value
    if not alone or jnp.shape(value) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        what = f"{jnp.result_type(value)}{list(jnp.shape(value))}" if alone else type(value).__name__
        raise InvalidArgumentError(
            f"the function returns {what} and no scalar (allowed: {', '.join(LOSSES)} or one's own)", "loss"
        )
    for leaf in jax.tree.leaves(more):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float | complex):
            raise InvalidArgumentError(
                f"the function returns {type(leaf).__name__} beside the scalar (allowed: arrays)"
            )
    return value, (more, state)


def one_array(output: Any, name: str) -> Any:
    """An output that a loss can be made of.

    Raises:
        InvalidArgumentError: the output is not an array.
    """
    if not hasattr(output, "shape"):
        floats = ", ".join(path for path, part in parts_of(output) if is_float(part))
        way = f"output= picks one of {floats}" if floats else "there is none in it"
        raise InvalidArgumentError(
            f"the model gives a {type(output).__name__}, and {name} needs one array: {way}", "loss"
        )
    return output


def squared_error(output: Any, target: Any) -> Any:
    """Mean over everything."""
    output = one_array(output, "mse")
    aligned = zip(reversed(jnp.shape(output)), reversed(jnp.shape(target)), strict=False)
    if jnp.ndim(target) > jnp.ndim(output) or any(one not in (other, 1) for other, one in aligned):
        raise InvalidArgumentError(
            f"mse of an output of shape {list(jnp.shape(output))} and a target of shape {list(jnp.shape(target))} "
            "compares each with several (allowed: a target of the output's shape)",
            "loss",
        )
    return jnp.mean(jnp.square(output - target))


def cross_entropy(output: Any, labels: Any) -> Any:
    """Mean over samples, of whole-number labels."""
    output = one_array(output, "cross_entropy")
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), jnp.asarray(labels)[..., None], axis=-1))
