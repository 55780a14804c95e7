"""Groups: curves that no eye can tell apart share one look and one label."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from varprobe.plots.curves import Curve
from varprobe.plots.facets import Facets
from varprobe.plots.style import Look, looks, ordered_looks

__all__ = ["FEW_RUNGS", "Group", "group_names", "wrapped"]

FEW_RUNGS = 4
"""Up to so many values with an order are told apart better by unlike colors than by shades."""


@dataclass(frozen=True)
class Group:
    """Names that are drawn alike."""

    names: tuple[str, ...]
    look: Look

    def only(self, names: Collection[str]) -> "Group":
        """The group without the names that are not among these."""
        return replace(self, names=tuple(name for name in self.names if name in names))

    def text(self, longest: int, most: int) -> str:
        """The label: the names one below the other, broken at about `longest` letters, the rest counted."""
        shown = self.names if len(self.names) <= most else self.names[: max(1, most - 1)]
        lines = [line for i, n in enumerate(shown) for line in wrapped(n + "," * (i < len(shown) - 1), longest)]
        if len(shown) < len(self.names):
            lines.append(f"+ {len(self.names) - len(shown)} alike")
        return "\n".join(lines)


def wrapped(name: str, longest: int) -> list[str]:
    """The name in lines of about `longest` letters, broken after a comma or an opening parenthesis only."""
    lines = [""]
    for piece in pieces(name):
        if lines[-1] and len(lines[-1]) + len(piece) > longest:
            lines.append("")
            piece = piece.lstrip()
        lines[-1] += piece
    return lines


def pieces(name: str) -> list[str]:
    """The name cut where a line may break; math text is never cut."""
    if "$" in name:
        return [name]
    cut: list[str] = [""]
    for letter in name:
        cut[-1] += letter
        if letter in ",(":
            cut.append("")
    return [piece for piece in cut if piece]


def group_names(facets: Facets, panels: Sequence[Sequence[Curve]], tolerances: Sequence[float]) -> list[Group]:
    """Groups of the names, in order of their first config.

    `panels` holds the curves of each panel of a figure, `tolerances` the thickness of a line there in decades.
    Names are alike if their curves are so in every panel, over the whole range and not only where the axes
    show it; the rungs of a ladder stay apart, since their shades say where they are.
    """
    names = list(dict.fromkeys(facets.names))
    if facets.ladder and len(names) > FEW_RUNGS:
        norm = facets.ladder.norm
        shades = {n: float(norm(x)) for n, x in zip(facets.names, facets.ladder.numbers, strict=True)}
        return [Group((name,), look) for name, look in zip(names, ordered_looks(list(shades.values())), strict=True)]
    by_name = [{name: [c for c in panel if c.name == name] for name in names} for panel in panels]
    groups: list[list[str]] = []
    for name in names:
        for group in groups:
            if all(
                alike(curves[group[0]], curves[name], tolerance)
                for curves, tolerance in zip(by_name, tolerances, strict=True)
            ):
                group.append(name)
                break
        else:
            groups.append([name])
    return [Group(tuple(group), look) for group, look in zip(groups, looks(len(groups)), strict=True)]


def alike(some: Sequence[Curve], others: Sequence[Curve], tolerance: float) -> bool:
    """Whether the curves exist at the same layers, pair by pair, and differ by no more than the tolerance (decades)."""
    if len(some) != len(others):
        return False
    for a, b in zip(some, others, strict=True):
        if str(a.lost) != str(b.lost) or not np.array_equal(np.isfinite(a.mean), np.isfinite(b.mean)):
            return False
        if a.drawn.size and np.abs(a.mean - b.mean)[a.drawn].max() > tolerance:
            return False
    return True
