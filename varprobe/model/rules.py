"""What the products and roots of a program say of the values that go through them."""

from dataclasses import replace
from typing import Any

import numpy as np

from varprobe.model import compat
from varprobe.model.reader import Reader, Rule
from varprobe.model.sums import added, subtracted
from varprobe.model.tags import INVERSE, ROOT, SHIFT, Place, Point, Tag, plain

__all__ = ["RULES"]

INVERTED = {ROOT: INVERSE, INVERSE: ROOT}


def multiplied(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A norm, its scale, that of something else, or a part of some function."""
    signals = [tag for tag in tags if tag.signal]
    roots = [tag for tag in tags if tag.root == INVERSE]
    if roots and (others := [tag for tag in tags if tag.signal and tag.root != INVERSE]):
        found = plain(tags)
        scale = frozenset().union(*(tag.scale for tag in roots))
        if others[0].reduced and roots[0].signal and others[0].entries <= roots[0].entries:
            return replace(found, root=SHIFT, scale=scale)
        tag = reader.new("norm", equation, place, found)
        reader.found.sites[tag.latest].parameters = scale
        return tag
    if len(signals) == 1 and len(tags) == 2:
        (signal,), (other,) = signals, (tag for tag in tags if not tag.signal)
        reader.found.factors.append((other.leaf, signal.behind, -1))
        if other.leaf < 0:
            reader.found.functions += [(leaf, -1) for leaf in other.parameters]
        if signal.of and reader.movable(equation, tags):
            kind = reader.found.sites[signal.of.site].kind
            if kind == "norm" and other.parameters:
                return reader.moved(equation, place, signal.of.site, signal, other.parameters)
            if kind == "mixing" and not other.parameters:
                return reader.moved(equation, place, signal.of.site, signal, frozenset())
        if signal.root:
            return replace(signal, of=None, scale=signal.scale | other.parameters)
        if not other.parameters:
            return replace(signal, exponential=None)
    if len(signals) < 2:
        found = reader.shifted(tags)
        return replace(found, of=replace(found.of, scaled=True)) if found.of else found
    found = reader.elementwise(tags)
    if found.of is None and not roots:
        reader.found.gates.append((tags[0].behind, tags[1].behind))
    return replace(found, root="", gated=found.of is None)


def divided(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Probabilities, or as a product."""
    above, below = tags
    if above.exponential and above.exponential == below.summed:
        return reader.softmax(equation, place, tags)
    return multiplied(reader, equation, place, [above, replace(below, root=INVERTED.get(below.root, ""))])


def rooted(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Half of a norm, if it is the root of a statistic: of what was reduced, or was given for each unit."""
    found = reader.elementwise(tags)
    if not (found.reduced if found.signal else equation.outvars[0].aval.shape):
        return found
    root = INVERSE if (exponent_of(equation) or 0) < 0 else ROOT
    return replace(found, root=root, scale=frozenset() if found.signal else found.parameters)


def raised(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A root, if the power is one half or minus that."""
    power = exponent_of(equation)
    found = reader.elementwise(tags)
    if power == -1 and tags[0].root in INVERTED:
        return replace(found, root=INVERTED[tags[0].root], scale=tags[0].scale)
    return rooted(reader, equation, place, tags) if power in (0.5, -0.5) else found


def exponent_of(equation: Any) -> float | None:
    """The power that an equation takes; None if it is not a number of the program."""
    powers = {"sqrt": 0.5, "rsqrt": -0.5, "integer_pow": equation.params.get("y")}
    power = powers.get(equation.primitive.name, getattr(equation.invars[-1], "val", None))
    return float(power) if power is not None and np.ndim(power) == 0 else None


def exponentiated(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Half of a softmax."""
    found = Point(place, equation.outvars[0])
    if not compat.is_literal(equation.invars[0]):
        reader.operands[found] = Point(place, equation.invars[0])
    return replace(reader.elementwise(tags), exponential=found)


def logged(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Half of a cross entropy, if it is of a sum of exponentials, of probabilities, or of a logistic function."""
    known, sites = tags[0].of, reader.found.sites
    if (point := tags[0].summed) and point in reader.summands and tags[0].latest >= 0:
        reader.note_logits(tags[0].latest, reader.summands[point], point, Point(place, equation.outvars[0]))
    elif known and sites[known.site].kind == "probabilities" and (shape := equation.outvars[0].aval.shape):
        for site in reader.found.behind(sites[known.site].behind, through_cuts=True):
            reader.note_logits(site, shape[-1], reader.softened.get(known.site, sites[known.site].value))
    elif known and (given := [p for p, name in sites[known.site].bounded.items() if name == "logistic"]):
        reader.note_logits(known.site, 2, given[-1])
    return reader.elementwise(tags)


def sized(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A sum of exponentials is its own size, of which jax.nn.logsumexp takes the log."""
    return replace(reader.elementwise(tags), summed=tags[0].summed)


def summed(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Over an axis."""
    if tags[0].exponential:
        reader.summands[tags[0].exponential] = equation.invars[0].aval.size // max(equation.outvars[0].aval.size, 1)
    return replace(statistic(reader, equation, place, tags), summed=tags[0].exponential)


def statistic(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """Over an axis."""
    return replace(plain(tags), reduced=True, entries=equation.outvars[0].aval.size, part=False)


def selected(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A mask that does not depend on the signal, as dropout's, leaves a linear value linear."""
    mask, *cases = tags
    variable = not any(map(compat.is_literal, equation.invars))
    if variable and len(cases) > 1 and len({reader.origin(Point(place, a)) for a in equation.invars[1:]}) == 1:
        attached = (tag for tag in cases if reader.found.behind(tag.behind, through_cuts=False))
        return next(attached, replace(cases[0], moved=True))
    signals = [tag for tag in cases if tag.signal]
    if not mask.of and len(signals) == 1 and signals[0].of and signals[0].of.linear:
        return replace(plain(tags), of=signals[0].of)
    return reader.elementwise(tags)


RULES: dict[str, Rule] = {
    "add": added,
    "add_any": added,
    "sub": subtracted,
    "mul": multiplied,
    "div": divided,
    "rsqrt": rooted,
    "sqrt": rooted,
    "pow": raised,
    "integer_pow": raised,
    "exp": exponentiated,
    "log": logged,
    "abs": sized,
    "reduce_max": statistic,
    "reduce_sum": summed,
    "select_n": selected,
}
