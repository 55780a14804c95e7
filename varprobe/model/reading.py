"""Read a traced program: find the sites whose statistics are wanted, before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from varprobe.model import blanks, compat, entering, nested, sharing
from varprobe.model.compat import Program
from varprobe.model.operations import (
    BOUNDED,
    CALLS,
    ELEMENTWISE,
    FLAT,
    LOGS,
    MOVING,
    OF_JAX,
    PRODUCTS,
    RESHAPING,
    SCALING,
    SHARING,
    SUMMING,
    TAKING,
)
from varprobe.model.products import product
from varprobe.model.reader import Reader
from varprobe.model.sites import Site
from varprobe.model.tags import Place, Point, Tag, plain
from varprobe.model.uses import holds, is_power, users_in

__all__ = ["MARK", "ProgramReader"]

MARK = "varprobe:"
"""What the names of `mark` begin with in a program."""


class ProgramReader(Reader):
    """The walk through a program, equation by equation."""

    def trial(self) -> ProgramReader:
        """A reader that knows the same and changes nothing of it."""
        other = ProgramReader(self.rules)
        other.found.sites = [replace(site, exits={}, bounded={}) for site in self.found.sites]
        other.scans, other.uses = self.scans, dict(self.uses)
        other.path = list(self.path)
        other.shards, other.last, other.ruled = self.shards, self.last, self.ruled
        other.found.joints = [replace(joint) for joint in self.found.joints]
        return other

    def read(self, program: Program, place: Place, tags: Sequence[Tag]) -> list[Tag]:
        """The tags of a program's outputs, from those of its inputs."""
        jaxpr = program.jaxpr
        known: dict[Any, Tag] = dict(zip(jaxpr.invars, tags, strict=True))
        consts = zip(jaxpr.constvars, program.consts, strict=True)
        known |= {variable: Tag(blank=blanks.is_blank(value)) for variable, value in consts}
        around, self.users = self.users, users_in(jaxpr)
        for number, equation in enumerate(jaxpr.eqns):
            given = [
                Tag(blank=blanks.is_blank(atom.val)) if compat.is_literal(atom) else known[atom]
                for atom in equation.invars
            ]
            self.now = (*place, number)
            self.path.append(equation)
            leaving = [
                self.cut(equation, variable, masked(variable, tag))
                for variable, tag in zip(equation.outvars, self.step(equation, place, given), strict=True)
            ]
            self.path.pop()
            known |= dict(zip(equation.outvars, leaving, strict=True))
            self.note_endings(equation, place, given)
            self.note_exits(equation, place, given, leaving)
        self.users = around
        return [Tag() if compat.is_literal(atom) else known[atom] for atom in jaxpr.outvars]

    def step(self, equation: Any, place: Place, tags: list[Tag]) -> list[Tag]:
        """The tags of an equation's outputs."""
        inside = self.now
        if inner := nested.inner_of(equation):
            self.bind(inner.program, inside, equation, place)
            return self.read(inner.program, inside, tags)
        if loop := nested.loop_of(equation):
            return entering.read_loop(self, loop, inside, tags)
        if branches := nested.branches_of(equation):
            return entering.read_branches(self, branches, inside, tags[1:])
        if repeated := nested.while_of(equation):
            return entering.read_while(self, repeated, equation, inside, tags)
        if shards := nested.shards_of(equation):
            return entering.read_shards(self, shards, inside, tags)
        name = equation.primitive.name
        if blanks.is_zero(equation, tags):
            return [Tag(blank=True)] * len(equation.outvars)
        if (kept := blanks.addend(equation, tags)) is not None:
            self.same[Point(place, equation.outvars[0])] = Point(place, equation.invars[kept])
            return [tags[kept]]
        if name in PRODUCTS:
            return [product(self, equation, place, tags)]
        if name == "gather" and tags[0].parameters and not tags[0].signal and tags[1].signal:
            if equation.invars[0].aval.ndim > 2:  # a matrix for each index, as of experts
                return [replace(tags[0], moved=True, slices=None)]
            self.found.factors.append((tags[0].leaf, frozenset(), len(self.found.sites)))
            return [self.new("embedding", equation, place, plain(tags), tags[0])]
        if name in CALLS or any(True for _ in compat.others_in(equation)):
            return entering.read_closed(self, equation, place, tags)
        if name == "name" and (given := marked_name(equation.params["name"])) is not None:
            tag = self.new("mark", equation, place, tags[0])
            if tag.latest >= 0 and self.found.sites[tag.latest].kind == "mark":
                self.found.sites[tag.latest].scope = given
            return [replace(tags[0], behind=tags[0].behind | tag.behind)]
        if name in SHARING:
            return [replace(tag.outside(), moved=True) for tag in tags]
        if name in SUMMING:
            return [sharing.summed(self, equation, place, i, tag) for i, tag in enumerate(tags)]
        if name in RESHAPING:
            self.bind_reshaped(equation, place)
            moved, frozen = name in MOVING, name == "stop_gradient"
            return [
                replace(tag, moved=tag.moved or moved, frozen=tag.frozen or frozen)
                for tag in tags[: len(equation.outvars)]
            ]
        if name in TAKING and not any(tag.signal for tag in tags[1:]):
            of = replace(tags[0].of, whole=False) if tags[0].of and tags[0].of.linear else None
            self.taken |= {Point(place, part): Point(place, equation.invars[0]) for part in equation.outvars}
            return [replace(plain(tags), of=of, part=True)] * len(equation.outvars)
        if is_power(equation) and tags[0].of:
            self.powers[Point(place, equation.outvars[0])] = Point(place, equation.invars[0]), tags[0].of.linear
        if rule := self.rules.get(name):
            return [rule(self, equation, place, tags)]
        if name in BOUNDED and tags[0].of and tags[0].of.linear:
            bounded = Point(place, equation.outvars[0])
            self.found.sites[tags[0].of.site].bounded[bounded] = name
            self.operands[bounded] = Point(place, equation.invars[0])
        if name in ELEMENTWISE:
            return [self.elementwise(tags)]
        if name not in OF_JAX:
            return entering.given_by(self, equation, place, [plain(tags)] * len(equation.outvars), tags)
        found = plain(tags)
        return [replace(found, entries=v.aval.size, part=found.part or name == "pad") for v in equation.outvars]

    def note_endings(self, equation: Any, place: Place, tags: list[Tag]) -> None:
        """What a loss does to the last value of a network: it scales it, or takes a log or an exponential."""
        name, found = equation.primitive.name, Point(place, equation.outvars[0]) if equation.outvars else None
        signals = [atom for atom, tag in zip(equation.invars, tags, strict=True) if tag.signal]
        if found and name in SCALING and len(signals) == 1:
            self.scaled[found] = Point(place, signals[0])
        if found and equation.params.get("name") == "log_sigmoid" and tags[0].latest >= 0:
            self.operands[found] = Point(place, equation.invars[0])
            self.note_logits(tags[0].latest, 2, found)
        if found and (name in LOGS or equation.params.get("name") in LOGS):
            self.losses.add(self.origin(found))

    def note_exits(self, equation: Any, place: Place, tags: list[Tag], leaving: list[Tag]) -> None:
        """What follows from a site elementwise, and is used by something that does not."""
        if nested.inner_of(equation):
            return
        kept = {tag.of.site for tag in leaving if tag.of}
        for atom, tag in zip(equation.invars, tags, strict=True):
            if tag.of and tag.of.site not in kept:
                self.leave(place, atom, tag, equation.primitive.name == "reduce_sum")

    def finish(self, behind: frozenset[int]) -> None:
        """What is known at the end: the activation of a site is the first nonlinear function of it that is used.

        behind: what the first output of the program follows from.
        """
        self.found.reached = self.found.all_behind(behind, through_cuts=False)
        self.found.flat = self.found.flattened(behind)
        followed = self.found.behind((node for site in self.found.sites for node in site.behind), through_cuts=True)
        for number, site in enumerate(self.found.sites):
            site.value = self.origin(site.value)
            site.bounded = {self.origin(point): name for point, name in site.bounded.items()}
            site.product = self.origin(site.product) if site.product else None
            site.logits = self.origin(site.logits) if site.logits else None
            site.normalizer = self.origin(site.normalizer) if site.normalizer else None
            site.output = self.origin(site.output) if site.output else None
            if site.logits and (self.is_logistic(site, site.logits) or self.is_value(site, site.logits)):
                self.found.squashed.add(number)
            site.target = self.origin(site.target) if site.target else None
            nonlinear = [point for point, linear in site.exits.items() if not linear]
            if number not in followed:
                nonlinear = [point for point in nonlinear if not {*self.losses, site.value} & {*self.undone(point)}]
            if nonlinear and site.kind in ("linear", "conv", "sum", "norm"):
                site.activation = nonlinear[0]

    def bind_reshaped(self, equation: Any, place: Place) -> None:
        """Note that reshaped values are those that were given, unless they are rounded."""
        if equation.primitive.name == "reduce_precision":
            return
        for given, found in zip(equation.invars, equation.outvars, strict=False):
            if not compat.is_literal(given) and holds(found.aval.dtype, given.aval.dtype):
                self.same[Point(place, found)] = Point(place, given)

    def cut(self, equation: Any, variable: Any, tag: Tag) -> Tag:
        """The tag of a value, behind a joint where no gradient goes through."""
        name, whole = equation.primitive.name, not jnp.issubdtype(variable.aval.dtype, jnp.inexact)
        flat = name if name in FLAT or (whole and name != "stop_gradient") else ""
        if not flat and name != "stop_gradient":
            return tag
        joints = [self.found.joint(node) for node in tag.behind if node < 0]
        if len(joints) == len(tag.behind) and all(joint.cut and (flat or not joint.flat) for joint in joints):
            return tag
        return replace(tag, behind=frozenset({self.found.join(tag.behind, True, flat)}))

    def is_value(self, site: Site, point: Point) -> bool:
        """Whether a value is the probabilities that a site is."""
        return site.kind == "probabilities" and point == site.value

    def is_logistic(self, site: Site, point: Point) -> bool:
        """Whether a value is what a logistic function gives of a site, or a part of that."""
        while point in self.taken:
            point = self.origin(self.taken[point])
        return site.bounded.get(point) == "logistic"

    def undone(self, point: Point) -> Iterator[Point]:
        """A value, and what it was before it was multiplied by numbers, numbers were added, or powers were taken."""
        while True:
            yield (point := self.origin(point))
            if point in self.scaled:
                point = self.scaled[point]
            elif point in self.powers:
                point, _ = self.powers[point]
            else:
                return


def masked(variable: Any, tag: Tag) -> Tag:
    """The tag of a value that an equation gives: what is of no floats is a mask."""
    if tag.of is None or jnp.issubdtype(variable.aval.dtype, jnp.inexact):
        return tag
    return replace(tag, of=replace(tag.of, linear=False, mask=True))


def marked_name(text: str) -> str | None:
    """The name that `mark` was given."""
    return text.removeprefix(MARK) if text.startswith(MARK) else None
