"""What the inputs of a program are, as their use tells where their types do not."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from varprobe.model.compat import Program
from varprobe.model.given import DATA, FROZEN, OTHER, Given
from varprobe.model.reading import ProgramReader
from varprobe.model.rules import RULES
from varprobe.model.sites import Reading
from varprobe.model.tags import Tag

__all__ = ["input_of", "paths_of", "read_as_used"]


def read_as_used(program: Program, leaves: int, given: tuple[Given, ...]) -> tuple[Reading, tuple[Given, ...]]:
    """A program read, and what its inputs behind the parameters are, as their use tells.

    An argument of several arrays that a computed signal is multiplied with holds frozen parameters, unless it enters
    products as it is, or products of a signal are lost by that, or the user named the role of a part of it.
    """
    reading = read(program, [FROZEN] * leaves + [g.role for g in given])
    entered = {given[i - leaves].argument for i in reading.entered if i >= leaves}
    for argument in sorted({given[i - leaves].argument for i in reading.multiplied if i >= leaves} - entered):
        arrays = [g for g in given if g.argument == argument]
        if len(arrays) < 2 or any(g.stated for g in arrays):
            continue
        other = tuple(g._replace(role=FROZEN) if g.argument == argument else g for g in given)
        again = read(program, [FROZEN] * leaves + [g.role for g in other])
        if again.products >= reading.products:
            reading, given = again, other
    return reading, given


def read(program: Program, roles: Sequence[str]) -> Reading:
    """The sites of a program, whose inputs are data, parameters (frozen ones too), or neither."""
    reader = ProgramReader(RULES)
    tags = {
        DATA: lambda i, x: data_tag(i, x.aval),
        FROZEN: lambda i, x: Tag(parameters=frozenset({i}), leaf=i, entries=x.aval.size),
        OTHER: lambda i, x: Tag(),
    }
    inputs = zip(roles, program.jaxpr.invars, strict=True)
    outputs = reader.read(program, (), [tags[role](i, x) for i, (role, x) in enumerate(inputs)])
    reader.finish(outputs[0].behind)
    return reader.found


def data_tag(leaf: int, aval: Any) -> Tag:
    """Of an array of data: numbers may be a statistic that the function is given, whole numbers are indices."""
    inexact = jnp.issubdtype(aval.dtype, jnp.inexact)
    return Tag(signal=True, leaf=leaf, reduced=bool(inexact), index=not inexact, entries=aval.size)


def input_of(reading: Reading, leaves: int, given: tuple[Given, ...], batch: tuple[Any, ...]) -> int:
    """Which of the batch is the input, -1 for none: what enters the first product as it is, else the first array."""
    data = [i for i, g in enumerate(given) if g.role == DATA and jnp.ndim(batch[i])]
    first = reading.entered[0] - leaves if reading.entered else -1
    floats = [i for i in data if jnp.issubdtype(batch[i].dtype, jnp.floating)]
    return first if first in data else next(iter([*floats, *data]), -1)


def paths_of(names: Sequence[str], given: tuple[Given, ...]) -> list[str]:
    """Paths of what is behind the parameters, with the argument before them only where they are not new without."""
    inner = [g.name.partition("/")[2] for g in given]
    taken = {g.argument for g, name in zip(given, inner, strict=True) if not name or name in names}
    return [g.name if g.argument in taken else name for g, name in zip(given, inner, strict=True)]
