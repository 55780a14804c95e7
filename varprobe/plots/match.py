"""Theory against measurement: factors per layer, and how many standard errors apart they are."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from varprobe.errors import InvalidArgumentError
from varprobe.plots.logaxis import as_power
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import grey, looks, sheet, sized
from varprobe.runs.diagnose import diagnose
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_layers

__all__ = ["match_figure", "plot_match"]

DIRECTIONS = {"activation": ("activation factor, forward", "o"), "gradient": ("gradient factor, backward", "s")}
NARROW = 4.0
"""Inches (in the style `paper`) below which panels stand one above the other."""


@checks_types
def plot_match(ds: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw the measured factor per layer of every configuration against the predicted one, forward and backward.

    Factors are the mean square's; bars are Student's 95% intervals over seeds, and the line is where they agree.

    Args:
        ds: a dataset of `sweep`.
        ax: the axes to draw in, by default a new figure's.

    Raises:
        InvalidArgumentError: theory predicts none of its configurations.
    """
    points = points_of(ds)
    return on_axes(ax, (3.0, 2.8), lambda ax: draw(ax, points, legend=True))


def match_figure(ds: xr.Dataset, *, size: tuple[float, float] | None = None) -> Figure:
    """`plot_match`, and beside it the distances in standard errors where these are known (below it in a column).

    Raises:
        InvalidArgumentError: as `plot_match`.
    """
    points = points_of(ds)
    known = any(point["z"] is not None for some in points.values() for point in some)
    narrow = size is None and sheet(5.5, 2.7)[0] < sized(NARROW)
    usual = ((3.0, 2.8), ((5.5, 4.8) if narrow else (5.5, 2.7)))[known]
    shape = (1 + known, 1) if narrow else (1, 1 + known)
    with page(size, usual, *shape) as (figure, grid):
        draw(grid[0, 0], points, legend=False)
        if known:
            draw_distances(grid[-1, -1], points)
        key(figure, handles())
    return figure


def points_of(ds: xr.Dataset) -> dict[str, list[dict[str, Any]]]:
    """Direction -> what theory says of each configuration beside what was measured."""
    require_layers(ds)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in DIRECTIONS}
    for row in diagnose(ds):
        for name in DIRECTIONS:
            predicted, measured = row.get(f"theory_{name}_factor"), row.get(f"{name}_factor")
            if predicted and measured:
                ends, z = row[f"{name}_factor_ci95"], row.get(f"theory_{name}_z")
                found[name].append({"predicted": predicted, "measured": measured, "ends": ends, "z": z})
    if not any(found.values()):
        raise InvalidArgumentError("theory predicts none of these configurations, so there is nothing to compare", "ds")
    return found


def draw(ax: Axes, points: dict[str, list[dict[str, Any]]], legend: bool) -> None:
    """The factors, on logarithmic axes."""
    every = np.log10([[p["predicted"], p["measured"]] for some in points.values() for p in some])
    low, high = float(every.min()), float(every.max())
    pad = max(0.08 * (high - low), 0.02)
    line = np.array([low - pad, high + pad])
    ax.plot(line, line, color=grey(0.55), linewidth=sized(0.6), zorder=1, gid="equal")
    for (name, some), look in zip(points.items(), looks(len(points)), strict=True):
        for point in some:
            x, y = np.log10([point["predicted"], point["measured"]])
            ends = point["ends"]
            bar = None if ends is None or None in ends else np.abs(np.log10(ends) - y)[:, None]
            ax.errorbar(
                x, y, yerr=bar, marker=DIRECTIONS[name][1], markersize=sized(3.2), color=look.color, linestyle="",
                elinewidth=sized(0.8), markerfacecolor="none", markeredgewidth=sized(0.9), zorder=3, gid="factor",
            )  # fmt: skip
    for axis in (ax.xaxis, ax.yaxis):
        ticks = ticks_of(line[0], line[1])
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(factor))
    ax.set_xlim(*line)
    ax.set_ylim(*line)
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlabel("factor per layer, infinite width")
    ax.set_ylabel("factor per layer, measured")
    dress(ax)
    if legend:
        key(ax, handles(), loc="upper left")


def draw_distances(ax: Axes, points: dict[str, list[dict[str, Any]]]) -> None:
    """How many standard errors each measured slope lies from the predicted one, in order; 95% of them within two."""
    count = 1
    for (name, some), look in zip(points.items(), looks(len(points)), strict=True):
        z = np.sort([point["z"] for point in some if point["z"] is not None])
        count = max(count, z.size)
        place = (np.arange(z.size) + 0.5) / max(z.size, 1)
        ax.plot(
            place, z, marker=DIRECTIONS[name][1], markersize=sized(3.2), color=look.color, linestyle="",
            markerfacecolor="none", markeredgewidth=sized(0.9), gid="distance",
        )  # fmt: skip
    ax.axhspan(-2, 2, color=grey(0.9), zorder=0, linewidth=0)
    ax.axhline(0, color=grey(0.55), linewidth=sized(0.6), zorder=1)
    ax.set_xlim(-0.05, 1.05)
    low, high = ax.get_ylim()
    reach = max(3.0, abs(low), abs(high))
    ax.set_ylim(-1.1 * reach, 1.1 * reach)
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_xlabel("share of the configurations")
    ax.set_ylabel("measured less predicted slope,\nin standard errors")
    dress(ax)


def handles() -> list[Line2D]:
    """What the marks mean."""
    return [
        Line2D(
            [],
            [],
            color=look.color,
            marker=mark,
            markersize=sized(3.2),
            linestyle="",
            markerfacecolor="none",
            label=text,
        )
        for (text, mark), look in zip(DIRECTIONS.values(), looks(len(DIRECTIONS)), strict=True)
    ]


def ticks_of(low: float, high: float) -> list[float]:
    """log10 of the ticks of a factor: powers of ten, or 1, 2, 5, or steps near 1 where the range is narrow."""
    if high - low > 6:
        return [float(t) for t in MaxNLocator(5, integer=True).tick_values(low, high) if low <= t <= high]
    for mantissas in ((1,), (1, 3), (1, 2, 5)):
        whole = range(int(np.floor(low)), int(np.ceil(high)) + 1)
        ticks = [e + np.log10(m) for e in whole for m in mantissas]
        inside = [t for t in ticks if low <= t <= high]
        if 4 <= len(inside) <= 7:
            return inside
    factors = MaxNLocator(5).tick_values(10**low, 10**high)
    return [float(np.log10(f)) for f in factors if f > 0 and low <= np.log10(f) <= high]


def factor(x: float, _: int) -> str:
    """A factor as a short number, or as a power of ten."""
    return f"{10**x:.3g}" if -3 < x < 4 else as_power(x)
