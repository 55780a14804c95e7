"""What dashboards draw: curves over layers, as means and deviations over seeds, and histograms."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from varprobe.exports.naming import config_names

__all__ = ["Histogram", "Point", "histograms", "points", "quantities"]

SPLIT = re.compile(r"(.+?)_(log10_.+|mean_over_rms|[^_]+)")
"""A variable's name is a quantity and its statistic."""


class Point(NamedTuple):
    """A number of one layer; not NaN."""

    tag: str
    layer: int
    value: float


class Histogram(NamedTuple):
    """Shares of a layer's values between the edges, in units of their RMS; mean over seeds."""

    tag: str
    layer: int
    edges: Float[np.ndarray, " bins+1"]
    shares: Float[np.ndarray, " bins"]


def quantities(ds: xr.Dataset) -> dict[str, str]:
    """Variable -> `gradient/log10_mean_square`, of what has a value for every layer."""
    return {str(name): group(str(name)) for name, v in ds.data_vars.items() if of_layers(v)}


def of_layers(variable: xr.DataArray) -> bool:
    """Whether it is of configurations and layers, and perhaps seeds."""
    return {"config", "layer"} <= set(variable.dims) <= {"config", "seed", "layer"}


def group(name: str) -> str:
    """`gradient/log10_mean_square` of gradient_log10_mean_square."""
    match = SPLIT.fullmatch(name)
    return f"{match[1]}/{match[2]}" if match else name


def points(ds: xr.Dataset) -> Iterator[Point]:
    """Every curve's numbers, in layers that rise: `gradient/log10_mean_square/NAME`, and
    `gradient/log10_mean_square_std/NAME`.

    What has no seeds, such as a prediction, and one seed have no deviation.
    """
    names = config_names(ds)
    for variable, tag in quantities(ds).items():
        array = ds[variable].transpose("config", "layer", ...)
        values = array.values if "seed" in array.dims else array.values[..., None]
        for i, name in enumerate(names):
            with np.errstate(invalid="ignore"):
                mean, std = values[i].mean(axis=-1), deviation(values[i])
            yield from along(f"{tag}/{name}", ds["layer"].values, mean)
            yield from along(f"{tag}_std/{name}", ds["layer"].values, std)


def deviation(values: Float[np.ndarray, "layers seeds"]) -> Float[np.ndarray, " layers"]:
    """The standard deviation over seeds; NaN of one."""
    return values.std(axis=-1, ddof=1) if values.shape[-1] > 1 else np.full(len(values), np.nan)


def along(tag: str, layers: Int[np.ndarray, " layers"], values: Float[np.ndarray, " layers"]) -> Iterator[Point]:
    """The points of a curve, where it is known."""
    for layer, value in zip(layers.tolist(), values.tolist(), strict=True):
        if value == value:
            yield Point(tag, layer, value)


def histograms(ds: xr.Dataset) -> Iterator[Histogram]:
    """`activation/density/NAME` at every layer, where the run has histograms; shares of a bin, not densities."""
    if "bin" not in ds.coords:
        return
    centers, names = ds["bin"].values, config_names(ds)
    width = centers[1] - centers[0]
    edges = np.append(centers - width / 2, centers[-1] + width / 2)
    for variable in (str(name) for name, v in ds.data_vars.items() if "bin" in v.dims):
        shares = ds[variable].transpose("config", "layer", "seed", "bin").values.mean(axis=2) * width
        for i, name in enumerate(names):
            for layer, found in zip(ds["layer"].values.tolist(), shares[i], strict=True):
                if not np.isnan(found).any():
                    yield Histogram(f"{group(variable)}/{name}", layer, edges, found)
