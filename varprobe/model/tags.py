"""What the probe knows of each value of a program while it reads it: where it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["INVERSE", "ROOT", "SHIFT", "Known", "Place", "Point", "Tag", "plain"]

Place = tuple[int, ...]
"""Where a program stands inside others: numbers of equations, and of their branches."""


ROOT, INVERSE, SHIFT = "root", "inverse root", "shift"
"""What a norm divides by, what it multiplies with, and a mean times that, which x / root - mean / root subtracts."""


@dataclass(frozen=True)
class Point:
    """A value: the program that it is in, and its variable there."""

    place: Place
    variable: Any


@dataclass(frozen=True)
class Known:
    """How a value follows from one site: linearly, or elementwise at least; all of it or a part.

    mask: it is of a comparison, and says where something holds; no activation, but a part of one. own: it is the site's
    value, and not one of several linear functions of that. scaled: it was last multiplied by parameters.
    """

    site: int
    linear: bool
    whole: bool = True
    mask: bool = False
    own: bool = True
    scaled: bool = False


@dataclass(frozen=True)
class Tag:
    """What a value is made of.

    signal: whether it depends on the data; index: on its whole numbers alone, as positions and masks do. parameters:
    leaves that it depends on; of a signal those of the latest matrix product behind it. latest: number of the latest
    site behind it, -1 without. of: the site that it follows from elementwise. exponential: it is exp of something, and
    known by this. summed: the exponential that it sums. reduced: whether it is a statistic of a signal. root: whether
    it is the root of one, or the inverse of that, as what a norm divides by; scale: leaves that this was multiplied by.
    leaf: the input of the program that it is, cast or reshaped at most; -1 if it is none. slices: the scans whose
    iterations took one entry each of its leading axes, None where that is not known. moved: whether its axes are not
    those it had. behind: sites, and joints, that it follows from without another between (`Reading`). entries: how many
    it had before it was broadcast. part: whether it holds a part of some value, or zeros around one. gated: whether it
    is a product of two signals. blank: whether it is zero everywhere, as the program says.
    frozen: whether it is a parameter, cast or reshaped at most, behind stop_gradient.
    """

    signal: bool = False
    parameters: frozenset[int] = frozenset()
    latest: int = -1
    of: Known | None = None
    exponential: Point | None = None
    summed: Point | None = None
    index: bool = False
    reduced: bool = False
    root: str = ""
    scale: frozenset[int] = frozenset()
    leaf: int = -1
    slices: tuple[Place, ...] | None = ()
    moved: bool = False
    behind: frozenset[int] = frozenset()
    entries: int = 1
    part: bool = False
    gated: bool = False
    blank: bool = False
    frozen: bool = False

    def merged(self, other: "Tag") -> "Tag":
        """Of a value that is one or the other."""
        return Tag(
            self.signal or other.signal,
            self.parameters | other.parameters,
            max(self.latest, other.latest),
            index=self.index and other.index,
            reduced=self.reduced or other.reduced,
            behind=self.behind | other.behind,
            entries=max(self.entries, other.entries),
            part=self.part or other.part,
        )

    def outside(self) -> "Tag":
        """The same beyond a border that elementwise relations do not cross."""
        return replace(self, of=None, exponential=None, summed=None)

    def sliced(self, loop: Place) -> "Tag":
        """Of one entry along the first axis, in a step of a scan."""
        known = self.slices is not None and not self.moved
        return replace(self.outside(), slices=(*self.slices, loop) if known and self.slices is not None else None)


def plain(tags: Sequence[Tag]) -> Tag:
    """Of what depends on all of these, in no way that is known; a signal is known by its latest product."""
    signals = [tag for tag in tags if tag.signal]
    if not signals:
        entries = max((tag.entries for tag in tags), default=1)
        return Tag(False, frozenset().union(*(tag.parameters for tag in tags)), entries=entries)
    latest = max(signals, key=lambda tag: tag.latest)
    whole = all(tag.index for tag in signals)
    reduced = all(tag.reduced for tag in signals if whole or not tag.index)
    return Tag(
        True,
        latest.parameters,
        latest.latest,
        index=whole,
        reduced=reduced,
        behind=frozenset().union(*(tag.behind for tag in signals)),
        entries=max(tag.entries for tag in signals),
        part=any(tag.part for tag in signals),
    )
