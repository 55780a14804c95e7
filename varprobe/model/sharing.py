"""What the shards of devices have in common: sums over devices, and the sizes of products that are split over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from varprobe.model import compat
from varprobe.model.sites import Site
from varprobe.model.tags import Place, Point, Tag, plain

if TYPE_CHECKING:
    from varprobe.model.reading import Reader

__all__ = ["count_all", "summed"]


def summed(reader: Reader, equation: Any, place: Place, number: int, tag: Tag) -> Tag:
    """One of the values that a psum adds up: a product whose inputs are split over devices, or a statistic."""
    atom = equation.invars[number]
    linear = tag.of and reader.found.sites[tag.of.site].kind in ("linear", "conv")
    if tag.of and linear and equation.primitive.name.startswith("psum") and reader.movable(equation, [tag], [atom]):
        site = reader.found.sites[tag.of.site]
        devices = over(reader, site.split, equation.params["axes"])
        site.fan_in, site.terms = site.fan_in * devices, site.terms * devices
        return reader.moved(equation, place, tag.of.site, tag, frozenset(), number)
    return replace(plain([tag]), reduced=True, entries=atom.aval.size, part=False)


def count_all(reader: Reader, site: Site, place: Place, atoms: Sequence[Any], side: int, other: int) -> None:
    """Count the rows and units of a product on all devices, not on one.

    Rows are split if only the signal is, and units if only the kernel is. Otherwise the inputs of each unit are split.
    """
    weights, signal = (varying(reader, place, atoms[i]) for i in (side, other))
    site.split = tuple(sorted(weights & signal))
    site.rows *= over(reader, signal - weights, signal)
    site.fan_out *= over(reader, weights - signal, weights)


def varying(reader: Reader, place: Place, atom: Any) -> frozenset[str]:
    """The axes of the mesh along which a value differs as it was computed; none if that is not known."""
    call = reader.shards[-1].call
    if compat.is_literal(atom) or not call.checked:
        return frozenset()
    return frozenset(call.varying(reader.origin(Point(place, atom)).variable))


def over(reader: Reader, axes: Sequence[str] | frozenset[str], among: Any) -> int:
    """The number of devices along the axes that are among others."""
    return reader.shards[-1].call.devices([axis for axis in axes if axis in among]) if reader.shards else 1
