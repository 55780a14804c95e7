"""Colors and dashes of the curves, on a light page and on a dark one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from varprobe.plots.ladder import Ladder
from varprobe.plots.style import DASHES, PALETTE, Look, looks, ordered_looks, style

__all__ = ["looks_of"]

GROUNDS = {"light": "paper", "dark": "dark"}
"""The styles of figures that have a page's ground."""

LEAST = 3.0
"""Contrast of a line to its ground (WCAG 2, AA, for what is no text)."""


def looks_of(colors: Sequence[int], others: Sequence[int] | None, ladder: Ladder | None) -> list[dict[str, Any]]:
    """For each curve its color and that of its theory on both grounds, and its dashes in line widths.

    Args:
        colors: for each curve, which value it has of what colors stand for.
        others: for each curve, which values it has of everything else; None where colors are all that varies.
        ladder: the numbers of the curves where they have an order.
    """
    made: dict[str, list[Look]] = {}
    for ground, name in GROUNDS.items():
        with style(name):
            if ladder:
                found = ordered_looks(np.asarray(ladder.norm(np.array(ladder.numbers))).tolist())
            else:
                every = looks(max(colors, default=0) + 1)
                found = [every[i] for i in colors]
            made[ground] = [Look(look.with_contrast(LEAST), look.dashes) for look in found]
            theory = [look.theory for look in made[ground]]
            made[f"{ground} theory"] = [Look(color) for color in theory]
    dashes = [look.dashes for look in made["light"]]
    if others is not None:
        rounds = max(colors, default=0) // len(PALETTE) + 1  # a color that comes again has dashes of its own
        steps = [rounds * other + color // len(PALETTE) for color, other in zip(colors, others, strict=True)]
        dashes = [DASHES[step % len(DASHES)] for step in steps]
    return [
        {
            "color": {ground: made[ground][i].color for ground in GROUNDS},
            "theory": {ground: made[f"{ground} theory"][i].color for ground in GROUNDS},
            "dashes": list(dashes[i]),
        }
        for i in range(len(dashes))
    ]
