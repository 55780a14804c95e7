"""The phase diagram: chi_1 or the correlation depth xi_c over the plane, the critical line, and where initializers are.

Biases of the standard initializers are zero, so that they lie on the lower edge; their names hang from it.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from varprobe.names import lookup
from varprobe.phase_axes import is_logarithmic
from varprobe.phase_measured import Measured
from varprobe.phases import Diagram, Point, line_in, phase_diagram
from varprobe.plots.flags import hang
from varprobe.plots.labels import text_size
from varprobe.plots.layout import figure_of, pixels
from varprobe.plots.phase_scales import SCALES, Scale
from varprobe.plots.regions import roomiest
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, NOTE_SIZE, paper
from varprobe.theory.elementwise import ActivationLike

__all__ = ["phase_figure", "plot_phase"]

POLE = 8.0
"""Points from the lower edge to the first row of names."""
STEP = 8.5
"""Points from one row of names to the next."""
LINE = 1.3
HALO = [withStroke(linewidth=1.8, foreground="white")]
REGIONS = {
    "ordered": ("ordered",),
    "chaotic": ("chaotic",),
    "grows without bound": ("grows without bound", "grows\nwithout bound", "grows\nwithout\nbound"),
}


def plot_phase(
    act: ActivationLike,
    *,
    sigma_w2: object = None,
    sigma_b2: object = None,
    show: str = "chi_1",
    width: int = 512,
    ax: Axes | None = None,
) -> Axes:
    """Draw the phase diagram of an activation: no network is run.

    Args:
        act: a name, a call form or a callable.
        sigma_w2, sigma_b2: the axes, "LO:HI:N" or numbers; by default 50 values that show the critical line.
        show: "chi_1", the gradient's factor per layer toward the input, or "xi", the layers in which the correlation
            of two inputs comes closer to its fixed point by e.
        width: units of a layer, on which the variance of some initializers depends.
        ax: the axes to draw in; they give up some of their width to the colorbar. By default a new figure's.

    Returns:
        The axes.

    Raises:
        RequestError: an axis is out of range, or the activation has no finite averages.
    """
    scale = lookup(SCALES, show, "quantity")
    diagram = phase_diagram(act, sigma_w2, sigma_b2, width)
    if ax is not None:
        compose(figure_of(ax), [ax], diagram, [scale.of(diagram.grid)], scale, [""])
        return ax
    from matplotlib import pyplot  # only here, so that a figure for a file needs no display

    with paper():
        figure, ax = pyplot.subplots(figsize=(3.6, 3.1), layout="constrained")
        compose(figure, [ax], diagram, [scale.of(diagram.grid)], scale, [""])
    return ax


def phase_figure(
    diagram: Diagram,
    measured: Measured | None = None,
    show: str = "chi_1",
    size: tuple[float, float] | None = None,
) -> Figure:
    """The figure for a paper: one panel of theory, or measured beside predicted factors in one color scale.

    The figure is not known to pyplot: it is shown by returning it in a notebook, or saved.

    Args:
        diagram: what `phase_diagram` found.
        measured: what `compare` found on the same axes; its factors replace chi_1.
        show: "chi_1" or "xi".
        size: width and height in inches.

    Raises:
        RequestError: another `show`.
    """
    scale = lookup(SCALES, show, "quantity")
    titles, planes = [""], [scale.of(diagram.grid)]
    if measured:
        seeds = f"{measured.seeds} seed{'s' if measured.seeds > 1 else ''}"
        titles = [f"predicted, depth {measured.depth}", f"measured, width {measured.width}, {seeds}"]
        planes = [measured.predicted, measured.measured]
    with paper():
        figure = Figure(figsize=size or ((6.2, 3.1) if measured else (3.6, 3.1)), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0].tolist()
        label = "gradient factor per layer" if measured else scale.label
        compose(figure, panels, diagram, planes, scale, titles, label)
    return figure


def compose(
    figure: Figure,
    panels: Sequence[Axes],
    diagram: Diagram,
    planes: Sequence[np.ndarray],
    scale: Scale,
    titles: Sequence[str],
    label: str | None = None,
) -> None:
    """Draw planes in one color scale; names find their places once the panels have theirs."""
    norm, ticks = scale.norm(planes)
    for ax, plane, title in zip(panels, planes, titles, strict=True):
        image = draw_plane(ax, diagram, np.clip(plane, norm.vmin, norm.vmax), scale, norm)
        draw_line(ax, diagram)
        ax.set_xlabel(r"$\sigma_w^2$")
        ax.set_title(title or diagram.act.name, loc="left", pad=3)
    panels[0].set_ylabel(r"$\sigma_b^2$")
    bar = figure.colorbar(image, ax=list(panels), extend=scale.extend(planes, norm), aspect=24, pad=0.02, fraction=0.07)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    bar.ax.tick_params(length=2.0, width=0.5, pad=1.5, labelsize=LABEL_SIZE)
    bar.set_label(label or scale.label, fontsize=LABEL_SIZE + 1)
    key = legend_of(diagram)
    if key:
        panels[-1].legend(
            handles=key,
            loc="lower right",
            bbox_to_anchor=(1.0, 1.0),
            frameon=False,
            fontsize=NOTE_SIZE,
            handlelength=1.6,
            handletextpad=0.4,
            borderaxespad=0.1,
            borderpad=0.2,
            labelspacing=0.2,
        )
    figure.draw_without_rendering()
    levels = max(draw_points(ax, diagram, rehearse=True) for ax in panels)
    for ax in panels:
        make_band(ax, diagram, levels)
    figure.draw_without_rendering()
    for ax in panels:
        draw_points(ax, diagram)
        name_regions(ax, diagram)


def draw_plane(ax: Axes, diagram: Diagram, plane: np.ndarray, scale: Scale, norm: object) -> object:
    """The image, cut at the first and the last value of each axis; hatched where the signal grows without bound."""
    grid = diagram.grid
    image = ax.pcolormesh(
        grid.sigma_w2,
        grid.sigma_b2,
        np.ma.masked_invalid(plane).T,
        shading="nearest",
        norm=norm,
        cmap=scale.colors(),
        rasterized=True,
        zorder=1,
        gid="plane",
    )
    grows = grid.phase.T == "grows without bound"
    if grows.any():
        with rc_context({"hatch.linewidth": 0.35}):
            hatched = ax.contourf(
                grid.sigma_w2, grid.sigma_b2, grows.astype(float), [0.5, 1.5], colors="none", hatches=["////"], zorder=2
            )
        hatched.set_edgecolor("0.35")
        hatched.set_linewidth(0.0)
        hatched.set_gid("grows")
    for letter, values in (("x", grid.sigma_w2), ("y", grid.sigma_b2)):
        if is_logarithmic(values):
            getattr(ax, f"set_{letter}scale")("log")
            line = getattr(ax, f"{letter}axis")
            line.set_major_locator(LogLocator(subs=(1, 2, 5) if values[-1] / values[0] < 200 else (1,)))
            line.set_major_formatter(StrMethodFormatter("{x:g}"))
            line.set_minor_formatter(NullFormatter())
    ax.set_xlim(grid.sigma_w2[0], grid.sigma_w2[-1])
    ax.set_ylim(grid.sigma_b2[0], grid.sigma_b2[-1])
    ax.tick_params(which="major", length=2.5, width=0.6, pad=2.0)
    ax.tick_params(which="minor", length=1.5, width=0.4)
    return image


def strokes(diagram: Diagram) -> list[tuple[bool, np.ndarray]]:
    """(stable, corners) of each stretch of the critical line; a stretch starts where the one before ends."""
    line, found = diagram.line, []
    corners = np.column_stack([line.sigma_w2, line.sigma_b2])
    if not line.q.size:
        return []
    apart = (line.q[1:] > 1.3 * line.q[:-1]) & (line.q[:-1] > 0)  # q without a point between
    turns = np.flatnonzero(apart | (line.stable[1:] != line.stable[:-1])) + 1
    for start, stop in itertools.pairwise([0, *turns.tolist(), line.q.size]):
        joined = start > 0 and not apart[start - 1]
        found.append((bool(line.stable[start]), corners[start - joined : stop]))
    return found


def draw_line(ax: Axes, diagram: Diagram) -> None:
    """The critical line, dashed where it is unstable; a diamond where it is one point."""
    for stable, corners in strokes(diagram):
        look = {"color": "black", "linewidth": LINE, "zorder": 4, "gid": "critical" if stable else "unstable"}
        if np.ptp(corners, axis=0).max() <= 1e-9 * corners.max():
            ax.plot(*corners[:1].T, marker="D", markersize=5, linestyle="", clip_on=False, **look)  # type: ignore[arg-type]
        else:
            ax.plot(*corners.T, linestyle="-" if stable else (0, (3, 1.5)), **look)  # type: ignore[arg-type]


def legend_of(diagram: Diagram) -> list[Line2D]:
    """What the marks of the critical line mean, or a word that there are none."""
    inside = line_in(diagram)
    if not diagram.line.q.size or not inside.any():
        words = "no critical line" if not diagram.line.q.size else "critical line: outside"
        return [Line2D([], [], linestyle="", label=words)]
    stable = diagram.line.stable[inside]
    handles = []
    drawn = strokes(diagram)
    if all(np.ptp(corners, axis=0).max() <= 1e-9 * corners.max() for _, corners in drawn):
        return [Line2D([], [], marker="D", markersize=4, linestyle="", color="black", label=r"$\chi_1 = 1$, one point")]
    if stable.any():
        handles.append(Line2D([], [], color="black", linewidth=LINE, label=r"$\chi_1 = 1$"))
    if not stable.all():
        handles.append(
            Line2D([], [], color="black", linewidth=LINE, linestyle=(0, (3, 1.5)), label=r"$\chi_1 = 1$, unstable")
        )
    return handles


def on_axes(ax: Axes, point: Point) -> float:
    """Where a point is, in points from the left end of the axes; beyond their ends, at the end."""
    low, high = ax.get_xlim()
    place = ax.transData.transform((min(max(point.fixed.sigma_w2, low), high), ax.get_ylim()[1]))[0]
    return float(place - ax.bbox.x0) / pixels(ax)


def draw_points(ax: Axes, diagram: Diagram, rehearse: bool = False) -> int:
    """Draw the initializers on the lower edge and hang their names from them; returns the rows of names.

    Those beyond the axes are triangles at their ends, with their sigma_w2. Where the axes do not reach down to
    sigma_b2 = 0 there are none.
    """
    if diagram.grid.sigma_b2[0] != 0:
        return 0
    figure, point = figure_of(ax), pixels(ax)
    low, high = diagram.grid.sigma_w2[[0, -1]]
    places = [on_axes(ax, p) for p in diagram.points]
    beyond = [int(p.fixed.sigma_w2 > high) - int(p.fixed.sigma_w2 < low) for p in diagram.points]
    texts = [f"{p.text} ({p.fixed.sigma_w2:.3g})" if b else p.text for p, b in zip(diagram.points, beyond, strict=True)]
    for size in (LABEL_SIZE, LEAST_SIZE):
        wide = [text_size(figure, text, size)[0] for text in texts]
        flags = hang(places, wide, ax.bbox.width / point)
        if flags is not None:
            break
    rows = 1 + max((flag.level for flag in flags), default=0) if flags else 1
    if rehearse:
        return rows
    edge = ax.get_ylim()[0]
    zero = ax.transData.transform((high, 0.0))[1]
    for at, text in enumerate(texts):
        x = ax.transAxes.inverted().transform((ax.bbox.x0 + places[at] * point, ax.bbox.y0))[0]
        y = (zero - ax.bbox.y0) / ax.bbox.height
        marker = {-1: "<", 0: "o", 1: ">"}[beyond[at]]
        ax.plot(
            [x], [y], transform=ax.transAxes, marker=marker, markersize=4.5, markerfacecolor="white",
            markeredgecolor="black", markeredgewidth=0.8, linestyle="", clip_on=False, zorder=6, gid="initializer",
        )  # fmt: skip
        if flags is None or edge >= 0:
            continue
        down = (POLE + STEP * flags[at].level) * point
        tip = y - down / ax.bbox.height
        ax.plot([x, x], [y, tip], transform=ax.transAxes, color="0.35", linewidth=0.5, zorder=5, gid="pole")
        left = (flags[at].left * point) / ax.bbox.width
        ax.text(
            left, tip, text, transform=ax.transAxes, fontsize=size, verticalalignment="center_baseline", gid="name",
            horizontalalignment="left", usetex=False, zorder=6,
        )  # fmt: skip
    return rows


def make_band(ax: Axes, diagram: Diagram, levels: int) -> None:
    """Free a band below sigma_b2 = 0 for so many rows of names; ticks stay above it."""
    low, high = diagram.grid.sigma_b2[[0, -1]]
    if levels == 0:
        return
    height = ax.bbox.height / pixels(ax)
    band = min(POLE + STEP * (levels - 0.4), height / 2)
    ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high * (1 + 1e-9)]
    ax.set_ylim(low - (high - low) * band / (height - band), high)
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.axhline(0.0, color="black", linewidth=0.6, zorder=3)


def name_regions(ax: Axes, diagram: Diagram) -> None:
    """Write "ordered", "chaotic" and "grows without bound" where there is room."""
    grid, point = diagram.grid, pixels(ax)
    wide, tall = (int(size / point) for size in ax.bbox.size)
    x, y = np.meshgrid(np.arange(wide) + 0.5, np.arange(tall) + 0.5, indexing="ij")
    places = ax.transData.inverted().transform(
        np.column_stack([ax.bbox.x0 + x.ravel() * point, ax.bbox.y0 + y.ravel() * point])
    )
    columns = nearest(grid.sigma_w2, places[:, 0])
    rows = nearest(grid.sigma_b2, places[:, 1])
    word = np.where(places[:, 1] >= 0, grid.phase[columns, rows], "").reshape(wide, tall)
    near = np.zeros((wide, tall), dtype=bool)
    for _, corners in strokes(diagram):
        for start, stop in itertools.pairwise(ax.transData.transform(corners) - ax.bbox.p0):
            steps = np.linspace(start, stop, 2 + min(4 * (wide + tall), int(np.abs(stop - start).max() / point)))
            i, j = (steps[np.isfinite(steps).all(axis=1)] / point).clip(-1e6, 1e6).astype(int).T
            inside = (i >= 0) & (i < wide) & (j >= 0) & (j < tall)
            near[i[inside], j[inside]] = True
    for name, spellings in REGIONS.items():
        sizes = [text_size(figure_of(ax), text, LABEL_SIZE + 1) for text in spellings]
        place = roomiest((word == name) & ~near, sizes)
        if place:
            which, (across, up) = place
            ax.text(
                across / wide, up / tall, spellings[which], transform=ax.transAxes, fontsize=LABEL_SIZE + 1,
                linespacing=1.05, horizontalalignment="center", verticalalignment="center", style="italic",
                path_effects=HALO, zorder=5, gid="region", usetex=False,
            )  # fmt: skip


def nearest(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Which value each place is nearest to, as an image shows them."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, at)
