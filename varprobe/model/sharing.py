"""What the shards of devices have in common: sums over devices, and the sizes of products that are split over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from varprobe.model import compat
from varprobe.model.reader import Reader
from varprobe.model.sites import Site
from varprobe.model.tags import Place, Tag, plain

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


def count_all(reader: Reader, site: Site, atoms: Sequence[Any], side: int, other: int) -> None:
    """Count the rows and units of a product on all devices, not on one.

    Rows are split if only the signal is, and units if only the kernel is. Otherwise the inputs of each unit are split.
    """
    found = reader.shards[-1].call.differing
    known = (None if compat.is_literal(atoms[i]) else atoms[i] for i in (side, other))
    weights, signal = (found.get(variable, frozenset[str]()) for variable in known)
    site.split = tuple(sorted(weights & signal))
    site.rows *= over(reader, signal - weights, signal)
    site.fan_out *= over(reader, weights - signal, weights)


def over(reader: Reader, axes: Sequence[str] | frozenset[str], among: Any) -> int:
    """The number of devices along the axes that are among others."""
    return reader.shards[-1].call.devices([axis for axis in axes if axis in among]) if reader.shards else 1
