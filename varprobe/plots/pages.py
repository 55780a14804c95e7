"""Where a figure is drawn: on the caller's axes, on axes of pyplot's, or on a page of its own for a file."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from varprobe.errors import InvalidArgumentError
from varprobe.plots.style import LABEL_SIZE, grey, paper, sheet, sized, ticks

__all__ = ["dress", "key", "on_axes", "page", "require_room"]

Size = tuple[float, float]
LEAST = 25.0
"""Points of width and height below which a panel shows nothing."""


def on_axes(ax: Axes | None, size: Size, draw: Callable[[Axes], object]) -> Axes:
    """Draw on the axes given, or on those of a new figure of `size` inches (in the style `paper`), and return them."""
    if ax is not None:
        draw(ax)
        return ax
    from matplotlib import pyplot  # only here, so that a figure for a file needs no display

    with paper():
        _, ax = pyplot.subplots(figsize=sheet(*size), layout="constrained")
        draw(ax)
    return ax


@contextmanager
def page(
    size: Size | None, usual: Size, rows: int = 1, columns: int = 1, *, known: bool = False, **sharing: Any
) -> Iterator[tuple[Figure, np.ndarray]]:
    """(figure, its axes by row and column) in the style that is chosen.

    Args:
        size: inches; by default `usual`, which is in inches of the style `paper`.
        usual: see there.
        rows: of panels.
        columns: of panels.
        known: to pyplot, which then shows it; a figure for a file is not, and needs no display.
        sharing: what else `Figure.subplots` takes.
    """
    with paper():
        if known:
            from matplotlib import pyplot

            figure = pyplot.figure(figsize=size or sheet(*usual), layout="constrained")
        else:
            figure = Figure(figsize=size or sheet(*usual), layout="constrained")
            FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False, **sharing)
        yield figure, grid
        require_room(figure, grid)


def require_room(figure: Figure, grid: np.ndarray) -> None:
    """Refuse a page whose panels have no room left beside what is written around them.

    Raises:
        InvalidArgumentError: and the size of the page.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="constrained_layout not applied")
        try:
            figure.draw_without_rendering()
            least = min(min(ax.bbox.size) for ax in grid.flat) * 72 / figure.dpi
        except UserWarning:
            least = 0.0
    if least < LEAST:
        wide, tall = figure.get_size_inches()
        raise InvalidArgumentError(
            f"{wide:.3g} x {tall:.3g} inches are too small for this figure and its names: ask for more, or choose"
            " fewer with --select",
            "size",
        )


def dress(ax: Axes, grid: str | None = None) -> None:
    """Ticks and spines of a panel that stands alone; `grid` is the axis that has faint lines."""
    ticks(ax)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if grid:
        ax.grid(axis=grid, color=grey(0.92), linewidth=sized(0.5))  # type: ignore[arg-type]
        ax.set_axisbelow(True)


def key(where: Figure | Axes, handles: Sequence[Line2D], most: int = 4, above: bool = False, **place: Any) -> None:
    """What lines and marks mean: along the top, in as many columns as the width allows; in axes, if not above them."""
    settings: dict[str, Any] = {
        "handles": list(handles),
        "frameon": False,
        "fontsize": sized(LABEL_SIZE),
        "handlelength": 1.8,
        "handletextpad": 0.5,
        "columnspacing": 1.2,
        "labelspacing": 0.3,
        "borderpad": 0.2,
        "borderaxespad": 0.2,
    }
    if isinstance(where, Axes) and not above:
        where.legend(**settings | {"loc": "best"} | place)
        return
    outside: dict[str, Any] = {"loc": "outside upper center"}
    if isinstance(where, Axes):
        outside = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    for columns in range(min(most, len(handles)), 0, -1):
        legend = where.legend(**settings | outside, ncols=columns)
        if columns == 1 or legend.get_window_extent().width <= where.bbox.width:
            break
        legend.remove()
