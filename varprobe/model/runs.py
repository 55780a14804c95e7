"""Run folders of models: results.nc and results.csv, and model.json, which says what they are."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.checksums import DamagedError, sealed_json, unsealed_json
from varprobe.storage.files import checked, load_dataset, named_record, put, save_csv, save_dataset, writing
from varprobe.storage.paths import require_room_for
from varprobe.storage.provenance import machine
from varprobe.sweeps.record import versions

__all__ = ["RECORD", "model_record", "open_model_run", "read_model_record", "require_folder", "save_model_run"]

RECORD = "model.json"
MAX_RECORD = 2**24
"""Bytes of it."""

LAYERS = ("config", "seed", "layer")
OF_A_MODEL = ("site", "kind", "iteration", "arch", "depth")
"""Dimensions and coordinates that every model's dataset has."""


def require_folder(folder: Path) -> None:
    """Refuse what cannot become a model's run folder, before anything is measured.

    Raises:
        InvalidArgumentError: it holds the run of something else, or is no folder that can be written.
    """
    require_room_for(RECORD, folder)


def save_model_run(folder: Path, ds: xr.Dataset, asked: dict[str, Any]) -> None:
    """Write a model's dataset; model.json comes last, so that a folder that has it is whole.

    Raises:
        InvalidArgumentError: it cannot be a model's run folder.
        MachineError: the disk refuses.
    """
    require_folder(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    digest = save_dataset(folder / "results.nc", ds)
    save_csv(folder / "results.csv", ds)
    content = sealed_json(
        {
            "varprobe": version("varprobe"),
            "asked": asked,
            "versions": versions(),
            "machine": machine(),
            "results": digest,
        }
    )
    with writing(folder / RECORD):
        put(folder / RECORD, lambda file: file.write(content))


def read_model_record(folder: Path) -> dict[str, Any]:
    """What model.json holds: `varprobe`, `asked`, `versions`, `machine` and `results`, the sha256 of results.nc.

    Raises:
        DamagedError: it is missing, damaged, or of another version.
    """
    record = unsealed_json(checked(folder / RECORD, folder), MAX_RECORD)
    if not {"asked", "versions", "machine", "results"} <= set(record):
        raise DamagedError("is not one that varprobe wrote")
    return record


def open_model_run(folder: Path, read: Callable[[Path, str], xr.Dataset] = load_dataset) -> xr.Dataset:
    """The dataset of a model's run folder; `read` takes results.nc and its sha256.

    Raises:
        InvalidArgumentError: it is damaged.
    """
    digest = model_record(folder).get("results")
    try:
        ds = read(folder / "results.nc", str(digest))
        if not set(OF_A_MODEL) <= set(ds.coords) or set(LAYERS) - set(ds.dims):
            raise DamagedError("does not hold a model's layers")
        return ds
    except DamagedError as error:
        raise InvalidArgumentError(f"{folder / 'results.nc'} {error}; probe the model again", "run") from error


def model_record(folder: Path) -> dict[str, Any]:
    """`read_model_record` of a folder that the user named.

    Raises:
        InvalidArgumentError: it is not one that varprobe wrote.
    """
    return named_record(read_model_record, folder, RECORD)
