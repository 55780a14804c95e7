"""Read a matrix product or convolution: a site of a kernel, or of two signals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from varprobe.model import fans, sharing
from varprobe.model.operations import SPARSE
from varprobe.model.reader import Reader
from varprobe.model.tags import Place, Tag, plain

__all__ = ["product"]


def product(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Of a parameter with a signal, of two signals, or of a signal with what the program holds."""
    operands = (0, SPARSE.get(equation.primitive.name, 1))
    signals = [tags[i] for i in operands if tags[i].signal]
    if not signals:
        return plain(tags)
    if not jnp.issubdtype(equation.outvars[0].aval.dtype, jnp.inexact):
        reader.found.opaque.append(reader.located("whole numbers"))
        return plain(tags)
    reader.found.products += 1
    if len(signals) == 2:
        given = [tag.leaf for tag in signals if tag.leaf >= 0]
        reader.found.multiplied |= set(given) if len(given) == 1 else set()
        reader.found.mixed.append((tags[0].behind, tags[1].behind))
        return replace(reader.new("mixing", equation, place, plain(tags)), reduced=True)
    reader.found.entered.append(signals[0].leaf)
    (side,) = (i for i in operands if not tags[i].signal)
    reader.found.factors.append((tags[side].leaf, signals[0].behind, len(reader.found.sites)))
    if tags[side].leaf < 0:
        reader.found.functions += [(leaf, len(reader.found.sites)) for leaf in tags[side].parameters]
    kind = "conv" if equation.primitive.name.startswith("conv") else "linear"
    found = reader.new(kind, equation, place, plain(tags), tags[side])
    site = reader.found.sites[-1]
    site.fan_in, site.rows = fans.fan_in_of(equation, side), fans.rows_of(equation, side)
    site.fan_out = equation.outvars[0].aval.size // max(site.rows, 1)
    site.terms = fans.terms_of(equation, side)
    if reader.shards:
        sharing.count_all(reader, site, equation.invars, side, sum(operands) - side)
    if site.kernel >= 0:
        use = (tags[side].moved, *fans.summed_axes(equation, side))
        first = reader.uses.setdefault(site.kernel, use)
        site.turned = use != first
    return found
