"""The tidy table of a dataset: one row a configuration, seed and layer."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from varprobe.storage.chunks import Advance, blocks, unwatched
from varprobe.storage.steps import LAYERS, by_config

__all__ = ["Columns", "tidy_blocks", "tidy_columns"]

FURTHER = ("width", "step")
"""Dimensions beside these that a dataset of training has; every combination is a configuration of the table."""

KINDS: dict[str, type] = {"i": int, "u": int, "b": bool, "f": float}
"""Of a dtype's letter; everything else is text."""

Columns = dict[str, np.ndarray]
"""Name -> the cells of some rows."""


def tidy_columns(ds: xr.Dataset) -> dict[str, type]:
    """Name -> int, float, bool or str, in the order of the cells of a row.

    First the configuration's number and coordinates, then seed and layer, what is told of the layer (a model's site),
    and the variables with dims (config, seed, layer). Others, such as histograms, stand in the dataset only.
    """
    ds = by_config(ds, *FURTHER)
    kinds = {name: KINDS.get(ds[name].dtype.kind, str) for name in (*beside(ds, "config"), *beside(ds, "layer"))}
    of_config = {name: kinds[name] for name in beside(ds, "config")}
    of_layer = {name: kinds[name] for name in beside(ds, "layer")}
    return {"config": int, **of_config, "seed": int, "layer": int, **of_layer, **dict.fromkeys(variables(ds), float)}


def tidy_blocks(ds: xr.Dataset, advance: Advance = unwatched) -> Iterator[Columns]:
    """The rows, of some configurations at a time. The layers that pad shallower configurations have none."""
    ds = by_config(ds, *FURTHER)
    names = variables(ds)
    of_config, of_layer = beside(ds, "config"), beside(ds, "layer")
    layers, seeds, start = ds["layer"].values, ds["seed"].values, 0
    for block in blocks(ds[names], advance):
        kept = layers <= block["depth"].values[:, None]
        config, seed, layer = np.nonzero(np.broadcast_to(kept[:, None], (len(kept), seeds.size, layers.size)))
        yield {
            "config": start + config,
            **{name: shared(block[name].values)[config] for name in of_config},
            "seed": seeds[seed],
            "layer": layers[layer],
            **{name: shared(block[name].values)[layer] for name in of_layer},
            **{name: block[name].values[config, seed, layer] for name in names},
        }
        start += len(kept)


def shared(values: np.ndarray) -> np.ndarray:
    """The values; of text as objects, which rows share."""
    return values.astype(object) if values.dtype.kind == "U" else values


def beside(ds: xr.Dataset, dim: str) -> list[str]:
    """The coordinates along a dimension, but for itself."""
    return [str(name) for name, c in ds.coords.items() if c.dims == (dim,) and name != dim]


def variables(ds: xr.Dataset) -> list[str]:
    """What is measured of each configuration, seed and layer."""
    return [str(name) for name, v in ds.data_vars.items() if v.dims == LAYERS]
