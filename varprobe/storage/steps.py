"""Steps of training and widths among the dimensions of a dataset."""

import numpy as np
import xarray as xr

__all__ = ["by_config", "by_step"]

LAYERS = ("config", "seed", "layer")


def by_step(ds: xr.Dataset) -> xr.Dataset:
    """What is measured at every step as a configuration of its own, with the coordinate `step`: (config, seed, layer).

    A dataset without steps stays as it is; of others, variables that do not have all of these dimensions are left out.
    """
    return by_config(ds, "step")


def by_config(ds: xr.Dataset, *further: str) -> xr.Dataset:
    """`by_step` for all of the dimensions `further` that the dataset has; its last varies fastest."""
    dims = ("config", *(dim for dim in further if dim in ds.dims))
    if len(dims) == 1:
        return ds
    names = [name for name, variable in ds.data_vars.items() if {*LAYERS, *dims} <= set(variable.dims)]
    places = np.indices([ds.sizes[dim] for dim in dims]).reshape(len(dims), -1)
    points = ds[names].isel({dim: ("point", place) for dim, place in zip(dims, places, strict=True)})
    return points.rename(point="config").transpose("config", "seed", "layer", ...)
