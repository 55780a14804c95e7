"""The user's own initializer or block, called once before anything runs: what is wrong with it is told in one line."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from varprobe.engine.random_bits import keys_of
from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.own import Own
from varprobe.nets.initializers import Initializer, LayerContext
from varprobe.spec.user_errors import calling

__all__ = ["is_custom", "try_block", "try_initializer"]

LARGEST = 2**22
"""Entries up to which it is called in earnest; above, only its shape is worked out."""


def is_custom(init: Initializer) -> bool:
    """Whether an initializer is the user's own function."""
    return init.law[0] == "custom"


def try_initializer(init: Initializer, shape: tuple[int, ...], place: LayerContext, in_earnest: bool) -> None:
    """Refuse a function (key, shape, dtype) that the engine cannot use for a matrix of this shape.

    Args:
        init: one with `is_custom`.
        shape: (fan_in, fan_out), of a bias (fan_out,).
        place: where the matrix stands.
        in_earnest: call it twice with one key, rather than only work out the shape of what it returns.

    Raises:
        InvalidArgumentError: it raises, cannot be traced by jax, returns another shape, no floating-point numbers or
            some that are not finite, or other numbers when called again.
    """
    _, function, keywords, positions = init.law
    name = (
        f"{init.name} for a matrix of shape {shape}" if len(shape) > 1 else f"{init.name} for a bias of shape {shape}"
    )
    key = jax.random.fold_in(keys_of(0, 0)["weights"], place.layer)

    def call(key: Any, layer: Any) -> Any:
        known = {"layer": layer, "depth": place.depth}
        return function(key, shape, jnp.float32, **dict(keywords), **{k: known[k] for k in positions})

    found = traced(name, call, key, jnp.int32(place.layer))
    if not isinstance(found, jax.ShapeDtypeStruct):
        raise InvalidArgumentError(f"{name} returns {type(found).__name__}, not an array")
    if found.shape != shape:
        raise InvalidArgumentError(f"{name} returns shape {found.shape}")
    if not jnp.issubdtype(found.dtype, jnp.floating):
        raise InvalidArgumentError(f"{name} returns {found.dtype}, not the dtype that it was given (float32)")
    if not in_earnest or np.prod(shape, dtype=float) > LARGEST:
        return
    with calling(f"{name} fails"):
        first, second = (np.asarray(call(key, np.int32(place.layer)), np.float64) for _ in range(2))
    if not np.isfinite(first).all():
        raise InvalidArgumentError(f"{name} returns {first[~np.isfinite(first)][0]:g} somewhere")
    if not np.array_equal(first, second):
        raise InvalidArgumentError(
            f"{name} returns other numbers for the same key; draw with jax.random from the key alone"
        )


def try_block(block: Own, name: str, width: int, depth: int, batch: int, dtype: str) -> None:
    """Refuse a block that the engine cannot run.

    Args:
        block: of the user's.
        name: its call form or label.
        width: units.
        depth: number of blocks.
        batch: samples.
        dtype: of signals and parameters.

    Raises:
        InvalidArgumentError: `init` or `apply` raises or cannot be traced or differentiated by jax, `init` returns no
            floating-point arrays, some that are not finite, or others when called again, or `apply` does not return an
            array of the shape and dtype of x.
    """
    with jax.enable_x64(dtype == "float64"):
        x, key = jax.ShapeDtypeStruct((batch, width), jnp.dtype(dtype)), keys_of(0, 0)["weights"]
        init = lambda key, layer: block.params(key, width, layer, depth, dtype)  # noqa: E731
        params = traced(f"{name}: init(key, {width})", init, key, jnp.int32(1))
        floating = [leaf for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)]
        if not floating:
            raise InvalidArgumentError(
                f"{name}: init(key, {width}) returns no floating-point arrays: there is no parameter"
            )
        what = f"{name}: apply(params, x) with x of shape {x.shape}, {x.dtype},"
        out = traced(what, block.function, params, x)
        if not isinstance(out, jax.ShapeDtypeStruct):
            raise InvalidArgumentError(f"{what} returns {type(out).__name__}, not an array")
        if (out.shape, out.dtype) != (x.shape, x.dtype):
            raise InvalidArgumentError(f"{what} returns shape {out.shape}, {out.dtype}")
        traced(f"the gradient of {what}", lambda p, x: jax.vjp(lambda x: block.function(p, x), x)[1](x), params, x)
        if sum(leaf.size for leaf in floating) > LARGEST:
            return
        once, again = (lambda *a: init(*a)), (lambda *a: init(*a))  # two functions, so that jax traces both
        first, second = (jax.tree.map(np.asarray, jax.jit(each)(key, np.int32(1))) for each in (once, again))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        if jnp.issubdtype(a.dtype, jnp.floating) and not np.isfinite(a.astype(np.float64)).all():
            raise InvalidArgumentError(f"{name}: init(key, {width}) returns numbers that are not finite")
        if not np.array_equal(a, b):
            raise InvalidArgumentError(
                f"{name}: init returns other numbers for the same key; draw with jax.random from it alone"
            )


def traced(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes that a function of the user's returns.

    Raises:
        InvalidArgumentError: it raises, in its own words.
    """
    with calling(f"{what} fails under jax.jit (is it written with jax.numpy?)"):
        return jax.eval_shape(function, *arguments)
