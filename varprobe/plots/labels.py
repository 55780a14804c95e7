"""Labels at the ends of the curves.

They stand in a column beside the panel, or between a forward and a backward panel, where the ends of both
meet: a signal arrives at the right of the one and at the left of the other, so one column names both. Labels
keep the order of the ends and move apart no more than they must.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from varprobe.plots.groups import Group
from varprobe.plots.layout import pixels
from varprobe.plots.panel import Panel
from varprobe.plots.style import LABEL_SIZE, LINE_WIDTH, sized, usetex
from varprobe.plots.texts import shown

__all__ = ["Column", "column", "draw_labels", "spread"]

GUTTER = 16.0
"""Points between the axes and the text, for the leader lines."""
GAP = 1.5
"""Points between labels."""
CLEAR = 2.5
"""Points between a leader and its text, and between it and the axes."""
SAMPLE = 11.0
"""Points of line beside the label of curves that left the axes."""
LONGEST = 20
"""Letters after which a label goes on in a new line, where it has a place to break."""


@dataclass(frozen=True)
class Column:
    """The texts of a label column, one for each group, and the room they take in points."""

    texts: tuple[str, ...]
    widths: tuple[float, ...]
    heights: tuple[float, ...]
    size: float

    @property
    def width(self) -> float:
        """Width of the widest text."""
        return max(self.widths, default=0.0)

    @property
    def height(self) -> float:
        """Height of all texts one above the other."""
        return sum(self.heights) + GAP * max(0, len(self.heights) - 1)


def column(figure: Figure, groups: Sequence[Group], height: float | None = None, size: float | None = None) -> Column:
    """The labels of the groups; where a height (points) is given, with fewer names spelled out so that they fit."""
    size = sized(LABEL_SIZE) if size is None else size
    for most in (24, 4, 2, 1):
        texts = tuple(shown(group.text(LONGEST, most)) for group in groups)
        sizes = [text_size(figure, text, size) for text in texts]
        made = Column(texts, tuple(w for w, _ in sizes), tuple(h for _, h in sizes), size)
        if height is None or made.height <= height:
            break
    return made


def text_size(figure: Figure, text: str, size: float) -> tuple[float, float]:
    """Width and height of a text in points."""
    artist = Text(0, 0, text, fontsize=size, linespacing=1.05, usetex=usetex())
    artist.set_figure(figure)
    box = artist.get_window_extent()
    return box.width * 72 / figure.dpi, box.height * 72 / figure.dpi


def spread(
    wanted: Float[np.ndarray, " n"], heights: Float[np.ndarray, " n"], low: float, high: float
) -> Float[np.ndarray, " n"]:
    """Centers nearest to the wanted ones (least squares) that keep their order, do not overlap and stay in range.

    `wanted` rises. Less the room that the labels below take, the centers only have to rise: isotonic regression,
    solved by pooling neighbors, and clipping its solution solves the problem with bounds.
    """
    below = np.concatenate([[0.0], np.cumsum(heights)[:-1]]) + heights / 2
    pools: list[list[float]] = []
    for target in np.asarray(wanted, dtype=float) - below:
        pools.append([target])
        while len(pools) > 1 and np.mean(pools[-2]) >= np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    starts = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools] or [np.empty(0)])
    return np.clip(starts, low, max(low, high - heights.sum())) + below


def draw_labels(labels: Column, left: Panel | None, right: Panel | None) -> list[Artist]:
    """Draw the labels right of the panel `left`, left of the panel `right`, or between both; returns what it drew."""
    panels = [panel for panel in (left, right) if panel]
    ax, groups = panels[0].ax, panels[0].groups
    point = pixels(ax)
    low, high = ax.bbox.y0, ax.bbox.y1
    ends = np.array([[panel.end(g)[1] for g in range(len(groups))] for panel in panels])
    wanted = np.clip(ends, low, high).mean(axis=0)
    order = np.lexsort((ends.mean(axis=0), wanted))  # those that leave on the same side by how far they go
    heights = (np.array(labels.heights) + GAP) * point
    centers = np.empty(len(groups))
    centers[order] = spread(wanted[order], heights[order], low - GAP * point, high + GAP * point)
    inner, outer = panels[0].edge, panels[-1].edge
    if left and right:
        align, x = "center", (inner + outer) / 2
    else:
        align, x = ("left", inner + GUTTER * point) if left else ("right", outer - GUTTER * point)
    drawn: list[Artist] = []
    for g, group in enumerate(groups):
        half = labels.widths[g] * point / 2
        middle = x + {"center": 0.0, "left": half, "right": -half}[align]
        across, up = ax.transAxes.inverted().transform((x, centers[g]))
        text = ax.text(
            across,
            up,
            labels.texts[g],
            transform=ax.transAxes,
            color=group.look.ink,
            fontsize=labels.size,
            linespacing=1.05,
            horizontalalignment=align,
            verticalalignment="center",
            usetex=usetex(),
            gid="label",
        )
        drawn.append(text)
        for panel, side in ((left, -1), (right, 1)):
            if panel:
                drawn.append(draw_leader(panel, g, (middle + side * (half + CLEAR * point), centers[g]), -side * point))
    return drawn


def draw_leader(panel: Panel, group: int, text_side: tuple[float, float], point: float) -> Artist:
    """The line from the end of the curves to their label, or a sample of the line where they left the axes.

    `point` is the length of one point in pixels, signed by the way from the panel to the label.
    """
    x, y = text_side
    look = panel.groups[group].look
    if panel.leaves(group):
        path = [(x - SAMPLE * point, y), (x, y)]
        style = {"linestyle": look.linestyle, "linewidth": sized(LINE_WIDTH)}
    else:
        end = panel.end(group)
        bend = panel.edge + (GUTTER - 2 * CLEAR) * point
        path = [tuple(end), (panel.edge + CLEAR * point, end[1]), (bend, y), (x, y)]
        style = {"linestyle": "-", "linewidth": 0.5}
    ax = panel.ax
    points = ax.transAxes.inverted().transform(path)
    leader = Line2D(*points.T, transform=ax.transAxes, color=look.color, clip_on=False, gid="leader", **style)  # type: ignore[arg-type]
    leader.set_in_layout(False)
    return ax.add_artist(leader)
