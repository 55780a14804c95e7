"""What is tapped of a program: values at sites, and where what is made of them and of their gradients arrives."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from varprobe.model.copies import NEAR
from varprobe.model.parts import Shared
from varprobe.model.sites import Context, Reading, Site
from varprobe.model.stats import ALIKE, ALL, DEAD, ENTROPY, FLAT, MOMENTS, RANGE, ZERO, numbers, sink
from varprobe.model.tags import Place, Point
from varprobe.model.tapping import Report

__all__ = ["BACKWARD", "ROLES", "Slot", "Statistics", "Taps", "Way", "expanded", "taps_of"]

ROLES = ("product", "value", "activation")
ENDS = ("logits", "normalizer", "output", "target")
"""Roles of what the loss makes of a site."""
BACKWARD = ("value", "activation", "logits", "normalizer")
"""Roles whose gradients are wanted too; a product's is that of the value."""

Statistics = dict[int, Any]
"""By the number of the slot: `stats.Numbers` on the device, `stats.Seen` on the host."""


class Split(NamedTuple):
    """How a shard_map splits a value: over which axes of the mesh, and over how many devices.

    place: of the shard_map. depth: the number of scans between it and the value. partial: axes along which the value is
    one, but each device has a part of its gradient, since JAX does not check what differs.
    """

    place: Place
    axes: tuple[str, ...]
    devices: int
    depth: int
    partial: tuple[str, ...] = ()


class Slot(NamedTuple):
    """A value that is tapped: of which site, in which role, the lengths of the scans that it is in, what is computed
    of it and of its gradient (`stats.MOMENTS` and more), and how it is split over devices.
    """

    site: int
    role: str
    point: Point
    lengths: tuple[int, ...]
    told: int
    slopes: int
    splits: tuple[Split, ...] = ()

    @property
    def leading(self) -> tuple[int, ...]:
        """The leading axes of what leaves the program: iterations of scans, and devices."""
        return (*self.lengths, *(split.devices for split in self.splits))


class Copy(NamedTuple):
    """A function with a gradient rule of its own, a copy of which is tapped: where it is and what is around it.

    sink: the number of the sink for the difference between the gradients of the function and of the copy.
    """

    sink: int
    lengths: tuple[int, ...]
    splits: tuple[Split, ...]


class Way(NamedTuple):
    """What is made of values.

    tell(x, told, axes) leaves the program, for each entry of the leading axes of x. What report(told, axes) makes of
    its gradient arrives in the drain, which is sink(lengths of the leading axes, aval of one entry). report is None if
    gradients are not wanted.
    """

    tell: Callable[[Any, int, int], Any]
    report: Callable[[int, int], Report] | None
    sink: Callable[[tuple[int, ...], Any], Any]


@cache
def reported(told: int, axes: int) -> Report:
    """What is made of a gradient; the same function for the same arguments."""
    return partial(numbers, axes=axes, told=told)


REDUCED = Way(
    lambda x, told, axes: numbers(x, axes, told & ALL),
    reported,
    lambda lengths, like: sink(lengths, like.dtype),
)
"""Statistics of a few numbers, made inside the program."""


class Taps(NamedTuple):
    """All slots, their numbers by the value that they are at and by the parts of the program that they are in; the
    functions with a gradient rule of their own that have taps inside; what parts without taps have in common.
    """

    slots: tuple[Slot, ...]
    at: Mapping[Point, list[int]]
    inside: Mapping[Place, list[int]]
    copies: Mapping[Place, Copy]
    shared: Shared
    way: Way = REDUCED

    def sinks(self) -> Any:
        """One for every slot, and one for every copy."""
        found = {i: self.way.sink(slot.leading, slot.point.variable.aval) for i, slot in enumerate(self.slots)}
        for copy in self.copies.values():
            found[copy.sink] = jnp.zeros((*copy.lengths, *(split.devices for split in copy.splits)), jnp.float32)
        return found

    def forward(self) -> "Taps":
        """The same without gradients."""
        return self._replace(way=self.way._replace(report=None))

    def spec_of(self, number: int, place: Place) -> PartitionSpec:
        """How the shard_map at a place splits a sink, and joins what leaves for it."""
        copies = {copy.sink: copy for copy in self.copies.values()}
        splits = (self.slots[number] if number < len(self.slots) else copies[number]).splits
        before = [split.place for split in splits].index(place)
        split = splits[before]
        return PartitionSpec(*[None] * (split.depth + before), split.axes) if split.axes else PartitionSpec()

    def gradients(self, backward: Statistics) -> Statistics:
        """What arrived for the slots, without that of copies whose gradient is not that of their function.

        Slots without a gradient have zeros, as those that no gradient reached.
        """
        found = {i: arrived for i, arrived in backward.items() if i < len(self.slots)}
        for place, copy in self.copies.items():
            axes = tuple(range(len(copy.lengths), backward[copy.sink].ndim))
            near = (backward[copy.sink] <= NEAR).all(axes)
            for i in found.keys() & set(self.inside[place]):
                found[i] = jax.tree.map(lambda x, near=near: jnp.where(expanded(near, x.ndim), x, 0), found[i])
        return found


def expanded(x: Any, ndim: int) -> Any:
    """An array with more axes of one entry at its end."""
    return x.reshape(*x.shape, *[1] * (ndim - x.ndim))


def taps_of(reading: Reading) -> Taps:
    """What is tapped of the sites."""
    slots = []
    for number, site in enumerate(reading.sites):
        for role, point in points_of(site):
            lengths, splits = around(Context(site.scans, site.shards), point.place, point.variable)
            slots.append(Slot(number, role, point, lengths, *shares_of(site, role, point), splits))
    at: dict[Point, list[int]] = {}
    inside: dict[Place, list[int]] = {}
    for i, slot in enumerate(slots):
        at.setdefault(slot.point, []).append(i)
        for depth in range(len(slot.point.place) + 1):
            inside.setdefault(slot.point.place[:depth], []).append(i)
    copies: dict[Place, Copy] = {}
    for place, context in reading.copied.items():
        if place in inside:
            number = len(slots) + len(copies)
            copies[place] = Copy(number, *around(context, place))
            for depth in range(len(place) + 1):
                inside[place[:depth]].append(number)
    return Taps(tuple(slots), at, inside, copies, {})


def around(context: Context, place: Place, variable: Any = None) -> tuple[tuple[int, ...], tuple[Split, ...]]:
    """(lengths of the scans, splits) around a value, or around a part of a program, which is split over all axes."""
    scans = [scan for scan in context.scans if scan.place == place[: len(scan.place)]]
    splits = []
    for shard in context.shards:
        if shard.place == place[: len(shard.place)]:
            every, known = shard.call.axes, variable is not None and shard.call.checked
            axes = shard.call.varying(variable) if known else every
            partial = () if known or variable is None else tuple(set(every) - set(shard.call.varying(variable)))
            depth = sum(len(scan.place) > len(shard.place) for scan in scans)
            splits.append(Split(shard.place, axes, shard.call.devices(axes), depth, partial))
    return tuple(scan.length for scan in scans), tuple(splits)


def points_of(site: Site) -> list[tuple[str, Point]]:
    """What is tapped of a site, by its role. What the loss takes is not tapped again where it is the value itself."""
    found = [(role, point) for role in ROLES if (point := getattr(site, role))]
    taken = [point for _, point in found]
    found += [(role, point) for role in ENDS if (point := getattr(site, role)) and point != site.value]
    return found + [("bounded", point) for point in site.bounded if point not in taken]


def shares_of(site: Site, role: str, point: Point) -> tuple[int, int]:
    """(what is computed of a value beside its moments, the same of its gradient), as a dataset has it."""
    flat = FLAT[site.bounded[point]] if point in site.bounded else MOMENTS
    if role in ("product", "bounded", *ENDS):
        return flat, MOMENTS
    if role == "activation":
        return flat | ZERO | (DEAD | ALIKE if site.kind == "linear" else MOMENTS), MOMENTS
    alone = site.activation is None and site.kind not in ("linear", "conv")
    of_rows = {"probabilities": ENTROPY, "residual": ALIKE, "norm": ALIKE, "embedding": ALIKE}.get(site.kind, MOMENTS)
    return RANGE | (ZERO if alone else MOMENTS) | of_rows, RANGE
