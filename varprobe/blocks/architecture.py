"""What an architecture says of itself: its matrices, its block forward, and the same block as plain arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from jaxtyping import Array

from varprobe.extended import Signal
from varprobe.norms import Norm
from varprobe.parameters import Parameter

if TYPE_CHECKING:
    from varprobe.initializers import Place
    from varprobe.wired.layer import Layer

__all__ = ["Architecture", "Plain", "Slot"]


class Slot(NamedTuple):
    """One weight matrix of a block.

    name: `w` is the block's own, whose statistics are weight_*, weight_gradient_*; those of another are NAME_weight_*.
    role: which option sets its initializer: "" for --init, "qk" for --init-qk, ... last: whether it ends its branch.
    kind: of layer, for initializers that differ by it: dense, attention (to queries, keys and values), ...
    """

    name: str
    fan_in: int
    fan_out: int
    role: str = ""
    last: bool = False
    kind: str = "dense"


class Plain(NamedTuple):
    """The plain functions of a net, for `Architecture.reference`: phi, norm(z, position), dropped(h, number of the site)."""

    phi: Callable[[Array], Array]
    norm: Callable[[Array, str], Array]
    dropped: Callable[[Array, int], Array]
    numbers: Mapping[str, float]
    layer: int
    depth: int

    def __call__(self, x: Array) -> Array:
        """phi(x)."""
        return self.phi(x)


@dataclass(frozen=True)
class Architecture(ABC):
    """A stack of equal blocks. Subclasses are frozen dataclasses with the parameters of the call form as fields.

    Class attributes: `meaning`, `layer`, `z` and `delta` are what `varprobe list archs` says; `parameters` what the
    call form takes; `sites` the quantities that a block records with `Layer.see`, beside `activation`;
    `gradients` maps a site to the quantity that its gradient is; `scalars` further numbers of a layer, with meanings;
    `quantities` the further quantities, with meanings. `stream`: blocks keep the width of their input.
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

    @abstractmethod
    def slots(self, fan_in: int, fan_out: int) -> tuple[Slot, ...]:
        """The matrices of a block from `fan_in` to `fan_out` units; the first is `w`."""

    @abstractmethod
    def block(self, layer: Layer, x: Signal) -> Signal:
        """The signal after one block, for all nets at once; every site is recorded with `layer.see`."""

    @abstractmethod
    def reference(self, plain: Plain, p: Mapping[str, Array], x: Array) -> Array:
        """The same block for one net: x of shape (batch, ..., units), p its matrices by slot (their biases b, b_SLOT)."""

    def static(self) -> Architecture:
        """What compiled code depends on: numbers of `numbers` left out."""
        return self

    def numbers(self, place: Place) -> dict[str, float]:
        """Run-time numbers of a layer, which nets of one program may differ in."""
        return {}

    def sample_shape(self, units: int) -> tuple[int, ...]:
        """The shape of one sample with this many units (channels)."""
        return (units,)

    def input_units(self, features: int | None, widths: tuple[int, ...]) -> int:
        """Units of layer 0, of data with so many features (None: as many as asked for) and layers of these widths.

        Raises:
            RequestError: the data do not fit.
        """
        return widths[0] if self.stream else features or widths[0]

    @property
    def own_norm(self) -> Norm:
        """The norm where --norm is none."""
        return Norm("none")

    def kept_units(self, units: int) -> int:
        """Numbers that a position keeps beside the outputs of its matrices."""
        return 0

    def refusal(self, config: Any) -> str | None:
        """Why a configuration of this architecture makes no sense; None where it does."""
        return None
