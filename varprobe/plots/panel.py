"""A panel: the curves of one quantity on one axes, which everything beside and upon them asks where they run."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from varprobe.plots.curves import Curve
from varprobe.plots.groups import Group
from varprobe.plots.limits import leaves
from varprobe.plots.logaxis import LayerLocator, exponent_axis
from varprobe.plots.quantities import Quantity, axis_label
from varprobe.plots.style import LINE_WIDTH, Look, sized, tidy

__all__ = ["Panel", "draw_panel"]

THEORY_WIDTH = 0.4
"""Line width of what is predicted, in points."""
SHORT = 3
"""Nets of up to so many layers get a marker at each, since their curves are a point or a stroke."""


@dataclass(frozen=True, eq=False)
class Panel:
    """An axes and what is drawn in it: for each group, in the order of the groups, the curves of its names."""

    ax: Axes
    quantity: Quantity
    groups: Sequence[Group]
    curves: Sequence[Sequence[Curve]]

    def leaves(self, group: int) -> int:
        """1 or -1 if the curves of the group end above or below the axes, 0 if inside."""
        return leaves(self.curves[group][0], *self.ax.get_ylim())

    def end(self, group: int) -> Float[np.ndarray, "2"]:
        """Where the curves of the group end, in pixels; beyond all others if they are lost or were not measured."""
        ends = [curve.end for curve in self.curves[group] if curve.end]
        if not ends or self.curves[group][0].lost:
            return np.array([self.edge, 1e6 * self.leaves(group)])
        return self.ax.transData.transform(np.mean(ends, axis=0))

    @property
    def edge(self) -> float:
        """The side of the axes, in pixels, where the signal arrives: right, or left where it runs backward."""
        box = self.ax.bbox
        return float(box.x0 if self.quantity.backward else box.x1)

    def path(self, curve: Curve) -> Float[np.ndarray, "points 2"]:
        """The curve as far as the axes show it, and on to where it is lost, in the order of the signal.

        The points are a pixel or less apart.
        """
        corners = np.column_stack([curve.layer, curve.mean])[curve.drawn]
        if curve.lost and len(corners):
            corners = np.vstack([corners, (curve.lost.layer, self.ax.get_ylim()[int(curve.lost.infinite)])])
        corners = self.ax.transData.transform(corners)
        strokes = [corners[:1]]
        for start, stop in zip(corners[:-1], corners[1:], strict=True):
            steps = 1 + int(np.abs(stop - start).max())
            strokes.append(start + (stop - start) * np.linspace(0, 1, steps + 1)[1:, None])
        points = np.concatenate(strokes)
        box = self.ax.bbox
        return points[(points[:, 1] >= box.y0 - 0.5) & (points[:, 1] <= box.y1 + 0.5)]


def draw_panel(panel: Panel, limits: tuple[float, float], statistic: str, below: str, stacked: bool) -> None:
    """Draw bands and curves, set the limits and dress the axes; labels and arrows come after the layout.

    Args:
        panel: what is drawn.
        limits: of the y axis.
        statistic: that is drawn.
        below: the label of the x axis.
        stacked: whether there are panels above or below.
    """
    ax, backward = panel.ax, panel.quantity.backward
    every = [curve for curves in panel.curves for curve in curves]
    layers = [int(layer) for c in every for layer in (*c.layer[c.drawn], *([c.lost.layer] if c.lost else []))]
    first, last = min(layers, default=0), max(layers, default=1)
    deepest = last - first
    for group, curves in zip(panel.groups, panel.curves, strict=True):
        for curve in curves:
            draw_curve(ax, curve, group, marked=deepest <= SHORT)
    pad = 0.0 if deepest > SHORT else max(0.08 * deepest, 0.25)
    ax.set_xlim(first - pad, last + pad)
    ax.set_ylim(*limits)
    ax.xaxis.set_major_locator(LayerLocator(first, last))
    exponent_axis(ax)
    tidy(ax)
    ax.set_ylabel(axis_label(panel.quantity, statistic, "\n" if stacked else "  "))
    ax.set_xlabel(below)
    if backward:
        ax.yaxis.tick_right()
        ax.yaxis.set_label_position("right")
    ax.spines["left" if backward else "right"].set_visible(False)


def draw_curve(ax: Axes, curve: Curve, group: Group, marked: bool) -> None:
    """One curve over its band."""
    look, alone, there = group.look, curve.drawn.size == 1, ~gaps(curve.mean)
    if curve.deviation is not None:
        ax.fill_between(
            curve.layer[there],
            (curve.mean - curve.deviation)[there],
            (curve.mean + curve.deviation)[there],
            color=look.color,
            alpha=0.22 / len(group.names) ** 0.5,
            linewidth=0,
            zorder=1.5,
        )
    ax.plot(
        curve.layer[there],
        curve.mean[there],
        color=look.color,
        linestyle=look.linestyle,
        linewidth=sized(LINE_WIDTH),
        marker="o" if marked or alone else "",
        markersize=sized(3),
        dash_capstyle="butt",
        solid_capstyle="butt",
        label=curve.name,
        zorder=2.5,
    )
    if curve.theory is not None:
        draw_theory(ax, curve, look)


def gaps(values: Float[np.ndarray, " layer"]) -> Bool[np.ndarray, " layer"]:
    """What is not finite between what is: other sites of a model, which a line passes over."""
    finite = np.isfinite(values)
    inside = np.logical_or.accumulate(finite) & np.logical_or.accumulate(finite[::-1])[::-1]
    return inside & ~finite


def draw_theory(ax: Axes, curve: Curve, look: Look) -> None:
    """The infinite-width curve upon the measured one, and dotted one standard deviation of nets of this width."""
    assert curve.theory is not None
    for values, width, style in (
        (curve.theory.mean, THEORY_WIDTH, "-"),
        (curve.theory.low, THEORY_WIDTH, ":"),
        (curve.theory.high, THEORY_WIDTH, ":"),
    ):
        ax.plot(
            curve.layer, values, color=look.theory, linewidth=sized(width), linestyle=style, zorder=2.7, gid="theory"
        )
