"""`PKG.MOD:FACTORY`: a function of the user's that makes what `varprobe.probe` takes."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.model.adapters import is_alone, parameters_argument
from varprobe.model.bridges import bridge_of
from varprobe.spec.user_code import load
from varprobe.spec.user_errors import calling

__all__ = ["Made", "made", "returned", "with_rows"]

KEYWORDS = ("loss", "output", "frozen", "data", "init", "step_size", "optimizer")
"""Of `varprobe.probe`, which a factory may return in a dict after the arguments; none of them takes an array."""


class Made(NamedTuple):
    """What a factory returned: the arguments of `varprobe.probe`."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def made(reference: str, option: str) -> Made:
    """Load a factory and call it, with a key if it takes one; then init calls it with the others.

    Raises:
        InvalidArgumentError: it does not load, fails, or returns something else.
    """
    try:
        factory = load(reference).function
        takes_key = takes_one(factory)
        arguments, keywords = returned(factory, reference, *((jax.random.key(0),) if takes_key else ()))
        if takes_key and "init" not in keywords:
            keywords["init"] = lambda key: parameters_argument(*returned(factory, reference, key)[0])
    except InvalidArgumentError as error:
        raise error.at(option) from error
    return Made(arguments, keywords)


def takes_one(factory: Callable[..., Any]) -> bool:
    """Whether a factory has a parameter that must be given, or is called key."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "key" or (p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD) for p in parameters)


def returned(
    factory: Callable[..., Any], reference: str, *given: Any, known: Sequence[str] = KEYWORDS
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(arguments, keywords) that a factory returns, given a key or what else it takes.

    Raises:
        InvalidArgumentError: it fails, or returns no tuple.
    """
    with calling(f"{reference} fails"):
        found = factory(*given)
    if not isinstance(found, tuple) or not found:
        what = type(found).__name__
        raise InvalidArgumentError(
            f"{reference} returns {what} (allowed: a tuple of what probe takes, as (loss_fn, params, x))"
        )
    keywords = found[-1]
    if not isinstance(keywords, dict) or not keywords:
        return found, {}
    others = [name for name, value in keywords.items() if name not in known or is_batch(value)]
    if not others:
        return found[:-1], dict(keywords)
    plain = [name for name in others if not isinstance(keywords[name], dict | list | tuple)]
    if plain and not any(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(keywords)):
        raise InvalidArgumentError(f"{reference} returns a dict with {plain[0]!r}{did_you_mean(str(plain[0]), known)}")
    return found, {}


def is_batch(value: Any) -> bool:
    """Whether it holds arrays, as a part of a batch does and no option of `varprobe.probe` but a function."""
    return not callable(value) and any(getattr(leaf, "shape", ()) for leaf in jax.tree.leaves(value))


def with_rows(found: Made, rows: np.ndarray) -> Made:
    """The same with the first array of the batch replaced by rows of a file, as many as it has, in its shape.

    Raises:
        InvalidArgumentError: there is no array of floats in the batch, or the rows do not fit.
    """
    start = 1 if is_alone(found.arguments[0]) else 2
    batch = bridge_of(found.arguments[start - 1]).arrays(found.arguments[start:])
    for i, leaf in enumerate(batch, start):
        if isinstance(leaf, jax.Array | np.ndarray) and np.issubdtype(leaf.dtype, np.floating) and leaf.ndim:
            count, size = leaf.shape[0], leaf[0].size
            if rows.shape[1] != size:
                raise InvalidArgumentError(
                    f"rows of {rows.shape[1]} values do not fit inputs of shape {list(leaf.shape[1:])}", "data"
                )
            if len(rows) < count:
                raise InvalidArgumentError(f"{len(rows)} rows are fewer than the batch of {count}", "data")
            new = np.asarray(rows[:count], np.float32).reshape(leaf.shape).astype(leaf.dtype)
            return found._replace(arguments=(*found.arguments[:i], jax.numpy.asarray(new), *found.arguments[i + 1 :]))
    raise InvalidArgumentError("the factory's batch has no array of floats to replace", "data")
