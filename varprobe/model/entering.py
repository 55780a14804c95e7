"""Read the programs within an equation: loops, branches, shards, and functions with a gradient rule of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from varprobe.model import compat, nested
from varprobe.model.compat import Program
from varprobe.model.reader import Reader
from varprobe.model.replicas import differing
from varprobe.model.sites import Context, Scan, Shard
from varprobe.model.tags import Place, Point, Tag, plain

__all__ = ["read_branches", "read_closed", "read_loop", "read_shards", "read_while"]

PRODUCTS = ("linear", "conv", "mixing", "logits", "embedding")
"""Kinds of sites for which a function with a gradient rule of its own is entered."""


def read_loop(reader: Reader, loop: nested.Loop, inside: Place, tags: list[Tag]) -> list[Tag]:
    """A scan."""
    first = loop.constants + loop.carried
    entering = [tag.outside() for tag in tags[:first]] + [tag.sliced(inside) for tag in tags[first:]]
    around, reader.scans = reader.scans, (*reader.scans, Scan(inside, loop.length, loop.reverse))
    leaving = repeated(reader, loop.body, inside, entering, slice(loop.constants, first))
    reader.scans = around
    return [replace(tag.outside(), leaf=-1) for tag in leaving]


def read_while(reader: Reader, loop: nested.While, equation: Any, inside: Place, tags: list[Tag]) -> list[Tag]:
    """A while loop: sites in its body have the values of the last iteration, and no gradient goes through it.

    A rule may give it a gradient if it is in a function that has one.
    """
    if not any(tag.signal for tag in tags):
        return [plain(tags)] * len(equation.outvars)
    products = compat.count_products(loop.condition)
    reader.found.opaque += [reader.located("the condition of while")] * products
    entering = [tag.outside() for tag in tags[loop.of_condition :]]
    around, reader.last = reader.last, True
    leaving = repeated(reader, loop.body, inside, entering, slice(loop.of_body, None))
    reader.last = around
    found = [replace(tag.outside(), leaf=-1) for tag in leaving]
    if reader.ruled:
        return found
    return [replace(tag, behind=frozenset({reader.found.join(tag.behind, cut=True)})) for tag in found]


def repeated(reader: Reader, body: Program, inside: Place, entering: list[Tag], carry: slice) -> list[Tag]:
    """The tags that leave a loop: what its carry is made of is known once that no longer changes."""
    entering[carry] = [replace(tag, leaf=-1, blank=False) for tag in entering[carry]]
    carried = len(entering[carry])
    outside = entering[carry]
    while True:
        leaving = reader.trial().read(body, inside, entering)
        pairs = zip(entering[carry], leaving[:carried], strict=True)
        merged = [replace(a.merged(b), latest=a.latest, behind=a.behind) for a, b in pairs]
        if [m.signal for m in merged] == [a.signal for a in entering[carry]]:
            break
        entering[carry] = merged
    joints = [reader.found.join(tag.behind) for tag in outside]
    entering[carry] = [replace(t, behind=frozenset({j})) for t, j in zip(entering[carry], joints, strict=True)]
    leaving = reader.read(body, inside, entering)
    for joint, tag in zip(joints, leaving, strict=False):
        reader.found.joint(joint).behind |= tag.behind
    for atom, tag in zip(body.jaxpr.outvars, leaving, strict=True):
        reader.leave(inside, atom, tag)
    return leaving


def read_branches(reader: Reader, branches: nested.Branches, inside: Place, tags: list[Tag]) -> list[Tag]:
    """A cond: what comes out may come from any branch."""
    found: list[Tag] = []
    for number, program in enumerate(branches.programs):
        here = (*inside, number)
        leaving = reader.read(program, here, [tag.outside() for tag in tags])
        for atom, tag in zip(program.jaxpr.outvars, leaving, strict=True):
            reader.leave(here, atom, tag)
        found = [a.merged(b) for a, b in zip(found, leaving, strict=True)] if found else leaving
    return [tag.outside() for tag in found]


def read_shards(reader: Reader, call: nested.Shards, inside: Place, tags: list[Tag]) -> list[Tag]:
    """A shard_map; entries of a parameter that is split are not known by their number."""
    call = call._replace(differing=differing(call))
    around, reader.shards = reader.shards, (*reader.shards, Shard(inside, call))
    entering = [
        replace(tag.outside(), moved=tag.moved or any(spec)) for tag, spec in zip(tags, call.in_specs, strict=True)
    ]
    leaving = reader.read(call.program, inside, entering)
    for atom, tag in zip(call.program.jaxpr.outvars, leaving, strict=True):
        reader.leave(inside, atom, tag)
    reader.shards = around
    return [tag.outside() for tag in leaving]


def read_closed(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> list[Tag]:
    """A call that has a rule of its own for gradients, or that cannot be entered.

    A copy of a function with a rule of its own is entered if it has products of a signal. What it gives can be a site
    without that. What a call gives that cannot be entered is a site if a parameter feeds it.
    """
    ruled = nested.ruled_of(equation)
    if ruled is None:
        if any(tag.signal for tag in tags):
            products = sum(map(compat.count_products, compat.others_in(equation)))
            reader.found.opaque += [reader.located(equation.primitive.name)] * products
        return given_by(reader, equation, place, [plain(tags)] * len(equation.outvars), tags)
    before, trial = len(reader.found.sites), reader.trial()
    others = plain([tag for i, tag in enumerate(tags) if i not in ruled.inputs]).behind  # the rule may use them
    given = [replace(tags[i], behind=tags[i].behind | others) if tags[i].signal else tags[i] for i in ruled.inputs]
    leaving = trial.read(ruled.program, reader.now, given)
    if not any(site.kind in PRODUCTS for site in trial.found.sites[before:]) and not any(
        is_site(trial, reader.now, *pair) for pair in zip(ruled.program.jaxpr.outvars, leaving, strict=True)
    ):
        found = [known_outside(tag, before, plain(given).behind) for tag in leaving]
        known = any(tag.of or tag.reduced for tag in found)
        return found if known else given_by(reader, equation, place, found, tags)
    return read_ruled(reader, ruled, equation, place, given, tags)


def read_ruled(
    reader: Reader, ruled: nested.Ruled, equation: Any, place: Place, given: list[Tag], tags: list[Tag]
) -> list[Tag]:
    """A function with a gradient rule of its own; a site whose value it gives is outside, where it has a gradient.

    given: of the inputs of the function. tags: of those of the equation.
    """
    inside, atoms = reader.now, ruled.program.jaxpr.outvars
    reader.bind_inputs(ruled.program, inside, [equation.invars[i] for i in ruled.inputs], place)
    around, reader.ruled = reader.ruled, True
    leaving = reader.read(ruled.program, inside, given)
    reader.ruled, reader.now = around, (*inside, len(ruled.program.jaxpr.eqns))
    if ruled.differentiable:
        reader.found.copied[inside] = Context(reader.scans, reader.shards)
    measured = [is_site(reader, inside, *pair) for pair in zip(atoms, leaving, strict=True)]
    for variable, tag, known in zip(equation.outvars, leaving, measured, strict=True):
        if known and tag.of:
            site = reader.found.sites[tag.of.site]
            site.value, site.last = Point(place, variable), reader.last
            site.scope, site.source = compat.name_stack(equation), compat.source_of(equation)
    found = [replace(tag, exponential=None, summed=None) for tag in leaving]
    return found if ruled.differentiable or any(measured) else given_by(reader, equation, place, found, tags)


def is_site(reader: Reader, inside: Place, atom: Any, tag: Tag) -> bool:
    """Whether an output of a program is the value of a site inside it."""
    if tag.of is None or compat.is_literal(atom):
        return False
    value = reader.found.sites[tag.of.site].value
    return value.place[: len(inside)] == inside and reader.origin(Point(inside, atom)) == reader.origin(value)


def given_by(reader: Reader, equation: Any, place: Place, found: list[Tag], tags: Sequence[Tag]) -> list[Tag]:
    """The tags of a call's outputs, the largest used of which is a site if parameters feed the call beside a signal."""
    feeding = [tag for tag in tags if tag.parameters and not tag.signal]
    arrays = [i for i, variable in enumerate(equation.outvars) if is_array_of_floats(variable.aval)]
    if not feeding or not any(tag.signal for tag in tags) or not arrays:
        return found
    number = max(arrays, key=lambda i: (reader.users[equation.outvars[i]] > 0, equation.outvars[i].aval.size))
    like = replace(plain(tags), behind=found[number].behind, latest=found[number].latest)
    fed = feeding[0] if len(feeding) == 1 else plain(feeding)
    found[number] = reader.new("call", equation, place, like, fed, number)
    reader.found.sites[-1].source = reader.located("").removeprefix(" at ").partition(" ")[0]
    return found


def is_array_of_floats(aval: Any) -> bool:
    """Whether a value has several floats or complex numbers."""
    return bool(jnp.issubdtype(aval.dtype, jnp.inexact)) and aval.ndim > 0


def known_outside(tag: Tag, sites: int, behind: frozenset[int]) -> Tag:
    """What a tag from within an opaque call says of sites before it, of which there are so many."""
    of = tag.of if tag.of and tag.of.site < sites else None
    return replace(tag.outside(), latest=min(tag.latest, sites - 1), of=of, behind=behind)
