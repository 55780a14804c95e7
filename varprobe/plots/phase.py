"""The phase diagram: chi_1 or the correlation depth xi_c over the plane, the critical line, and where initializers are.

Biases of the standard initializers are zero, so that they lie on the lower edge; their names hang from it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.flags import Flag, hang
from varprobe.plots.labels import text_size
from varprobe.plots.layout import figure_of, pixels
from varprobe.plots.phase_scales import SCALES, Scale
from varprobe.plots.regions import roomiest
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, NOTE_SIZE, grey, ground, ink, paper, sheet, sized, usetex
from varprobe.plots.texts import shown
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import single
from varprobe.theory.elementwise import ActivationLike
from varprobe.theory.phase_axes import is_logarithmic
from varprobe.theory.phase_diagram import Diagram, line_in, phase_diagram
from varprobe.verdict.phase_measured import Measured

__all__ = ["phase_figure", "plot_phase", "require_size"]

TITLE = 3.0
"""Points between a panel and its title."""
POLE = 8.0
"""Points from the lower edge to the first row of names."""
STEP = 8.5
"""Points from one row of names to the next."""
LEAST = (2.0, 1.8)
"""Inches that a panel needs at least, its scale included."""
LINE = 1.3
UNSTABLE = (0, (3, 1.5))
"""Dashes of the critical line where chi_q > 1, so that the mean square does not stay there."""
REGIONS = {
    "ordered": ("ordered",),
    "chaotic": ("chaotic",),
    "grows without bound": ("grows without bound", "grows\nwithout bound", "grows\nwithout\nbound"),
}


@checks_types
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
        sigma_w2: fan_in Var(W), "LO:HI:N" or numbers; by default 50 values that show the critical line.
        sigma_b2: Var(b), likewise.
        show: "chi_1", the gradient's factor per layer toward the input, or "xi", the layers in which the correlation
            of two inputs comes closer to its fixed point by e.
        width: units of a layer, on which the variance of some initializers depends.
        ax: the axes to draw in; they give up some of their width to the colorbar. By default a new figure's.

    Returns:
        The axes.

    Raises:
        InvalidArgumentError: an axis is out of range, or the activation has no finite averages.
    """
    scale = lookup(SCALES, show, "quantity")
    diagram = phase_diagram(act, sigma_w2, sigma_b2, single("width", width, 1))
    if ax is not None:
        compose(figure_of(ax), [ax], diagram, [scale.of(diagram.grid)], scale, [""])
        return ax
    from matplotlib import pyplot  # only here, so that a figure for a file needs no display

    with paper():
        figure, ax = pyplot.subplots(figsize=sheet(3.6, 3.1), layout="constrained")
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
        InvalidArgumentError: another `show`, or a size too small for the panels.
    """
    scale = lookup(SCALES, show, "quantity")
    require_size(size, 2 if measured else 1)
    titles, planes = [""], [scale.of(diagram.grid)]
    if measured:
        seeds = f"{measured.seeds} seed{'s' if measured.seeds > 1 else ''}"
        titles = [
            f"{diagram.act.name}: predicted, depth {measured.depth}",
            f"measured, width {measured.width}, {seeds}",
        ]
        planes = [measured.predicted, measured.measured]
    with paper():
        figure = Figure(figsize=size or sheet(*((6.2, 3.1) if measured else (3.6, 3.1))), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(planes), squeeze=False, sharey=True)[0].tolist()
        label = "gradient factor per layer" if measured else scale.label
        compose(figure, panels, diagram, planes, scale, titles, label)
    return figure


def require_size(size: tuple[float, float] | None, panels: int) -> None:
    """Refuse inches that cannot hold so many panels and their names."""
    least = (LEAST[0] * panels + 0.2, LEAST[1])
    if size is not None and (size[0] < least[0] or size[1] < least[1]):
        wide, tall = size
        raise InvalidArgumentError(
            f"{wide:.3g} x {tall:.3g} inches are too small for this figure (at least {least[0]:.3g} x {least[1]:.3g})",
            "size",
        )


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
        ax.set_title(title or diagram.act.name, loc="left", pad=TITLE)
    panels[0].set_ylabel(r"$\sigma_b^2$")
    bar = figure.colorbar(image, ax=list(panels), extend=scale.extend(planes, norm), aspect=24, pad=0.02, fraction=0.07)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.outline.set_linewidth(0.5)  # type: ignore[operator]
    bar.ax.tick_params(length=2.0, width=0.5, pad=1.5, labelsize=sized(LABEL_SIZE))
    bar.set_label(label or scale.label, fontsize=sized(LABEL_SIZE + 1))
    legend = panels[-1].legend(
        handles=legend_of(diagram),
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=sized(NOTE_SIZE),
        handlelength=1.6,
        handletextpad=0.4,
        borderaxespad=0.1,
        borderpad=0.2,
        labelspacing=0.2,
    )
    figure.draw_without_rendering()
    if any([fit_title(ax, legend if ax is panels[-1] else None) for ax in panels]):
        figure.draw_without_rendering()
    hanging = diagram.grid.sigma_b2[0] == 0
    marks = [marked(ax, diagram) if hanging else [] for ax in panels]
    flags = [flags_of(ax, these) for ax, these in zip(panels, marks, strict=True)]
    rows = max((1 + flag.level for some, _ in flags for flag in some), default=0)
    for ax in panels:
        if hanging:
            make_band(ax, diagram, rows)
    figure.draw_without_rendering()
    for ax, these, (some, size) in zip(panels, marks, flags, strict=True):
        draw_points(ax, these, some, size)
        name_regions(ax, diagram)


def fit_title(ax: Axes, legend: Legend | None) -> bool:
    """Cut a title that is wider than its panel, and raise it above a legend that it meets; whether it moved."""
    title, room = ax.get_title(loc="left"), ax.bbox.width / pixels(ax)
    size = float(ax.title.get_fontsize())
    letters = len(title)
    while text_size(figure_of(ax), kept := shortened(title, letters), size)[0] > room and letters > 8:
        letters -= 1
    pad = TITLE
    if legend is not None:
        box = legend.get_window_extent()
        wide = text_size(figure_of(ax), kept, size)[0] + 8
        if wide + box.width / pixels(ax) > room:
            pad += box.height / pixels(ax)
    ax.set_title(shown(kept), loc="left", pad=pad)
    return pad > TITLE


def shortened(text: str, letters: int) -> str:
    """The text with its middle left out where it has more letters."""
    if len(text) <= letters:
        return text
    return f"{text[: (letters - 1) // 2]}\u2026{text[len(text) - letters // 2 :]}"


def draw_plane(ax: Axes, diagram: Diagram, plane: np.ndarray, scale: Scale, norm: LogNorm) -> QuadMesh:
    """The image, cut at the first and the last value of each axis; hatched where the signal grows without bound."""
    grid = diagram.grid
    image = ax.pcolormesh(
        edges(grid.sigma_w2),
        edges(grid.sigma_b2),
        np.ma.masked_invalid(plane).T,
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
        hatched.set_edgecolor(grey(0.35))
        hatched.set_linewidth(0.0)
        hatched.set_gid("grows")
    for letter, values in (("x", grid.sigma_w2), ("y", grid.sigma_b2)):
        if is_logarithmic(values):
            getattr(ax, f"set_{letter}scale")("log")
            line = getattr(ax, f"{letter}axis")
            line.set_major_locator(LogLocator(subs=(1, 2, 5) if values[-1] / values[0] < 200 else (1,)))
            line.set_major_formatter(StrMethodFormatter("{x:g}"))
            line.set_minor_formatter(NullFormatter())
        elif letter == "x":
            ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_xlim(grid.sigma_w2[0], grid.sigma_w2[-1])
    ax.set_ylim(grid.sigma_b2[0], grid.sigma_b2[-1])
    ax.tick_params(which="major", length=2.5, width=0.6, pad=2.0)
    ax.tick_params(which="minor", length=1.5, width=0.4)
    return image


def is_point(diagram: Diagram) -> bool:
    """Whether the critical line is one point."""
    line = diagram.line
    spread = max(np.ptp(line.sigma_w2), np.ptp(line.sigma_b2)) if line.q.size else 1.0
    return bool(line.q.size and spread <= 1e-9 * line.sigma_w2[0])


def strokes(diagram: Diagram) -> list[tuple[bool, np.ndarray]]:
    """(stable, corners) of each stretch of the critical line; a stretch starts where the one before ends."""
    line, found = diagram.line, []
    corners = np.column_stack([line.sigma_w2, line.sigma_b2])
    if line.q.size < 2:
        return []
    stable = line.stable.copy()
    if line.q[0] == 0:  # where chi_q is 1 whatever comes next
        stable[0] = stable[1]
    apart = (line.q[1:] > 1.3 * line.q[:-1]) & (line.q[:-1] > 0)  # q without a point between
    turns = np.flatnonzero(apart | (stable[1:] != stable[:-1])) + 1
    for start, stop in itertools.pairwise([0, *turns.tolist(), line.q.size]):
        joined = start > 0 and not apart[start - 1]
        found.append((bool(stable[start]), corners[start - joined : stop]))
    return found


def draw_line(ax: Axes, diagram: Diagram) -> None:
    """The critical line, dashed where it is unstable; a diamond where it is one point."""
    if is_point(diagram):
        at = diagram.line.sigma_w2[:1], diagram.line.sigma_b2[:1]
        ax.plot(*at, marker="D", markersize=6, linestyle="", color=ink(), zorder=5, gid="critical", clip_on=False)
        return
    for stable, corners in strokes(diagram):
        dashes = "-" if stable else UNSTABLE
        name = "critical" if stable else "unstable"
        ax.plot(*corners.T, linestyle=dashes, color=ink(), linewidth=LINE, zorder=4, gid=name)  # type: ignore[arg-type]


def legend_of(diagram: Diagram) -> list[Line2D]:
    """What the marks of the critical line mean, or a word that there are none."""
    inside = line_in(diagram)
    if not inside.any():
        words = "critical line: outside" if diagram.line.q.size else "no critical line"
        return [Line2D([], [], linestyle="", label=words)]
    if is_point(diagram):
        return [Line2D([], [], marker="D", markersize=4, linestyle="", color=ink(), label=r"$\chi_1 = 1$, one point")]
    looks = {r"$\chi_1 = 1$": ("-", True), r"$\chi_1 = 1$, unstable": (UNSTABLE, False)}
    there = {bool(s) for s in diagram.line.stable[inside & (diagram.line.q > 0)]}
    return [
        Line2D([], [], color=ink(), linewidth=LINE, linestyle=dashes, label=text)  # type: ignore[arg-type]
        for text, (dashes, stable) in looks.items()
        if stable in there
    ]


@dataclass(frozen=True)
class Marked:
    """Initializers at one place of the lower edge: their sigma_w2, cut to the axes, with a marker and their name."""

    x: float
    marker: str
    text: str


def marked(ax: Axes, diagram: Diagram) -> list[Marked]:
    """The initializers from left to right; those beyond an end of the axes stand there together."""
    low, high = diagram.grid.sigma_w2[[0, -1]]
    found = []
    for marker, points in (
        ("<", [p for p in diagram.points if p.fixed.sigma_w2 < low]),
        *(("o", [p]) for p in diagram.points if low <= p.fixed.sigma_w2 <= high),
        (">", [p for p in diagram.points if p.fixed.sigma_w2 > high]),
    ):
        if points:
            x = min(max(points[0].fixed.sigma_w2, low), high)
            text = ", ".join(p.text for p in points)
            if marker != "o" and len(points) == 1:
                text = f"{text} at {points[0].fixed.sigma_w2:.3g}"
            found.append(Marked(float(x), marker, text))
    return found


def flags_of(ax: Axes, marks: Sequence[Marked]) -> tuple[list[Flag], float]:
    """(where names hang, their size); none where the panel is too narrow for them."""
    figure = figure_of(ax)
    places = [(ax.transData.transform((mark.x, ax.get_ylim()[1]))[0] - ax.bbox.x0) / pixels(ax) for mark in marks]
    for size in (sized(LABEL_SIZE), sized(LEAST_SIZE)):
        wide = [text_size(figure, shown(mark.text), size)[0] for mark in marks]
        flags = hang(places, wide, ax.bbox.width / pixels(ax))
        if flags is not None:
            return flags, size
    return [], sized(LEAST_SIZE)


def draw_points(ax: Axes, marks: Sequence[Marked], flags: Sequence[Flag], size: float) -> None:
    """Draw the initializers on the line sigma_b2 = 0 and hang their names from them."""
    width, tall = ax.bbox.width / pixels(ax), ax.bbox.height / pixels(ax)
    edge = ax.transAxes.inverted().transform(ax.transData.transform((ax.get_xlim()[1], 0.0)))[1]
    across = ax.get_xaxis_transform()
    for mark, flag in itertools.zip_longest(marks, flags):
        ax.plot(
            [mark.x], [edge], transform=across, marker=mark.marker, markersize=4.5, markerfacecolor=ground(),
            markeredgecolor=ink(), markeredgewidth=0.8, linestyle="", clip_on=False, zorder=6, gid="initializer",
        )  # fmt: skip
        if flag:
            tip = edge - (POLE + STEP * flag.level) / tall
            ax.plot([mark.x] * 2, [edge, tip], transform=across, color=grey(0.35), linewidth=0.5, zorder=5, gid="pole")
            ax.text(
                flag.at / width, tip, shown(mark.text), transform=ax.transAxes, fontsize=size, gid="name",
                usetex=usetex(), horizontalalignment=flag.align, verticalalignment="center_baseline", zorder=6,
            )  # fmt: skip


def make_band(ax: Axes, diagram: Diagram, rows: int) -> None:
    """Free a band below sigma_b2 = 0 for so many rows of names; ticks stay above it."""
    low, high = diagram.grid.sigma_b2[[0, -1]]
    height = ax.bbox.height / pixels(ax)
    band = min(POLE + STEP * (rows - 0.4), height / 2)
    ax.set_ylim(low - (high - low) * band / (height - band), high)
    ticks = [tick for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high * (1 + 1e-9)]
    ax.yaxis.set_major_locator(FixedLocator(ticks))
    ax.axhline(0.0, color=ink(), linewidth=0.6, zorder=3)


def name_regions(ax: Axes, diagram: Diagram) -> None:
    """Write "ordered", "chaotic" and "grows without bound" where there is room."""
    grid, point = diagram.grid, pixels(ax)
    wide, tall = int(ax.bbox.width / point), int(ax.bbox.height / point)
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
        sizes = [text_size(figure_of(ax), text, sized(LABEL_SIZE + 1)) for text in spellings]
        place = roomiest((word == name) & ~near, sizes)
        if place:
            which, (across, up) = place
            ax.text(
                across / wide, up / tall, spellings[which], transform=ax.transAxes, fontsize=sized(LABEL_SIZE + 1),
                linespacing=1.05, horizontalalignment="center", verticalalignment="center", style="italic",
                path_effects=[withStroke(linewidth=1.8, foreground=ground())], zorder=5, gid="region", usetex=usetex(),
            )  # fmt: skip


def edges(values: np.ndarray) -> np.ndarray:
    """The edges of an image's cells: between the values, and at the first and the last."""
    return np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:]])


def nearest(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Which value each place is nearest to, as an image shows them."""
    return np.searchsorted((values[1:] + values[:-1]) / 2, at)
