"""What is differentiated: the scalar that a function returns, or one made of a model's output."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from varprobe.errors import RequestError
from varprobe.names import did_you_mean

__all__ = ["LOSSES", "objective_of"]

LOSSES = ("cotangent", "mse", "cross_entropy")

Objective = Callable[..., tuple[Any, Any]]
"""(call, parameters, batch, more) -> (scalar, (what else the function returns, state))."""


def objective_of(loss: Any, size: int) -> Objective:
    """What is made of the output of call(parameters, *batch), of a batch of so many things.

    Raises:
        RequestError: no such loss, or it needs a target.
    """
    if loss is None:
        return own
    if isinstance(loss, str) and loss not in LOSSES:
        raise RequestError(f"unknown loss {loss!r}{did_you_mean(loss, LOSSES)}", "loss")
    if not isinstance(loss, str) and not callable(loss):
        raise RequestError(f"{loss!r} is no loss (allowed: {', '.join(LOSSES)} or a function of the output)", "loss")
    if loss == "cotangent":
        return against_noise
    if loss in LOSSES and size < 2:
        raise RequestError(f"{loss} needs a target: probe(model, x, y, loss={loss!r})", "loss")
    return of_output({"mse": squared_error, "cross_entropy": cross_entropy}.get(loss, loss))


def own(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...]) -> tuple[Any, Any]:
    """The function is the loss."""
    found, state = call(parameters, *batch)
    return scalar(found, state)


def of_output(measure: Callable[..., Any]) -> Objective:
    """measure(output of the first of the batch, *rest)."""

    def objective(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...]) -> tuple[Any, Any]:
        output, state = call(parameters, *batch[:1])
        return scalar(measure(output, *batch[1:]), state)

    return objective


def against_noise(call: Callable[..., Any], parameters: Any, batch: tuple[Any, ...], seed: Any) -> tuple[Any, Any]:
    """The sum of all outputs times N(0, 1)."""
    output, state = call(parameters, *batch)
    floats = [leaf for leaf in jax.tree.leaves(output) if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)]
    if not floats:
        raise RequestError("the function returns no floats, so there is nothing to differentiate")
    key, total = jax.random.key(seed), jnp.zeros(())
    for i, leaf in enumerate(floats):
        total = total + jnp.sum(leaf * jax.random.normal(jax.random.fold_in(key, i), leaf.shape, leaf.dtype))
    return total, (None, state)


def scalar(found: Any, state: Any) -> tuple[Any, Any]:
    """(scalar, (anything, state)) of what a loss returns.

    Raises:
        RequestError: it is no scalar.
    """
    value, more = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
    leaves = jax.tree.leaves(value)
    alone = len(leaves) == 1 and leaves[0] is value
    if not alone or jnp.shape(value) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        what = f"{jnp.result_type(value)}{list(jnp.shape(value))}" if alone else type(value).__name__
        raise RequestError(
            f"the function returns {what} and no scalar (allowed: {', '.join(LOSSES)} or one's own)", "loss"
        )
    for leaf in jax.tree.leaves(more):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float | complex):
            raise RequestError(f"the function returns {type(leaf).__name__} beside the scalar (allowed: arrays)")
    return value, (more, state)


def one_array(output: Any, name: str) -> Any:
    """An output that a loss can be made of.

    Raises:
        RequestError: the output is not an array.
    """
    if not hasattr(output, "shape"):
        raise RequestError(
            f"the model gives a {type(output).__name__}, and {name} needs one array: "
            "pass a function, such as loss=lambda output, y: ((output['logits'] - y) ** 2).mean()",
            "loss",
        )
    return output


def squared_error(output: Any, target: Any) -> Any:
    """Mean over everything."""
    output = one_array(output, "mse")
    return jnp.mean(jnp.square(output - target))


def cross_entropy(output: Any, labels: Any) -> Any:
    """Mean over samples, of whole-number labels."""
    output = one_array(output, "cross_entropy")
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(output), jnp.asarray(labels)[..., None], axis=-1))
