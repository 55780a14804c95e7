"""From cells' tables to the dataset of a sweep."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from varprobe.storage.dataset import COORDINATES, FURTHER, measured_names
from varprobe.storage.memmap import missing_numbers

if TYPE_CHECKING:
    from varprobe.nets.config import Config
    from varprobe.sweeps.request import Request

__all__ = ["dataset", "skeleton", "variable_names"]


def variable_names(archs: Iterable[str] = ()) -> dict[str, str]:
    """Every measured variable of a dataset, with what it is; more for some architectures, given by their call forms."""
    return measured_names() | further_names(archs)


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


def dataset(request: Request, place: Path | None = None) -> xr.Dataset:
    """The dataset of a request with dims (config, seed, layer), float64, its numbers still missing.

    Args:
        request: what was asked for.
        place: the folder on whose disk the numbers may lie if memory has no room for them.

    Raises:
        InvalidArgumentError: they do not fit into memory, and there is no place.
        MachineError: the disk has no room for them.
    """
    bare, names = skeleton(request), variable_names(request.spec["arch"])
    shape = len(request.configs), bare.sizes["seed"], bare.sizes["layer"]
    arrays = zip(names.items(), missing_numbers(len(names), shape, place), strict=True)
    return bare.assign(
        {name: (("config", "seed", "layer"), array, {"long_name": text}) for (name, text), array in arrays}
    )


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
        "kind": "sweep",
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
