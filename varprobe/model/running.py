"""Run a program that was read, with its sites tapped."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from varprobe.model import compat
from varprobe.model.compat import Program
from varprobe.model.parts import Shared, parts_of, run_part
from varprobe.model.sites import Reading, Site
from varprobe.model.stats import ALIKE, ALL, DEAD, ENTROPY, FLAT, MOMENTS, RANGE, ZERO, numbers, sink
from varprobe.model.tags import Place, Point
from varprobe.model.tapping import tap

__all__ = ["BACKWARD", "ROLES", "Slot", "Statistics", "Taps", "Way", "run", "taps_of"]

ROLES = ("product", "value", "activation")
BACKWARD = ("value", "activation")
"""Roles whose gradients are wanted too; a product's is that of the value."""

Statistics = dict[int, Any]
"""By the number of the slot: `stats.Numbers` on the device, `stats.Seen` on the host."""


class Slot(NamedTuple):
    """A value that is tapped: of which site, in which role, the lengths of the scans that it is in, and what is
    computed of it and of its gradient (`stats.MOMENTS` and more).
    """

    site: int
    role: str
    point: Point
    lengths: tuple[int, ...]
    told: int
    slopes: int


class Way(NamedTuple):
    """What is made of values: tell(x, told) leaves the program; tap(x, drain, told) is x, and what is made of its
    gradient arrives in the drain, which is sink(lengths of the scans around, aval of x).
    """

    tell: Callable[..., Any]
    tap: Callable[[Any, Any, int], Any]
    sink: Callable[[tuple[int, ...], Any], Any]


REPORTS = {told: partial(numbers, told=told) for told in range(ALL + 1)}

REDUCED = Way(
    lambda x, told: numbers(x, told=told & ALL),
    lambda x, drain, told: tap(x, drain, REPORTS[told]),
    lambda lengths, like: sink(lengths, like.dtype),
)
"""Statistics of a few numbers, made inside the program."""


class Taps(NamedTuple):
    """All slots, their numbers by the value that they are at and by the parts of the program that they are in; what
    parts without taps have in common.
    """

    slots: tuple[Slot, ...]
    at: Mapping[Point, list[int]]
    inside: Mapping[Place, list[int]]
    shared: Shared
    way: Way = REDUCED

    def sinks(self) -> Any:
        """One for every slot."""
        return {i: self.way.sink(slot.lengths, slot.point.variable.aval) for i, slot in enumerate(self.slots)}


def taps_of(reading: Reading) -> Taps:
    """What is tapped of the sites."""
    slots = []
    for number, site in enumerate(reading.sites):
        for role, point in points_of(site):
            lengths = tuple(s.length for s in site.scans if point.place[: len(s.place)] == s.place)
            slots.append(Slot(number, role, point, lengths, *shares_of(site, role, point)))
    at: dict[Point, list[int]] = {}
    inside: dict[Place, list[int]] = {}
    for i, slot in enumerate(slots):
        at.setdefault(slot.point, []).append(i)
        for depth in range(len(slot.point.place) + 1):
            inside.setdefault(slot.point.place[:depth], []).append(i)
    return Taps(tuple(slots), at, inside, {})


def points_of(site: Site) -> list[tuple[str, Point]]:
    """What is tapped of a site, by its role; one value has one role."""
    found = [(role, point) for role in ROLES if (point := getattr(site, role))]
    taken = [point for _, point in found]
    return found + [("bounded", point) for point in site.bounded if point not in taken]


def shares_of(site: Site, role: str, point: Point) -> tuple[int, int]:
    """(what is computed of a value beside its moments, the same of its gradient), as a dataset has it."""
    flat = FLAT[site.bounded[point]] if point in site.bounded else MOMENTS
    if role in ("product", "bounded"):
        return flat, MOMENTS
    if role == "activation":
        return flat | ZERO | (DEAD | ALIKE if site.kind == "linear" else MOMENTS), MOMENTS
    alone = site.activation is None and site.kind not in ("linear", "conv")
    of_rows = {"probabilities": ENTROPY, "residual": ALIKE, "norm": ALIKE, "embedding": ALIKE}.get(site.kind, MOMENTS)
    return RANGE | (ZERO if alone else MOMENTS) | of_rows, RANGE


def run(
    taps: Taps, program: Program, place: Place, arguments: Sequence[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """(outputs, forward statistics by slot) of a program; the gradients' arrive in `sinks`."""
    jaxpr = program.jaxpr
    env: dict[Any, Any] = dict(zip(jaxpr.invars, arguments, strict=True))
    env |= dict(zip(jaxpr.constvars, program.consts, strict=True))
    found: Statistics = {}

    def value(atom: Any) -> Any:
        return atom.val if compat.is_literal(atom) else env[atom]

    def entered(number: int) -> bool:
        return (*place, number) in taps.inside

    def tapped(variable: Any) -> bool:
        return Point(place, variable) in taps.at

    for part in parts_of(jaxpr, entered, tapped):
        if part.entered:
            (equation,) = part.equations
            values = [value(atom) for atom in equation.invars]
            outputs, inner = step(taps, equation, (*place, part.number), values, sinks)
            found |= inner
            env.update(zip(equation.outvars, outputs, strict=True))
        else:
            run_part(taps.shared, jaxpr, part, env)
        for variable in part.outputs:
            for slot in taps.at.get(Point(place, variable), ()):
                output = env[variable]
                found[slot] = taps.way.tell(output, told=taps.slots[slot].told)
                if taps.slots[slot].role in BACKWARD:
                    env[variable] = taps.way.tap(output, sinks[slot], taps.slots[slot].slopes)
    return [value(atom) for atom in jaxpr.outvars], found


def step(
    taps: Taps, equation: Any, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """(outputs, statistics) of an equation with taps inside."""
    mine = {i: sinks[i] for i in taps.inside[inside]}
    if call := compat.inner_of(equation):
        if call.checkpoint is None:
            return run(taps, call.program, inside, values, mine)
        block = jax.checkpoint(lambda values, mine: run(taps, call.program, inside, values, mine), **call.checkpoint)
        return block(values, mine)
    if loop := compat.loop_of(equation):
        return run_loop(taps, loop, inside, values, mine)
    branches = compat.branches_of(equation)
    assert branches, equation.primitive.name
    return run_branches(taps, branches, inside, values, mine)


def run_loop(
    taps: Taps, loop: compat.Loop, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A scan, whose sinks go in and whose statistics come out step by step."""
    constants, rest = values[: loop.constants], values[loop.constants :]

    def body(carry: list[Any], xs: tuple[list[Any], Statistics]) -> tuple[list[Any], tuple[list[Any], Statistics]]:
        outputs, found = run(taps, loop.body, inside, [*constants, *carry, *xs[0]], xs[1])
        return outputs[: loop.carried], (outputs[loop.carried :], found)

    carry, (stacked, found) = lax.scan(
        body,
        rest[: loop.carried],
        (rest[loop.carried :], sinks),
        length=loop.length,
        reverse=loop.reverse,
        unroll=loop.unroll,
    )
    return [*carry, *stacked], found


def run_branches(
    taps: Taps, branches: compat.Branches, inside: Place, values: list[Any], sinks: Statistics
) -> tuple[list[Any], Statistics]:
    """A cond; the statistics of branches that are not taken are zero, their counts too."""
    index, *operands = values

    def branch(number: int, program: Program) -> Any:
        def taken(operands: list[Any], sinks: Statistics) -> tuple[list[Any], Statistics]:
            outputs, found = run(taps, program, (*inside, number), operands, sinks)
            return outputs, jax.tree.map(jnp.zeros_like, sinks) | found

        return taken

    taken = [branch(number, program) for number, program in enumerate(branches.programs)]
    return lax.switch(index, taken, operands, sinks)
