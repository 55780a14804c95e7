"""Who learned: accuracy as color over two settings, with theory's correlation length; or accuracy against the score."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from varprobe.errors import InvalidArgumentError
from varprobe.plots.layout import pixels
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import LABEL_SIZE, grey, ground, ink, ladder_map, looks, sized
from varprobe.plots.texts import shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_variables
from varprobe.storage.kinds import require_kind
from varprobe.training.grids import MARGIN_XI, Grid, Reach, grid_of, reach_of
from varprobe.verdict.thresholds import threshold

__all__ = ["plot_trainability", "trainability_figure"]

MOST = 6
LABELS = {"sigma_w2": r"$\sigma_w^2$", "sigma_b2": r"$\sigma_b^2$", "depth": "depth $L$"}
FARTHEST = 8.0
"""Decades that the strip shows; what is farther, or lost, stands there."""

FINE = {True: 200, False: 60}
"""Points of theory's lines along an axis: where depth is the other one, and where the lines are contours."""

LINES: dict[str, tuple[Any, str]] = {
    "critical": (":", r"$\chi_1 = 1$"),
    "xi": ("--", r"$\xi_c$"),
    "reach": ("-", rf"${MARGIN_XI}\,\xi_c$"),
}


@checks_types
def plot_trainability(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw what nets learned: as color over two settings, or against their score before training.

    Where two of depth, sigma_w2 and sigma_b2 vary and nothing else, an image of the accuracy (R^2 for mse; means over
    seeds), with crosses on nets that the verdict before training said would not train, and theory's lines of plain
    stacks: xi_c, 6 xi_c and chi_1 = 1. Otherwise the accuracy of every net against its score.

    Args:
        ds: a dataset of `trainability`, or a selection of it.
        ax: the axes to draw in; those with an image give up some of their width to its scale, and have their legend
            above them. By default a new figure's.

    Raises:
        InvalidArgumentError: it is no such dataset.
    """
    require_trained(ds)
    grid = grid_of(ds) if len(set(ds["optimizer"].values.tolist())) == 1 else None

    def drawn(ax: Axes) -> None:
        """The one or the other."""
        if grid is None:
            draw_strip(ax, ds)
            key(ax, strip_handles(), loc="upper right")
        else:
            image, handles = draw_image(ax, ds, grid)
            scale(ax.figure, image, [ax], ds)  # type: ignore[arg-type]
            key(ax, handles, above=True)

    return on_axes(ax, (3.8, 3.0), drawn)


def trainability_figure(ds: xr.Dataset, *, size: tuple[float, float] | None = None) -> Figure:
    """`plot_trainability` with a panel for each optimizer.

    Raises:
        InvalidArgumentError: as `plot_trainability`, or there are more than six optimizers.
    """
    require_trained(ds)
    names = list(dict.fromkeys(ds["optimizer"].values.tolist()))
    if len(names) > MOST:
        raise InvalidArgumentError(
            f"{len(names)} optimizers are too many panels (at most {MOST}): choose some", "select"
        )
    parts = [ds.isel(config=np.flatnonzero(ds["optimizer"].values == name)) for name in names]
    grids = [grid_of(part) for part in parts]
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    usual = (3.8, 3.0) if len(names) == 1 else (2.2 * columns + 0.8, 2.3 * rows + 0.5)
    with page(size, usual, rows, columns, sharex=True, sharey=True) as (figure, axes):
        panels = axes.ravel()[: len(names)].tolist()
        for ax in axes.ravel()[len(names) :]:
            ax.remove()
        handles = strip_handles()
        for i, (ax, part, grid) in enumerate(zip(panels, parts, grids, strict=True)):
            if grid is None:
                draw_strip(ax, part)
            else:
                image, handles = draw_image(ax, part, grid)
            if len(names) > 1:
                ax.set_title(shown(names[i]), loc="left", pad=3)
            if i % columns:
                ax.set_ylabel("")
            if i + columns < len(names):
                ax.set_xlabel("")
        if grids[0] is not None:
            scale(figure, image, panels, ds)
        key(figure, handles)
    return figure


def require_trained(ds: xr.Dataset) -> None:
    """Refuse other datasets.

    Raises:
        InvalidArgumentError: and what it needs.
    """
    require_kind(ds, "trainability")
    require_variables(ds, "skill", "healthy")
    if not ds.sizes.get("config") or not ds.sizes.get("seed"):
        raise InvalidArgumentError("the dataset has no nets left", "ds")


def learned(ds: xr.Dataset) -> tuple[xr.DataArray, str, float]:
    """(what nets reached, its name, from where on they trained)."""
    limit = threshold("trained")
    if ds.attrs["loss"] == "mse":
        return ds["skill"], "$R^2$ after training", limit
    baseline = ds.attrs["baseline"]
    return ds["final_accuracy"], "accuracy after training", baseline + limit * (1 - baseline)


def draw_image(ax: Axes, ds: xr.Dataset, grid: Grid) -> tuple[QuadMesh, list[Line2D]]:
    """The image, crosses and lines; grey where every net of a place diverged."""
    reached = learned(ds)[0].transpose("config", "seed").mean("seed").values[grid.at]
    x, y = edges(grid.x), edges(grid.y)
    ax.set_facecolor(grey(0.6))
    image = ax.pcolormesh(
        x, y, np.ma.masked_invalid(np.clip(reached, 0, 1)), cmap=ladder_map(), norm=Normalize(0, 1), rasterized=True,
        gid="plane",
    )  # fmt: skip
    bad = ~ds["healthy"].values.astype(bool)[grid.at]
    j, i = np.nonzero(bad)
    outline = [withStroke(linewidth=sized(2.0), foreground=ground())]
    ax.plot(
        grid.x[i], grid.y[j], linestyle="", marker="x", markersize=cross_size(ax, grid), color=ink(),
        markeredgewidth=sized(0.8), path_effects=outline, gid="unhealthy",
    )  # fmt: skip
    handles = [
        Line2D([], [], linestyle="", marker="x", markersize=sized(4), color=ink(), label="unhealthy before training")
    ]
    reach = reach_of(ds, grid, FINE["depth" in grid.names])
    if reach is not None:
        handles += draw_theory(ax, grid, reach)
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    ax.set_xlabel(LABELS[grid.names[0]])
    ax.set_ylabel(LABELS[grid.names[1]])
    ax.tick_params(which="both", length=2.0, pad=2.0)
    return image, handles


def cross_size(ax: Axes, grid: Grid) -> float:
    """Points of a cross: a good part of its place, from 1.5 to 5."""
    wide, tall = ax.bbox.width / pixels(ax), ax.bbox.height / pixels(ax)
    return float(np.clip(0.35 * min(wide / grid.x.size, tall / grid.y.size), 1.5, 5.0))


def draw_theory(ax: Axes, grid: Grid, reach: Reach) -> list[Line2D]:
    """chi_1 = 1, and the depths xi_c and 6 xi_c: curves where depth is an axis, else contours at the nets' depth."""
    outline = [withStroke(linewidth=sized(2.2), foreground="black")]
    drawn = []
    if grid.names[1] == "depth":
        along = reach.x if reach.x.size > 1 else reach.y
        xi, chi = np.ravel(reach.xi_c), np.ravel(reach.chi_1)
        for name, times in (("xi", 1), ("reach", MARGIN_XI)):
            depth = np.minimum(times * xi, 10 * grid.y[-1])
            ax.plot(along, depth, color="white", linestyle=LINES[name][0], linewidth=sized(1.0), path_effects=outline,
                    gid=name)  # fmt: skip
            drawn.append(name)
        crossing = np.flatnonzero(np.diff(np.sign(chi - 1)) != 0)
        for at in crossing:
            share = (1 - chi[at]) / (chi[at + 1] - chi[at])
            ax.axvline(
                along[at] + share * (along[at + 1] - along[at]), color="white", linestyle=LINES["critical"][0],
                linewidth=sized(1.0), path_effects=outline, gid="critical",
            )  # fmt: skip
        drawn += ["critical"] if crossing.size else []
    else:
        for name, plane, level in (
            ("xi", reach.xi_c, grid.fixed),
            ("reach", reach.xi_c, grid.fixed / MARGIN_XI),
            ("critical", reach.chi_1, 1.0),
        ):
            plane = np.nan_to_num(plane, nan=np.nan, posinf=1e6)
            if np.nanmin(plane) < level < np.nanmax(plane):
                found = ax.contour(
                    reach.x, reach.y, plane, [level], colors="white", linestyles=LINES[name][0],
                    linewidths=sized(1.0),
                )  # fmt: skip
                found.set(path_effects=outline, gid=name)
                drawn.append(name)
    return [
        Line2D(
            [],
            [],
            color="white",
            linestyle=LINES[name][0],
            linewidth=sized(1.0),
            path_effects=outline,
            label=LINES[name][1],
        )  # fmt: skip
        for name in LINES
        if name in drawn
    ]


def scale(figure: Figure, image: QuadMesh, panels: Sequence[Axes], ds: xr.Dataset) -> None:
    """The colors and what they mean, with a mark where nets count as trained."""
    _, name, limit = learned(ds)
    bar = figure.colorbar(image, ax=list(panels), aspect=24, pad=0.02, fraction=0.07)
    bar.outline.set_linewidth(sized(0.5))  # type: ignore[operator]
    bar.ax.tick_params(length=2.0, width=sized(0.5), pad=1.5, labelsize=sized(LABEL_SIZE))
    bar.ax.axhline(limit, color="white", linewidth=sized(1.0), gid="trained")
    bar.set_label(name, fontsize=sized(LABEL_SIZE))


def draw_strip(ax: Axes, ds: xr.Dataset) -> None:
    """Every net's accuracy against its score, healthy ones and the others."""
    reached, name, limit = learned(ds)
    score = np.minimum(np.ravel(ds["score"].transpose("config", "seed").values), FARTHEST)
    values = np.nan_to_num(np.ravel(reached.transpose("config", "seed").values), nan=0.0)
    healthy = np.repeat(ds["healthy"].values.astype(bool), ds.sizes["seed"])
    for wanted, mark, look in zip((True, False), ("o", "x"), looks(2), strict=True):
        some = healthy == wanted
        if some.any():  # a line without points and without an edge has no extent, and would leave the axes none
            ax.plot(
                score[some], np.clip(values[some], 0, 1), linestyle="", marker=mark, markersize=sized(3.2),
                color=look.color, markerfacecolor="none", markeredgewidth=sized(0.8),
                gid="healthy" if wanted else "unhealthy", clip_on=False, zorder=3,
            )  # fmt: skip
    ax.axhline(limit, color=grey(0.55), linewidth=sized(0.6), zorder=1, gid="trained")
    ax.axvline(np.log10(threshold("vanishing")), color=grey(0.55), linewidth=sized(0.6), linestyle="--", zorder=1)
    ax.set_xlim(-0.2, FARTHEST)
    ax.set_ylim(0, 1.02)
    ax.set_xticks([0, 2, 4, 6, FARTHEST], ["0", "2", "4", "6", "8+"])
    ax.set_xlabel("score before training, decades of RMS")
    ax.set_ylabel(name)
    dress(ax)


def strip_handles() -> list[Line2D]:
    """What the marks mean."""
    return [
        Line2D(
            [],
            [],
            linestyle="",
            marker=mark,
            markersize=sized(3.2),
            color=look.color,
            markerfacecolor="none",
            label=f"{word} before training",
        )  # fmt: skip
        for word, mark, look in zip(("healthy", "unhealthy"), ("o", "x"), looks(2), strict=True)
    ]


def edges(values: np.ndarray) -> np.ndarray:
    """The edges of an image's cells: halfway between values, and as far beyond the first and the last."""
    if values.size == 1:
        return values + np.array([-0.5, 0.5])
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])
