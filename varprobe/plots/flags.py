"""Names of points on a horizontal line, on poles that hang from them: no name meets another or a pole not its own."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Flag", "hang"]

CLEAR = 2.5
"""Points between a pole and its name where that stands beside it, and between two names."""
SIDES = {"left": 0.0, "center": 0.5, "right": 1.0}
"""Which part of a name is at its pole: the share of it that lies left of that."""


@dataclass(frozen=True)
class Flag:
    """Where a name hangs: the place in points of the part that `align` says, and its level, 0 nearest to the line."""

    at: float
    align: str
    level: int


def hang(x: Sequence[float], widths: Sequence[float], width: float) -> list[Flag] | None:
    """The flags with the fewest levels for points at ascending `x` in a panel of `width`; None where it is too narrow.

    A name beside a pole, or below it in the middle, must end all poles that it crosses above itself.
    """
    best, fewest = None, len(x) + 1
    spans = [{align: span(at, wide, align, width) for align in SIDES} for at, wide in zip(x, widths, strict=True)]
    for aligns in itertools.product(*([align for align in SIDES if options[align]] for options in spans)):
        chosen = [options[align] for options, align in zip(spans, aligns, strict=True)]
        levels = levels_of(x, chosen)
        if levels is not None and (highest := max(levels, default=0)) < fewest:
            flags = zip(chosen, aligns, levels, strict=True)
            best = [Flag(a + SIDES[align] * (b - a), align, level) for (a, b), align, level in flags]
            fewest = highest
    return best


def span(at: float, wide: float, align: str, width: float) -> tuple[float, ...]:
    """The ends of a name on one side of its pole; () where they are outside."""
    left = at - SIDES[align] * wide + (0.5 - SIDES[align]) * 2 * CLEAR
    return (left, left + wide) if left >= CLEAR - 1e-6 and left + wide <= width - CLEAR + 1e-6 else ()


def levels_of(x: Sequence[float], spans: Sequence[tuple[float, ...]]) -> list[int] | None:
    """The smallest levels: below every pole that a name crosses, and apart from names beside it."""
    count = range(len(x))
    under = [{j for j in count if j != i and spans[i][0] - CLEAR < x[j] < spans[i][1] + CLEAR} for i in count]
    meets = [{j for j in count if j != i and overlap(spans[i], spans[j])} for i in count]
    levels: dict[int, int] = {}
    while len(levels) < len(x):
        free = [i for i in count if i not in levels and under[i] <= levels.keys()]
        if not free:
            return None
        i = free[0]
        taken = {levels[j] for j in meets[i] if j in levels}
        lowest = max((levels[j] + 1 for j in under[i]), default=0)
        levels[i] = next(level for level in itertools.count(lowest) if level not in taken)
    return [levels[i] for i in count]


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two names on one level would be less than `CLEAR` apart."""
    return a[0] < b[1] + CLEAR and b[0] < a[1] + CLEAR
