"""The softmax and its entropy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.nets.scaled_float import wide

__all__ = ["below", "dot", "softmax_entropy", "sum_of_products"]


def softmax_entropy(s: Float[Array, "... keys"]) -> tuple[Float[Array, "... keys"], Float[Array, ...]]:
    """The softmax over the last axis, and its entropy in nats; entries of -inf have probability 0."""
    shifted = below(s, jnp.max(s, axis=-1, keepdims=True))
    exponentials = jnp.exp(shifted)
    total = exponentials.sum(-1, keepdims=True)
    p = exponentials / total
    return p, jnp.log(total[..., 0]) - sum_of_products(p, jnp.where(p > 0, shifted, 0))


@jax.custom_jvp
def below(s: Float[Array, "... keys"], largest: Float[Array, "... 1"]) -> Float[Array, "... keys"]:
    """s - largest, at most 0, and exactly 0 for at least one entry of each row; NaN where the largest is not finite.

    A compiler may compute a score again where it is used, with other roundings (fused multiply and add). Then no score
    equals the largest, the difference is a rounding error of the score's size, and all exponentials may be 0.
    """
    first = jnp.arange(s.shape[-1]) == jnp.argmax(s, axis=-1, keepdims=True)
    return jnp.where((first | (s == largest)) & jnp.isfinite(largest), 0, jnp.minimum(s - largest, 0))


@below.defjvp
def below_tangent(values: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Without the largest: a softmax and its entropy do not depend on what is subtracted."""
    return below(*values), tangents[0]


def sum_of_products(a: Float[Array, "... keys"], b: Float[Array, "... keys"]) -> Float[Array, ...]:
    """Sums of a b over the last axis, as a matrix product: on CPU a sum is done again for each element that uses it."""
    return dot("...k,...k->...", a, b)


def dot(pattern: str, a: Array, b: Array) -> Array:
    """An einsum of full precision."""
    return jnp.einsum(pattern, a, b, precision=lax.Precision.HIGHEST, preferred_element_type=wide(a).dtype)
