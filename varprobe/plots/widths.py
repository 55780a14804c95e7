"""Width scaling: how much one draw of the weights differs from the next, against width, beside first-order theory."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.stats import chi2

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.facets import named, partition, varying
from varprobe.plots.match import factor, ticks_of
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import LINE_WIDTH, Look, looks, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs, require_every_layer

__all__ = ["plot_widths", "widths_figure"]

QUANTITIES = {
    "activation": r"std over draws of $\log_{10}\mathrm{E}[h_L^2]$",
    "gradient": r"std over draws of $\log_{10}\mathrm{E}[\delta_1^2]$",
}
MOST = 7
SHARE = 0.68
"""Of the interval that bars show."""


@checks_types
def plot_widths(
    ds: xr.Dataset, quantity: str = "activation", ax: Axes | None = None, *, labels: Mapping[str, str] | None = None
) -> Axes:
    """Draw the standard deviation over seeds of the log mean square where the signal arrives, against the width.

    Bars are 68% intervals (chi-squared, normal logs); lines are the first order in 1 / width, which falls as the square
    root of the width.

    Args:
        ds: a dataset of `sweep(width=[...])` with two widths and three seeds at least.
        quantity: activation (at layer L) or gradient (at layer 1).
        ax: the axes to draw in, by default a new figure's.
        labels: what to write instead of a name.

    Raises:
        InvalidArgumentError: the width does not vary, seeds are too few, or there are too many curves.
    """
    series = series_of(ds, quantity, labels)
    return on_axes(ax, (3.0, 2.6), lambda ax: draw(ax, series, quantity, legend=len(series) > 1))


def widths_figure(
    ds: xr.Dataset, *, size: tuple[float, float] | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """`plot_widths` forward and, where there are gradients, backward, side by side.

    Raises:
        InvalidArgumentError: as `plot_widths`.
    """
    forward = series_of(ds, "activation", labels)
    there = [q for q in QUANTITIES if np.isfinite(ds[f"{q}_log10_mean_square"].values).any()]
    with page(size, (5.5, 2.6), 1, max(1, len(there))) as (figure, grid):
        for ax, quantity in zip(grid[0], there, strict=True):
            draw(ax, series_of(ds, quantity, labels), quantity, legend=False)
        if len(forward) > 1:
            key(figure, handles(forward))
    return figure


class Series:
    """One line: widths, measured standard deviations with their intervals, and the predicted ones (NaN: none)."""

    def __init__(self, name: str, look: Look, rows: list[tuple[float, float, float, float, float]]) -> None:
        self.name, self.look = name, look
        self.width, self.measured, self.low, self.high, self.predicted = np.array(sorted(rows)).T


def series_of(ds: xr.Dataset, quantity: str, labels: Mapping[str, str] | None) -> list[Series]:
    """A series for each combination of what varies beside the width."""
    require_configs(ds)
    require_every_layer(ds)
    lookup(QUANTITIES, quantity, "quantity")
    check_labels(labels or {}, names_in(ds))
    if "width" not in varying(ds) or not all(str(w).isdigit() for w in ds["width"].values.tolist()):
        raise InvalidArgumentError("the width does not vary in this dataset; sweep with --width 64,128,256,512", "ds")
    if ds.sizes["seed"] < 3:
        raise InvalidArgumentError(
            f"{ds.sizes['seed']} seeds say little of a spread; sweep with --seeds 8 or more", "ds"
        )
    if not np.isfinite(ds[f"{quantity}_log10_mean_square"].values[..., 1:]).any():
        raise InvalidArgumentError(f"no {quantity} is finite and above zero; a forward-only run has no gradients", "ds")
    others = [name for name in varying(ds) if name != "width"]
    rows = partition(ds, others)
    kinds = list(dict.fromkeys(rows))
    if len(kinds) > MOST:
        raise InvalidArgumentError(
            f"{len(kinds)} lines cannot be told apart (at most {MOST}): choose with --select", "select"
        )
    names = named(ds, others, labels)[0]
    return [
        Series(names[rows.index(kind)], look, [point(ds, quantity, i) for i, row in enumerate(rows) if row == kind])
        for kind, look in zip(kinds, looks(len(kinds)), strict=True)
    ]


def point(ds: xr.Dataset, quantity: str, i: int) -> tuple[float, float, float, float, float]:
    """(width, measured, low, high, predicted) of a configuration where its signal arrives."""
    one = ds.isel(config=i)
    layer = int(one["depth"].values) if quantity == "activation" else 1
    values = one[f"{quantity}_log10_mean_square"].isel(layer=layer).values
    values = values[np.isfinite(values)]
    predicted = one.get(f"theory_{quantity}_std")
    told = np.nan if predicted is None else float(np.ravel(predicted.isel(layer=layer).values)[0])
    if values.size < 3:
        return float(one["width"]), np.nan, np.nan, np.nan, told
    spread, free = float(values.std(ddof=1)), values.size - 1
    low, high = (spread * np.sqrt(free / chi2.ppf((1 + sign * SHARE) / 2, free)) for sign in (1, -1))
    return float(one["width"]), spread, low, high, told


def draw(ax: Axes, series: list[Series], quantity: str, legend: bool) -> None:
    """The points of every series and its line, on logarithmic axes."""
    for one in series:
        bars = np.array([one.measured - one.low, one.high - one.measured]) / one.measured
        y = np.log10(one.measured)
        ends = np.abs(np.log10([1 - bars[0], 1 + bars[1]]))
        ax.errorbar(
            np.log10(one.width), y, yerr=ends, color=one.look.color, marker="o", markersize=sized(3.2), linestyle="",
            elinewidth=sized(0.8), gid="spread",
        )  # fmt: skip
        ax.plot(
            np.log10(one.width), np.log10(one.predicted), color=one.look.theory, linestyle=one.look.linestyle,
            linewidth=sized(LINE_WIDTH / 2), gid="theory",
        )  # fmt: skip
    widths = sorted({float(w) for one in series for w in one.width})
    ax.set_xlim(np.log10(widths[0]) - 0.1, np.log10(widths[-1]) + 0.1)
    ax.xaxis.set_major_locator(FixedLocator([float(np.log10(w)) for w in chosen(widths)]))
    ax.yaxis.set_major_locator(FixedLocator(ticks_of(*ax.get_ylim())))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(factor))
    ax.set_xlabel("width $n$")
    ax.set_ylabel(QUANTITIES[quantity])
    dress(ax, "y")
    if legend:
        key(ax, handles(series))


def chosen(widths: list[float]) -> list[float]:
    """Six widths at most, evenly among those there are."""
    return [widths[i] for i in np.unique(np.linspace(0, len(widths) - 1, 6).round().astype(int))]


def handles(series: list[Series]) -> list[Line2D]:
    """What the colors mean."""
    return [
        Line2D([], [], color=s.look.color, marker="o", markersize=sized(3.2), linestyle="", label=shown(s.name))
        for s in series
    ]
