"""What an architecture says of itself: its matrices, its block forward, and the same block as plain arrays."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jaxtyping import Array

from varprobe.errors import InvalidArgumentError
from varprobe.nets.norms import Norm
from varprobe.nets.scaled_float import Signal
from varprobe.spec.parameters import Parameter

if TYPE_CHECKING:
    from varprobe.nets.architectures.layer import Layer
    from varprobe.nets.initializers import LayerContext

__all__ = ["Architecture", "Plain", "WeightSpec"]


class WeightSpec(NamedTuple):
    """One weight matrix of a block.

    name: `w` is the block's own, whose statistics are weight_* and weight_gradient_*; another's are NAME_weight_*.
    role: which option sets its initializer: "" for --init, "qk" for --init-qk, ... last: whether it ends its branch.
    kind: of layer, for initializers that differ by it: dense, attention (the projections to queries, keys and values),
    attention_out, recurrent, ... branch: how many matrices a signal passes in its residual branch; 0 outside of one.
    kernel: sides of the kernel whose entries, in order, with the channels in, are the rows; () of a dense matrix.
    adjoint: whether it is multiplied by its transpose, so that its rows lead to the units after it.
    bias: whether biases stand beside it.
    """

    name: str
    fan_in: int
    fan_out: int
    role: str = ""
    last: bool = False
    kind: str = "dense"
    branch: int = 0
    kernel: tuple[int, ...] = ()
    adjoint: bool = False
    bias: bool = True

    @property
    def taps(self) -> int:
        """Entries of the kernel, 1 of a dense matrix."""
        return math.prod(self.kernel)

    @property
    def fans(self) -> tuple[int, int]:
        """(fan_in, fan_out) for initializers: each channel counts once for every entry of the kernel."""
        return self.fan_in, self.fan_out * self.taps

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that jax's initializers take: (kernel..., channels in, channels out)."""
        return *self.kernel, self.fan_in // self.taps, self.fan_out

    @property
    def units(self) -> int:
        """How many biases belong to it."""
        return self.fan_in // self.taps if self.adjoint else self.fan_out


class Plain(NamedTuple):
    """The plain functions of a net, for `Architecture.reference`: phi, norm(z, position), dropped(h, site).

    input: of a step of a recurrent net, x_t; None without.
    """

    phi: Callable[[Array], Array]
    norm: Callable[[Array, str], Array]
    dropped: Callable[[Array, int], Array]
    numbers: Mapping[str, Any]
    input: Array | None = None

    def __call__(self, x: Array) -> Array:
        """phi(x)."""
        return self.phi(x)


@dataclass(frozen=True)
class Architecture(ABC):
    """A stack of equal blocks. Subclasses are frozen dataclasses with the parameters of the call form as fields.

    Class attributes: `meaning`, `layer`, `z` and `delta` are what `varprobe list archs` says; `parameters` what the
    call form takes; `sites` the quantities that a block records with `Layer.see`, beside `activation`;
    `gradients` maps a site to the quantity that its gradient is; `scalars` further numbers of a layer, with meanings;
    `quantities` the further quantities, with meanings. `stream`: blocks keep the width of their input. `own`: a
    block of the user's, with its own activation and initializer. `shared`: all layers have one draw of the weights,
    layer 1's. `homogeneous`: a block is one matrix and phi; where phi has degree 1 the matrix's scale is a factor.
    """

    meaning: ClassVar[str]
    layer: ClassVar[str]
    z: ClassVar[str]
    delta: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]] = {}
    gradients: ClassVar[Mapping[str, str]] = {"preactivation": "gradient"}
    quantities: ClassVar[Mapping[str, str]] = {}
    scalars: ClassVar[Mapping[str, str]] = {}
    stream: ClassVar[bool] = False
    own: ClassVar[bool] = False
    shared: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = False

    @abstractmethod
    def slots(self, fan_in: int, fan_out: int) -> tuple[WeightSpec, ...]:
        """The matrices of a block from `fan_in` to `fan_out` units; the first is `w`."""

    @abstractmethod
    def block(self, layer: Layer, x: Signal) -> Signal:
        """The signal after one block, for all nets at once; every site is recorded with `layer.see`."""

    @abstractmethod
    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """The same block for one net: x (batch, ..., units), p its matrices by slot, their biases b, b_SLOT."""

    def static(self) -> Architecture:
        """What compiled code depends on: numbers of `numbers` left out."""
        return self

    def numbers(self, place: LayerContext) -> dict[str, float]:
        """Run-time numbers of a layer, which nets of one program may differ in."""
        return {}

    def sample_shape(self, units: int) -> tuple[int, ...]:
        """The shape of one sample with this many units (channels)."""
        return (units,)

    def input_shape(self, units: int, depth: int) -> tuple[int, ...]:
        """The shape of one sample of the input, with this many units."""
        return self.sample_shape(units)

    @property
    def embeds(self) -> bool:
        """Whether data of another width are embedded in that of the blocks."""
        return self.stream

    def random_units(self, given: int | None, widths: tuple[int, ...]) -> int:
        """Units of layer 0 of random data, --input-width being `given`, before layers of these widths.

        Raises:
            InvalidArgumentError: they do not fit.
        """
        return widths[0] if self.stream else given or widths[0]

    def file_units(self, features: int, widths: tuple[int, ...]) -> int:
        """The same of the rows of a file or an array."""
        return self.random_units(features, widths)

    @property
    def own_norm(self) -> Norm:
        """The norm where --norm is none."""
        return Norm("none")

    def kept_units(self, units: int) -> int:
        """Numbers that a position keeps beside the outputs of its matrices."""
        return 0

    @property
    def extent(self) -> tuple[int, int]:
        """(positions of a sample, most rows that a matrix has for each unit before it): what memory goes with."""
        return math.prod(self.sample_shape(1)), max(slot.fan_in for slot in self.slots(1, 1))

    def law(self, law: tuple[Any, ...], slot: WeightSpec) -> tuple[Any, ...]:
        """The law of a base (see `weight_bases.base_of`) in a matrix of this architecture, from an initializer's.

        Raises:
            InvalidArgumentError: it has no meaning there.
        """
        if law[0] == "delta_orthogonal":
            raise InvalidArgumentError("delta_orthogonal is for the kernels of conv; use orthogonal")
        return law

    def refusal(self, config: Any) -> str | None:
        """Why a configuration of this architecture makes no sense; None where it does."""
        return None
