"""What reading a program finds: sites, and what is known of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from varprobe.model.nested import Shards
from varprobe.model.tags import Place, Point

__all__ = ["Context", "Joint", "Reading", "Scan", "Shard", "Site"]


class Scan(NamedTuple):
    """A scan around a site: the place of its body, how many iterations it has, and whether the last comes first."""

    place: Place
    length: int
    reverse: bool


class Shard(NamedTuple):
    """A shard_map around a site: the place of its program, and how it splits values."""

    place: Place
    call: Shards


class Context(NamedTuple):
    """The scans and shard_maps around a part of a program, each from the outermost to the innermost."""

    scans: tuple[Scan, ...] = ()
    shards: tuple[Shard, ...] = ()


@dataclass
class Site:
    """A place in a program that is probed.

    kind: linear, conv, embedding, mixing (a product of two signals), logits, probabilities, norm, sum (of products),
    residual, call (what a call that cannot be entered gives) or mark. value: what is recorded, a preactivation after
    its bias. product: the same before it. activation: what a nonlinear function makes of the value. bounded: each
    logistic function and tanh of the value, or of a part. at: the equation, as a place. scans: those that it is in.
    parameters: leaves that belong to it; near: those of the latest product before. kernel: the leaf that a product is
    fed by, -1 where it is made of several; slices: the scans whose iterations took one entry each of its leading axes,
    None where that is not known; turned: whether an earlier site sums over other axes of it, as a derivative or a tied
    decoder does; frozen: whether it is behind stop_gradient. fan_in and fan_out: inputs of a unit, and units, as the
    kernel's shape says; terms: how many an output sums, less where there is padding; rows: a unit's entries, one for
    each sample and position, 0 where there is no kernel. scope and source: the named scopes, and the line of code.
    behind: the sites and joints that it follows from without another between. shards: the shard_maps that it is in.
    split: the axes of a mesh over which the inputs of a unit are split. last: whether it is in a while loop, of which
    only the last iteration is known. logits: what a softmax or a logistic function of the loss takes; normalizer: the
    log of the sum of their exponentials; target: what the loss subtracts from the output, which is made of the value.
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
    turned: bool = False
    frozen: bool = False
    fan_in: int = 0
    rows: int = 0
    fan_out: int = 0
    terms: float = 0.0
    behind: frozenset[int] = frozenset()
    product: Point | None = None
    activation: Point | None = None
    bounded: dict[Point, str] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    split: tuple[str, ...] = ()
    last: bool = False
    logits: Point | None = None
    normalizer: Point | None = None
    output: Point | None = None
    target: Point | None = None
    exits: dict[Point, bool] = field(default_factory=dict)


@dataclass
class Joint:
    """A node that is not a site, such as the carry of a scan: it follows from the initial value and the last step.

    cut: no gradient goes through it, as through a comparison or `stop_gradient`. flat: the function that cuts it, if
    that is one whose slope is zero, such as round.
    """

    behind: frozenset[int]
    cut: bool
    flat: str = ""


@dataclass
class Reading:
    """Sites in the order of the program; matrix products of a signal that are probed; what the others are in.

    entered: the inputs of the program that parameters are multiplied with, as they are; -1 for a computed signal, in
    the order of the products. multiplied: inputs, other than parameters, that computed signals are multiplied with.
    joints: those numbered -1, -2, ... factors: inputs that a signal is multiplied with, the sites and joints behind
    that signal, and the number of the product, -1 where it goes by entries. functions: inputs that a signal is
    multiplied with a function of, and the number of the product. gates: what two signals that are multiplied by entries
    follow from; mixed: the same of matrix products. logits: number of the site, and how many classes, of each log of a
    sum of exponentials, as in a cross entropy. mismatched: number of the site and entries of the output and of a
    target, where their difference has each of one with each of the other. squashed: sites whose logits are what a
    softmax or a logistic function gave. flat: sites that the loss does not reach since a function behind them has a
    slope of zero, and that function. reached: the sites that the first output, the loss, has a gradient with respect
    to. copied: functions with a gradient rule of their own that JAX could differentiate too, by place.
    """

    sites: list[Site] = field(default_factory=list)
    products: int = 0
    opaque: list[str] = field(default_factory=list)
    entered: list[int] = field(default_factory=list)
    multiplied: set[int] = field(default_factory=set)
    joints: list[Joint] = field(default_factory=list)
    factors: list[tuple[int, frozenset[int], int]] = field(default_factory=list)
    functions: list[tuple[int, int]] = field(default_factory=list)
    gates: list[tuple[frozenset[int], frozenset[int]]] = field(default_factory=list)
    mixed: list[tuple[frozenset[int], frozenset[int]]] = field(default_factory=list)
    logits: list[tuple[int, int]] = field(default_factory=list)
    mismatched: list[tuple[int, int, int]] = field(default_factory=list)
    squashed: set[int] = field(default_factory=set)
    flat: dict[int, str] = field(default_factory=dict)
    reached: frozenset[int] = frozenset()
    copied: dict[Place, Context] = field(default_factory=dict)

    def join(self, behind: frozenset[int], cut: bool = False, flat: str = "") -> int:
        """The number of a new joint."""
        self.joints.append(Joint(behind, cut, flat))
        return -len(self.joints)

    def joint(self, node: int) -> Joint:
        """The joint with this number, which is below 0."""
        return self.joints[-node - 1]

    def behind(self, nodes: Iterable[int], through_cuts: bool) -> frozenset[int]:
        """The sites among these sites and joints, and the sites that its joints lead to."""
        return frozenset(node for node in self.walked(nodes, through_cuts, through_sites=False) if node >= 0)

    def all_behind(self, nodes: Iterable[int], through_cuts: bool) -> frozenset[int]:
        """These, and all sites and joints that they follow from, step by step."""
        return self.walked(nodes, through_cuts, through_sites=True)

    def flattened(self, last: frozenset[int]) -> dict[int, str]:
        """The sites that the loss would reach but for a function whose slope is zero, and that function.

        last: what the loss follows from.
        """
        found: dict[int, str] = {}
        for node in self.walked(last, through_cuts=False, through_sites=True):
            if node < 0 and (function := self.joint(node).flat):
                behind = self.walked(self.joint(node).behind, through_cuts=False, through_sites=True)
                found |= {site: function for site in behind - self.reached if site >= 0}
        return found

    def walked(self, nodes: Iterable[int], through_cuts: bool, through_sites: bool) -> frozenset[int]:
        """These nodes and all that are reached from them through joints, and through sites on request."""
        found, left = set(), list(nodes)
        while left:
            node = left.pop()
            if node in found:
                continue
            found.add(node)
            if node >= 0:
                left += self.sites[node].behind if through_sites else ()
            elif through_cuts or not self.joint(node).cut:
                left += self.joint(node).behind
        return frozenset(found)
