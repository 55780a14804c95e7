"""Fractions of a layer's units and samples that every sweep records; a further one is a line in `FRACTIONS`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["FRACTIONS", "LayerValues", "fractions_of"]

SATURATED_BELOW = 0.01
EQUAL_WITHIN = 1e-5


class LayerValues(NamedTuple):
    """What a layer computes, each (nets, samples and positions, units), times a power of two that a net has in common.

    z: preactivations, divided so that the largest is near 1. y: activations. slope: phi'(z), not scaled. None where
    that is not known, as with blocks of the user's own.
    """

    z: Float[Array, "nets samples units"] | None = None
    y: Float[Array, "nets samples units"] | None = None
    slope: Float[Array, "nets samples units"] | None = None


class Fraction(NamedTuple):
    """needs: fields of `LayerValues`. mask: of them, (nets, ...), true where counted."""

    needs: tuple[str, ...]
    mask: Callable[..., Bool[Array, "nets ..."]]


FRACTIONS: dict[str, Fraction] = {
    "activation_zero_fraction": Fraction(("y",), lambda y: y == 0),
    "dead_unit_fraction": Fraction(("y",), lambda y: jnp.all(y == 0, axis=1)),
    "saturated_fraction": Fraction(("slope",), lambda slope: jnp.abs(slope) < SATURATED_BELOW),
    "saturated_nonzero_fraction": Fraction(
        ("y", "slope"), lambda y, slope: (jnp.abs(slope) < SATURATED_BELOW) & ~(y == 0)
    ),
    "equal_unit_fraction": Fraction(("z",), lambda z: jnp.abs(z - z[:, :, :1]) <= EQUAL_WITHIN),
}
"""By the name of the variable, which `varprobe.storage.dataset.OTHERS` describes."""


def fractions_of(values: LayerValues, dtype: Any = jnp.float32) -> dict[str, Float[Array, " nets"]]:
    """Every fraction of what is known of a layer."""
    known = {name: value for name, value in values._asdict().items() if value is not None}
    return {
        name: share(fraction.mask(*(known[need] for need in fraction.needs)), dtype)
        for name, fraction in FRACTIONS.items()
        if known.keys() >= set(fraction.needs)
    }


def share(mask: Bool[Array, "nets ..."], dtype: Any) -> Float[Array, " nets"]:
    """Fraction of true entries of each net."""
    entries = mask[0].size
    return mask.sum(tuple(range(1, mask.ndim)), dtype=jnp.int32) / jnp.dtype(dtype).type(entries)
