"""Histograms of activations and gradients as ridges, one a layer, in units of each layer's RMS."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.facets import one_panel
from varprobe.plots.pages import on_axes, page
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, grey, ladder_map, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs, require_every_layer

__all__ = ["histogram_figure", "plot_histogram"]

RIDGES = 11
"""Layers that are drawn, the first and the last among them."""
UNIT = 0.6 / 0.4
"""Ridges that a density of 1 would take: 0.6 for the peak of a Gaussian."""
CUT = 0.92
"""Ridges above which a peak is cut, as that of a ReLU's zeros."""
MOST = 4
SYMBOLS = {"activation": r"h_\ell", "gradient": r"\delta_\ell"}


@checks_types
def plot_histogram(ds: xr.Dataset, quantity: str = "activation", ax: Axes | None = None) -> Axes:
    """Draw the histogram of every layer (of eleven, where there are more) of one configuration, all seeds together.

    Each is in units of its own RMS, so that what changes from ridge to ridge is the shape (as in Glorot & Bengio 2010,
    figures 6 and 7).
    The dotted outline is a Gaussian's. Peaks half as high again are cut, their density written at the right.

    Args:
        ds: one configuration of a dataset of `sweep(histogram=True)`, such as ds.isel(config=[0]).
        quantity: activation or gradient.
        ax: the axes to draw in, by default a new figure's.

    Raises:
        InvalidArgumentError: it has no histograms, or several configurations.
    """
    require_histograms(ds, [quantity])
    if np.isnan(ds[f"{quantity}_density"].values).all():
        raise InvalidArgumentError("no histogram was measured; a forward-only run has none of gradients", "quantity")
    if ds.sizes.get("config", 1) != 1:
        raise InvalidArgumentError(
            f"one configuration at a time, this dataset has {ds.sizes['config']}; see varprobe.select", "ds"
        )
    one = ds.isel(config=0) if "config" in ds.dims else ds
    return on_axes(ax, (2.75, 3.4), lambda ax: draw(ax, one, quantity))


def histogram_figure(
    ds: xr.Dataset,
    *,
    quantities: Sequence[str] = ("activation", "gradient"),
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """A column for each configuration, a row for each quantity; a forward-only run has no gradients.

    Raises:
        InvalidArgumentError: there are no histograms, or more configurations than a page holds.
    """
    require_histograms(ds, quantities)
    check_labels(labels or {}, names_in(ds))
    count = ds.sizes["config"]
    if count > MOST:
        raise InvalidArgumentError(
            f"{count} configurations do not fit a page (at most {MOST}): choose with --select", "ds"
        )
    there = [q for q in quantities if not np.isnan(ds[f"{q}_density"].values).all()]
    if not there:
        raise InvalidArgumentError(
            "no histogram was measured in this dataset; a forward-only run has none of gradients", "quantity"
        )
    names = one_panel(ds, labels).names
    with page(size, (max(2.75, 1.75 * count), 2.9 * len(there)), len(there), count) as (figure, grid):
        for r, quantity in enumerate(there):
            for i in range(count):
                draw(grid[r][i], ds.isel(config=i), quantity)
                if r == 0:
                    grid[r][i].set_title(shown(names[i]))
                if i:
                    grid[r][i].set_ylabel("")
    return figure


def require_histograms(ds: xr.Dataset, quantities: Sequence[str]) -> None:
    """Refuse a dataset without them."""
    require_configs(ds)
    require_every_layer(ds)
    for quantity in quantities:
        lookup(SYMBOLS, quantity, "quantity with histograms")
        if f"{quantity}_density" not in ds:
            raise InvalidArgumentError("the dataset has no histograms; sweep with --histogram (histogram=True)", "ds")


def draw(ax: Axes, one: xr.Dataset, quantity: str) -> None:
    """The ridges, layer by layer downward."""
    depth, centers = int(one["depth"].values), one["bin"].values
    first = 0 if quantity == "activation" else 1
    layers = np.unique(np.round(np.linspace(first, depth, min(RIDGES, depth - first + 1))).astype(int))
    variable = one[f"{quantity}_density"].transpose("seed", "layer", "bin").values
    alive = ~np.isnan(variable).any(-1)
    total = np.where(alive[..., None], variable, 0).sum(0)
    count = alive.sum(0)
    width = centers[1] - centers[0]
    edges = np.append(centers - width / 2, centers[-1] + width / 2)
    gaussian = np.exp(-(centers**2) / 2) / np.sqrt(2 * np.pi) * UNIT
    colors = ladder_map()
    for rank, layer in enumerate(layers):
        base = -rank
        color = to_hex(colors(rank / max(len(layers) - 1, 1)))
        order = 2 * rank
        if not count[layer]:
            ax.text(0, base + 0.1, "no spread", ha="center", fontsize=sized(LEAST_SIZE), color=grey(0.4), zorder=order)
            continue
        ridge = total[layer] / count[layer] * UNIT
        shown = np.minimum(ridge, CUT) + base
        ax.stairs(shown, edges, baseline=base, fill=True, color=color, alpha=0.55, linewidth=0, zorder=order)
        ax.stairs(shown, edges, baseline=base, color=color, linewidth=0.8, zorder=order + 1, gid="ridge")
        ax.plot(centers, gaussian + base, color=grey(0.35), linewidth=0.5, linestyle=(0, (1, 1.5)), zorder=order + 1)
        if ridge.max() > CUT:
            text = f"peak {ridge.max() / UNIT:.2g}"
            ax.text(
                edges[-1], base + 0.1, text, fontsize=sized(LEAST_SIZE), ha="right", color=grey(0.3), zorder=order + 1
            )
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(-len(layers) + 0.95, 1.0)
    ax.set_yticks(-np.arange(len(layers)), [str(layer) for layer in layers], fontsize=sized(LABEL_SIZE))
    ax.set_xticks([-4, -2, 0, 2, 4])
    ax.set_ylabel("layer")
    symbol = SYMBOLS[quantity]
    ax.set_xlabel(rf"{quantity} ${symbol}$ / RMS")
    ax.tick_params(labelsize=sized(LABEL_SIZE))
    ax.tick_params("y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
