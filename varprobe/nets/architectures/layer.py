"""What a block of an architecture is written with, for all nets at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from jaxtyping import Array, Float

from varprobe.nets.scaled_float import Signal

__all__ = ["Layer", "Lift"]

Lift = Float[Array, " nets"]
"""The exponent that a branch's cotangent has beyond its stream's."""


class Layer(Protocol):
    """One layer of all nets of a program while it is traced; signals are (nets, batch, ..., units).

    numbers: the architecture's run-time numbers, by name. scalars: what is recorded beside moments. sinks: where
    gradients are measured, by site. program: what the code is compiled for.
    """

    numbers: dict[str, Array]
    scalars: dict[str, Array]
    sinks: Any
    program: Any

    def linear(self, name: str, h: Signal) -> Signal:
        """h W + b with the matrix of that name."""

    def convolved(self, name: str, h: Signal, circular: bool) -> Signal:
        """h convolved with the kernel of that name, + b."""

    def activated(self, z: Signal) -> Signal:
        """Norm and activation, in the order that the norm says, and dropout."""

    def norm(self, x: Signal, position: str) -> Signal:
        """The norm, if that is its position."""

    def phi(self, z: Signal) -> Signal:
        """The activation of z."""

    def dropped(self, h: Signal, site: int | None = None) -> Signal:
        """Inverted dropout; `site` numbers the block's dropouts from 0, without it they follow the activations."""

    def plus(self, a: Signal, b: Signal) -> Signal:
        """a + b."""

    def scaled(self, x: Signal, factors: Float[Array, " nets"]) -> Signal:
        """Each net's signal times a number."""

    def see(self, site: str, x: Signal) -> Signal:
        """x, its moments recorded under this name, and those of its gradient."""

    def stored(self, x: Signal) -> Signal:
        """x as it would stand in memory."""

    def enter(self, x: Signal, sinks: Iterable[str]) -> tuple[Signal, Lift]:
        """(x, the lift of a branch that starts here); from now on the branch's sinks, by name, are the layer's."""

    def added(self, x: Signal, branch: Signal, lift: Lift) -> Signal:
        """x + branch, the end of a branch that entered with this lift."""

    def shares_of(self, x: Signal, branch: Signal, total: Signal) -> None:
        """Record what the mean squares of a stream and of its branch are of that of their sum."""

    def attended(self, q: Signal, k: Signal, v: Signal, heads: int, causal: bool, lifts: tuple[Lift, Lift]) -> Signal:
        """softmax(q k^T / sqrt(units of a head)) v, head by head; `attention_entropy` becomes a scalar."""

    def similarity(self, x: Signal) -> Float[Array, " nets"]:
        """The mean cosine between distinct tokens of a sample."""
