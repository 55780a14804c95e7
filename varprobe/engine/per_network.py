"""Nets in turn: what is done to each net alone, after the product that they share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from varprobe.engine.platforms import by_platform

__all__ = ["net_by_net"]


def net_by_net(f: Callable[[Any], Any], nets: Any, running: Bool[Array, ""]) -> Any:
    """f(nets), where f takes and returns arrays with a leading axis of nets and never mixes them.

    On CPU the nets take turns: the arrays of one net stay in the cache, and the compiled code is the same for one net
    as for forty. (A compiler adds the terms of a sum in an order that it picks by the shape of the array, so with all
    nets in one array their number would show in the last bits.) Elsewhere all nets go through f at once.

    Args:
        f: the function.
        nets: its argument, a pytree of arrays (nets, ...).
        running: true, but not known when the code is compiled: a loop of one turn would be compiled as no loop.
    """

    def in_turn(nets: Any) -> Any:
        once = jax.jit(f, inline=True)  # traced once, for its shapes and in the loop
        count = jax.tree.leaves(nets)[0].shape[0]
        room = max(count, 2)  # the compiler would see that a slice of one net's arrays is all of them
        if count < room:
            nets = jax.tree.map(lambda a: jnp.concatenate([a, a]), nets)
        only = lambda i: jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, i, 1), nets)  # noqa: E731
        shapes = jax.eval_shape(once, only(0))
        whole = jax.tree.map(lambda s: jnp.zeros((room, *s.shape[1:]), s.dtype), shapes)
        put = lambda i, whole, part: lax.dynamic_update_slice_in_dim(whole, part, i, 0)  # noqa: E731
        turn = lambda i, whole: jax.tree.map(lambda w, p: put(i, w, p), whole, once(only(i)))  # noqa: E731
        done = lax.fori_loop(0, jnp.where(running, count, 0), turn, whole)
        return jax.tree.map(lambda a: a[:count], done)

    return by_platform(nets, cpu=in_turn, default=f)
