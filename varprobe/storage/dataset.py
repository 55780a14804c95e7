"""The variables and coordinates of the dataset of a sweep, and what is required of one."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.storage.kinds import LAYERED, require_dataset, require_kind

__all__ = ["COORDINATES", "select"]

COORDINATES = ("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "loss", "dtype")
"""Always on `config`, swept or not."""

PARTS = ("init_first", "init_last", "init_qk", "init_v", "init_o", "init_mlp")
"""Initializers of some of the matrices."""

FURTHER = (*PARTS, "dropout")
"""On `config` where they were asked for."""

QUANTITIES = ("preactivation", "activation", "gradient", "weight_gradient")
STATISTICS = {
    "log10_mean_square": "log10 of the mean square over batch and units",
    "log10_var": "log10 of the variance about the mean over batch and units",
    "mean_over_rms": "mean over root mean square, in [-1, 1]",
    "log10_absmax": "log10 of the largest magnitude",
}
OTHERS = {
    "weight_log10_mean_square": "log10 of the mean square of the weights",
    "activation_zero_fraction": "share of activations that are exactly zero",
    "dead_unit_fraction": "share of units that are zero on the whole batch",
    "saturated_fraction": "share of units and samples with |phi'(z)| < 0.01",
    "saturated_nonzero_fraction": "share with |phi'(z)| < 0.01 and phi(z) != 0; NaN where phi is not bounded",
    "equal_unit_fraction": "share of preactivations equal to the first unit's on the same sample",
    "activation_correlation": "mean cosine between the activations of distinct samples",
    "gradient_correlation": "mean cosine between the gradients of distinct samples",
}


def measured_names() -> dict[str, str]:
    """The variables that every dataset of a sweep has, with what they are."""
    moments = {f"{q}_{s}": f"{q.replace('_', ' ')}: {text}" for q in QUANTITIES for s, text in STATISTICS.items()}
    return moments | OTHERS


def require_layers(ds: Any, widths: bool = False) -> None:
    """Refuse a dataset of a kind without layers, or without any seed or layer; unless `widths`, a coordinate check.

    Raises:
        InvalidArgumentError: its kind, or what is missing.
    """
    require_kind(ds, *LAYERED, *["coord_check"] * widths)
    for name in ("seed", "layer"):
        require_dims(ds, name)
        if not ds.sizes[name]:
            raise InvalidArgumentError(f"the dataset has no {name} left", "ds")


def require_dims(ds: xr.Dataset, *names: str) -> None:
    """Refuse a dataset without one of these dimensions.

    Raises:
        InvalidArgumentError: and which.
    """
    missing = next((name for name in names if name not in ds.dims), None)
    if missing is not None:
        raise InvalidArgumentError(f"the dataset has no dimension {missing!r}; isel({missing}=[0]) keeps it", "ds")


def require_variables(ds: xr.Dataset, *names: str) -> None:
    """Refuse a dataset without one of these variables or coordinates.

    Raises:
        InvalidArgumentError: and which.
    """
    missing = next((name for name in names if name not in ds), None)
    if missing is not None:
        raise InvalidArgumentError(f"the dataset has no variable {missing!r}", "ds")


def require_configs(ds: Any) -> None:
    """Refuse a dataset without seeds, layers or configurations.

    Raises:
        InvalidArgumentError: and what is missing.
    """
    require_layers(ds)
    if ds.sizes.get("config") == 0:
        raise InvalidArgumentError("the dataset has no configuration left", "ds")


def with_configs(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with dims (config, seed, layer, ...); where one configuration was taken out, with it alone."""
    if "config" not in ds.dims:
        names = [name for name in ds.coords if not ds[name].ndim]
        ds = ds.expand_dims("config").assign_coords({name: ("config", [ds[name].values[()]]) for name in names})
    return ds.transpose("config", "seed", *(["step"] if "step" in ds.dims else []), "layer", ...)


def require_whole(ds: Any) -> None:
    """Refuse a dataset without seeds, or without some variable or layer of its networks.

    Raises:
        InvalidArgumentError: and what is missing.
    """
    require_layers(ds)
    require_variables(ds, *measured_names())
    require_every_layer(ds)


def require_every_layer(ds: Any) -> None:
    """Refuse a dataset of stacks some of whose layers were taken out.

    Raises:
        InvalidArgumentError: and how many there are.
    """
    require_layers(ds)
    depth = int(np.max(ds["depth"].values, initial=0))
    if ds.sizes["layer"] <= depth:
        raise InvalidArgumentError(
            f"the dataset has {ds.sizes['layer']} of the layers 0 to {depth}; all are needed", "ds"
        )


def names_in(ds: xr.Dataset) -> list[str]:
    """Every value that tells configurations apart, as text: what a label may stand for."""
    return [str(v) for c in ds.coords.values() if c.dims == ("config",) for v in c.values if str(v)]


def select(ds: xr.Dataset, **where: Any) -> xr.Dataset:
    """The configurations whose coordinates equal the values given, e.g. select(ds, init="he_normal", depth=50).

    A list of values keeps all of them. Of a training, `step` keeps these steps. Dimensions stay as they are.

    Raises:
        InvalidArgumentError: unknown coordinate, or no configuration with that value.
    """
    require_dataset(ds)
    for name, wanted in where.items():
        known = [c for c in ds.coords if ds[c].dims == ("config",) or (c == "step" and ds[c].dims == ("step",))]
        if name not in known:
            raise InvalidArgumentError(f"unknown coordinate {name!r}{did_you_mean(name, map(str, known))}")
        values = ds[name].values
        choices = list(wanted) if isinstance(wanted, list | tuple | set) else [wanted]
        if not choices:
            raise InvalidArgumentError(f"{name}: the list is empty")
        chosen = np.isin(values.astype(str), [str(c) for c in choices])
        if not chosen.any():
            there = np.unique(values).astype(str)
            near = did_you_mean(str(choices[0]), there)
            what = "step" if name in ds.dims else "configuration"
            raise InvalidArgumentError(f"no {what} has {name}={choices[0]}{near}")
        ds = ds.isel({ds[name].dims[0]: np.flatnonzero(chosen)})
    return ds
