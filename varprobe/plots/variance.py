"""The figure: variance against depth, forward and backward, one row of panels for each setting of what else varies."""

from collections.abc import Mapping, Sequence

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError
from varprobe.plots.curves import read_curves
from varprobe.plots.exits import draw_exits
from varprobe.plots.facets import MOST_CURVES, Facets, crowded, facets, one_panel, values
from varprobe.plots.formats import draw_formats
from varprobe.plots.groups import group_names
from varprobe.plots.keys import draw_bar, draw_bar_in_place, name_curves, name_in_place
from varprobe.plots.labels import column
from varprobe.plots.layers import curves_of, layers_label
from varprobe.plots.layout import height
from varprobe.plots.limits import common_ranges
from varprobe.plots.panel import Panel, draw_panel
from varprobe.plots.quantities import QUANTITIES, measured, quantity_of
from varprobe.plots.style import LINE_WIDTH, paper, sheet, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_layers

__all__ = ["plot_variance", "variance_figure"]

MOST_ROWS = 10
DEFAULT = ("activation", "gradient")


@checks_types
def plot_variance(
    ds: xr.Dataset,
    quantity: str = "gradient",
    ax: Axes | None = None,
    *,
    full_range: bool = False,
    labels: Mapping[str, str] | None = None,
    statistic: str = "var",
    theory: bool = True,
    formats: bool = True,
) -> Axes:
    """Draw one quantity against the layer: a curve for each config, its mean over seeds within one standard deviation.

    Mean and deviation are of log10 values, and so is the y axis: to add a line at 10^-3, draw it at y = -3.
    The range follows the curves that are not extreme; the others leave it in an arrow with their final value.

    Args:
        ds: a dataset of `sweep` or `probe`.
        quantity: activation, preactivation, gradient or weight_gradient.
        ax: the axes to draw in; they give up some of their width to the labels. By default a new figure's.
        full_range: show all curves to their end.
        labels: what to write instead of a name, as in `{"he_normal": "He"}`.
        statistic: var (about the mean), ms (mean square) or absmax.
        theory: draw, thin upon the curves, what is predicted at infinite width, and dotted one standard deviation of
            nets of this width.
        formats: draw lines at the limits of float16, bfloat16 and float8_e4m3 that curves come near to: where an RMS
            is the largest finite ("max") or the smallest normal number ("min").

    Returns:
        The axes. The labels of gradients stand at the left, where these arrive, and their scale at the right.

    Raises:
        InvalidArgumentError: the quantity was not measured, or there are more curves than can be told apart.
    """
    require_layers(ds)
    ds = curves_of(ds)
    check_labels(labels or {}, names_in(ds))
    plan = one_panel(ds, labels)
    require_readable(ds, plan)
    if ax is not None:
        panel = draw_panels(ds, plan, [[ax]], [quantity], statistic, full_range, theory)[0][0]
        if crowded(plan) and plan.ladder:
            draw_bar_in_place(panel, plan.ladder)
        else:
            name_in_place(panel)
        draw_exits(panel, outermost_only=crowded(plan))
        if formats:
            draw_formats(panel, statistic)
        return ax
    from matplotlib import pyplot  # only here, so that a figure for a file needs no display

    with paper():
        figure, ax = pyplot.subplots(figsize=sheet(4.0, 2.6))
        panels = draw_panels(ds, plan, [[ax]], [quantity], statistic, full_range, theory)
        compose(figure, panels, plan, statistic, formats)
    return ax


def variance_figure(
    ds: xr.Dataset,
    *,
    quantities: Sequence[str] = DEFAULT,
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
    full_range: bool = False,
    theory: bool = True,
    formats: bool = True,
) -> Figure:
    """The figure for a paper: variance of activations at the left, of gradients at the right, names between them.

    Colors stand for the first coordinate that varies, by preference `init`; each combination of the others has
    its own row of panels. The figure is not known to pyplot: it is shown by returning it in a notebook, or saved.

    Args:
        ds: a dataset of `sweep` or `probe`.
        quantities: which to draw; those that run backward stand at the right. A forward-only run has no gradients,
            and by default the figure then has none.
        size: width and height in inches; by default a text width, 5.5, and as high as the rows need.
        labels: what to write instead of a name, as in `{"he_normal": "He"}`.
        full_range: show all curves to their end.
        theory: draw what is predicted, as in `plot_variance`.
        formats: draw the limits of number formats, as `plot_variance` does.

    Raises:
        InvalidArgumentError: a quantity was not measured, or there is more than a figure can show.
    """
    require_layers(ds)
    ds = curves_of(ds)
    plan = facets(ds, labels)
    require_readable(ds, plan)
    drawn = sorted(quantities, key=lambda q: q in QUANTITIES and QUANTITIES[q].backward)
    if tuple(quantities) == DEFAULT:
        drawn = [q for q in drawn if measured(ds, q)] or drawn
    with paper():
        figure = Figure(figsize=size or sheet(5.5, 2.6 if len(plan.rows) == 1 else 1.9 * len(plan.rows)))
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(plan.rows), len(drawn), squeeze=False).tolist()
        panels = draw_panels(ds, plan, grid, drawn, "var", full_range, theory)
        for row, titled in zip(panels, plan.rows, strict=True):
            row[0].ax.set_title(shown(titled.title), loc="left", pad=3)
        if size is None and len(plan.rows) > 1:
            figure.set_size_inches(
                figure.get_size_inches()[0], sum(row_height(figure, row[0], crowded(plan)) for row in panels) + 0.35
            )
        compose(figure, panels, plan, "var", formats)
    return figure


def require_readable(ds: xr.Dataset, plan: Facets) -> None:
    """Refuse what no page could show."""
    if len(plan.rows) > MOST_ROWS:
        raise InvalidArgumentError(
            f"{len(plan.rows)} rows of panels are more than a page shows (at most {MOST_ROWS}): choose with --select,"
            f" for example {selection(ds, plan.panels[0])}"
        )
    if crowded(plan) and plan.ladder is None:
        raise InvalidArgumentError(
            f"{len(set(plan.names))} curves in a panel cannot be told apart (at most {MOST_CURVES}, or any number"
            f" that differ in one number): choose with --select, for example {selection(ds, plan.color)}"
        )


def selection(ds: xr.Dataset, coordinate: str) -> str:
    """An option that would leave one value of a coordinate."""
    return f"--select {coordinate}={values(ds, coordinate)[0]}"


def draw_panels(
    ds: xr.Dataset,
    plan: Facets,
    grid: Sequence[Sequence[Axes]],
    quantities: Sequence[str],
    statistic: str,
    full: bool,
    theory: bool,
) -> list[list[Panel]]:
    """Draw the curves of each row of the plan, a column of axes for each quantity, in looks common to all."""
    theory = theory and not crowded(plan)
    every = [read_curves(ds, quantity, statistic, plan.names, theory) for quantity in quantities]
    cells = [[[curves[i] for i in row.configs] for curves in every] for row in plan.rows]
    tall = height(grid[0][0])
    ranges = common_ranges(cells, full, tall)
    thickness = [1.2 * sized(LINE_WIDTH) * (high - low) / tall for row in ranges for low, high in row]
    groups = group_names(plan, [curves for row in cells for curves in row], thickness)
    panels: list[list[Panel]] = []
    for r, row in enumerate(plan.rows):
        here = [group.only({plan.names[i] for i in row.configs}) for group in groups]
        here = [group for group in here if group.names]
        panels.append([])
        for c, quantity in enumerate(quantities):
            curves = [[curve for curve in cells[r][c] if curve.name in group.names] for group in here]
            panel = Panel(grid[r][c], quantity_of(ds, quantity), here, curves)
            below = layers_label(ds) if r == len(plan.rows) - 1 else ""
            draw_panel(panel, ranges[r][c], statistic, below, stacked=len(plan.rows) > 1)
            panels[-1].append(panel)
    return panels


def row_height(figure: Figure, panel: Panel, crowded: bool) -> float:
    """Inches that a row of several needs: a readable panel, and room for its labels."""
    labels = 0.0 if crowded else column(figure, panel.groups).height / 72
    return max(sized(1.4), labels + 0.05) + sized(0.25)


def compose(figure: Figure, panels: Sequence[Sequence[Panel]], plan: Facets, statistic: str, formats: bool) -> None:
    """Give the panels their places, their curves names and arrows, and number formats their limits."""
    forward = sum(not panel.quantity.backward for panel in panels[0])
    if crowded(plan) and plan.ladder:
        draw_bar(panels, forward, plan.ladder)
    else:
        name_curves(figure, panels, forward)
    for row in panels:
        for panel in row:
            draw_exits(panel, outermost_only=crowded(plan))
            if formats:
                draw_formats(panel, statistic)
