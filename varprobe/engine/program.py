"""What a compiled cell is specialized to, and the numbers that it takes at run time.

A `Program` is hashable and holds shapes and functions only: nets that differ in scales, means or a numeric parameter
of the activation run through the same compiled code. `Numbers` are those differences, one column a net.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int

from varprobe.engine.weight_bases import WeightBasis
from varprobe.nets.config import LossName

__all__ = ["Block", "LayerNumbers", "Numbers", "ActivationSpec", "PhiNumbers", "Program", "Segment", "segments_of"]

HostOrDevice = Any  # numpy where it is made, traced where it is used


@dataclass(frozen=True)
class Segment:
    """Consecutive layers of one shape, run as one scan: layers first .. first + count - 1."""

    first: int
    count: int
    fan_in: int
    fan_out: int


def segments_of(widths: tuple[int, ...], cuts: frozenset[int] = frozenset()) -> tuple[Segment, ...]:
    """Segments of a stack with widths (input, layer 1, ..., layer L); a new one starts at each layer in `cuts`."""
    starts = sorted(
        {1}
        | {c for c in cuts if 1 <= c < len(widths)}
        | {
            layer
            for layer in range(2, len(widths))
            if (widths[layer - 1], widths[layer]) != (widths[layer - 2], widths[layer - 1])
        }
    )
    ends = [*starts[1:], len(widths)]
    return tuple(Segment(a, b - a, widths[a - 1], widths[a]) for a, b in zip(starts, ends, strict=True))


@dataclass(frozen=True)
class ActivationSpec:
    """An activation as compiled code knows it: the function and which asymptotes may stand in for it."""

    function: Callable[..., Array]
    static: tuple[tuple[str, Any], ...]
    numeric: tuple[str, ...]
    near: bool
    far: bool
    bounded: bool
    homogeneous: bool


@dataclass(frozen=True)
class Block:
    """Nets that differ in numbers and bases only: after the product, one code serves them all.

    `weights` has the base of every segment and net, `biases` that of every segment.
    """

    phi: ActivationSpec
    weights: tuple[tuple[WeightBasis, ...], ...]
    biases: tuple[WeightBasis | None, ...]
    readout: WeightBasis | None = None

    @property
    def nets(self) -> int:
        """How many there are."""
        return len(self.weights[0])


@dataclass(frozen=True)
class Program:
    """One compiled function: stacks of one shape, one seed.

    `with_mean` has, for every segment, the bases that some net uses with a mean that is not zero.
    """

    segments: tuple[Segment, ...]
    batch: int
    blocks: tuple[Block, ...]
    loss: LossName = "cotangent"
    outputs: int = 0
    dtype: str = "float32"
    real_range: bool = False
    forward_only: bool = False
    keep_weights: bool = True
    with_mean: tuple[frozenset[WeightBasis], ...] = ()

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return sum(s.count for s in self.segments)

    def bases(self, segment: int) -> tuple[WeightBasis, ...]:
        """The distinct bases of a segment, in the order of the nets."""
        return tuple(dict.fromkeys(base for block in self.blocks for base in block.weights[segment]))


class LayerNumbers(NamedTuple):
    """W = (mean + scale * base) * 2^e of each layer and net, mean and scale of magnitude below 1."""

    scale: Float[HostOrDevice, "layers nets"]
    mean: Float[HostOrDevice, "layers nets"]
    e: Int[HostOrDevice, "layers nets"]


class PhiNumbers(NamedTuple):
    """An activation's numeric parameters, and its slopes (left, right) near zero and far out."""

    parameters: dict[str, Float[HostOrDevice, " nets"]]
    near: Float[HostOrDevice, "nets 2"]
    far: Float[HostOrDevice, "nets 2"]


class Numbers(NamedTuple):
    """All that tells the nets of a block apart."""

    weights: tuple[LayerNumbers, ...]
    biases: tuple[LayerNumbers, ...]
    readout: LayerNumbers | None
    phi: PhiNumbers
