"""`conv`: the plain stack with convolutions of stride 1 for weights, in one or two dimensions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.architecture import Architecture, Plain, WeightSpec
from varprobe.nets.architectures.layer import Layer
from varprobe.nets.architectures.plain import activated
from varprobe.nets.scaled_float import Signal
from varprobe.spec.parameters import Parameter

__all__ = ["Conv"]

SHOWN = 6
"""Sizes that a message names at most."""


@dataclass(frozen=True)
class Conv(Architecture):
    """h = phi(h * K + b): width counts channels, a sample has shape (size,) * dims + (channels,), channels last.

    K has shape (kernel,) * dims + (channels in, channels out), as jax.lax has it, and fan_in = kernel^dims channels in,
    fan_out = kernel^dims channels out, so that sigma_w^2 = fan_in Var K over all its entries. Biases belong to
    channels. Positions beyond the edge are those of the other end (circular) or zero.

    transpose: the transposed convolution of stride 1, as generators have it: the adjoint of the convolution from the
    channels out to the channels in, whose kernel K is of shape (kernel,) * dims + (channels out, channels in) and whose
    fans are swapped with it, as in torch and Keras. Like all blocks here it keeps the size; it does not upsample.

    Norms: `batch` is over batch and positions, `layer` and `rms` over the channels at each position (as in ConvNeXt;
    torch's GroupNorm(1), over channels and positions, is group(groups=1)), `group` over positions and channels.
    """

    kernel: int = 3
    dims: int = 2
    padding: str = "circular"
    size: int = 16
    transpose: bool = False

    meaning: ClassVar[str] = "convolution (width: channels), bias, norm, activation; transpose=true: its adjoint"
    layer: ClassVar[str] = "one convolution of stride 1, h_l = phi(z_l)"
    z: ClassVar[str] = "h_{l-1} * K + b, at every position"
    delta: ClassVar[str] = "dLoss/dz_l"
    homogeneous: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "kernel": Parameter(3, "whole", low=1, high=2**10),
        "dims": Parameter(2, "whole", (2, 1)),
        "padding": Parameter("circular", "word", ("circular", "zero")),
        "size": Parameter(16, "whole", low=1, high=2**20),
        "transpose": Parameter(False, "flag"),
    }

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the kernel."""
        return (self.kernel,) * self.dims

    @property
    def positions(self) -> int:
        """Of a sample."""
        return self.size**self.dims

    @property
    def coverage(self) -> float:
        """The share of the kernel's entries that meet a position of the signal, on average over positions."""
        if self.padding == "circular":
            return 1.0
        low = (self.kernel - 1) // 2
        inside = sum(self.size - abs(at - low) for at in range(self.kernel))
        return float((inside / (self.kernel * self.size)) ** self.dims)

    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """One kernel; transposed, that of the convolution back."""
        first, last = (fan_out, fan_in) if self.transpose else (fan_in, fan_out)
        return (
            WeightSpec(
                "w", self.kernel**self.dims * first, last, kind="conv", kernel=self.sides, adjoint=self.transpose
            ),
        )

    def block(self, layer: Layer, x: Signal) -> Signal:
        """One layer."""
        z = layer.convolved("w", x, self.padding == "circular")
        return layer.activated(layer.see("preactivation", z))

    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """One layer."""
        if not self.transpose:
            return activated(plain, self.convolved(x, p["w"]) + p["b"])
        before = jax.ShapeDtypeStruct((*x.shape[:-1], p["w"].shape[-2]), x.dtype)
        (z,) = jax.linear_transpose(lambda h: self.convolved(h, p["w"]), before)(x)
        return activated(plain, z + p["b"])

    def convolved(self, x: Float[Array, "batch ... channels"], kernel: Array) -> Float[Array, "batch ... out"]:
        """The convolution, position by position as the text-books have it."""
        low = (self.kernel - 1) // 2
        pads = [(low, self.kernel - 1 - low)] * self.dims
        if self.padding == "circular":
            x = jnp.pad(x, [(0, 0), *pads, (0, 0)], mode="wrap")
            pads = [(0, 0)] * self.dims
        names = "HW"[: self.dims]
        order = (f"N{names}C", f"{names}IO", f"N{names}C")
        return lax.conv_general_dilated(x, kernel, (1,) * self.dims, pads, dimension_numbers=order, precision="highest")

    def sample_shape(self, units: int) -> tuple[int, ...]:
        """(size, ..., channels)."""
        return (*(self.size,) * self.dims, units)

    def file_units(self, features: int, widths: tuple[int, ...]) -> int:
        """Channels of the data, which are (size, ..., channels) in a row.

        Raises:
            InvalidArgumentError: they do not fill the positions; says which sizes they would.
        """
        if features % self.positions == 0:
            return features // self.positions
        fit = [n for n in range(1, int(features ** (1 / self.dims) + 1.5)) if features % n**self.dims == 0]
        fit = [n for n in fit if n >= self.kernel]
        sizes = [
            f"size={n} with {features // n**self.dims} channel{'s' * (features != n**self.dims)}" for n in fit[::-1]
        ]
        raise InvalidArgumentError(
            f"conv: {features} values do not fill {' x '.join([str(self.size)] * self.dims)} positions with channels; "
            f"they fit {', '.join(sizes[:SHOWN]) or 'no size that is as large as the kernel'}"
        )

    def random_units(self, given: int | None, widths: tuple[int, ...]) -> int:
        """--input-width counts channels, as --width does."""
        return given or widths[0]

    def law(self, law: tuple[Any, ...], slot: WeightSpec) -> tuple[Any, ...]:
        """The law of a kernel; identity and delta_orthogonal stand at its center.

        Raises:
            InvalidArgumentError: delta_orthogonal where channels get fewer.
        """
        centered = law[0] in ("eye", "delta_orthogonal")
        if law[0] == "delta_orthogonal":
            ends = slot.fan_in // slot.taps, slot.fan_out
            first, last = ends[::-1] if slot.adjoint else ends
            if first > last:
                raise InvalidArgumentError(
                    f"delta_orthogonal keeps no lengths from {first} channels to {last}; use orthogonal"
                )
        return "kernel", law, slot.kernel, centered

    def refusal(self, config: Any) -> str | None:
        """A kernel larger than the signal."""
        if self.kernel > self.size:
            return f"a kernel of {self.kernel} is larger than the {self.size} positions of a side"
        return None
