"""The batches that a user's training takes, one a step, and what of them is an array."""

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.errors import InvalidArgumentError

__all__ = ["Batch", "Feed", "batch_of", "feed_of", "paced"]


class Feed(NamedTuple):
    """Batches in the order of the steps; known: how many, infinite where one is repeated, None where it is not."""

    batches: Iterator[Any]
    known: float | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """A batch taken apart: arrays and numbers, and what compiled code depends on, such as texts, true and false.

    shape: of the whole; constants: its leaves, ARRAY in the places of arrays.
    """

    arrays: tuple[Any, ...]
    shape: Any = field(metadata={"static": True})
    constants: tuple[Any, ...] = field(metadata={"static": True})

    @property
    def whole(self) -> tuple[Any, ...]:
        """The arguments of the loss behind the parameters."""
        found = iter(self.arrays)
        return jax.tree.unflatten(self.shape, [next(found) if c is ARRAY else c for c in self.constants])


ARRAY = object()


def feed_of(batches: Any) -> Feed:
    """An iterable of batches, or one for every step: an array, a dict, or a tuple that holds more than tuples.

    Raises:
        InvalidArgumentError: it is none of these.
    """
    alone = hasattr(batches, "dtype") or isinstance(batches, dict)
    if alone or (isinstance(batches, tuple) and not all(isinstance(item, tuple) for item in batches)):
        return Feed(repeat(batches), float("inf"))
    if not isinstance(batches, Iterable) or isinstance(batches, str):
        raise InvalidArgumentError(f"{type(batches).__name__} is no batch, and gives none", "batches")
    return Feed(iter(batches), len(batches) if isinstance(batches, Sized) else None)


def paced(feed: Feed, total: int | None) -> Iterator[tuple[int, Batch, bool]]:
    """(step, its batch, whether it is behind the last one); where batches end before that, it has the last again.

    Raises:
        InvalidArgumentError: they are fewer than `total`.
    """
    step, batch = -1, None
    for step, given in enumerate(feed.batches):
        batch = batch_of(given)
        yield step, batch, step == total
        if step == total:
            return
    made = step + 1
    if batch is None or (total is not None and made < total):
        raise InvalidArgumentError(f"there are {made} batches, too few for {total or 1} steps", "batches")
    yield made, batch, True


def batch_of(given: Any) -> Batch:
    """A batch taken apart; what is no tuple or list is the loss's only argument."""
    leaves, shape = jax.tree.flatten(tuple(given) if isinstance(given, tuple | list) else (given,))
    arrays = [is_array(leaf) for leaf in leaves]
    constants = tuple(ARRAY if yes else leaf for leaf, yes in zip(leaves, arrays, strict=True))
    return Batch(tuple(leaf for leaf, yes in zip(leaves, arrays, strict=True) if yes), shape, constants)


def is_array(leaf: Any) -> bool:
    """An array, or a number, which may change from step to step without compiling anew."""
    kinds = jax.Array | np.ndarray | np.generic | int | float | complex
    return isinstance(leaf, kinds) and not isinstance(leaf, bool)
