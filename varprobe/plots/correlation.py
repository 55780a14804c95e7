"""The cosine between two inputs, layer by layer: of their activations forward, of their gradients backward."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.plots.facets import one_panel
from varprobe.plots.logaxis import LayerLocator
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import LINE_WIDTH, Look, grey, looks, ordered_looks, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs

__all__ = ["correlation_figure", "plot_correlation"]

VARIABLES = {"activation": "pair_correlation", "gradient": "gradient_pair_correlation"}
AXES = {
    "activation": r"cosine of two activations  $c_\ell$",
    "gradient": r"cosine of their gradients",
}
MOST = 7
"""Configurations that can be told apart."""


@checks_types
def plot_correlation(
    ds: xr.Dataset, quantity: str = "activation", ax: Axes | None = None, *, labels: Mapping[str, str] | None = None
) -> Axes:
    """Draw the cosine of pairs of inputs at every layer, a color for each configuration, a line for each first cosine.

    Bands are one standard deviation over seeds; thin lines are an infinitely wide net's.

    Args:
        ds: a dataset of `sweep(correlation=[...])`.
        quantity: activation, or gradient (of the same pair under one cotangent).
        ax: the axes to draw in, by default a new figure's.
        labels: what to write instead of a name.

    Raises:
        InvalidArgumentError: pairs were not followed, or there are more configurations than can be told apart.
    """
    names, styles = named(ds, quantity, labels)
    return on_axes(ax, (4.0, 2.6), lambda ax: draw(ax, ds, quantity, names, styles, legend=True))


def correlation_figure(
    ds: xr.Dataset, *, size: tuple[float, float] | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """`plot_correlation` forward and, where there are gradients, backward, side by side.

    Raises:
        InvalidArgumentError: as `plot_correlation`.
    """
    names, styles = named(ds, "activation", labels)
    there = [q for q in VARIABLES if VARIABLES[q] in ds and np.isfinite(ds[VARIABLES[q]].values).any()]
    if not there:
        raise InvalidArgumentError("no cosine is finite", "ds")
    with page(size, (5.5, 2.6), 1, len(there), sharey=True) as (figure, grid):
        for ax, quantity in zip(grid[0], there, strict=True):
            draw(ax, ds, quantity, names, styles, legend=False)
        key(figure, handles(names, styles))
    return figure


def named(ds: xr.Dataset, quantity: str, labels: Mapping[str, str] | None) -> tuple[list[str], list[Look]]:
    """A name and a look for each configuration."""
    require_configs(ds)
    if lookup(VARIABLES, quantity, "quantity") not in ds:
        raise InvalidArgumentError("no pairs were followed in this dataset; sweep with --correlation 0.1,0.5,0.9", "ds")
    if not np.isfinite(ds[VARIABLES[quantity]].values[..., 1:, :]).any():
        raise InvalidArgumentError("no cosine is finite here; a forward-only run has none of gradients", "ds")
    check_labels(labels or {}, names_in(ds))
    plan = one_panel(ds, labels)
    if len(plan.names) > MOST:
        raise InvalidArgumentError(
            f"{len(plan.names)} configurations cannot be told apart (at most {MOST}): choose with --select", "select"
        )
    if plan.ladder and len(plan.names) > 1:
        return list(plan.names), ordered_looks([float(plan.ladder.norm(n)) for n in plan.ladder.numbers])
    return list(plan.names), looks(len(plan.names))


def draw(ax: Axes, ds: xr.Dataset, quantity: str, names: list[str], styles: list[Look], legend: bool) -> None:
    """The lines of one quantity."""
    if "config" not in ds.dims:
        ds = ds.expand_dims("config")
    layers = ds["layer"].values
    measured = ds[VARIABLES[quantity]].transpose("config", "c0", "seed", "layer").values
    theory = ds.get(f"theory_{VARIABLES[quantity]}")
    predicted = None if theory is None else theory.transpose("config", "c0", "seed", "layer").values
    for i, look in enumerate(styles):
        for j in range(measured.shape[1]):
            values = measured[i, j]
            mean = values.mean(axis=0)
            if len(values) > 1:
                spread = values.std(axis=0, ddof=1)
                ax.fill_between(layers, mean - spread, mean + spread, color=look.color, alpha=0.18, linewidth=0)
            ax.plot(
                layers, mean, color=look.color, linestyle=look.linestyle, linewidth=sized(LINE_WIDTH),
                marker="o" if np.isfinite(mean).sum() == 1 else "", markersize=sized(3), gid="pair",
            )  # fmt: skip
            if predicted is not None:
                one = predicted[i, j, 0]
                ax.plot(layers, one, color=look.theory, linewidth=sized(0.4), zorder=2.7, gid="theory")
    known = np.isfinite(measured).any(axis=(0, 1, 2))
    first, last = (int(v) for v in layers[known][[0, -1]]) if known.any() else (0, 1)
    low = min(0.0, float(np.nanmin(measured)))
    ax.set_xlim(first - 0.5 * (first == last), last + 0.5 * (first == last))
    ax.set_ylim(1.05 * low, 1.03)
    ax.axhline(1.0, color=grey(0.6), linewidth=sized(0.5), linestyle=(0, (6, 3)), zorder=0.5)
    ax.xaxis.set_major_locator(LayerLocator(first, last))
    ax.set_xlabel(r"layer $\ell$")
    ax.set_ylabel(AXES[quantity])
    ax.yaxis.set_tick_params(labelleft=True)
    dress(ax, "y")
    if legend and len(names) > 1:
        key(ax, handles(names, styles))


def handles(names: list[str], styles: list[Look]) -> list[Line2D]:
    """Lines of the legend."""
    wide = sized(LINE_WIDTH)
    return [
        Line2D([], [], color=look.color, linestyle=look.linestyle, linewidth=wide, label=shown(name))
        for name, look in zip(names, styles, strict=True)
    ]
