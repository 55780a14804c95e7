"""What a sum in a program is: a bias, a residual sum, a sum of products, or a part of some function."""

from dataclasses import replace
from math import prod
from typing import Any

from varprobe.model.reader import Reader
from varprobe.model.sites import Reading
from varprobe.model.tags import SHIFT, Known, Place, Point, Tag, plain

__all__ = ["added", "subtracted"]


def added(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """A bias, a residual sum, a sum of products, or a part of some function."""
    signals = [tag for tag in tags if tag.signal]
    if len(signals) == 1:
        (signal,), (other,) = signals, (tag for tag in tags if not tag.signal)
        if signal.root == SHIFT:
            return replace(reader.elementwise(tags), scale=signal.scale | other.parameters)
        if signal.of and other.parameters and reader.movable(equation, tags):
            if reader.found.sites[signal.of.site].kind in ("linear", "conv", "norm", "sum"):
                return reader.moved(equation, place, signal.of.site, signal, other.parameters)
        return reader.shifted(tags) if other.parameters else replace(reader.elementwise(tags), of=signal.of)
    if shift := next((tag for tag in tags if tag.root == SHIFT), None):
        norm = next((tag for tag in tags if tag.of and reader.found.sites[tag.of.site].kind == "norm"), None)
        if norm and norm.of and reader.movable(equation, [replace(tag, signal=tag is norm) for tag in tags]):
            return reader.moved(equation, place, norm.of.site, norm, shift.scale)
    found = replace(reader.elementwise(tags), root="")
    shapes = {atom.aval.shape for atom in equation.invars}
    if len(signals) < 2 or found.of or len(shapes) > 1 or len(*shapes) < 2 or all(t.latest < 0 for t in signals):
        return found
    if found.reduced or equation.primitive.name == "add_any":  # a running mean, log sum exp(x - c) + c; gradients
        return found
    sites = reader.found.sites
    products = [t.of for t in tags if t.of and t.of.linear and sites[t.of.site].kind in ("linear", "conv", "sum")]
    if len(products) == len(tags) and beside(reader.found, *products):
        return reader.new("sum", equation, place, plain(tags))
    if all(t.part or t.gated for t in tags) or (any(t.part for t in tags) and tags[0].latest == tags[1].latest):
        return found  # a step of an associative scan or a gate between two states; x and its neighbors
    if tags[0].behind == tags[1].behind and not any(t.of for t in tags):
        return found  # two functions of one value, as parts of a loss
    if any(replaces(reader.found, *pair) for pair in (tags, tags[::-1])):
        return found  # q for z, as z + stop_gradient(q - z)
    stream = any(t.of and t.of.linear and sites[t.of.site].kind == "residual" for t in tags)
    apart = not stream and not related(reader.found, *tags)
    if apart and is_beside(tags):
        return found
    skip = min(tags, key=lambda tag: tag.latest)
    scaled = skip.of and skip.of.scaled  # the skip D u of a state space model, not a residual stream
    return reader.new(
        "sum" if scaled or (apart and any(t.gated for t in tags)) else "residual", equation, place, plain(tags)
    )


def subtracted(reader: Reader, equation: Any, place: Place, tags: list[Tag]) -> Tag:
    """As a sum, but of two signals it is a distance: from a mean, or from a target."""
    if not all(tag.signal for tag in tags) or any(tag.root == SHIFT for tag in tags):
        return added(reader, equation, place, tags)
    if tags[1].reduced and tags[1].entries < tags[0].entries and is_of(reader.found, *tags):
        reader.shifts[Point(place, equation.outvars[0])] = Point(place, equation.invars[0])
        return reader.elementwise(tags)
    for one, (output, target) in enumerate((tags, tags[::-1])):
        if output.of and output.latest >= 0 and is_data(reader.found, target):
            points = [Point(place, equation.invars[i]) for i in (one, 1 - one)]
            reader.note_target(output.of.site, *points)
            if is_paired(reader, output.of.site, points[0], target, equation.outvars[0].aval.shape):
                reader.found.mismatched.append((output.of.site, reader.size_of(output.of.site), target.entries))
            return replace(reader.elementwise(tags), of=None)
    return reader.elementwise(tags)


def is_of(found: Reading, value: Tag, statistic: Tag) -> bool:
    """Whether a statistic may be that of a value, such as its maximum."""
    behind = (found.behind(tag.behind, through_cuts=True) for tag in (value, statistic))
    return bool(frozenset.intersection(*behind))


def is_data(found: Reading, tag: Tag) -> bool:
    """Whether a signal depends on no parameter that is differentiated, as a target."""
    behind = found.all_behind(tag.behind, through_cuts=False)
    return tag.signal and not any(found.sites[node].parameters for node in behind if node >= 0)


def is_paired(reader: Reader, site: int, output: Point, target: Tag, shape: tuple[int, ...]) -> bool:
    """Whether each output meets the targets of all samples: (N, 1) minus (N,) is (N, N).

    What was (N,) on the way, and got an axis for the purpose, is a loss of pairs.
    """
    value = reader.found.sites[site].value.variable.aval.shape
    if len(value) < 2 or value[-1] != 1 or shape != (*value[:-1], value[-2]) or value[-2] == 1:
        return False
    way = [output]
    while way[-1] in reader.same:
        way.append(reader.same[way[-1]])
    deliberate = any(len(point.variable.aval.shape) < len(value) for point in way)
    whole = way[-1] == reader.origin(reader.found.sites[site].value)
    return whole and not deliberate and target.entries < prod(shape)


def beside(found: Reading, one: Known, other: Known) -> bool:
    """Whether neither of two products follows from the other, as a branch does from its stream; a part is a gate."""
    earlier, later = sorted((one, other), key=lambda known: known.site)
    return not earlier.whole or earlier.site not in found.all_behind({later.site}, through_cuts=True)


def related(found: Reading, one: Tag, other: Tag) -> bool:
    """Whether one of two values may follow from the other, as what is added to data may."""
    return any(
        not a.behind or a.behind & found.all_behind(b.behind, through_cuts=True)
        for a, b in ((one, other), (other, one))
    )


def is_beside(tags: list[Tag]) -> bool:
    """Whether addends are a mean and noise times a deviation, or the state of a recurrence and what is new to it."""
    linear = [tag.of.linear for tag in tags if tag.of]
    carried = any(node < 0 for tag in tags for node in tag.behind)
    return not all(linear) or (carried and not any(linear))


def replaces(found: Reading, cut: Tag, other: Tag) -> bool:
    """Whether one addend has no gradient and follows from the other, which is what another value has in its place."""
    if not cut.behind or not other.behind or found.behind(cut.behind, through_cuts=False):
        return False
    return found.behind(other.behind, through_cuts=True) <= found.all_behind(cut.behind, through_cuts=True)
