"""Bases of convolution kernels: a kernel is a matrix whose rows are its entries, in order, with the channels in."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from varprobe.engine.weight_bases import Base, Custom, Draw

__all__ = ["Kernel", "center"]


def center(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Where in a kernel the entry of a position's own input stands; of even sides the first in the middle."""
    return tuple((side - 1) // 2 for side in sides)


@dataclass(frozen=True)
class Kernel(Base):
    """A kernel with these sides, as the matrix itself, whatever its inner base can multiply by without forming it.

    centered: the inner base fills the center, and zeros the rest.
    """

    inner: Base
    sides: tuple[int, ...]
    centered: bool = False

    def draw(self, draw: Draw) -> Float[Array, "rows channels"]:
        """The matrix. The user's own function is asked for a kernel, (sides..., channels in, channels out)."""
        rows, channels = draw.shape
        shape: tuple[int, ...] = (rows // math.prod(self.sides), channels)
        if not self.centered:
            shape = (*self.sides, *shape) if isinstance(self.inner, Custom) else draw.shape
        asked = draw if shape == draw.shape else Draw(draw.key, shape, draw.layer, draw.depth, draw.dtype, draw.running)
        matrix = self.inner.matrix(self.inner.draw(asked), shape).astype(draw.dtype)
        if self.centered:
            matrix = jnp.zeros((*self.sides, *shape), draw.dtype).at[center(self.sides)].set(matrix)
        return matrix.reshape(rows, channels)
