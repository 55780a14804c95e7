"""The tidy table of a dataset: one row a configuration, seed and layer."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr

__all__ = ["tidy_columns", "tidy_rows"]

LAYERS = ("config", "seed", "layer")
KINDS: dict[str, type] = {"i": int, "u": int, "b": bool, "f": float}
"""Of a dtype's letter; everything else is text."""


def tidy_columns(ds: xr.Dataset) -> dict[str, type]:
    """Name -> int, float, bool or str, in the order of the cells of a row.

    First the configuration's number and coordinates, then seed and layer, what is told of the layer (a model's site),
    and the variables with dims (config, seed, layer). Others, such as histograms, stand in the dataset only.
    """
    kinds = {name: KINDS.get(ds[name].dtype.kind, str) for name in (*beside(ds, "config"), *beside(ds, "layer"))}
    of_config = {name: kinds[name] for name in beside(ds, "config")}
    of_layer = {name: kinds[name] for name in beside(ds, "layer")}
    return {"config": int, **of_config, "seed": int, "layer": int, **of_layer, **dict.fromkeys(variables(ds), float)}


def tidy_rows(ds: xr.Dataset) -> Iterator[list[Any]]:
    """The rows, as Python's own values; NaN is None. The layers that pad shallower configurations have none."""
    of_config = [ds[name].values.tolist() for name in beside(ds, "config")]
    of_layer = [ds[name].values.tolist() for name in beside(ds, "layer")]
    values = [ds[name].values for name in variables(ds)]
    layers, seeds = ds["layer"].values, ds["seed"].values.tolist()
    for i, depth in enumerate(ds["depth"].values):
        config = [i, *(column[i] for column in of_config)]
        kept = np.flatnonzero(layers <= depth)
        block = np.stack([v[i][:, kept] for v in values], axis=-1)
        cells = block.astype(object)
        cells[np.isnan(block)] = None
        places = [[int(layers[k]), *(column[k] for column in of_layer)] for k in kept]
        for seed, rows in zip(seeds, cells.tolist(), strict=True):
            yield from ([*config, seed, *place, *row] for place, row in zip(places, rows, strict=True))


def beside(ds: xr.Dataset, dim: str) -> list[str]:
    """The coordinates along a dimension, but for itself."""
    return [str(name) for name, c in ds.coords.items() if c.dims == (dim,) and name != dim]


def variables(ds: xr.Dataset) -> list[str]:
    """What is measured of each configuration, seed and layer."""
    return [str(name) for name, v in ds.data_vars.items() if v.dims == LAYERS]
