"""Lines where an RMS meets the largest finite and the smallest normal number of the formats that networks train in."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from varprobe.nets.float_formats import FORMATS, TRAINED_IN
from varprobe.plots.curves import Curve
from varprobe.plots.exits import crossing
from varprobe.plots.labels import text_size
from varprobe.plots.layout import figure_of, pixels, scaled
from varprobe.plots.limits import Range
from varprobe.plots.panel import Panel
from varprobe.plots.style import LEAST_SIZE, grey, usetex
from varprobe.plots.texts import shown

__all__ = ["draw_formats", "near_limits"]

NEAR = 1.0
"""Decades of magnitude from which on a limit concerns a curve."""
GAP = 1.5
"""Points between a label and the border of the axes."""
BESIDE = 4.0
"""Points between a label and what is written beside it."""
COVERED = 10
"""Points of curves that a label may stand on: a curve or two that cross it."""
GREY, INK = 0.6, 0.35


def limits(statistic: str) -> dict[str, float]:
    """Label -> log10 on the axis of a statistic; variances are squares of an RMS."""
    power = 1 if statistic == "absmax" else 2
    ends = {shown(f"{name} max"): FORMATS[name].largest for name in TRAINED_IN}
    ends |= {shown(f"{name} min"): FORMATS[name].smallest_normal for name in TRAINED_IN}
    return {label: power * math.log10(value) for label, value in ends.items()}


def near_limits(curves: Sequence[Curve], axis: Range, statistic: str = "var") -> dict[str, float]:
    """The limits inside the axis that some curve crosses, or comes within a decade of magnitude of."""
    reach = NEAR if statistic == "absmax" else 2 * NEAR
    found = {}
    for label, at in limits(statistic).items():
        near = any(c.drawn.size and np.nanmin(c.mean) - reach <= at <= np.nanmax(c.mean) + reach for c in curves)
        if near and axis[0] < at < axis[1]:
            found[label] = at
    return found


def draw_formats(panel: Panel, statistic: str = "var") -> None:
    """Draw the limits that curves of the panel come near to, each with a label where there is room, else not at all.

    Lines pause where something is written.
    """
    ax, every = panel.ax, [curve for curves in panel.curves for curve in curves]
    found = near_limits(every, ax.get_ylim(), statistic)
    if not found:
        return
    point = pixels(ax)
    paths = np.concatenate([np.empty((0, 2)), *(panel.path(curve) for curve in every)])
    paths = np.unique(np.round(paths / point), axis=0) * point
    ends = {at: ax.transData.transform([(0, at)] * 2)[:, 1] for at in found.values()}
    lines = {at: Bbox.from_extents(ax.bbox.x0, y[0], ax.bbox.x1, y[1]) for at, y in ends.items()}
    taken = [artist.get_window_extent() for artist in ax.texts if artist.get_text()]
    apart = np.array([-1, 0, 1, 0]) * BESIDE * point
    labels: dict[str, Bbox] = {}
    for label, at in found.items():
        others = [line for other, line in lines.items() if other != at]
        written = [Bbox.from_extents(*(box.extents + apart)) for box in [*taken, *labels.values()]]
        room = place(panel, label, lines[at].y0, paths, [*written, *others])
        if room is None:
            del lines[at]
        else:
            labels[label] = room
    for label, room in labels.items():
        across, up = ax.transAxes.inverted().transform((room.x0, (room.y0 + room.y1) / 2))
        ax.text(
            across,
            up,
            label,
            transform=ax.transAxes,
            color=grey(INK),
            fontsize=scaled(ax, LEAST_SIZE),
            verticalalignment="center",
            usetex=usetex(),
            zorder=1.3,
            gid="format",
        )
        y = lines[found[label]].y0
        written = [box for box in [*taken, *labels.values()] if box.y0 <= y <= box.y1]
        for stroke in strokes(ax.bbox.x0, ax.bbox.x1, [(box.x0 - point, box.x1 + point) for box in written]):
            x = ax.transAxes.inverted().transform([(end, y) for end in stroke])[:, 0]
            ax.add_artist(
                Line2D(
                    x,
                    [found[label]] * 2,
                    transform=ax.get_yaxis_transform(),
                    color=grey(GREY),
                    linewidth=0.5,
                    linestyle=(0, (6, 3)),
                    zorder=1.2,
                    gid="format",
                )
            )


def strokes(low: float, high: float, pauses: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of an interval without the pauses."""
    found, start = [], low
    for begin, end in sorted(pauses):
        found += [(start, min(begin, high))] if begin > start else []
        start = max(start, end)
    return [*found, (start, high)] if start < high else found


def place(
    panel: Panel, label: str, line: float, paths: Float[np.ndarray, "points 2"], taken: Sequence[Bbox]
) -> Bbox | None:
    """The room upon or below a line (pixels) that is free and covers the least of the curves; None where none is."""
    ax, point = panel.ax, pixels(panel.ax)
    width, height = (length * point for length in text_size(figure_of(ax), label, scaled(ax, LEAST_SIZE)))
    gap = GAP * point
    x = np.linspace(ax.bbox.x0 + gap, ax.bbox.x1 - gap - width, 40)
    sides = [np.column_stack([x, 0 * x + y, x + width, 0 * x + y + height]) for y in (line + 1, line - 1 - height)]
    rooms = np.concatenate(sides)
    inside = (rooms[:, 1] >= ax.bbox.y0) & (rooms[:, 3] <= ax.bbox.y1) & (rooms[:, 0] >= ax.bbox.x0)
    others = np.array([box.extents for box in taken]).reshape(-1, 4)
    rooms = rooms[inside & ~crossing(rooms, others).any(axis=1)]
    covered = crossing(rooms, np.tile(paths, 2)).sum(axis=1)
    if not len(rooms) or covered.min() > COVERED:
        return None
    return Bbox.from_extents(*rooms[covered.argmin()])
