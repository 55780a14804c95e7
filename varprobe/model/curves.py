"""A model's families as the configurations of a dataset, for figures: each is a curve."""

import numpy as np
import xarray as xr

from varprobe.errors import RequestError
from varprobe.model.families import families_of

__all__ = ["as_curves"]


def as_curves(ds: xr.Dataset) -> xr.Dataset:
    """A dataset with a configuration for each family, named by `arch`, whose layers are those of the model.

    Raises:
        RequestError: there is no family, or several steps.
    """
    if "config" in ds.dims:
        if ds.sizes["config"] > 1:
            raise RequestError("a figure shows one step; choose with isel(config=...)", "ds")
        ds = ds.isel(config=0)
    families = families_of(ds)
    if not families:
        raise RequestError("no two sites of this model are alike, so there is no curve to draw", "ds")
    pieces = []
    for family in families:
        member = xr.DataArray(np.isin(np.arange(ds.sizes["layer"]), family.layers), dims="layer")
        data = {name: v.where(member) for name, v in ds.data_vars.items() if v.dims == ("seed", "layer")}
        pieces.append(xr.Dataset(data, {"seed": ds["seed"], "layer": ds["layer"]}))
    both = xr.concat(pieces, "config")
    coords = {str(n): ("config", [c.values.item()] * len(families)) for n, c in ds.coords.items() if not c.ndim}
    names = {"arch": ("config", [family.name for family in families])}
    return both.assign_coords(coords | names).assign_attrs(ds.attrs)
