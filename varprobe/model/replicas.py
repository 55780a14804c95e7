"""Along which axes of a mesh each value of a shard_map differs between devices, where JAX does not check that."""

from collections.abc import Mapping, Sequence
from typing import Any

from varprobe.model import compat, nested
from varprobe.model.compat import Program
from varprobe.model.operations import SHARING, SUMMING

__all__ = ["differing"]

Axes = frozenset[str]


def differing(call: nested.Shards) -> Mapping[Any, Axes]:
    """The axes of each variable of a shard_map and of the programs in it; a variable of several calls has those of all.

    A sum or a gathering over an axis gives all devices on it the same, and their number on it gives each another.
    """
    found: dict[Any, Axes] = {}
    walk(call.program, [frozenset(named(spec)) & frozenset(call.axes) for spec in call.in_specs], found)
    return found


def named(spec: Any) -> list[str]:
    """The axes in a partition spec."""
    return [axis for entry in spec if entry is not None for axis in (entry if isinstance(entry, tuple) else (entry,))]


def walk(program: Program, inputs: Sequence[Axes], found: dict[Any, Axes]) -> list[Axes]:
    """The axes of a program's outputs, from those of its inputs; all variables go to `found`."""
    here = dict(zip(program.jaxpr.invars, inputs, strict=True))
    for equation in program.jaxpr.eqns:
        given = [frozenset() if compat.is_literal(atom) else here.get(atom, frozenset()) for atom in equation.invars]
        here |= dict(zip(equation.outvars, leaving(equation, given, found), strict=True))
    for variable, axes in here.items():
        found[variable] = found.get(variable, frozenset()) | axes
    return [frozenset() if compat.is_literal(atom) else here.get(atom, frozenset()) for atom in program.jaxpr.outvars]


def leaving(equation: Any, given: list[Axes], found: dict[Any, Axes]) -> list[Axes]:
    """The axes of what an equation gives."""
    name, every = equation.primitive.name, frozenset[str]().union(*given)
    if inner := nested.inner_of(equation):
        return walk(inner.program, given, found)
    if loop := nested.loop_of(equation):
        return repeated(loop.body, given, slice(loop.constants, loop.constants + loop.carried), found)
    if again := nested.while_of(equation):
        return repeated(again.body, given[again.of_condition :], slice(again.of_body, None), found)
    if branches := nested.branches_of(equation):
        several = [walk(program, given[1:], found) for program in branches.programs]
        return [given[0].union(*axes) for axes in zip(*several, strict=True)]
    if ruled := nested.ruled_of(equation):
        return [axes | every for axes in walk(ruled.program, [given[i] for i in ruled.inputs], found)]
    own = axes_in(equation.params)
    if name in SUMMING:
        return [axes - own for axes in given]
    if name.startswith("all_gather"):
        return [every - own] * len(equation.outvars)
    if name == "axis_index" or name in SHARING:
        return [every | own] * len(equation.outvars)
    return [every] * len(equation.outvars)


def repeated(body: Program, given: list[Axes], carry: slice, found: dict[Any, Axes]) -> list[Axes]:
    """The axes of what a loop gives: those of its carry may become more from step to step."""
    while True:
        outputs = walk(body, given, found)
        merged = [a | b for a, b in zip(given[carry], outputs, strict=False)]
        if merged == given[carry]:
            return outputs
        given = [*given[: carry.start], *merged, *given[carry.start + len(merged) :]]


def axes_in(params: Mapping[str, Any]) -> Axes:
    """The axes of a mesh that an equation names."""
    axes = params.get("axes", params.get("axis_name", ()))
    return frozenset(axis for axis in (axes if isinstance(axes, tuple) else (axes,)) if isinstance(axis, str))
