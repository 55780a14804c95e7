"""The spectrum of the Jacobian: the density of its singular values on a logarithmic axis, with theory's if any."""

import json
import re
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from varprobe.errors import InvalidArgumentError
from varprobe.plots.facets import one_panel
from varprobe.plots.logaxis import exact_power
from varprobe.plots.pages import on_axes, page
from varprobe.plots.style import LABEL_SIZE, LINE_WIDTH, Look, grey, looks, sized
from varprobe.plots.texts import check_labels, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import names_in, require_configs, require_every_layer
from varprobe.theory.spectra import Spectrum, jacobian_spectrum

__all__ = ["plot_spectrum", "spectrum_figure"]

NAME = "jacobian_log10_singular_values"
MOST = 7
"""Configurations that can be told apart in one panel."""
BINS = 40
ACTIVE = {"identity": 1.0, "linear": 1.0, "relu": 0.5}
INDEPENDENT = re.compile(
    r"(he|glorot|lecun|kaiming|xavier|torch|keras)_|normal|uniform|truncated_normal|variance_scaling"
)
EQUAL = 0.1
"""Decades by which mean squares of layers' weights may differ and count as equal."""
SPREAD = 1e-3
"""Decades: narrower spectra are a line."""


@checks_types
def plot_spectrum(ds: xr.Dataset, ax: Axes | None = None, *, labels: Mapping[str, str] | None = None) -> Axes:
    """Draw the density of log10 of the singular values of dh_L/dh_0, all seeds together, one outline a config.

    Singular values that are zero are told in the legend; a spectrum narrower than a thousandth of a decade is a
    vertical line. Dashed is the infinitely wide net's, for plain stacks of equal width with independent weights of
    mean 0 that are linear or ReLU.

    Args:
        ds: a dataset of `sweep(jacobian=True)`.
        ax: the axes to draw in, by default a new figure's.
        labels: what to write instead of a name, as in `{"he_normal": "He"}`.

    Raises:
        InvalidArgumentError: it has no Jacobians, or more configurations than can be told apart.
    """
    values, names = spectra_of(ds, labels)
    return on_axes(ax, (4.0, 2.6), lambda ax: draw(ax, ds, values, names))


def spectrum_figure(
    ds: xr.Dataset, *, size: tuple[float, float] | None = None, labels: Mapping[str, str] | None = None
) -> Figure:
    """`plot_spectrum` as a figure for a file.

    Raises:
        InvalidArgumentError: as `plot_spectrum`.
    """
    values, names = spectra_of(ds, labels)
    with page(size, (4.0, 2.6)) as (figure, grid):
        draw(grid[0, 0], ds, values, names)
    return figure


def spectra_of(ds: xr.Dataset, labels: Mapping[str, str] | None) -> tuple[list[np.ndarray], list[str]]:
    """(log10 of the singular values of all seeds, name) of each configuration."""
    require_configs(ds)
    require_every_layer(ds)
    if NAME not in ds:
        raise InvalidArgumentError("the dataset has no Jacobians; sweep with --jacobian (jacobian=True)", "ds")
    check_labels(labels or {}, names_in(ds))
    if "config" not in ds.dims:
        ds = ds.expand_dims("config")
    values = [found[~np.isnan(found)] for found in ds[NAME].transpose("config", ...).values]
    if len(values) > MOST:
        raise InvalidArgumentError(
            f"{len(values)} spectra cannot be told apart (at most {MOST}): choose with --select", "ds"
        )
    if not any(np.isfinite(found).any() for found in values):
        raise InvalidArgumentError("no singular value is above zero and finite", "ds")
    return values, list(one_panel(ds, labels).names)


def draw(ax: Axes, ds: xr.Dataset, values: list[np.ndarray], names: list[str]) -> None:
    """Outlines, theory and a legend."""
    finite = [found[np.isfinite(found)] for found in values]
    predictions = [theory_of(ds, i) for i in range(len(values))]
    together = np.concatenate(finite)
    low, high = together.min(), together.max()
    pad = max(0.03 * (high - low), 0.05)
    edges = np.linspace(low - pad, high + pad, BINS + 1)
    step = edges[1] - edges[0]
    peak = 0.0
    for found, alive, name, look in zip(values, finite, names, looks(len(values)), strict=True):
        zero = 1 - len(alive) / max(len(found), 1)
        text = shown(name + (f" ({100 * zero:.0f}% zero)" if zero else ""))
        if len(alive) and np.ptp(alive) > SPREAD:
            density = np.histogram(alive, edges)[0] / (len(found) * step)
            peak = max(peak, density.max())
            ax.stairs(density, edges, color=look.color, linewidth=sized(LINE_WIDTH), label=text, gid="spectrum")
            ax.stairs(density, edges, color=look.color, fill=True, alpha=0.12, linewidth=0)
        else:
            draw_line(ax, alive, look, text)
    for prediction, look in zip(predictions, looks(len(values)), strict=True):
        if prediction:
            inside = prediction.density[prediction.log10_s >= edges[0]]
            peak = max(peak, float(inside.max(initial=0.0)))
            ax.plot(
                prediction.log10_s,
                prediction.density,
                color=look.theory,
                linewidth=0.8,
                linestyle=(0, (4, 2)),
                gid="theory",
            )
    if any(predictions):
        ax.plot([], [], color=grey(0.3), linewidth=0.8, linestyle=(0, (4, 2)), label="infinite width")
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1.08 * peak if peak else 1.0)
    ax.set_xlabel(r"singular value of $\partial h_L/\partial h_0$")
    ax.set_ylabel("density per decade")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=high - low > 4))
    ax.xaxis.set_major_formatter(FuncFormatter(exact_power))
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=sized(LABEL_SIZE))
    ax.legend(fontsize=sized(LABEL_SIZE), frameon=False, loc="upper left", handlelength=1.6, borderaxespad=0.2)


def draw_line(ax: Axes, alive: np.ndarray, look: Look, text: str) -> None:
    """Equal singular values."""
    if len(alive):
        ax.axvline(alive.mean(), color=look.color, linewidth=1.6, label=text, gid="spectrum")
    else:
        ax.plot([], [], color=look.color, label=text)


def theory_of(ds: xr.Dataset, i: int) -> Spectrum | None:
    """The spectrum of an infinitely wide net, where there is a formula."""
    one = ds.isel(config=i) if "config" in ds.dims else ds
    text = {name: str(one[name].values) for name in ("arch", "norm", "act", "init", "width")}
    active = ACTIVE.get(text["act"])
    plain = text["arch"] == "plain" and text["norm"] == "none" and float(one.get("dropout", 0.0)) == 0
    further = any(str(one[name].values) for name in ("init_first", "init_last") if name in one.coords)
    call = INDEPENDENT.match(text["init"])
    if active is None or not plain or further or not call or "mean" in text["init"] or "-" in text["width"]:
        return None
    if json.loads(ds.attrs.get("spec", "{}")).get("input_width") not in (None, int(text["width"])):
        return None
    depth = int(one["depth"].values)
    log10_mean_square = one["weight_log10_mean_square"].transpose("seed", "layer").values[..., 1 : depth + 1]
    spread = np.ptp(log10_mean_square.reshape(-1, depth).mean(0))
    if not np.isfinite(spread) or spread > EQUAL:
        return None
    return jacobian_spectrum(depth, int(text["width"]) * 10 ** float(log10_mean_square.mean()), active)
