"""The softmax and its entropy."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.nets.scaled_float import wide

__all__ = ["dot", "softmax_entropy", "sum_of_products"]


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
