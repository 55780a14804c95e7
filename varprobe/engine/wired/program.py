"""What a compiled cell of any architecture is specialized to, and the numbers that it takes at run time."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float

from varprobe.engine.program import ActivationSpec, HostOrDevice, LayerNumbers, PhiNumbers, Segment
from varprobe.engine.weight_bases import WeightBasis
from varprobe.engine.wired.hooks import StatisticsHook
from varprobe.nets.architectures.architecture import Architecture, WeightSpec
from varprobe.nets.config import LossName
from varprobe.nets.norms import Norm

__all__ = ["NetNumbers", "SegmentNumbers", "Wired"]


@dataclass(frozen=True)
class Wired:
    """One compiled function: nets of one architecture, activation and shape, one seed.

    Attributes:
        weights: the base of every segment, slot and net.
        biases: the base of every slot, None without biases.
        with_mean: the bases of every segment and slot that some net uses with a mean that is not zero.
        keep_weights: whether weights are kept for the backward pass, or drawn again.
        unit: whether the batch sets the scale of some net's weights, so that their products have variance 1.
        watcher: what else is to be known of activations and gradients.
    """

    arch: Architecture
    norm: Norm
    phi: ActivationSpec
    segments: tuple[Segment, ...]
    batch: int
    weights: tuple[tuple[tuple[WeightBasis, ...], ...], ...]
    biases: tuple[WeightBasis | None, ...]
    with_mean: tuple[tuple[frozenset[WeightBasis], ...], ...]
    readout: tuple[WeightBasis, ...] = ()
    loss: LossName = "cotangent"
    outputs: int = 0
    dtype: str = "float32"
    real_range: bool = False
    forward_only: bool = False
    dropout: bool = False
    keep_weights: bool = True
    unit: bool = False
    watcher: StatisticsHook | None = None

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(s.count for s in self.segments)

    @property
    def nets(self) -> int:
        """How many there are."""
        return len(self.weights[0][0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.arch.input_shape(self.segments[0].fan_in, self.depth)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of one sample."""
        return self.arch.sample_shape(self.segments[-1].fan_out)

    def slots(self, segment: int) -> tuple[WeightSpec, ...]:
        """The matrices of a block of a segment."""
        s = self.segments[segment]
        return self.arch.slots(s.fan_in, s.fan_out)


class SegmentNumbers(NamedTuple):
    """What tells the nets apart in the layers of a segment: of each slot its weights and biases, (layers, nets)."""

    weights: tuple[LayerNumbers, ...]
    biases: tuple[LayerNumbers, ...]
    arch: dict[str, Float[HostOrDevice, "layers nets"]]
    unit: tuple[Bool[HostOrDevice, "layers nets"], ...]


class NetNumbers(NamedTuple):
    """All that tells the nets of a program apart."""

    segments: tuple[SegmentNumbers, ...]
    readout: LayerNumbers | None
    phi: PhiNumbers
    dropout: Float[HostOrDevice, " nets"]
    unit_readout: Bool[HostOrDevice, " nets"] | None
    readout_bias: Float[HostOrDevice, "nets outputs"] | None = None


Traced = Array | Any
