"""Steps of training among the dimensions of a dataset."""

import numpy as np
import xarray as xr

__all__ = ["by_step"]

LAYERS = ("config", "seed", "step", "layer")


def by_step(ds: xr.Dataset) -> xr.Dataset:
    """What is measured at every step as a configuration of its own, with the coordinate `step`: (config, seed, layer).

    A dataset without steps stays as it is; of others, variables that do not have all of these dimensions are left out.
    """
    if "step" not in ds.dims:
        return ds
    names = [name for name, variable in ds.data_vars.items() if set(LAYERS) <= set(variable.dims)]
    config, step = (a.ravel() for a in np.indices((ds.sizes["config"], ds.sizes["step"])))
    points = ds[names].isel(config=("point", config), step=("point", step)).rename(point="config")
    return points.transpose("config", "seed", "layer", ...)
