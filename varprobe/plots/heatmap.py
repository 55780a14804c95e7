"""A heat map: layers across, configurations down, the variance relative to where the signal starts as color."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from varprobe.errors import InvalidArgumentError
from varprobe.plots.curves import Curve, read_curves
from varprobe.plots.facets import Facets, one_panel
from varprobe.plots.layers import curves_of, layers_label
from varprobe.plots.logaxis import LayerLocator, as_power
from varprobe.plots.pages import on_axes, page
from varprobe.plots.phase_scales import diverging
from varprobe.plots.quantities import QUANTITIES, measured, quantity_of, variable
from varprobe.plots.style import LABEL_SIZE, LEAST_SIZE, grey, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs

__all__ = ["heatmap_figure", "plot_heatmap"]

DEFAULT = ("activation", "gradient")
MOST_NAMES = 40
MOST_ROWS = 400
REACH = 6.0
"""Decades to each side of 1 that the colors show at most; what is beyond has the last color."""
LEAST_REACH = 1.0


@checks_types
def plot_heatmap(
    ds: xr.Dataset, quantity: str = "gradient", ax: Axes | None = None, *, labels: Mapping[str, str] | None = None
) -> Axes:
    """Draw the variance of every layer and configuration as a color, relative to the layer where the signal starts.

    The colors are logarithmic, white is 1, and show at most 10^-6 to 10^6. Where a signal is exactly zero or not finite
    is grey.

    Args:
        ds: a dataset of `sweep` or `probe`; one row a configuration, in its order (of a model, a row a family).
        quantity: activation, preactivation, gradient or weight_gradient.
        ax: the axes to draw in, by default a new figure's.
        labels: what to write instead of a name.

    Raises:
        InvalidArgumentError: the quantity was not measured, or there are more than 400 rows.
    """
    ds, plan = prepared(ds, labels)
    planes = {quantity: plane_of(ds, quantity, plan)}

    def drawn(ax: Axes) -> None:
        """The image and its scale."""
        image = draw(ax, ds, quantity, planes[quantity], plan, reach_of(planes), named=True)
        scale(ax.figure, image, [ax])  # type: ignore[arg-type]

    return on_axes(ax, (4.0, height_of(plan)), drawn)


def heatmap_figure(
    ds: xr.Dataset,
    *,
    quantities: Sequence[str] = DEFAULT,
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """`plot_heatmap` of several quantities side by side, in one scale; a forward-only run has no gradients.

    Raises:
        InvalidArgumentError: as `plot_heatmap`.
    """
    ds, plan = prepared(ds, labels)
    there = [q for q in quantities if measured(ds, q)] if tuple(quantities) == DEFAULT else list(quantities)
    planes = {q: plane_of(ds, q, plan) for q in there}
    with page(size, (5.5, height_of(plan)), 1, len(there), sharey=True) as (figure, grid):
        images = [
            draw(ax, ds, q, planes[q], plan, reach_of(planes), named=i == 0)
            for i, (ax, q) in enumerate(zip(grid[0], there, strict=True))
        ]
        scale(figure, images[0], grid[0].tolist())
    return figure


def prepared(ds: xr.Dataset, labels: Mapping[str, str] | None) -> tuple[xr.Dataset, Facets]:
    """The dataset with a row each, and their names."""
    require_configs(ds)
    ds = curves_of(ds)
    check_labels(labels or {}, names_in(ds))
    if ds.sizes.get("config", 1) > MOST_ROWS:
        raise InvalidArgumentError(
            f"{ds.sizes['config']} rows are more than a page shows (at most {MOST_ROWS})", "select"
        )
    return ds, one_panel(ds, labels)


def plane_of(ds: xr.Dataset, quantity: str, plan: Facets) -> np.ndarray:
    """Seed means of log10 variance by configuration and layer, less that of the layer where the signal starts."""
    return np.array([relative(curve) for curve in read_curves(ds, quantity, "var", plan.names)])


def relative(curve: Curve) -> np.ndarray:
    """The curve from 0; NaN where it has no value."""
    return curve.mean - curve.mean[curve.drawn[0]] if curve.drawn.size else curve.mean


def reach_of(planes: Mapping[str, np.ndarray]) -> float:
    """Decades of the scale to each side."""
    largest = max((float(np.nanmax(np.abs(p), initial=0.0)) for p in planes.values()), default=0.0)
    return float(np.clip(np.ceil(largest), LEAST_REACH, REACH))


def height_of(plan: Facets) -> float:
    """Inches that the rows need."""
    return float(np.clip(0.15 * len(plan.names) + 0.85, 1.8, 5.0))


def draw(
    ax: Axes, ds: xr.Dataset, quantity: str, plane: np.ndarray, plan: Facets, reach: float, named: bool
) -> QuadMesh:
    """The image of one quantity."""
    layers = np.asarray(ds["layer"].values, dtype=float)
    edges = np.append(layers - 0.5, layers[-1] + 0.5), np.arange(len(plane) + 1) - 0.5
    lost = lost_in(ds, quantity, plane)
    known = (np.isfinite(plane) | lost).any(axis=0)
    first, last = layers[known][[0, -1]] if known.any() else (0.0, 1.0)
    image = ax.pcolormesh(
        *edges, np.ma.masked_invalid(np.clip(plane, -reach, reach)), cmap=diverging(), norm=Normalize(-reach, reach),
        rasterized=True, gid="plane",
    )  # fmt: skip
    if lost.any():
        nothing = ListedColormap([grey(0.6)])
        ax.pcolormesh(*edges, np.ma.masked_equal(lost, False), cmap=nothing, rasterized=True, gid="lost")
    ax.set_xlim(first - 0.5, last + 0.5)
    ax.set_ylim(len(plane) - 0.5, -0.5)
    ax.xaxis.set_major_locator(LayerLocator(int(first), int(last)))
    ax.set_xlabel(layers_label(ds))
    found = quantity_of(ds, quantity)
    arrow = r"$\leftarrow$ " if QUANTITIES[quantity].backward else ""
    ax.set_title(f"{arrow}{found.plural} ${found.symbol}$" + ("" if arrow else r" $\rightarrow$"), pad=3)
    ax.tick_params(which="both", length=0, pad=2.0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    if named:
        name_rows(ax, plan)
    return image


def lost_in(ds: xr.Dataset, quantity: str, plane: np.ndarray) -> np.ndarray:
    """Where a net has a layer, but no finite signal in some seed; of models, what is zero or infinite."""
    values = variable(ds, quantity, "var").values
    layers = ds["layer"].values
    if "layers" in ds.attrs:  # families of sites
        return np.isinf(values).any(axis=1)
    start = 0 if quantity == "activation" else 1
    inside = (layers >= start) & (layers <= np.asarray(ds["depth"].values).reshape(-1, 1))
    return inside & ~np.isfinite(plane)


def name_rows(ax: Axes, plan: Facets) -> None:
    """Every row by its name, or some by their numbers where they are many."""
    count = len(plan.names)
    if count <= MOST_NAMES:
        size = LEAST_SIZE if count > 14 else LABEL_SIZE
        ax.set_yticks(np.arange(count), [shown(name) for name in plan.names], fontsize=sized(size))
        return
    every = np.unique(np.linspace(0, count - 1, 9).round().astype(int))
    names = [f"{plan.ladder.numbers[i]:.3g}" if plan.ladder else str(i) for i in every]
    ax.set_yticks(every, names)
    ax.set_ylabel(plan.ladder.symbol if plan.ladder else "configuration")


def scale(figure: Figure, image: QuadMesh, panels: Sequence[Axes]) -> None:
    """The colors and what they mean."""
    bar = figure.colorbar(image, ax=list(panels), aspect=24, pad=0.02, fraction=0.05)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda x, _: as_power(x)))
    bar.outline.set_linewidth(sized(0.5))  # type: ignore[operator]
    bar.ax.tick_params(length=2.0, width=sized(0.5), pad=1.5, labelsize=sized(LABEL_SIZE))
    bar.set_label("variance, relative to the start", fontsize=sized(LABEL_SIZE))
