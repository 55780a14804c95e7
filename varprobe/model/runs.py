"""Run folders of models: results.nc and results.csv, and model.json, which says what they are."""

import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import RequestError
from varprobe.storage import DamagedError, load_dataset, put, save_csv, save_dataset, writing

__all__ = ["RECORD", "open_model_run", "require_folder", "save_model_run"]

RECORD = "model.json"


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


def open_model_run(folder: Path, read: Callable[[Path, str], xr.Dataset] = load_dataset) -> xr.Dataset:
    """The dataset of a model's run folder; `read` takes results.nc and its sha256.

    Raises:
        RequestError: it is damaged.
    """
    try:
        digest = json.loads((folder / RECORD).read_text("utf-8"))["results"]
        return read(folder / "results.nc", str(digest))
    except RequestError:
        raise
    except DamagedError as error:
        raise RequestError(f"{folder / 'results.nc'} {error}; probe the model again", "run") from error
    except Exception as error:  # the file may hold anything
        raise RequestError(f"{folder / RECORD} is not one that varprobe wrote", "run") from error
