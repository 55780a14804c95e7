"""What the layers of a dataset are in figures: those of stacks, or the sites of a model."""

import xarray as xr

from varprobe.model.curves import as_curves
from varprobe.storage.kinds import of_sites

__all__ = ["curves_of", "layers_label"]


def curves_of(ds: xr.Dataset) -> xr.Dataset:
    """The dataset, a model's with a configuration for each family, as if these were stacks.

    Raises:
        InvalidArgumentError: a model has no family, or several steps.
    """
    return as_curves(ds).assign_attrs(kind="sweep") if of_sites(ds) else ds


def layers_label(ds: xr.Dataset) -> str:
    """What an axis of layers counts; `as_curves` says it of families."""
    return "site, in the order of execution" if of_sites(ds) else ds.attrs.get("layers", r"layer $\ell$")
