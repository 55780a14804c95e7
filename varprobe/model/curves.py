"""A model's families as the configurations of a dataset, for figures: each is a curve."""

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.families import families_of

__all__ = ["as_curves"]


def as_curves(ds: xr.Dataset) -> xr.Dataset:
    """A dataset with a configuration for each family, named by `arch`, whose layers are those of the model.

    Sites without an activation pass their preactivation on.

    Raises:
        InvalidArgumentError: the dataset has no family, or several steps.
    """
    if "config" in ds.dims:
        if ds.sizes["config"] > 1:
            raise InvalidArgumentError("a figure shows one step; choose with isel(config=...)", "ds")
        ds = ds.isel(config=0)
    families = families_of(ds)
    if not families:
        raise InvalidArgumentError("no two sites of this model are alike, so there is no curve to draw", "ds")
    pieces = []
    for family in families:
        member = xr.DataArray(np.isin(np.arange(ds.sizes["layer"]), family.layers), dims="layer")
        data = {str(name): v.where(member) for name, v in ds.data_vars.items() if v.dims == ("seed", "layer")}
        for name in [n for n in data if n.startswith("activation_log10") and n.replace("act", "preact", 1) in data]:
            data[name] = data[name].fillna(data[name.replace("act", "preact", 1)])
        pieces.append(xr.Dataset(data, {"seed": ds["seed"], "layer": ds["layer"]}))
    both = xr.concat(pieces, "config")
    coords = {str(n): ("config", [c.values.item()] * len(families)) for n, c in ds.coords.items() if not c.ndim}
    names = {"arch": ("config", [family.name for family in families])}
    return both.assign_coords(coords | names).assign_attrs(ds.attrs | {"layers": "site, in the order of execution"})
