"""Scans over layers: of a single layer, whose shape may change, and with a memory that outlives the call."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

__all__ = ["scan_layers", "scan_leaving", "scan_counts"]


def scan_layers(
    step: Callable[[Any, Any], tuple[Any, Any]], carry: Any, xs: Any, count: int, reverse: bool = False
) -> tuple[Any, Any]:
    """lax.scan, but a single layer may change the carry's shape."""
    if count > 1:
        return lax.scan(step, carry, xs, reverse=reverse)
    carry, ys = step(carry, jax.tree.map(lambda a: a[0], xs))
    return carry, jax.tree.map(lambda a: a[None], ys)


def scan_leaving(
    step: Callable[[Any, Any], tuple[Any, Any, Any]], carry: Any, xs: Any, count: int, space: Any
) -> tuple[Any, Any, Any]:
    """A scan whose steps return (carry, y, left): y is stacked as usual, `left` is written into `space`.

    A scan's own outputs are fresh memory, zeroed first: for the hundreds of megabytes that a forward pass leaves to
    the backward pass, page faults and zeros took a tenth of the time. `space` has the same arrays stacked over layers,
    from an earlier call; None makes them afresh. Returns (carry, ys, stacked left).
    """
    if space is None or count == 1:
        carry, (ys, left) = scan_layers(lambda c, x: regroup(*step(c, x)), carry, xs, count)
        return carry, ys, left

    def into(state: tuple[Any, Any], x: tuple[Any, Any]) -> tuple[tuple[Any, Any], Any]:
        carry, space = state
        i, x = x
        carry, y, left = step(carry, x)
        put = lambda whole, part: lax.dynamic_update_index_in_dim(whole, part, i, 0)  # noqa: E731
        return (carry, jax.tree.map(put, space, left)), y

    (carry, space), ys = lax.scan(into, (carry, space), (jnp.arange(count), xs))
    return carry, ys, space


def regroup(carry: Any, y: Any, left: Any) -> tuple[Any, tuple[Any, Any]]:
    """(carry, y, left) as lax.scan wants it."""
    return carry, (y, left)


def scan_counts(params: Any) -> tuple[int, int]:
    """How many of a scan's operands are constants, and how many are carried."""
    if "ft_in" in params:
        constants, carried = (len(part) for part in list(params["ft_in"].unpack())[:2])
        return constants, carried
    return params["num_consts"], params["num_carry"]
