"""What reading a program finds: sites, and what is known of each."""

from dataclasses import dataclass, field
from typing import NamedTuple

from varprobe.model.tags import Place, Point

__all__ = ["Reading", "Scan", "Site"]


class Scan(NamedTuple):
    """A scan around a site: the place of its body, how many iterations it has, and whether the last comes first."""

    place: Place
    length: int
    reverse: bool


@dataclass
class Site:
    """A place in a program that is probed.

    kind: linear, conv, embedding, mixing (a product of two signals), logits, probabilities, norm, sum (of products),
    residual or mark. value: what is recorded, a preactivation after its bias. product: the same before it. activation:
    what a nonlinear function makes of the value. at: the equation, as a place. scans: those that it is in. parameters:
    leaves that belong to it; near: those of the latest product before. after: number of the latest site behind it, -1
    without. kernel: the leaf that a product is fed by, -1 where it is made of several; slices: the scans whose
    iterations took one entry each of its leading axes, None where that is not known. fan_in: inputs of a unit. scope
    and source: the named scopes, and the line of code.
    """

    kind: str
    value: Point
    at: Place
    scans: tuple[Scan, ...]
    parameters: frozenset[int]
    near: frozenset[int]
    scope: str
    source: str
    kernel: int = -1
    slices: tuple[Place, ...] | None = None
    fan_in: int = 0
    after: int = -1
    product: Point | None = None
    activation: Point | None = None
    exits: dict[Point, bool] = field(default_factory=dict)


@dataclass
class Reading:
    """Sites in the order of the program; matrix products of a signal that are probed; what the others are in.

    entered: the inputs of the program that parameters are multiplied with, as they are; -1 for a computed signal, in
    the order of the products. multiplied: inputs, other than parameters, that computed signals are multiplied with.
    """

    sites: list[Site] = field(default_factory=list)
    products: int = 0
    opaque: list[str] = field(default_factory=list)
    entered: list[int] = field(default_factory=list)
    multiplied: set[int] = field(default_factory=set)
