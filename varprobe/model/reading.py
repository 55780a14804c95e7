"""Read a traced program: find the sites whose statistics are wanted, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax.numpy as jnp

from varprobe.model import compat
from varprobe.model.compat import Program
from varprobe.model.given import DATA, FROZEN, OTHER
from varprobe.model.operations import ELEMENTWISE, MOVING, PRODUCTS, RESHAPING, TAKING
from varprobe.model.tags import Known, Place, Point, Tag

__all__ = ["MARK", "Reading", "Site", "read"]

MARK = "varprobe:"
"""What the names of `mark` begin with in a program."""

ROOT, INVERSE = "root", "inverse root"
"""What a norm divides by, and multiplies with."""


class Scan(NamedTuple):
    """A scan around a site: the place of its body, how many iterations it has, and whether the last comes first."""

    place: Place
    length: int
    reverse: bool


@dataclass
class Site:
    """A place in a program that is probed.

    kind: linear, conv, embedding, mixing (a product of two signals), logits, probabilities, norm, sum (of products),
    residual or mark. value: what is recorded, a preactivation after its bias. product: the same before it. activation:
    what a nonlinear function makes of the value. at: the equation, as a place. scans: those that it is in. parameters:
    leaves that belong to it; near: those of the latest product before. after: number of the latest site behind it, -1
    without. kernel: the leaf that a product is fed by, -1 where it is made of several; slices: the scans whose
    iterations took one entry each of its leading axes, None where that is not known. fan_in: inputs of a unit. scope
    and source: the named scopes, and the line of code.
    """

    kind: str
    value: Point
    at: Place
    scans: tuple[Scan, ...]
    parameters: frozenset[int]
    near: frozenset[int]
    scope: str
    source: str
    kernel: int = -1
    slices: tuple[Place, ...] | None = None
    fan_in: int = 0
    after: int = -1
    product: Point | None = None
    activation: Point | None = None
    exits: dict[Point, bool] = field(default_factory=dict)


@dataclass
class Reading:
    """Sites in the order of the program; matrix products of a signal that are probed; what the others are in.

    entered: the inputs of the program that parameters are multiplied with, as they are; -1 for a computed signal, in
    the order of the products. multiplied: inputs, other than parameters, that computed signals are multiplied with.
    """

    sites: list[Site] = field(default_factory=list)
    products: int = 0
    opaque: list[str] = field(default_factory=list)
    entered: list[int] = field(default_factory=list)
    multiplied: set[int] = field(default_factory=set)


def read(program: Program, roles: Sequence[str]) -> Reading:
    """The sites of a program, whose inputs are data, parameters (frozen ones too), or neither."""
    reader = Reader()
    tags = {
        DATA: lambda i, x: data_tag(i, jnp.issubdtype(x.aval.dtype, jnp.inexact)),
        FROZEN: lambda i, x: Tag(parameters=frozenset({i}), leaf=i),
        OTHER: lambda i, x: Tag(),
    }
    inputs = zip(roles, program.jaxpr.invars, strict=True)
    reader.read(program, (), [tags[role](i, x) for i, (role, x) in enumerate(inputs)])
    reader.finish()
    return reader.found


def data_tag(leaf: int, inexact: bool) -> Tag:
    """Of an array of data: numbers may be a statistic that the function is given, whole numbers are indices."""
    return Tag(signal=True, leaf=leaf, reduced=inexact, index=not inexact)


class Reader:
    """The walk through a program; `found` is what it has come upon."""

    def __init__(self) -> None:
        self.found = Reading()
        self.same: dict[Point, Point] = {}
        self.squares: set[Point] = set()
        self.scans: tuple[Scan, ...] = ()
        self.now: Place = ()

    def trial(self) -> Reader:
        """A reader that knows the same and changes nothing of it."""
        other = Reader()
        other.found.sites = [replace(site, exits={}) for site in self.found.sites]
        other.scans = self.scans
        return other

    def read(self, program: Program, place: Place, tags: Sequence[Tag]) -> list[Tag]:
        """The tags of a program's outputs, from those of its inputs."""
        jaxpr = program.jaxpr
        known: dict[Any, Tag] = dict(zip(jaxpr.invars, tags, strict=True))
        known |= dict.fromkeys(jaxpr.constvars, Tag())
        for number, equation in enumerate(jaxpr.eqns):
            entering = [Tag() if compat.is_literal(atom) else known[atom] for atom in equation.invars]
            self.now = (*place, number)
            leaving = self.step(equation, place, entering)
            known |= dict(zip(equation.outvars, leaving, strict=True))
            self.note_exits(equation, place, entering, leaving)
        return [Tag() if compat.is_literal(atom) else known[atom] for atom in jaxpr.outvars]

    def step(self, equation: Any, place: Place, tags: list[Tag]) -> list[Tag]:
        """The tags of an equation's outputs."""
        inside = self.now
        if inner := compat.inner_of(equation):
            self.bind(inner.program, inside, equation, place)
            return self.read(inner.program, inside, tags)
        if loop := compat.loop_of(equation):
            return self.read_loop(loop, inside, tags)
        if branches := compat.branches_of(equation):
            return self.read_branches(branches, inside, tags[1:])
        name = equation.primitive.name
        if name in PRODUCTS:
            return [self.product(equation, place, tags)]
        if name == "gather" and tags[0].parameters and not tags[0].signal and tags[1].signal:
            return [self.new("embedding", equation, place, plain(tags), tags[0])]
        if any(True for _ in compat.others_in(equation)):
            return self.closed(equation, place, tags)
        if name == "name" and (given := marked_name(equation.params["name"])) is not None:
            tag = self.new("mark", equation, place, tags[0])
            if tag.latest >= 0 and self.found.sites[tag.latest].kind == "mark":
                self.found.sites[tag.latest].scope = given
            return [tags[0]]
        if name in RESHAPING:
            return [replace(tags[0], moved=tags[0].moved or name in MOVING)] * len(equation.outvars)
        if name in TAKING and not any(tag.signal for tag in tags[1:]):
            found = plain(tags)
            of = replace(tags[0].of, whole=False) if tags[0].of and tags[0].of.linear else None
            return [replace(found, of=of)] * len(equation.outvars)
        if is_square(equation) and tags[0].of and tags[0].of.linear:
            self.squares.add(Point(place, equation.outvars[0]))
        if rule := RULES.get(name):
            return [rule(self, equation, place, tags)]
        if name in ELEMENTWISE:
            return [self.elementwise(tags)]
        return [plain(tags)] * len(equation.outvars)

    def bind(self, program: Program, inside: Place, equation: Any, place: Place) -> None:
        """Note which variables of a call are the same values as those around it."""
        for inner, outer in zip(program.jaxpr.invars, equation.invars, strict=True):
            if not compat.is_literal(outer):
                self.same[Point(inside, inner)] = Point(place, outer)
        for inner, outer in zip(program.jaxpr.outvars, equation.outvars, strict=True):
            if not compat.is_literal(inner):
                self.same[Point(place, outer)] = Point(inside, inner)

    def origin(self, point: Point) -> Point:
        """Where a value was computed."""
        while point in self.same:
            point = self.same[point]
        return point

    def read_loop(self, loop: compat.Loop, inside: Place, tags: list[Tag]) -> list[Tag]:
        """A scan: what its carry is made of is known once that no longer changes."""
        first = loop.constants + loop.carried
        entering = [tag.outside() for tag in tags[:first]] + [tag.sliced(inside) for tag in tags[first:]]
        carry, outside = slice(loop.constants, first), self.scans
        entering[carry] = [replace(tag, leaf=-1) for tag in entering[carry]]
        while True:
            leaving = self.trial().read(loop.body, inside, entering)
            merged = [a.merged(b) for a, b in zip(entering[carry], leaving[: loop.carried], strict=True)]
            merged = [replace(m, latest=a.latest) for m, a in zip(merged, entering[carry], strict=True)]
            if [m.signal for m in merged] == [a.signal for a in entering[carry]]:
                break
            entering[carry] = merged
        self.scans = (*outside, Scan(inside, loop.length, loop.reverse))
        leaving = self.read(loop.body, inside, entering)
        self.scans = outside
        for atom, tag in zip(loop.body.jaxpr.outvars, leaving, strict=True):
            self.leave(inside, atom, tag)
        return [replace(tag.outside(), leaf=-1) for tag in leaving]

    def read_branches(self, branches: compat.Branches, inside: Place, tags: list[Tag]) -> list[Tag]:
        """A cond: what comes out may come from any branch."""
        found: list[Tag] = []
        for number, program in enumerate(branches.programs):
            here = (*inside, number)
            leaving = self.read(program, here, [tag.outside() for tag in tags])
            for atom, tag in zip(program.jaxpr.outvars, leaving, strict=True):
                self.leave(here, atom, tag)
            found = [a.merged(b) for a, b in zip(found, leaving, strict=True)] if found else leaving
        return [tag.outside() for tag in found]

    def closed(self, equation: Any, place: Place, tags: list[Tag]) -> list[Tag]:
        """A call that has rules of its own for gradients, or that cannot be entered: what it gives can be probed."""
        name, programs = equation.primitive.name, list(compat.others_in(equation))
        if any(tag.signal for tag in tags):
            inside = sum(map(compat.count_products, programs[:1] if name in compat.OPAQUE else programs))
            self.found.opaque += [f"{name} at {compat.source_of(equation)}"] * inside
        if name not in compat.OPAQUE or len(programs[0].jaxpr.invars) != len(tags):
            return [plain(tags)] * len(equation.outvars)
        trial, before = self.trial(), len(self.found.sites)
        leaving = trial.read(programs[0], (*self.now, -1), tags)
        if len(leaving) != len(equation.outvars):
            return [plain(tags)] * len(equation.outvars)
        return [
            self.softmax(equation, place, tags)
            if tag.of and tag.of.site >= before and trial.found.sites[tag.of.site].kind == "probabilities"
            else known_outside(tag, before)
            for tag in leaving
        ]

    def softmax(self, equation: Any, place: Place, tags: list[Tag]) -> Tag:
        """Probabilities; what they are made of are logits."""
        latest = max(tag.latest for tag in tags)
        if latest >= 0 and self.found.sites[latest].kind == "mixing":
            self.found.sites[latest].kind = "logits"
        return self.new("probabilities", equation, place, plain(tags))

    def new(self, kind: str, equation: Any, place: Place, like: Tag, fed: Tag | None = None) -> Tag:
        """A site at what an equation gives, and the tag of that; `fed` is of the parameter that a product is fed by."""
        variable = equation.outvars[0]
        if not jnp.issubdtype(variable.aval.dtype, jnp.floating):
            return like
        scope, source = compat.name_stack(equation), compat.source_of(equation)
        own = fed.parameters if fed else frozenset()
        near = own or like.parameters
        site = Site(kind, Point(place, variable), self.now, self.scans, own, near, scope, source, after=like.latest)
        if fed and own:
            site.kernel, site.slices = fed.leaf, fed.slices
        self.found.sites.append(site)
        number = len(self.found.sites) - 1
        return Tag(True, near, number, Known(number, True))

    def moved(self, equation: Any, place: Place, site: int, tag: Tag, more: frozenset[int]) -> Tag:
        """The site's value is what this equation gives."""
        found = self.found.sites[site]
        found.product = found.product or found.value
        found.value = Point(place, equation.outvars[0])
        found.parameters |= more
        return replace(tag, of=Known(site, True))

    def product(self, equation: Any, place: Place, tags: list[Tag]) -> Tag:
        """Of a parameter with a signal, of two signals, or of a signal with what the program holds."""
        signals = [tag for tag in tags[:2] if tag.signal]
        if not signals:
            return plain(tags)
        self.found.products += 1
        if len(signals) == 2:
            given = [tag.leaf for tag in signals if tag.leaf >= 0]
            self.found.multiplied |= set(given) if len(given) == 1 else set()
            return replace(self.new("mixing", equation, place, plain(tags)), reduced=True)
        self.found.entered.append(signals[0].leaf)
        (side,) = (i for i, tag in enumerate(tags[:2]) if not tag.signal)
        kind = "conv" if equation.primitive.name.startswith("conv") else "linear"
        found = self.new(kind, equation, place, plain(tags), tags[side])
        self.found.sites[-1].fan_in = compat.fan_in_of(equation, side)
        return found

    def elementwise(self, tags: list[Tag]) -> Tag:
        """Follows from a site if all its signals do."""
        signals = [tag for tag in tags if tag.signal and not tag.index]
        sites = {tag.of.site if tag.of else None for tag in signals}
        (site,) = sites if len(sites) == 1 else (None,)
        of = None if site is None else Known(site, False, all(tag.of.whole for tag in signals if tag.of))
        return replace(plain(tags), of=of, root=next((tag.root for tag in tags if tag.root), ""))

    def note_exits(self, equation: Any, place: Place, tags: list[Tag], leaving: list[Tag]) -> None:
        """What follows from a site elementwise, and is used by something that does not."""
        if compat.inner_of(equation):
            return
        kept = {tag.of.site for tag in leaving if tag.of}
        for atom, tag in zip(equation.invars, tags, strict=True):
            if tag.of and tag.of.site not in kept:
                self.leave(place, atom, tag)

    def leave(self, place: Place, atom: Any, tag: Tag) -> None:
        """A value that follows from a site is used elsewhere."""
        if tag.of and tag.of.whole and not compat.is_literal(atom):
            self.found.sites[tag.of.site].exits[self.origin(Point(place, atom))] = tag.of.linear

    def finish(self) -> None:
        """What is known at the end: the activation of a site is the first nonlinear function of it that is used."""
        for site in self.found.sites:
            site.value = self.origin(site.value)
            site.product = self.origin(site.product) if site.product else None
            nonlinear = [point for point, linear in site.exits.items() if not linear and point not in self.squares]
            if nonlinear and site.kind in ("linear", "conv", "sum", "norm"):
                site.activation = nonlinear[0]


def known_outside(tag: Tag, sites: int) -> Tag:
    """What a tag from within an opaque call says of sites before it, of which there are so many."""
    latest = min(tag.latest, sites - 1)
    return replace(tag.outside(), latest=latest, of=tag.of if tag.of and tag.of.site < sites else None)


def marked_name(text: str) -> str | None:
    """The name that `mark` was given."""
    return text.removeprefix(MARK) if text.startswith(MARK) else None


def is_square(equation: Any) -> bool:
    """Whether a value is multiplied by itself: of a linear one that is a mean square or a loss, no activation."""
    name, inputs = equation.primitive.name, equation.invars
    return (
        name == "square"
        or (name == "integer_pow" and equation.params["y"] == 2)
        or (name == "mul" and inputs[0] is inputs[1])
    )


def plain(tags: Sequence[Tag]) -> Tag:
    """Of what depends on all of these, in no way that is known; a signal is known by its latest product."""
    signals = [tag for tag in tags if tag.signal]
    if not signals:
        return Tag(False, frozenset().union(*(tag.parameters for tag in tags)))
    latest = max(signals, key=lambda tag: tag.latest)
    whole = all(tag.index for tag in signals)
    reduced = all(tag.reduced for tag in signals if whole or not tag.index)
    return Tag(True, latest.parameters, latest.latest, index=whole, reduced=reduced)


def added(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A bias, a residual sum, a sum of products, or a part of some function."""
    signals = [tag for tag in tags if tag.signal]
    if len(signals) == 1:
        (signal,), (other,) = signals, (tag for tag in tags if not tag.signal)
        if signal.of and signal.of.linear and signal.of.whole and other.parameters:
            if reader.found.sites[signal.of.site].kind in ("linear", "conv", "norm", "sum"):
                return reader.moved(equation, place, signal.of.site, signal, other.parameters)
        found = reader.elementwise(tags)
        return replace(found, of=signal.of if not other.parameters else found.of)
    found = reader.elementwise(tags)
    shapes = {atom.aval.shape for atom in equation.invars}
    if len(signals) < 2 or found.of or len(shapes) > 1 or len(*shapes) < 2 or all(t.latest < 0 for t in signals):
        return found
    if found.reduced:  # a running mean, or log sum exp(x - c) + c
        return found
    sites = reader.found.sites
    products = [t.of.site for t in tags if t.of and t.of.linear and sites[t.of.site].kind in ("linear", "conv", "sum")]
    apart = len(products) == len(tags) and not follows(sites, max(products), min(products))
    return reader.new("sum" if apart else "residual", equation, place, plain(tags))


def follows(sites: Sequence[Site], later: int, earlier: int) -> bool:
    """Whether a product is behind an earlier site, as a branch is behind the residual stream."""
    while later > earlier:
        later = sites[later].after
    return later == earlier


def multiplied(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A norm, its scale, that of something else, or a part of some function."""
    signals = [tag for tag in tags if tag.signal]
    roots = [tag for tag in tags if tag.root == INVERSE]
    if roots and any(tag.signal and tag.root != INVERSE for tag in tags):
        found = plain(tags)
        scale = frozenset().union(*(tag.scale for tag in roots))
        tag = reader.new("norm", equation, place, found)
        reader.found.sites[tag.latest].parameters = scale
        return tag
    if len(signals) == 1 and len(tags) == 2:
        (signal,), (other,) = signals, (tag for tag in tags if not tag.signal)
        if signal.of and signal.of.linear and signal.of.whole:
            kind = reader.found.sites[signal.of.site].kind
            if kind == "norm" and other.parameters:
                return reader.moved(equation, place, signal.of.site, signal, other.parameters)
            if kind == "mixing" and not other.parameters:
                return reader.moved(equation, place, signal.of.site, signal, frozenset())
        if signal.root:
            return replace(signal, of=None, scale=signal.scale | other.parameters)
        if not other.parameters:
            return replace(signal, exponential=None)
    return replace(reader.elementwise(tags), root="") if len(signals) > 1 else reader.elementwise(tags)


def divided(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Probabilities, or as a product."""
    above, below = tags
    if above.exponential and above.exponential == below.summed:
        return reader.softmax(equation, place, tags)
    inverted = {ROOT: INVERSE, INVERSE: ROOT, "": ""}[below.root]
    return multiplied(reader, equation, place, [above, replace(below, root=inverted)])


def rooted(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Half of a norm, if it is the root of a statistic: of what was reduced, or was given for each unit."""
    found = reader.elementwise(tags)
    if not (found.reduced if found.signal else equation.outvars[0].aval.shape):
        return found
    root = INVERSE if equation.primitive.name == "rsqrt" else ROOT
    return replace(found, root=root, scale=frozenset() if found.signal else found.parameters)


def exponentiated(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Half of a softmax."""
    return replace(reader.elementwise(tags), exponential=Point(place, equation.outvars[0]))


def summed(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Over an axis."""
    return replace(statistic(reader, equation, place, tags), summed=tags[0].exponential)


def statistic(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Over an axis, or over those of several devices."""
    return replace(plain(tags), reduced=True)


def selected(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A mask that does not depend on the signal, as dropout's, leaves a linear value linear."""
    mask, *cases = tags
    signals = [tag for tag in cases if tag.signal]
    if not mask.of and len(signals) == 1 and signals[0].of and signals[0].of.linear:
        return replace(plain(tags), of=signals[0].of)
    return reader.elementwise(tags)


RULES: dict[str, Callable[..., Tag]] = {
    "add": added,
    "add_any": added,
    "mul": multiplied,
    "div": divided,
    "rsqrt": rooted,
    "sqrt": rooted,
    "exp": exponentiated,
    "psum": statistic,
    "pmax": statistic,
    "reduce_max": statistic,
    "reduce_sum": summed,
    "select_n": selected,
}
