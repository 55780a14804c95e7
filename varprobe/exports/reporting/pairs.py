"""Before and after: which curves of two runs are of one network but for what was changed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

__all__ = ["pairs_of"]


def pairs_of(curves: Sequence[dict[str, Any]]) -> list[list[int]]:
    """[place before, place after] of each curve of the first run and its counterpart in the second.

    Counterparts have the same values of all coordinates but those whose values the two runs do not share; these are
    what was changed. Where several curves have the same, they are paired in order.
    """
    sides: list[list[int]] = [[i for i, curve in enumerate(curves) if curve["run"] == run] for run in (0, 1)]
    shared = [name for name in curves[0]["at"] if name != "run" and not set.isdisjoint(*values(curves, sides, name))]
    keyed: list[dict[tuple[str, ...], list[int]]] = [defaultdict(list), defaultdict(list)]
    for side, found in zip(sides, keyed, strict=True):
        for i in side:
            found[tuple(curves[i]["at"][name] for name in shared)].append(i)
    before, after = keyed
    return [
        [one, other]
        for key, those in before.items()
        if len(those) == len(after[key])
        for one, other in zip(those, after[key], strict=True)
    ]


def values(curves: Sequence[dict[str, Any]], sides: Sequence[Sequence[int]], name: str) -> list[set[str]]:
    """The values of a coordinate on both sides."""
    return [{curves[i]["at"][name] for i in side} for side in sides]
