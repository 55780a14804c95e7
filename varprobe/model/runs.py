"""Run folders of models: results.nc and results.csv, and model.json, which says what they are."""

import json
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import RequestError
from varprobe.storage import DamagedError, checked, load_dataset, put, save_csv, save_dataset, writing
from varprobe.untrusted import UntrustedError, content_of

__all__ = ["RECORD", "model_record", "open_model_run", "require_folder", "save_model_run"]

RECORD = "model.json"
MAX_RECORD = 2**24
"""Bytes of it."""

LAYERS = ("config", "seed", "layer")
OF_A_MODEL = ("site", "kind", "iteration", "arch", "depth")
"""Dimensions and coordinates that every model's dataset has."""


def require_folder(folder: Path) -> None:
    """Refuse what cannot become a model's run folder, before anything is measured.

    Raises:
        RequestError: it holds a sweep's run, or is no folder that can be written.
    """
    if (folder / "spec.json").exists():
        raise RequestError(f"{folder} holds the run of a sweep; choose another folder", "out")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise RequestError(f"{str(there)!r} is a file, not a folder", "out")
    if not os.access(there, os.W_OK):
        raise RequestError(f"{str(there)!r} cannot be written", "out")


def save_model_run(folder: Path, ds: xr.Dataset, asked: dict[str, Any]) -> None:
    """Write a model's dataset; model.json comes last, so that a folder that has it is whole.

    Raises:
        RequestError: it cannot be a model's run folder.
        MachineError: the disk refuses.
    """
    require_folder(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    digest = save_dataset(folder / "results.nc", ds)
    save_csv(folder / "results.csv", ds)
    content = json.dumps({"varprobe": version("varprobe"), "asked": asked, "results": digest}, indent=1) + "\n"
    with writing(folder / RECORD):
        put(folder / RECORD, lambda file: file.write(content.encode()))


def open_model_run(folder: Path) -> xr.Dataset:
    """The dataset of a model's run folder.

    Raises:
        RequestError: it is damaged.
    """
    digest = model_record(folder).get("results")
    try:
        ds = load_dataset(folder / "results.nc", str(digest))
        if not set(OF_A_MODEL) <= set(ds.coords) or set(LAYERS) - set(ds.dims):
            raise DamagedError("does not hold a model's layers")
        return ds
    except DamagedError as error:
        raise RequestError(f"{folder / 'results.nc'} {error}; probe the model again", "run") from error


def model_record(folder: Path) -> dict[str, Any]:
    """What model.json holds.

    Raises:
        RequestError: it is not one that varprobe wrote.
    """
    path = folder / RECORD
    try:
        found = json.loads(content_of(checked(path, folder), MAX_RECORD))
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found
    except (DamagedError, UntrustedError) as error:
        raise RequestError(f"{path} {error}", "run") from error
    except Exception as error:  # the file may hold anything
        raise RequestError(f"{path} is not one that varprobe wrote", "run") from error
