"""Scaled dot-product attention of all nets at once; where scores leave a float's range it is uniform or one-hot.

The softmax itself is at float precision: a probability below the smallest float is 0, and so is its gradient.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.engine.moments import wide
from varprobe.nets.scaled_float import Signal, exponent, scale

if TYPE_CHECKING:
    from varprobe.engine.wired.layer import Layer

__all__ = ["attended", "softmax_entropy"]

LIMIT = 100
"""Exponents of scores, above and below: at 2^100 a softmax is one-hot, at 2^-100 uniform, in every dtype."""

Heads = Float[Array, "nets batch tokens heads units"]
Scores = Float[Array, "nets batch heads queries keys"]


class Lifts(NamedTuple):
    """Those of the queries and of the keys, see `lifts`."""

    q: Float[Array, " nets"]
    k: Float[Array, " nets"]


def attended(
    layer: Layer, q: Signal, k: Signal, v: Signal, heads: int, causal: bool, lifts: tuple[Array, Array]
) -> Signal:
    """softmax(q k^T / sqrt(units of a head)) v, head by head; `attention_entropy` becomes a scalar of the layer.

    Args:
        layer: whose.
        q: queries, (nets, batch, tokens, units); k and v: keys and values, the same.
        k: keys.
        v: values.
        heads: how many share the units.
        causal: whether a token attends to itself and those before it only.
        lifts: with which queries and keys entered.
    """
    shape = q.m.shape
    split = lambda s: s.m.reshape(*shape[:3], heads, shape[3] // heads)  # noqa: E731
    program = layer.program
    static = causal, program.dtype, program.real_range
    m, entropy = attention(static, split(q), split(k), split(v), q.e + k.e, Lifts(*lifts))
    layer.scalars["attention_entropy"] = lax.stop_gradient(entropy).astype(jnp.float32)
    return layer.stored(Signal(m.reshape(shape), v.e))


def softmax_entropy(s: Float[Array, "... keys"]) -> tuple[Float[Array, "... keys"], Float[Array, ...]]:
    """The softmax over the last axis, and its entropy in nats; entries of -inf have probability 0.

    A compiler may take the product that a score is and its difference from the largest in one rounding (fused multiply
    and add): the difference of the largest from itself is then a rounding error of the score's size, and not 0.
    """
    largest = jnp.max(s, axis=-1, keepdims=True)
    shifted = jnp.where((s == largest) & jnp.isfinite(s), 0, s - largest)
    exponentials = jnp.exp(shifted)
    total = exponentials.sum(-1, keepdims=True)
    p = exponentials / total
    return p, jnp.log(total[..., 0]) - sum_of_products(p, jnp.where(p > 0, shifted, 0))


def sum_of_products(a: Float[Array, "... keys"], b: Float[Array, "... keys"]) -> Float[Array, ...]:
    """Sums of a b over the last axis, as a matrix product: on CPU a sum is done again for each element that uses it."""
    return dot("...k,...k->...", a, b)


def dot(pattern: str, a: Array, b: Array) -> Array:
    """An einsum of full precision."""
    return jnp.einsum(pattern, a, b, precision=lax.Precision.HIGHEST, preferred_element_type=wide(a).dtype)


def softmax_pullback(p: Float[Array, "... keys"], g: Float[Array, "... keys"]) -> Float[Array, "... keys"]:
    """The cotangent of scores: p (g - p g); centered twice, since where one probability is nearly 1 its g cancels."""
    for _ in range(2):
        g = g - sum_of_products(p, g)[..., None]
    return p * g


Static = tuple[bool, str, bool]
"""Causal, dtype, whether ranges are real."""


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def attention(
    static: Static, q: Heads, k: Heads, v: Heads, e: Int[Array, " nets"], lifts: Lifts
) -> tuple[Heads, Float[Array, " nets"]]:
    """(its mantissa at the exponent of v, the mean entropy of its probabilities); e is the exponent of q k^T."""
    return attention_forward(static, q, k, v, e, lifts)[0]


def attention_forward(
    static: Static, q: Heads, k: Heads, v: Heads, e: Int[Array, " nets"], lifts: Lifts
) -> tuple[tuple[Heads, Array], tuple[Heads, Heads, Heads, Scores, Array, Lifts]]:
    """Keeps all sides and the probabilities."""
    causal, dtype, _ = static
    s = dot("nbqhd,nbkhd->nbhqk", q, k) / math.sqrt(q.shape[-1])
    s = scale(wide(s.astype(dtype)), jnp.clip(e, -LIMIT, LIMIT))
    if causal:
        tokens = jnp.arange(q.shape[2])
        s = jnp.where(tokens[:, None] >= tokens[None], s, -jnp.inf)
    p, entropy = softmax_entropy(s)
    p = p.astype(dtype)
    return (dot("nbhqk,nbkhd->nbqhd", p, v), entropy.mean((1, 2, 3))), (q, k, v, p, e, lifts)


def attention_backward(
    static: Static, kept: tuple[Heads, Heads, Heads, Scores, Array, Lifts], c: tuple[Heads, Array]
) -> tuple[Heads, Heads, Heads, None, Lifts]:
    """Cotangents of queries and keys near 1, their exponents in the lifts; unless ranges are real."""
    q, k, v, p, e, lifts = kept
    g = c[0].astype(v.dtype)
    back = softmax_pullback(wide(p), dot("nbqhd,nbkhd->nbhqk", g, v)) / math.sqrt(q.shape[-1])
    g_q, g_k = dot("nbhqk,nbkhd->nbqhd", back, wide(k)), dot("nbhqk,nbqhd->nbkhd", back, wide(q))
    g_v = dot("nbhqk,nbqhd->nbkhd", p, g).astype(v.dtype)
    if static[2]:
        return g_q.astype(q.dtype), g_k.astype(k.dtype), g_v, None, Lifts(*map(jnp.zeros_like, lifts))
    own = [exponent(jnp.max(jnp.abs(x), axis=(1, 2, 3, 4))) for x in (g_q, g_k)]
    g_q, g_k = (scale(x, -n).astype(q.dtype) for x, n in zip((g_q, g_k), own, strict=True))
    return g_q, g_k, g_v, None, Lifts(*((e + n).astype(t.dtype) for n, t in zip(own, lifts, strict=True)))


attention.defvjp(attention_forward, attention_backward)
