"""The first steps of training: signals and updates by layer, a color for each step, and the loss."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.exits import draw_exits
from varprobe.plots.facets import MOST_CURVES, crowded, one_panel, values
from varprobe.plots.groups import Group, group_names, wrapped
from varprobe.plots.keys import name_curves, name_in_place
from varprobe.plots.layers import layers_label
from varprobe.plots.layout import BETWEEN, figure_of, height
from varprobe.plots.pages import on_axes, page, require_room
from varprobe.plots.panel import Panel
from varprobe.plots.steps import chosen_steps, draw_step_bar
from varprobe.plots.style import AXIS_SIZE, LINE_WIDTH, Look, ink, paper, sheet, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.plots.training_curves import Lines, against_layer, against_step, has, meaning, text_of
from varprobe.plots.training_panels import draw_layers, draw_steps, mark_steps, ranges_of
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs, with_configs
from varprobe.storage.kinds import of_sites, require_kind

__all__ = ["plot_training", "training_figure"]

DEFAULT = ("activation", "gradient", "update", "loss")
AGAINST = {"layer": "a curve is a step", "step": "a curve is a layer, or a configuration"}
MOST = 4
"""Configurations side by side."""
TALL = 80.0
"""Points of height of a panel, about, before there is a layout."""
LETTER = 0.55
"""Width of a letter, about, in units of its size."""


@checks_types
def plot_training(
    ds: xr.Dataset,
    quantity: str = "gradient",
    against: str | None = None,
    ax: Axes | None = None,
    *,
    layers: Sequence[int] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Axes:
    """Draw one quantity of nets in training, by its mean over seeds within one standard deviation.

    Against the layer a curve is a step, the first dark and the last light, and only these two have bands; against the
    step it is a layer, or, of several configurations, a configuration. Mean and deviation are of log10 values, and so
    is the y axis (of a loss where it spans more than a decade). A net is not drawn after the step at which it left the
    range of floats.

    Args:
        ds: a dataset of `track`; of a model of your own, layers are its sites in the order of execution.
        quantity: activation, preactivation, gradient or weight_gradient (variance); update (RMS of what a step changes
            the weights of a layer by over theirs; the line is 10^-3, a rule of thumb) or loss (of the batch).
        against: layer (of one configuration; the default), or step (the only one of the loss).
        ax: the axes to draw in, by default a new figure's.
        layers: that are drawn against the step: by default five, from the first to the last; of several configurations
            the one where the signal arrives: the last, or of what runs backward the first.
        labels: what to write instead of a name, as in `{"he_normal": "He"}`.

    Raises:
        InvalidArgumentError: the dataset has no steps, the quantity was not measured, or there is more than can be told
            apart.
    """
    ds = trained(ds, labels)
    found = meaning(ds, quantity)
    against = against or ("step" if quantity == "loss" else "layer")
    lookup(AGAINST, against, "axis")
    if against == "step":
        lines = against_step(ds, quantity, layers, labels)
        require_few(ds, lines)
        return on_axes(ax, (4.0, 2.6), lambda ax: draw_named(ax, lines))
    if quantity == "loss":
        raise InvalidArgumentError("the loss is of no layer; it is drawn against the step", "against")
    if ds.sizes["config"] > 1:
        raise InvalidArgumentError(
            f"one configuration at a time, this dataset has {ds.sizes['config']}; see varprobe.select", "ds"
        )
    steps = chosen_steps(ds["step"].values.tolist())
    (curves,) = against_layer(ds, quantity, steps)

    def draw(ax: Axes) -> None:
        """The curves, what their colors mean, and where they leave."""
        (limits,) = ranges_of([curves], height(ax))
        panel = draw_layers(ax, found, curves, steps, limits, last_layer(ds))
        ax.set_ylabel(text_of(ds, quantity))
        ax.set_xlabel(layers_label(ds))
        draw_step_bar(figure_of(ax), [ax], steps)
        figure_of(ax).draw_without_rendering()
        draw_exits(panel, outermost_only=True)

    return on_axes(ax, (4.0, 2.6), draw)


def trained(ds: xr.Dataset, labels: Mapping[str, str] | None) -> xr.Dataset:
    """The dataset with all of its dimensions.

    Raises:
        InvalidArgumentError: it is of no training, or a label is of nothing.
    """
    require_kind(ds, "track", "track_model")
    require_configs(ds)
    check_labels(labels or {}, names_in(ds))
    return with_configs(ds)


def last_layer(ds: xr.Dataset, config: int = 0) -> int:
    """The last layer of a net, or the last site of a model."""
    return ds.sizes["layer"] - 1 if of_sites(ds) else int(ds["depth"].values[config])


def require_few(ds: xr.Dataset, lines: Lines) -> None:
    """Refuse more configurations than can be told apart."""
    if crowded(lines.plan):
        color = lines.plan.color
        raise InvalidArgumentError(
            f"{len(set(lines.plan.names))} curves in a panel cannot be told apart (at most {MOST_CURVES}): choose with"
            f" --select, for example {color}={values(ds, color)[0]}",
            "select",
        )


def groups_of(every: Sequence[Lines], ranges: Sequence[tuple[float, float]], tall: float) -> list[Group]:
    """The looks of curves, common to all panels; a curve alone is in the color of the text."""
    plan = every[0].plan
    if len(set(plan.names)) == 1:
        return [Group((plan.names[0],), Look(ink()))]
    thickness = [1.2 * sized(LINE_WIDTH) * (high - low) / tall for low, high in ranges]
    return group_names(plan, [lines.curves for lines in every], thickness)


def draw_named(ax: Axes, lines: Lines) -> None:
    """Curves against the step, with their names at their ends."""
    (limits,) = ranges_of([lines.curves], height(ax), lines.log)
    groups = groups_of([lines], [limits], height(ax))
    panel = draw_steps(ax, lines, groups, limits)
    ax.set_ylabel(lines.text)
    if len(set(lines.plan.names)) > 1:
        name_in_place(panel)
    else:
        figure_of(ax).draw_without_rendering()
    draw_exits(panel)


def training_figure(
    ds: xr.Dataset,
    *,
    quantities: Sequence[str] = DEFAULT,
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """The figure for a paper: quantities by layer, colored by step, and the loss, where dots are the steps drawn.

    Up to four configurations have a column each; of more, every quantity is drawn against the step, a curve for each
    configuration, at the layer where the signal arrives.

    Args:
        ds: a dataset of `track`.
        quantities: which to draw, as in `plot_training`; by default those of activation, gradient, update and loss that
            were measured.
        size: width and height in inches; by default that of the style, and as high as the rows need.
        labels: what to write instead of a name.

    Raises:
        InvalidArgumentError: the dataset has no steps, a quantity was not measured, or there is more than a page shows.
    """
    ds = trained(ds, labels)
    drawn = [q for q in quantities if has(ds, q)] if tuple(quantities) == DEFAULT else list(quantities)
    if ds.sizes["config"] > MOST:
        return overview(ds, drawn, size, labels)
    return side_by_side(ds, drawn, size, labels)


def side_by_side(
    ds: xr.Dataset, drawn: Sequence[str], size: tuple[float, float] | None, labels: Mapping[str, str] | None
) -> Figure:
    """A column for each configuration, a row for each quantity; one configuration has two columns."""
    count, steps = ds.sizes["config"], chosen_steps(ds["step"].values.tolist())
    places = places_of(len(drawn), count)
    rows, columns = (1 + max(place[i] for row in places for place in row) for i in (0, 1))
    with page(size, (5.5, 1.3 * rows + 0.6), rows, columns) as (figure, grid):
        panels = []
        for quantity, row in zip(drawn, places, strict=True):
            panels += draw_row(ds, quantity, steps, [grid[place] for place in row])
        for place in (place for q, row in zip(drawn, places, strict=True) if q != "loss" for place in row):
            under = (place[0] + 1, place[1])
            shared = any(under in row for q, row in zip(drawn, places, strict=True) if q != "loss")
            grid[place].tick_params(labelbottom=not shared)
            grid[place].set_xlabel("" if shared else layers_label(ds))
        if count > 1:
            letters = int(sheet(5.5, 1)[0] * 72 / count / (LETTER * sized(AXIS_SIZE)))
            for ax, name in zip(grid[0], one_panel(ds, labels).names, strict=True):
                ax.set_title(
                    shown("\n".join(line for part in name.split(", ") for line in wrapped(part, letters))), pad=3
                )
        if len(steps) > 1:
            draw_step_bar(figure, list(grid.flat), steps)
        require_room(figure, grid)
        named = [row[0] for row in grid] if count > 1 else list(grid.flat)
        if any(ax.yaxis.label.get_window_extent().height > ax.bbox.height + BETWEEN for ax in named):
            for ax in named:
                ax.set_ylabel(ax.get_ylabel().split("\n")[-1])  # the formula alone
            require_room(figure, grid)
        figure.set_layout_engine("none")  # type: ignore[arg-type]  # what follows stands where the panels are now
        for panel in panels:
            draw_exits(panel, outermost_only=True)
    return figure


def places_of(quantities: int, count: int) -> list[list[tuple[int, int]]]:
    """Row and column of the panels of each quantity, one a configuration."""
    if count > 1 or quantities % 2:
        return [[(row, column) for column in range(count)] for row in range(quantities)]
    return [[divmod(i, 2)] for i in range(quantities)]


def draw_row(ds: xr.Dataset, quantity: str, steps: Sequence[int], axes: Sequence[Axes]) -> list[Panel]:
    """The panels of a quantity, one a configuration, with one scale where that squeezes none."""
    if quantity == "loss":
        lines = against_step(ds, quantity)
        cells = [[curve] for curve in lines.curves]
        ranges = ranges_of(cells, TALL, lines.log)
        panels = []
        for ax, (curve,), limits in zip(axes, cells, ranges, strict=True):
            panels.append(draw_steps(ax, replace(lines, curves=[curve]), [Group((curve.name,), Look(ink()))], limits))
            mark_steps(ax, curve, steps)
    else:
        cells = against_layer(ds, quantity, steps)
        ranges = ranges_of(cells, TALL)
        panels = [
            draw_layers(ax, meaning(ds, quantity), curves, steps, limits, last_layer(ds, config))
            for config, (ax, curves, limits) in enumerate(zip(axes, cells, ranges, strict=True))
        ]
    axes[0].set_ylabel(text_of(ds, quantity, "\n"))
    for ax in axes[1:]:
        ax.tick_params(labelleft=len(set(ranges)) > 1)
    return panels


def overview(
    ds: xr.Dataset, drawn: Sequence[str], size: tuple[float, float] | None, labels: Mapping[str, str] | None
) -> Figure:
    """A panel for each quantity against the step, with a curve for each configuration."""
    every = [against_step(ds, quantity, None, labels) for quantity in drawn]
    require_few(ds, every[0])
    columns = 1 if len(every) % 2 else 2
    rows = len(every) // columns
    with paper():
        figure = Figure(figsize=size or sheet(5.5, 1.7 * rows + 0.3))
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False)
        ranges = [ranges_of([lines.curves], TALL, lines.log)[0] for lines in every]
        groups = groups_of(every, ranges, TALL)
        panels = [
            draw_steps(ax, lines, groups, limits) for ax, lines, limits in zip(grid.flat, every, ranges, strict=True)
        ]
        for panel, lines in zip(panels, every, strict=True):
            panel.ax.set_ylabel(lines.text.replace("  ", "\n"))
        for panel in panels[:-columns]:
            panel.ax.set_xlabel("")
        name_curves(figure, [panels[i : i + columns] for i in range(0, len(panels), columns)], columns)
        for panel in panels:
            draw_exits(panel)
    return figure
