"""Panels of a training: curves by layer, colored by step, and curves by step."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from varprobe.plots.curves import Curve
from varprobe.plots.groups import Group
from varprobe.plots.limits import Range, common_ranges
from varprobe.plots.logaxis import LayerLocator, exponent_axis
from varprobe.plots.match import factor, ticks_of
from varprobe.plots.pages import dress
from varprobe.plots.panel import SHORT, Panel, draw_curve
from varprobe.plots.quantities import Quantity
from varprobe.plots.steps import step_axis, step_looks
from varprobe.plots.style import grey, sized
from varprobe.plots.training_curves import Lines

__all__ = ["draw_layers", "draw_steps", "mark_steps", "ranges_of"]

RULE = -3.0
"""log10 of the ratio of update to weight that is a rule of thumb."""
PLAIN = 3.0
"""Decades from 1 within which a loss is written as a number."""
MARGIN = 0.06
"""Of the range of a linear axis, on both sides."""


def ranges_of(cells: Sequence[Sequence[Curve]], height: float, log: bool = True) -> list[Range]:
    """The range of each panel of a row, one for all where that does not squeeze them; `height` is in points."""
    if log:
        return common_ranges([cells], height=height)[0]
    ends = [end for curves in cells for curve in curves for end in edges(curve)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = MARGIN * (high - low) or 0.5
    return [(low - pad, high + pad)] * len(cells)


def edges(curve: Curve) -> list[float]:
    """The least and the greatest value of a curve, its band included."""
    if not curve.drawn.size:
        return []
    mean = curve.mean[curve.drawn]
    band = 0.0 if curve.deviation is None else curve.deviation[curve.drawn]
    return [float((mean - band).min()), float((mean + band).max())]


def draw_layers(
    ax: Axes, quantity: Quantity, curves: Sequence[Curve], steps: Sequence[int], limits: Range, last: int
) -> Panel:
    """Curves against the layers up to `last`, one a step; the first and the last have their bands."""
    groups = [Group((curve.name,), look) for curve, look in zip(curves, step_looks(steps), strict=True)]
    for i, (curve, group) in enumerate(zip(curves, groups, strict=True)):
        inner = 0 < i < len(curves) - 1
        draw_curve(ax, replace(curve, deviation=None) if inner else curve, group, marked=last <= SHORT)
    pad = 0.25 if last <= SHORT else 0.0
    ax.set_xlim(-pad, last + pad)
    ax.set_ylim(*limits)
    ax.xaxis.set_major_locator(LayerLocator(0, last))
    exponent_axis(ax)
    dress(ax, "y")
    draw_rule(ax, quantity)
    return Panel(ax, quantity, groups, [[curve] for curve in curves])


def draw_steps(ax: Axes, lines: Lines, groups: Sequence[Group], limits: Range) -> Panel:
    """Curves against the step, in the looks of their groups."""
    members = [[curve for curve in lines.curves if curve.name in group.names] for group in groups]
    for group, some in zip(groups, members, strict=True):
        for curve in some:
            draw_curve(ax, curve, group, marked=False)
    step_axis(ax, max((int(curve.layer[-1]) for curve in lines.curves), default=1))
    ax.set_ylim(*limits)
    if not lines.log:
        ax.yaxis.set_major_locator(MaxNLocator(5))
    elif lines.quantity.name == "loss" and max(map(abs, limits)) < PLAIN:
        ax.yaxis.set_major_locator(FixedLocator(ticks_of(*limits)))
        ax.yaxis.set_major_formatter(FuncFormatter(factor))
    else:
        exponent_axis(ax)
    dress(ax, "y")
    draw_rule(ax, lines.quantity)
    return Panel(ax, replace(lines.quantity, backward=False), groups, members)


def draw_rule(ax: Axes, quantity: Quantity) -> None:
    """Of updates, the line at a thousandth of the weights."""
    if quantity.name == "update":
        ax.axhline(RULE, color=grey(0.5), linewidth=sized(0.7), linestyle=(0, (4, 2)), zorder=1.2, gid="rule")


def mark_steps(ax: Axes, curve: Curve, steps: Sequence[int]) -> None:
    """Dots on a loss at the steps that are drawn by layer, in their colors."""
    for step, look in zip(steps, step_looks(steps), strict=True):
        place = np.flatnonzero((curve.layer == step) & np.isfinite(curve.mean))
        if place.size:
            ax.plot(
                curve.layer[place], curve.mean[place], marker="o", markersize=sized(3.4), color=look.color,
                linestyle="", markeredgewidth=0, zorder=3, clip_on=False, gid="step",
            )  # fmt: skip
