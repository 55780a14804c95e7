"""The kind of a dataset: its attribute `kind`, which is written where the dataset is made."""

import os
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.storage.checksums import DamagedError

__all__ = ["DESCRIPTIONS", "LAYERED", "SITES", "kind_of", "of_sites", "require_dataset", "require_kind", "with_kind"]

DESCRIPTIONS = {
    "sweep": "a sweep",
    "probe": "a probe of a model",
    "track": "a training run of stacks",
    "track_model": "a training run of a model",
    "coord_check": "a coordinate check",
    "trainability": "a grid of trained networks",
}
"""Kind -> what it is, for messages."""

REQUIRED = {
    "track": ("batch_loss", "diverged_step"),
    "coord_check": ("value_log10_mean_square", "change_log10_mean_square", "batch_loss"),
    "trainability": ("final_loss", "final_accuracy"),
}
"""Variables without which a dataset read from a file is damaged; a sweep's are compared with its plan."""

AT_A_STEP = {"track": "sweep", "track_model": "probe"}
"""What one step of a training run is."""

SITES = ("probe", "track_model", "coord_check")
"""Kinds whose layers are the sites of a model."""

LAYERED = ("sweep", "probe", "track", "track_model")
"""Kinds with the dimensions seed and layer, and none of widths."""


def require_dataset(ds: Any) -> None:
    """Refuse an object that is not a dataset.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if not isinstance(ds, xr.Dataset):
        hint = "; varprobe.open_run reads a run folder" if isinstance(ds, str | os.PathLike) else ""
        raise InvalidArgumentError(f"{ds!r:.80} is not a dataset of varprobe.sweep{hint}", "ds")


def kind_of(ds: Any) -> str:
    """The kind of a dataset, one of `DESCRIPTIONS`. One step of a training run is a sweep, or a probe of a model.

    Raises:
        InvalidArgumentError: it is not a dataset, or its kind is unknown.
    """
    require_dataset(ds)
    kind = ds.attrs["kind"] if "kind" in ds.attrs else guessed(ds)
    lookup(DESCRIPTIONS, kind, "kind of dataset")
    return kind if "step" in ds.dims else AT_A_STEP.get(kind, kind)


def guessed(ds: xr.Dataset) -> str:
    """The kind of a dataset without the attribute: an older version made it, or an operation of xarray dropped it."""
    if "trained" in ds or ("final_loss" in ds and "layer" not in ds.coords):
        return "trainability"
    if "change_log10_mean_square" in ds:
        return "coord_check"
    if "step" in ds.dims:
        return "track_model" if "site" in ds.coords else "track"
    return "probe" if "site" in ds.coords else "sweep"


def with_kind(ds: xr.Dataset) -> xr.Dataset:
    """The dataset, just read from a file, with the attribute `kind`.

    Raises:
        DamagedError: the attribute does not fit the variables, or one is missing.
    """
    found = guessed(ds)
    if str(ds.attrs.setdefault("kind", found)) != found:
        raise DamagedError(f"says that its kind is {ds.attrs['kind']!r:.40}, and holds {DESCRIPTIONS[found]}")
    if missing := [name for name in REQUIRED.get(found, ()) if name not in ds]:
        raise DamagedError(f"has no {missing[0]}")
    return ds


def of_sites(ds: xr.Dataset) -> bool:
    """Whether the layers of a dataset are the sites of a model."""
    return kind_of(ds) in SITES


def require_kind(ds: Any, *kinds: str, option: str = "ds") -> None:
    """Refuse a dataset of another kind.

    Raises:
        InvalidArgumentError: what it is, and what is allowed.
    """
    kind = kind_of(ds)
    if kind not in kinds:
        allowed = ", ".join(DESCRIPTIONS[name] for name in kinds)
        raise InvalidArgumentError(f"this is {DESCRIPTIONS[kind]} (allowed: {allowed})", option)
