"""What is known while a program is read, and what rules note of its values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp

from varprobe.model import compat
from varprobe.model.compat import Program
from varprobe.model.sites import Reading, Scan, Shard, Site
from varprobe.model.tags import Known, Place, Point, Tag, plain

__all__ = ["Reader", "Rule"]

Rule = Callable[["Reader", Any, Place, list[Tag]], Tag]
"""(reader, equation, place, tags of its inputs) -> the tag of its output."""


class Reader(ABC):
    """What has been come upon (`found`) on the walk through a program; `rules` are of primitives by name."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules
        self.found = Reading()
        self.same: dict[Point, Point] = {}
        self.scaled: dict[Point, Point] = {}
        self.shifts: dict[Point, Point] = {}
        self.losses: set[Point] = set()
        self.powers: dict[Point, tuple[Point, bool]] = {}
        self.users: Counter[Any] = Counter()
        self.uses: dict[int, tuple[Any, ...]] = {}
        self.summands: dict[Point, int] = {}
        self.taken: dict[Point, Point] = {}
        self.operands: dict[Point, Point] = {}
        self.softened: dict[int, Point] = {}
        self.scans: tuple[Scan, ...] = ()
        self.shards: tuple[Shard, ...] = ()
        self.path: list[Any] = []
        self.last = self.ruled = False
        self.now: Place = ()

    @abstractmethod
    def trial(self) -> Reader:
        """A reader that knows the same and changes nothing of it."""

    @abstractmethod
    def read(self, program: Program, place: Place, tags: Sequence[Tag]) -> list[Tag]:
        """The tags of a program's outputs, from those of its inputs."""

    def bind(self, program: Program, inside: Place, equation: Any, place: Place) -> None:
        """Note which variables of a call are the same values as those around it."""
        self.bind_inputs(program, inside, equation.invars, place)
        for inner, outer in zip(program.jaxpr.outvars, equation.outvars, strict=True):
            if not compat.is_literal(inner):
                self.same[Point(place, outer)] = Point(inside, inner)

    def bind_inputs(self, program: Program, inside: Place, atoms: Sequence[Any], place: Place) -> None:
        """Note which inputs of a program are the same values as those around it."""
        for inner, outer in zip(program.jaxpr.invars, atoms, strict=True):
            if not compat.is_literal(outer):
                self.same[Point(inside, inner)] = Point(place, outer)

    def located(self, name: str) -> str:
        """The name of an equation that is being read, with the line of the user's code and its function."""
        return compat.located(name, self.path)

    def origin(self, point: Point) -> Point:
        """Where a value was computed."""
        while point in self.same:
            point = self.same[point]
        return point

    def softmax(self, equation: Any, place: Place, tags: list[Tag]) -> Tag:
        """Probabilities; what they are made of are logits."""
        latest = max(tag.latest for tag in tags)
        if latest >= 0 and self.found.sites[latest].kind == "mixing":
            self.found.sites[latest].kind = "logits"
        found = self.new("probabilities", equation, place, plain(tags))
        if tags[0].exponential:
            self.softened[found.latest] = tags[0].exponential
        return found

    def note_logits(self, site: int, classes: int, function: Point, normalizer: Point | None = None) -> None:
        """The logits that the loss makes of a site, and their number of classes.

        function: what the exponential or the logistic function gives; logits are what it takes, without the constant
        that is subtracted from all of them, such as the largest. normalizer: the log of the sum of exponentials.
        """
        found = self.found.sites[site]
        self.found.logits.append((site, classes))
        point = self.operands.get(function)
        while point is not None and (at := self.origin(point)) in self.shifts:
            point = self.shifts[at]
        if point is not None and found.logits is None and self.in_reach(found):
            found.logits, found.normalizer = point, normalizer

    def note_target(self, site: int, output: Point, target: Point) -> None:
        """What the loss makes of the value of a site, and what it subtracts from that."""
        found = self.found.sites[site]
        if self.in_reach(found):
            found.output, found.target = output, target

    def in_reach(self, site: Site) -> bool:
        """Whether what is computed now has one value for each that a site has, or one for all."""
        return self.scans == site.scans[: len(self.scans)] and self.shards == site.shards

    def new(self, kind: str, equation: Any, place: Place, like: Tag, fed: Tag | None = None, number: int = 0) -> Tag:
        """A site at what an equation gives, and the tag of that; `fed` is of the parameter that a product is fed by."""
        variable = equation.outvars[number]
        if not jnp.issubdtype(variable.aval.dtype, jnp.inexact):
            return like
        scope, source = compat.name_stack(equation), compat.source_of(equation)
        own = fed.parameters if fed else frozenset()
        near = own or like.parameters
        site = Site(kind, Point(place, variable), self.now, self.scans, own, near, scope, source)
        site.behind, site.shards, site.last = like.behind, self.shards, self.last
        if fed and own:
            site.kernel, site.slices, site.frozen = fed.leaf, fed.slices, fed.frozen
        self.found.sites.append(site)
        number = len(self.found.sites) - 1
        known = Known(number, True)
        return Tag(True, near, number, known, behind=frozenset({number}), entries=variable.aval.size)

    def movable(self, equation: Any, tags: Sequence[Tag], atoms: Sequence[Any] | None = None) -> bool:
        """Whether its signal is the value of a site, and nothing else uses it; `atoms` are the inputs to look at."""
        signals = [(a, t) for a, t in zip(atoms or equation.invars, tags, strict=True) if t.signal]
        size = (atoms or equation.outvars)[0].aval.size
        return all(
            t.of and t.of.linear and t.of.whole and t.of.own and self.users[a] <= 1 and self.size_of(t.of.site) == size
            for a, t in signals
        )

    def size_of(self, site: int) -> int:
        """How many entries the value of a site has."""
        return int(self.found.sites[site].value.variable.aval.size)

    def shifted(self, tags: list[Tag]) -> Tag:
        """A linear function of a site's value, with parameters, beside others that use it."""
        found = self.elementwise(tags)
        linear = all(tag.of.linear for tag in tags if tag.of)
        return replace(found, of=replace(found.of, linear=linear, own=False)) if found.of else found

    def moved(self, equation: Any, place: Place, site: int, tag: Tag, more: frozenset[int], number: int = 0) -> Tag:
        """The site's value is what this equation gives."""
        found = self.found.sites[site]
        found.product = found.product or found.value
        found.value = Point(place, equation.outvars[number])
        found.parameters |= more
        return replace(tag, of=Known(site, True))

    def elementwise(self, tags: list[Tag]) -> Tag:
        """Follows from a site if all its signals do."""
        signals = [tag for tag in tags if tag.signal and not tag.index]
        sites = {tag.of.site if tag.of else None for tag in signals}
        (site,) = sites if len(sites) == 1 else (None,)
        known = [tag.of for tag in signals if tag.of]
        of = None if site is None else Known(site, False, all(k.whole for k in known), all(k.mask for k in known))
        found = replace(plain(tags), of=of, root=next((tag.root for tag in tags if tag.root), ""))
        return replace(found, gated=any(tag.gated for tag in signals))

    def leave(self, place: Place, atom: Any, tag: Tag, reduced: bool = False) -> None:
        """A value that follows from a site is used elsewhere; where powers or multiples are summed, what is inside."""
        if tag.of and tag.of.whole and not tag.of.mask and not compat.is_literal(atom):
            point, linear = Point(place, atom), tag.of.linear
            while reduced and ((at := self.origin(point)) in self.powers or at in self.scaled):
                point, linear = self.powers[at] if at in self.powers else (self.scaled[at], linear)
            self.found.sites[tag.of.site].exits[self.origin(point)] = linear
