"""Where the panels of a figure stand: as large as what is written around and between them leaves room for."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError
from varprobe.plots.style import AXIS_SIZE, LEAST_SIZE

__all__ = ["BETWEEN", "LEAST_PANEL", "arrange", "figure_of", "height", "overhang", "pixels", "scaled"]

MARGIN = 3.0
"""Points kept free at the edge of the figure."""
BETWEEN = 6.0
"""Points between what is written around neighboring panels."""
LEAST_PANEL = 50.0
"""Points of width and height below which a panel is not worth drawing."""


def figure_of(ax: Axes) -> Figure:
    """The whole figure that the axes are in, however deep in subfigures."""
    return ax.figure.figure  # type: ignore[return-value]  # typed as if it could be a subfigure


def pixels(ax: Axes) -> float:
    """Pixels to a point."""
    return figure_of(ax).dpi / 72


def height(ax: Axes) -> float:
    """Height of the axes in points."""
    return ax.bbox.height / pixels(ax)


def scaled(ax: Axes, size: float) -> float:
    """A font size of the paper figure, in proportion to the axis labels that these axes have."""
    return max(LEAST_SIZE, size * float(ax.xaxis.label.get_fontsize()) / AXIS_SIZE)


def overhang(ax: Axes) -> dict[str, float]:
    """How far ticks, labels and title reach beyond the axes on each side, in points."""
    full, box, point = ax.get_tightbbox(), ax.bbox, pixels(ax)
    assert full is not None
    return {
        "left": max(0.0, box.x0 - full.x0) / point,
        "right": max(0.0, full.x1 - box.x1) / point,
        "bottom": max(0.0, box.y0 - full.y0) / point,
        "top": max(0.0, full.y1 - box.y1) / point,
    }


def arrange(grid: Sequence[Sequence[Axes]], at: int, column: float, top: float = 0.0) -> float:
    """Place the rows of axes, leaving `column` points free before the axes number `at` of each row (or after the last).

    `top` points stay free at the top of the figure. Returns the width of a panel in points; the axes are left as
    they are where that is less than `LEAST_PANEL`, so that the caller may ask for less room beside them.
    """
    figure = figure_of(grid[0][0])
    width, tall = figure.get_size_inches() * 72
    panel = 0.0
    for _ in range(2):  # once more where the sizes change so much that the ticks may
        old = np.array(grid[0][0].bbox.size) / pixels(grid[0][0])
        around = [[overhang(ax) for ax in row] for row in grid]
        columns, rows = len(grid[0]), len(grid)
        before = np.array([max(row[j]["left"] for row in around) for j in range(columns)])
        after = np.array([max(row[j]["right"] for row in around) for j in range(columns)])
        above = np.array([max(side["top"] for side in row) for row in around])
        below = np.array([max(side["bottom"] for side in row) for row in around])
        gaps = np.concatenate([[MARGIN], after]) + np.concatenate([before, [MARGIN]])
        gaps[1:-1] += BETWEEN
        gaps[at] += column - (BETWEEN if 0 < at < columns else 0)
        panel = (width - gaps.sum()) / columns
        if panel < LEAST_PANEL:
            return panel
        rises = np.concatenate([[MARGIN + top], below]) + np.concatenate([above, [MARGIN]])
        rises[1:-1] += BETWEEN
        each = (tall - rises.sum()) / rows
        if each < LEAST_PANEL:
            raise InvalidArgumentError(
                f"{rows} rows of panels do not fit into a height of {tall / 72:.2g} inches;"
                f" ask for {(rises.sum() + rows * LEAST_PANEL) / 72:.2g} or more, or for fewer with --select",
                "size",
            )
        lefts = np.cumsum(gaps[:-1]) + panel * np.arange(columns)
        bottoms = tall - np.cumsum(rises[:-1]) - each * np.arange(1, rows + 1)
        for axes, bottom in zip(grid, bottoms, strict=True):
            for ax, left in zip(axes, lefts, strict=True):
                ax.set_position((left / width, bottom / tall, panel / width, each / tall))
        if np.abs(np.log(np.array([panel, each]) / old)).max() < 0.3:
            break
    return panel
