"""What tells the reader which curve is which: labels at the ends, else a colorbar or, in narrow figures, a legend."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from varprobe.errors import InvalidArgumentError
from varprobe.plots.groups import Group
from varprobe.plots.labels import GUTTER, column, draw_labels
from varprobe.plots.ladder import Ladder
from varprobe.plots.layout import BETWEEN, LEAST_PANEL, arrange, figure_of, height, overhang, pixels, scaled
from varprobe.plots.panel import Panel
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, LINE_WIDTH, ladder_map, sized
from varprobe.plots.texts import shown

__all__ = ["draw_bar", "draw_bar_in_place", "name_curves", "name_in_place"]

BAR_ROOM = 44.0
"""Points that a colorbar takes between panels."""
BAR_GAP = 10.0
BAR_WIDTH = 7.0
LEGEND_ROOM = 8.0
"""Points between the panels where the names stand in a legend."""


def name_curves(figure: Figure, panels: Sequence[Sequence[Panel]], at: int) -> None:
    """Arrange the panels with labels before those number `at` of each row, or below a legend if that is too narrow."""
    grid = [[panel.ax for panel in row] for row in panels]
    sides = (at > 0) + (at < len(grid[0]))
    for size in (sized(LABEL_SIZE), sized(LEAST_SIZE)):
        width = max(column(figure, row[0].groups, size=size).width for row in panels)
        if arrange(grid, at, width + sides * GUTTER) < LEAST_PANEL:
            continue
        tall = height(panels[0][0].ax)
        columns = [column(figure, row[0].groups, tall, size) for row in panels]
        if all(labels.height <= tall + 2 for labels in columns):
            for labels, row in zip(columns, panels, strict=True):
                draw_labels(labels, row[at - 1] if at else None, row[at] if at < len(row) else None)
            return
    groups = list({group.look: group for row in panels for group in row[0].groups}.values())
    legend = draw_legend(figure, groups)
    top = legend.get_window_extent().height * 72 / figure.dpi
    wide, high = figure.get_size_inches()
    if top > 0.45 * high * 72 or arrange(grid, at, LEGEND_ROOM, top) < LEAST_PANEL:
        raise InvalidArgumentError(
            f"{len(groups)} curves cannot be named in {wide:.3g} x {high:.3g} inches: ask for a larger size,"
            " or for fewer curves with --select",
            "size",
        )


def name_in_place(panel: Panel) -> None:
    """Label the curves of a panel in a figure of the caller's, at the cost of the panel's own width."""
    ax = panel.ax
    figure = figure_of(ax)
    figure.draw_without_rendering()
    size = scaled(ax, LABEL_SIZE)
    labels = column(figure, panel.groups, height(ax), size)
    sides = (None, panel) if panel.quantity.backward else (panel, None)
    make_room(panel, labels.width + GUTTER)
    drawn = draw_labels(labels, *sides)
    if figure.get_layout_engine() is not None:  # it makes room for the labels, and they follow the axes that it leaves
        figure.draw_without_rendering()
        for artist in drawn:
            artist.remove()
        draw_labels(labels, *sides)
        figure.draw_without_rendering()


def make_room(panel: Panel, points: float) -> None:
    """Narrow the axes for what stands at its end, as a colorbar does; a layout engine makes the room by itself.

    Axes of a backward quantity move left besides, by what their scale takes at the right instead of the left.
    """
    ax = panel.ax
    if figure_of(ax).get_layout_engine() is not None:
        return
    whole = ax.figure.bbox.width / pixels(ax)
    box = ax.get_position()
    taken = min(points / whole, 0.6 * box.width)
    if panel.quantity.backward:
        shift = max(0.0, overhang(ax)["right"] - BETWEEN) / whole
        ax.set_position((box.x0 + taken - shift, box.y0, box.width - taken, box.height))
    else:
        ax.set_position((box.x0, box.y0, box.width - taken, box.height))


def draw_legend(figure: Figure, groups: Sequence[Group]) -> Legend:
    """A legend along the top, in as many columns as the width allows."""
    handles = [
        Line2D([], [], color=g.look.color, linestyle=g.look.linestyle, linewidth=sized(LINE_WIDTH)) for g in groups
    ]
    for columns in range(len(groups), 0, -1):
        legend = figure.legend(
            handles,
            [shown(", ".join(group.names)) for group in groups],
            loc="upper center",
            ncols=columns,
            frameon=False,
            fontsize=sized(LABEL_SIZE),
            handlelength=1.8,
            handletextpad=0.5,
            columnspacing=1.2,
            labelspacing=0.25,
            borderpad=0.3,
            borderaxespad=0.1,
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()
    return legend


def draw_bar(panels: Sequence[Sequence[Panel]], at: int, ladder: Ladder) -> None:
    """Arrange the panels with one colorbar for all rows before those number `at`."""
    figure = figure_of(panels[0][0].ax)
    arrange([[panel.ax for panel in row] for row in panels], at, BAR_ROOM)
    top = panels[0][0].ax.get_position().y1
    bottom = panels[-1][0].ax.get_position().y0
    neighbor = panels[0][max(0, at - 1)].ax.get_position()
    width = figure.get_size_inches()[0] * 72
    left = neighbor.x1 + BAR_GAP / width if at else neighbor.x0 - (BAR_ROOM - BAR_GAP) / width
    fill_bar(figure.add_axes((left, bottom, BAR_WIDTH / width, 0.9 * (top - bottom))), ladder)


def draw_bar_in_place(panel: Panel, ladder: Ladder) -> None:
    """Draw the colorbar of a panel in a figure of the caller's, at the cost of the panel's own width."""
    make_room(panel, BAR_ROOM)
    width = panel.ax.bbox.width / pixels(panel.ax)
    left = -(BAR_ROOM - BAR_GAP) / width if panel.quantity.backward else 1 + BAR_GAP / width
    fill_bar(panel.ax.inset_axes((left, 0.0, BAR_WIDTH / width, 0.9)), ladder)


def fill_bar(ax: Axes, ladder: Ladder) -> None:
    """Fill the axes with the colors of the ladder and its numbers."""
    figure = figure_of(ax)
    bar = figure.colorbar(ScalarMappable(ladder.norm, ladder_map()), cax=ax)
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    ax.tick_params(which="major", length=2.0, width=0.5, pad=1.5, labelsize=sized(LABEL_SIZE))
    ax.tick_params(which="minor", length=1.2, width=0.4)
    ax.set_title(ladder.symbol, fontsize=sized(LABEL_SIZE + 1), pad=4)
