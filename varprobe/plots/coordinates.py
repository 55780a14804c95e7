"""Size against width: the value of every layer, what training changed of it, and the power between two widths."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.model.families import labels_of
from varprobe.plots.logaxis import exponent_axis
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, LINE_WIDTH, looks, ordered_looks, sized
from varprobe.plots.texts import literal, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_variables
from varprobe.storage.kinds import require_kind
from varprobe.training.scaling import Scaling, scaling_of
from varprobe.training.width_decisions import decide
from varprobe.verdict.thresholds import threshold

__all__ = ["coordinates_figure", "plot_coord_check"]

QUANTITIES = {
    "value": ("value_log10_mean_square", "RMS of the preactivations", 0),
    "change": ("change_log10_mean_square", "RMS of their change since step 0", 1),
    "power": ("change_log10_mean_square", "power of width of the change", 1),
}
"""Name -> variable, axis, and the first step that is drawn."""
JUDGED = {"value": 0, "change": -1, "power": -1}
"""The step that the verdict is about."""
MOST_LAYERS = 7
"""Layers in one pair of axes, which colors can tell apart."""
MOST_PANELS = 8
"""Layers in a figure, a column each."""
MOST_WIDTHS = 7
"""Widths that are written on a wide axis."""
TO_THE_INCH = 3.6
"""Widths that are written in a row of panels, a number each."""
ROOM = 0.18
"""Share of an axis above and below all lines, for the power."""
NOTE = "width $n$  (numbers: the power of $n$ at the largest widths; bold: not as in muP)"


@checks_types
def plot_coord_check(ds: xr.Dataset, quantity: str = "change", ax: Axes | None = None) -> Axes:
    """Draw the RMS of every layer's change at the last step (or of its value) against width; a color for each layer.

    Bands are one standard deviation over seeds to each side. The number after a layer's name is the power of width
    between the two largest widths. The quantity `power` shows the powers of the change between neighboring widths, with
    95% intervals over seeds; a parametrization in muP keeps them in the gray band, or they move into it.

    Args:
        ds: one configuration of `varprobe.coord_check`.
        quantity: change, value or power.
        ax: the axes to draw in, by default a new figure's.

    Raises:
        InvalidArgumentError: it is no such dataset, has several configurations, or nothing is finite.
    """
    lookup(QUANTITIES, quantity, "quantity")
    one = whole(ds)
    if one.sizes["config"] > 1:
        raise InvalidArgumentError("a panel shows one configuration; choose with isel(config=[...])", "ds")
    if one.sizes["layer"] > MOST_LAYERS:
        raise InvalidArgumentError(f"{one.sizes['layer']} layers cannot be told apart (at most {MOST_LAYERS})", "ds")
    return on_axes(ax, (3.6, 2.8), lambda ax: draw_layers(ax, one.isel(config=0), quantity))


def coordinates_figure(
    ds: xr.Dataset, *, size: tuple[float, float] | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """A column for each layer, rows (value, change, power) for each configuration, a color for each step.

    Raises:
        InvalidArgumentError: as `plot_coord_check`, or it has more configurations or layers than a page has room for.
    """
    one = whole(ds)
    configs, layers = one.sizes["config"], one.sizes["layer"]
    if layers > MOST_PANELS:
        one = one.isel(layer=np.unique(np.linspace(0, layers - 1, MOST_PANELS).round().astype(int)))
        layers = one.sizes["layer"]
    if configs > 3:
        raise InvalidArgumentError(
            f"{configs} configurations need more than a page (at most 3): choose with --select", "ds"
        )
    steps = one["step"].values
    colors = [look.color for look in ordered_looks(np.linspace(0, 1, steps.size).tolist())]
    names = names_of(one, labels or {})
    rows = len(QUANTITIES)
    with page(size, (5.5, 0.5 + 3 * configs), rows * configs, layers, sharex=True, sharey="row") as (figure, grid):
        for c in range(configs):
            for q, quantity in enumerate(QUANTITIES):
                for i, ax in enumerate(grid[rows * c + q]):
                    draw_steps(ax, one.isel(config=c, layer=i), quantity, colors)
                    most = max(2, int(TO_THE_INCH * figure.get_figwidth() / layers))
                    axes_of(ax, one["width"].values, most, quantity)
                    if c == q == 0:
                        ax.set_title(shown(literal(labels_of(one)[i])), fontsize=sized(LABEL_SIZE))
                    if not i:
                        text = f"{names[c]}\n{quantity}" if names[c] else quantity
                        ax.set_ylabel(shown(text), fontsize=sized(LABEL_SIZE))
        figure.supxlabel(NOTE, fontsize=sized(LABEL_SIZE))
        key(figure, [Line2D([], [], color=k, label=f"step {s}") for k, s in zip(colors, steps, strict=True)], most=6)
    return figure


def whole(ds: Any) -> xr.Dataset:
    """The dataset with a dimension for configurations.

    Raises:
        InvalidArgumentError: it is none of `varprobe.coord_check`, or nothing in it is finite.
    """
    require_kind(ds, "coord_check")
    require_variables(ds, "value_log10_mean_square", "change_log10_mean_square")
    one = ds if "config" in ds.dims else ds.expand_dims("config")
    if not np.isfinite(one["value_log10_mean_square"]).any():
        raise InvalidArgumentError("nothing is finite", "ds")
    return one.transpose("config", "seed", "width", "step", "layer", ...)


def names_of(ds: xr.Dataset, labels: Mapping[str, str]) -> list[str]:
    """What tells configurations apart; empty where there is one."""
    if ds.sizes["config"] == 1:
        return [""]
    inits, optimizers = (ds[name].values.tolist() for name in ("init", "optimizer"))
    several = len(set(optimizers)) > 1
    return [f"{labels.get(i, i)}{f', {o}' if several else ''}" for i, o in zip(inits, optimizers, strict=True)]


def draw_steps(ax: Axes, one: xr.Dataset, quantity: str, colors: list[str]) -> None:
    """One layer of one configuration: a line for each step, or the powers at the last."""
    name, _, first = QUANTITIES[quantity]
    widths = one["width"].values
    judged = scaling_of(one[name].values[..., JUDGED[quantity]], widths.tolist())
    if quantity == "power":
        powers(ax, judged, colors[-1])
        return
    for t in range(first, one.sizes["step"]):
        line(ax, widths, one[name].values[:, :, t] / 2, colors[t])
    if judged:
        word = decide(judged).word
        bad = word == "grows" or (quantity == "change" and word == "shrinks")
        ax.annotate(
            f"{round(judged.largest.mean, 2) + 0.0:.2f}", (0.05, 0.97), xycoords="axes fraction", va="top",
            fontsize=sized(LEAST_SIZE), fontweight="bold" if bad else "normal", gid="power",
        )  # fmt: skip


def draw_layers(ax: Axes, one: xr.Dataset, quantity: str) -> None:
    """All layers of one configuration, at the step that the verdict is about."""
    name, text, _ = QUANTITIES[quantity]
    widths, at = one["width"].values, JUDGED[quantity]
    handles = []
    for i, (label, look) in enumerate(zip(labels_of(one), looks(one.sizes["layer"]), strict=True)):
        values = one[name].values[:, :, at, i]
        scaling = scaling_of(values, widths.tolist())
        if quantity == "power":
            powers(ax, scaling, look.color)
        else:
            line(ax, widths, values / 2, look.color)
        end = f"  {round(scaling.largest.mean, 2) + 0.0:.2f}" if scaling else ""
        handles.append(Line2D([], [], color=look.color, label=f"{shown(literal(label))}{end}"))
    axes_of(ax, widths, MOST_WIDTHS, quantity)
    ax.set_xlabel("width")
    ax.set_ylabel(f"{text}, step {int(one['step'].values[at])}")
    if quantity == "power":
        key(ax, handles, above=True)
    else:
        key(ax, handles, title="power at the largest widths", title_fontsize=sized(LABEL_SIZE))


def powers(ax: Axes, scaling: Scaling | None, color: str) -> None:
    """The exponents between neighboring widths, at their geometric means, with 95% intervals over seeds."""
    if scaling is None:
        return
    x = np.log2(np.asarray(scaling.widths, float))
    mean = np.array([power.mean for power in scaling.local])
    half = np.nan_to_num([power.half for power in scaling.local])
    ax.errorbar(
        (x[1:] + x[:-1]) / 2, mean, half, color=color, linewidth=sized(LINE_WIDTH), marker="o",
        markersize=sized(2), elinewidth=sized(0.6), gid="powers",
    )  # fmt: skip


def line(ax: Axes, widths: np.ndarray, log10_rms: np.ndarray, color: str) -> None:
    """The mean over seeds with its band, of (seeds, widths) values; where all seeds are finite."""
    kept = np.isfinite(log10_rms).all(axis=0)
    if not kept.any():
        return
    x, values = np.log2(widths[kept]), log10_rms[:, kept]
    mean = values.mean(axis=0)
    ax.plot(x, mean, color=color, linewidth=sized(LINE_WIDTH), marker="o", markersize=sized(2), gid="size")
    if len(values) > 1:
        spread = values.std(axis=0, ddof=1)
        ax.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0)


def axes_of(ax: Axes, widths: np.ndarray, most: int, quantity: str) -> None:
    """Some of the widths below; at the left powers of ten, or exponents with the band of those that are stable."""
    every = -(-widths.size // most)
    ax.xaxis.set_major_locator(FixedLocator(np.log2(widths[::every]).tolist()))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(2**x)}"))
    if quantity == "power":
        ax.axhspan(-threshold("shrinks"), threshold("grows"), color="0.5", alpha=0.15, linewidth=0)
    else:
        ax.margins(y=ROOM)
        exponent_axis(ax)
    dress(ax, "y")
