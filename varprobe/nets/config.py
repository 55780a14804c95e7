"""What was asked for, checked: the grid of configurations and the setting that they share."""

from dataclasses import dataclass
from typing import Any, Literal

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.nets.architectures import Architecture, PlainStack, WeightSpec
from varprobe.nets.data import Source
from varprobe.nets.initializers import Initializer, LayerContext, resolve_initializer
from varprobe.nets.norms import Norm
from varprobe.spec.calls import Call

__all__ = ["ROLES", "Config", "SweepSettings", "LossName"]

LossName = Literal["cotangent", "mse", "cross_entropy"]

OWN = "own"
"""Activation, initializer and biases of a user's own block, which has its own."""
INPUT_INIT = resolve_initializer(Call("lecun_normal"))
"""The initializer of a recurrent net's input matrices, where --init-first names no other."""
ROLES = ("init_qk", "init_v", "init_o", "init_mlp")
"""Options for the matrices of a block whose slot has the role; they come before --init-first and --init-last."""

LARGEST_SCALE = 1e30
"""Of a branch, within what float32 holds."""


@dataclass(frozen=True)
class Config:
    """One network: everything that the nets of a sweep may differ in."""

    act: Activation
    init: Initializer
    init_first: Initializer | None
    init_last: Initializer | None
    bias: Initializer
    width: int | str
    widths: tuple[int, ...]
    batch: int
    arch_name: str = "plain"
    arch: Architecture = PlainStack()
    norm_name: str = "none"
    norm: Norm = Norm("none")
    dropout: float = 0.0
    roles: tuple[tuple[str, Initializer], ...] = ()

    @property
    def depth(self) -> int:
        """Number of weight layers."""
        return len(self.widths) - 1

    @property
    def samples(self) -> int:
        """How many signals a layer averages over: each position of a sample counts."""
        return self.batch * self.arch.extent[0]

    def weights_at(self, layer: int) -> Initializer:
        """The initializer of W_layer."""
        if layer == 1 and self.init_first:
            return self.init_first
        if layer == self.depth and self.init_last:
            return self.init_last
        return self.init

    @property
    def drawn_layers(self) -> range:
        """The layers that have weights of their own; where all share one draw, layer 1."""
        return range(1, 2 if self.arch.shared else self.depth + 1)

    def slots(self, layer: int) -> tuple[WeightSpec, ...]:
        """The weight matrices of a layer; a plain one has one."""
        if self.arch.shared:
            layer = 1
        return self.arch.slots(self.widths[layer - 1], self.widths[layer])

    def initializer(self, layer: int, slot: int) -> Initializer:
        """The initializer of a matrix of a layer."""
        matrix = self.slots(layer)[slot]
        if self.arch.shared:
            return (self.init_first or INPUT_INIT) if matrix.role == "first" else self.init
        return dict(self.roles).get(f"init_{matrix.role}", self.weights_at(layer))

    def place(self, layer: int, outputs: int = 0, slot: int = 0) -> LayerContext:
        """What an initializer's expressions may refer to at a layer (depth + 1: the read-out, with `outputs` units)."""
        place = place_of(self.widths, layer, outputs)
        if layer > self.depth:
            return place
        slots = self.slots(layer)
        matrix = slots[slot]
        fan_in, fan_out = matrix.fans
        return place._replace(
            fan_in=fan_in,
            fan_out=fan_out,
            slot=matrix.name,
            last=matrix.last,
            kind=matrix.kind,
            branch=matrix.branch,
            branches=self.depth * sum(s.last for s in slots if s.branch),
        )

    def bias_at(self, layer: int, slot: int = 0) -> tuple[float, float]:
        """(mean, scale) of the biases beside a matrix."""
        return self.bias.at(self.place(layer, slot=slot)._replace(bias=True))

    def numbers(self, layer: int) -> dict[str, float]:
        """The architecture's run-time numbers of a layer."""
        place = self.place(layer)
        found = self.arch.numbers(place)
        if "branch_scale" in found:
            scale = found["branch_scale"] = found["branch_scale"] * self.weights_at(layer).branch_scale_at(place)
            if scale and not 1 / LARGEST_SCALE <= abs(scale) <= LARGEST_SCALE:
                raise InvalidArgumentError(
                    f"branch_scale is {scale:.3g} in layer {layer} "
                    f"(allowed: 0 and magnitudes from {1 / LARGEST_SCALE:g} to {LARGEST_SCALE:g})"
                )
        return found

    @property
    def readout(self) -> Initializer:
        """The initializer of a loss's read-out."""
        return self.init_last or self.init

    @property
    def data_driven(self) -> bool:
        """Whether some matrix is scaled by what the batch is when it gets there."""
        roles = (init for _, init in self.roles)
        return any(i is not None and i.data_driven for i in (self.init, self.init_first, self.init_last, *roles))

    def law(self, layer: int, slot: int) -> tuple[Any, ...]:
        """The law of the base of a matrix of a layer."""
        return self.arch.law(self.initializer(layer, slot).law, self.slots(layer)[slot])


@dataclass(frozen=True)
class SweepSettings:
    """What all nets of a sweep have in common."""

    seeds: int
    root_seed: int
    source: Source
    loss: LossName
    outputs: int
    dtype: str
    real_range: bool
    forward_only: bool


def place_of(widths: tuple[int, ...], layer: int, outputs: int = 0) -> LayerContext:
    """What an initializer's expressions may refer to at a layer of a stack with these widths, input first."""
    depth = len(widths) - 1
    return LayerContext(widths[layer - 1], widths[layer] if layer <= depth else outputs, max(widths[1:]), depth, layer)
