"""Layers of one shape, one after the other: how many is a number at run time, so that one program serves all depths."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

__all__ = ["through"]

Layer = Callable[[Any, Any, Array], Array]
"""(parameters, what is held fixed, h) -> h."""


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def through(layer: Layer, params: Any, fixed: Any, count: Array, x: Array) -> Array:
    """The signal after the first `count` layers; those behind them have no part in it, and slopes of zero.

    On the way back a layer is computed once more from what entered it, which takes no longer than to keep more of it.

    Args:
        layer: one layer; it closes over no array.
        params: leaves (layers, ...), in which it has slopes.
        fixed: leaves (layers, ...), in which it has none.
        count: how many layers.
        x: what enters the first; what leaves a layer has its shape.
    """
    return forward(layer, params, fixed, count, x)[0]


def forward(layer: Layer, params: Any, fixed: Any, count: Array, x: Array) -> tuple[Array, Any]:
    """(signal, what the way back needs)."""
    most = len(jax.tree.leaves(params)[0])

    def step(place: Array, carried: tuple[Array, Array]) -> tuple[Array, Array]:
        x, entered = carried
        return layer(at(params, place), at(fixed, place), x), put(entered, x, place)

    y, entered = lax.fori_loop(0, count, step, (x, jnp.zeros((most, *x.shape), x.dtype)))
    return y, (params, fixed, count, entered)


def backward(layer: Layer, residuals: Any, slope: Array) -> tuple[Any, None, None, Array]:
    """Slopes in the parameters and in x."""
    params, fixed, count, entered = residuals

    def step(i: Array, carried: tuple[Any, Array]) -> tuple[Any, Array]:
        slopes, slope = carried
        place = count - 1 - i
        _, pull = jax.vjp(lambda p, x: layer(p, at(fixed, place), x), at(params, place), at(entered, place))
        here, slope = pull(slope)
        return put(slopes, here, place), slope

    slopes, slope = lax.fori_loop(0, count, step, (jax.tree.map(jnp.zeros_like, params), slope))
    return slopes, None, None, slope


through.defvjp(forward, backward)


def at(tree: Any, place: Array) -> Any:
    """One layer's."""
    return jax.tree.map(lambda leaf: leaf[place], tree)


def put(tree: Any, one: Any, place: Array) -> Any:
    """All layers', with those of one replaced."""
    return jax.tree.map(lambda leaf, new: lax.dynamic_update_index_in_dim(leaf, new, place, 0), tree, one)
