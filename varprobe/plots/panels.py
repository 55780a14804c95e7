"""A grid of panels, one configuration each: activations by row, initializers (or depths) by column, axes in common."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from varprobe.errors import InvalidArgumentError
from varprobe.plots.curves import Curve, read_curves
from varprobe.plots.exits import draw_exits
from varprobe.plots.facets import renamed, values, varying
from varprobe.plots.groups import Group
from varprobe.plots.layers import layers_label
from varprobe.plots.limits import common_ranges
from varprobe.plots.logaxis import LayerLocator, exponent_axis
from varprobe.plots.pages import dress, key, page, require_room
from varprobe.plots.panel import Panel, draw_curve
from varprobe.plots.quantities import STATISTICS, axis_label, measured, quantity_of
from varprobe.plots.style import LINE_WIDTH, looks, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs
from varprobe.storage.kinds import require_kind

__all__ = ["panels_figure", "plot_panels"]

MOST_ROWS, MOST_COLUMNS = 8, 6
ROWS = ("act", "arch", "norm", "bias", "width", "depth", "init")
"""Coordinates in the order in which they are preferred as rows."""
DEFAULT = ("activation", "gradient")


@checks_types
def plot_panels(
    ds: xr.Dataset, *, labels: Mapping[str, str] | None = None, full_range: bool = False, theory: bool = True
) -> np.ndarray:
    """Draw variance against layer, forward and backward together, in a panel for each pair of two settings that vary.

    Rows are activations where these vary, columns initializers or depths; all panels have the same axes.

    Args:
        ds: a dataset of `sweep`, in which two coordinates or one vary.
        labels: what to write instead of a name.
        full_range: show all curves to their end.
        theory: draw what is predicted, thin.

    Returns:
        The axes of a new figure, shape (rows, columns).

    Raises:
        InvalidArgumentError: more than two settings vary, or there are more panels than a page holds.
    """
    return grid_of(ds, DEFAULT, None, labels, full_range, theory, known=True)[1]


def panels_figure(
    ds: xr.Dataset,
    *,
    quantities: Sequence[str] = DEFAULT,
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
    full_range: bool = False,
    theory: bool = True,
) -> Figure:
    """`plot_panels` as a figure for a file, of any quantities, each in a color.

    Raises:
        InvalidArgumentError: as `plot_panels`, or a quantity was not measured.
    """
    return grid_of(ds, quantities, size, labels, full_range, theory, known=False)[0]


def grid_of(
    ds: xr.Dataset,
    quantities: Sequence[str],
    size: tuple[float, float] | None,
    labels: Mapping[str, str] | None,
    full_range: bool,
    theory: bool,
    known: bool,
) -> tuple[Figure, np.ndarray]:
    """The figure, which pyplot knows or not, and its axes."""
    require_kind(ds, "sweep")
    require_configs(ds)
    check_labels(labels or {}, names_in(ds))
    down, across = axes_of(ds)
    rows, columns = (distinct(ds, name) for name in (down, across))
    if len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS:
        raise InvalidArgumentError(
            f"{len(rows)} x {len(columns)} panels do not fit a page (at most {MOST_ROWS} x {MOST_COLUMNS}):"
            " choose with --select",
            "select",
        )
    drawn = [q for q in quantities if measured(ds, q)] if tuple(quantities) == DEFAULT else list(quantities)
    every = {q: read_curves(ds, q, "var", [q] * ds.sizes["config"], theory) for q in drawn}
    styles = dict(zip(drawn, looks(len(drawn)), strict=True))
    limits = common_ranges([[[c for curves in every.values() for c in curves]]], full_range)[0][0]
    usual = (5.5, 1.15 * len(rows) + 0.75)
    with page(size, usual, len(rows), len(columns), known=known, sharex=True, sharey=True) as (figure, grid):
        panels = []
        for r, row in enumerate(rows):
            for c, column in enumerate(columns):
                ax, at = grid[r, c], place(ds, {down: row, across: column})
                curves = [] if at is None else [every[q][at] for q in drawn]
                draw(ax, curves, [styles[q] for q in drawn], limits, int(np.max(ds["depth"].values)))
                if curves:
                    groups = [Group((q,), styles[q]) for q in drawn]
                    panels.append(Panel(ax, quantity_of(ds, drawn[0]), groups, [[curve] for curve in curves]))
                if r == 0 and across:
                    ax.set_title(shown(title(across, column, labels)), pad=3)
                if r == len(rows) - 1:
                    ax.set_xlabel(layers_label(ds))
                if c == len(columns) - 1 and down:
                    side = ax.annotate(shown(title(down, row, labels)), (1.03, 0.5), xycoords="axes fraction")
                    side.set(rotation=-90, va="center", fontsize=ax.title.get_fontsize())
        figure.supylabel(STATISTICS["var"][0], fontsize=sized(8.0))
        key(figure, [handle(ds, q, styles[q]) for q in drawn])
        require_room(figure, grid)
        figure.set_layout_engine("none")  # type: ignore[arg-type]  # what follows stands where the panels are now
        for panel in panels:
            draw_exits(panel)
    return figure, grid


def axes_of(ds: xr.Dataset) -> tuple[str, str]:
    """The coordinates that rows and columns stand for; "" where nothing varies."""
    found = varying(ds)
    if len(found) > 2:
        raise InvalidArgumentError(
            f"{', '.join(found)} vary, and panels have two directions: keep one value of a third with --select",
            "select",
        )
    if len(found) < 2:
        return "", found[0] if found else ""
    down = min(found, key=lambda name: ROWS.index(name) if name in ROWS else len(ROWS))
    return down, next(name for name in found if name != down)


def distinct(ds: xr.Dataset, name: str) -> list[object]:
    """The values of a coordinate, in order."""
    return list(dict.fromkeys(values(ds, name))) if name else [None]


def place(ds: xr.Dataset, where: Mapping[str, object]) -> int | None:
    """The configuration with these values."""
    wanted = {name: value for name, value in where.items() if name}
    columns = {name: values(ds, name) for name in wanted}
    found = [i for i in range(ds.sizes["config"]) if all(columns[n][i] == v for n, v in wanted.items())]
    return found[0] if found else None


def title(name: str, value: object, labels: Mapping[str, str] | None) -> str:
    """`he_normal`, `depth 50`."""
    text = renamed(value, labels)
    return text if name in ("init", "act", "arch") else f"{name} {text}"


def draw(ax: Axes, curves: Sequence[Curve], styles: Sequence[Any], limits: tuple[float, float], depth: int) -> None:
    """The curves of a configuration, on axes as long as the deepest of all."""
    for curve, look in zip(curves, styles, strict=False):
        draw_curve(ax, curve, Group((curve.name,), look), marked=False)
    ax.set_xlim(0, depth)
    ax.xaxis.set_major_locator(LayerLocator(0, depth))
    ax.set_ylim(*limits)
    exponent_axis(ax)
    dress(ax, "y")


def handle(ds: xr.Dataset, quantity: str, look: Any) -> Line2D:
    """A line of the legend."""
    found = quantity_of(ds, quantity)
    text = axis_label(found, "var", " ")
    return Line2D([], [], color=look.color, linestyle=look.linestyle, linewidth=sized(LINE_WIDTH), label=text)
