"""Scaled dot-product attention of all nets at once; where scores leave a float's range it is uniform or one-hot.

The softmax itself is at float precision: a probability below the smallest float is 0, and so is its gradient.
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from varprobe.engine.moments import factor
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.scaled_float import Signal, exponent, scale, wide
from varprobe.nets.softmax import dot, softmax_entropy, sum_of_products

__all__ = ["token_similarity", "attended"]

LIMIT = 100
"""Exponents of scores, above and below: at 2^100 a softmax is one-hot, at 2^-100 uniform, in every dtype."""

Heads = Float[Array, "nets batch tokens heads units"]
Scores = Float[Array, "nets batch heads queries keys"]


class Lifts(NamedTuple):
    """Those of the queries and of the keys, see `lifts`."""

    q: Float[Array, " nets"]
    k: Float[Array, " nets"]


def token_similarity(m: Float[Array, "nets batch tokens units"]) -> Float[Array, " nets"]:
    """Mean cosine between distinct tokens of a sample, over samples that have two with a direction."""
    cosines = factor(m.reshape(-1, *m.shape[2:]), by_gram=False)[1]
    return jnp.nanmean(cosines.reshape(m.shape[:2]), axis=1).astype(jnp.float32)


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
