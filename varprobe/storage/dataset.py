"""From cells' tables to the dataset: the one module that knows about dims and coordinates."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from varprobe.errors import RequestError, did_you_mean
from varprobe.storage.memmap import missing_numbers

if TYPE_CHECKING:
    from varprobe.nets.config import Config, Request

__all__ = ["COORDINATES", "dataset", "select", "skeleton", "variable_names"]

COORDINATES = ("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "loss", "dtype")
"""Always on `config`, swept or not."""

PARTS = ("init_first", "init_last", "init_qk", "init_v", "init_o", "init_mlp")
"""Initializers of some of the matrices."""

FURTHER = (*PARTS, "dropout")
"""On `config` where they were asked for."""

QUANTITIES = ("preactivation", "activation", "gradient", "weight_gradient")
STATISTICS = {
    "log10_ms": "log10 of the mean square over batch and units",
    "log10_var": "log10 of the variance about the mean over batch and units",
    "mean_over_rms": "mean over root mean square, in [-1, 1]",
    "log10_absmax": "log10 of the largest magnitude",
}
OTHERS = {
    "weight_log10_ms": "log10 of the mean square of the weights",
    "activation_zero_fraction": "share of activations that are exactly zero",
    "dead_unit_fraction": "share of units that are zero on the whole batch",
    "saturated_fraction": "share of units and samples with |phi'(z)| < 0.01",
    "saturated_nonzero_fraction": "share with |phi'(z)| < 0.01 and phi(z) != 0; NaN where phi is not bounded",
    "equal_unit_fraction": "share of preactivations equal to the first unit's on the same sample",
    "activation_correlation": "mean cosine between the activations of distinct samples",
    "gradient_correlation": "mean cosine between the gradients of distinct samples",
}


def variable_names(archs: Iterable[str] = ()) -> dict[str, str]:
    """Every measured variable of a dataset, with what it is; more for some architectures, given by their call forms."""
    moments = {f"{q}_{s}": f"{q.replace('_', ' ')}: {text}" for q in QUANTITIES for s, text in STATISTICS.items()}
    return moments | OTHERS | further_names(archs)


def further_names(archs: Iterable[str]) -> dict[str, str]:
    """The variables that architectures add."""
    names: dict[str, str] = {}
    for text in archs:
        if text != "plain":
            from varprobe.engine.wired.tables import names_of
            from varprobe.nets.architectures import architecture_of, is_registered

            names |= names_of(architecture_of(text)) if is_registered(text) else {}
    return names


def coordinates_of(config: Config, request: Request) -> dict[str, Any]:
    """A configuration's values of all coordinates."""
    return {
        "arch": config.arch_name,
        "norm": config.norm_name,
        "dropout": config.dropout,
        "act": config.act.name,
        "init": config.init.name,
        "bias": config.bias.name,
        "depth": config.depth,
        "width": config.width,
        "batch": config.batch,
        "loss": request.setting.loss,
        "dtype": request.setting.dtype,
        "init_first": config.init_first.name if config.init_first else "",
        "init_last": config.init_last.name if config.init_last else "",
        **{option: init.name for option, init in config.roles},
    }


def dataset(
    request: Request,
    tables: Iterable[tuple[list[int], int, dict[str, np.ndarray]]],
    place: Path | None = None,
) -> xr.Dataset:
    """All cells as one dataset with dims (config, seed, layer), float64; NaN where a quantity does not apply.

    Args:
        request: what was asked for.
        tables: (configurations of the cell, seed, variable -> (configurations, depth + 1)).
        place: the folder on whose disk the numbers may lie where memory has no room for them.

    Raises:
        RequestError: they do not fit into memory, and there is no place.
        MachineError: the disk has no room for them.
    """
    bare, names = skeleton(request), variable_names(request.spec["arch"])
    shape = len(request.configs), bare.sizes["seed"], bare.sizes["layer"]
    arrays = dict(zip(names, missing_numbers(len(names), shape, place), strict=True))
    for members, seed, table in tables:
        for name, values in table.items():
            arrays[name][members, seed, : values.shape[1]] = values
    data = {k: (("config", "seed", "layer"), arrays[k], {"long_name": text}) for k, text in names.items()}
    return bare.assign(data)


def skeleton(request: Request) -> xr.Dataset:
    """The dataset of a request without its variables: coordinates and attributes."""
    layers = max(c.depth for c in request.configs) + 1
    names = list(COORDINATES) + [k for k in FURTHER if any(request.spec[k])]
    coords: dict[str, Any] = {"seed": np.arange(request.setting.seeds), "layer": np.arange(layers)}
    each = [coordinates_of(c, request) for c in request.configs]
    for name in names:
        column = [values[name] for values in each]
        if any(isinstance(v, str) for v in column):
            column = [str(v) for v in column]
        coords[name] = ("config", np.array(column))
    return xr.Dataset(None, coords, attributes(request))


def attributes(request: Request) -> dict[str, Any]:
    """What is needed to repeat the run, as text and numbers."""
    setting = request.setting
    return {
        "varprobe_version": version("varprobe"),
        "jax_version": version("jax"),
        "spec": json.dumps(request.spec),
        "widths": json.dumps(
            [list(w) for w in dict.fromkeys(c.widths for c in request.configs)]
            if len({c.widths for c in request.configs}) < 100
            else []
        ),
        "data_description": setting.source.description,
        "loss": setting.loss,
        "root_seed": setting.root_seed,
        "seeds": setting.seeds,
        "range": request.spec["range"],
    }


def require_dataset(ds: Any) -> None:
    """Refuse what is not a dataset of `sweep`.

    Raises:
        RequestError: and what it is.
    """
    if not isinstance(ds, xr.Dataset):
        hint = "; varprobe.open_run reads a run folder" if isinstance(ds, str | os.PathLike) else ""
        raise RequestError(f"{ds!r:.80} is not a dataset of varprobe.sweep{hint}", "ds")


def require_layers(ds: Any, widths: bool = False) -> None:
    """Refuse a dataset without seeds or layers, and unless `widths` one in which nets of several widths are compared.

    Raises:
        RequestError: and what is missing.
    """
    require_dataset(ds)
    if "trained" in ds:
        raise RequestError(
            "a grid of trained nets has no layers; its figure, prediction and export are what it has", "ds"
        )
    if "width" in ds.dims and not widths:
        raise RequestError("a coordinate check compares widths; its figure, verdicts and export are what it has", "ds")
    for name in ("seed", "layer"):
        require_dims(ds, name)
        if not ds.sizes[name]:
            raise RequestError(f"the dataset has no {name} left", "ds")


def require_dims(ds: xr.Dataset, *names: str) -> None:
    """Refuse a dataset without one of these dimensions.

    Raises:
        RequestError: and which.
    """
    missing = next((name for name in names if name not in ds.dims), None)
    if missing is not None:
        raise RequestError(f"the dataset has no dimension {missing!r}; isel({missing}=[0]) keeps it", "ds")


def require_configs(ds: Any) -> None:
    """Refuse a dataset without seeds, layers or configurations.

    Raises:
        RequestError: and what is missing.
    """
    require_layers(ds)
    if ds.sizes.get("config") == 0:
        raise RequestError("the dataset has no configuration left", "ds")


def with_configs(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with dims (config, seed, layer, ...); where one configuration was taken out, with it alone."""
    if "config" not in ds.dims:
        names = [name for name in ds.coords if not ds[name].ndim]
        ds = ds.expand_dims("config").assign_coords({name: ("config", [ds[name].values[()]]) for name in names})
    return ds.transpose("config", "seed", *(["step"] if "step" in ds.dims else []), "layer", ...)


def require_whole(ds: Any) -> None:
    """Refuse a dataset without seeds, or without some variable or layer of its networks.

    Raises:
        RequestError: and what is missing.
    """
    require_layers(ds)
    missing = next((name for name in variable_names() if name not in ds.data_vars), None)
    if missing is not None:
        raise RequestError(f"the dataset has no variable {missing!r}", "ds")
    require_every_layer(ds)


def require_every_layer(ds: Any) -> None:
    """Refuse a dataset of stacks some of whose layers were taken out.

    Raises:
        RequestError: and how many there are.
    """
    require_layers(ds)
    depth = int(np.max(ds["depth"].values, initial=0))
    if ds.sizes["layer"] <= depth:
        raise RequestError(f"the dataset has {ds.sizes['layer']} of the layers 0 to {depth}; all are needed", "ds")


def names_in(ds: xr.Dataset) -> list[str]:
    """Every value that tells configurations apart, as text: what a label may stand for."""
    return [str(v) for c in ds.coords.values() if c.dims == ("config",) for v in c.values if str(v)]


def select(ds: xr.Dataset, **where: Any) -> xr.Dataset:
    """The configurations whose coordinates equal the values given, e.g. select(ds, init="he_normal", depth=50).

    A list of values keeps all of them. Of a training, `step` keeps these steps. Dimensions stay as they are.

    Raises:
        RequestError: unknown coordinate, or no configuration with that value.
    """
    require_dataset(ds)
    for name, wanted in where.items():
        known = [c for c in ds.coords if ds[c].dims == ("config",) or (c == "step" and ds[c].dims == ("step",))]
        if name not in known:
            raise RequestError(f"unknown coordinate {name!r}{did_you_mean(name, map(str, known))}")
        values = ds[name].values
        choices = list(wanted) if isinstance(wanted, list | tuple | set) else [wanted]
        if not choices:
            raise RequestError(f"{name}: the list is empty")
        chosen = np.isin(values.astype(str), [str(c) for c in choices])
        if not chosen.any():
            there = np.unique(values).astype(str)
            near = did_you_mean(str(choices[0]), there)
            what = "step" if name in ds.dims else "configuration"
            raise RequestError(f"no {what} has {name}={choices[0]}{near}")
        ds = ds.isel({ds[name].dims[0]: np.flatnonzero(chosen)})
    return ds
