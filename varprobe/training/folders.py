"""Run folders of trainings: training.json says what one is, results.nc and results.csv hold it."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.checksums import DamagedError, sealed_json, unsealed_json
from varprobe.storage.files import checked, load_dataset, named_record, put, save_csv, save_dataset, save_text, writing
from varprobe.storage.kinds import kind_of
from varprobe.storage.paths import require_room_for
from varprobe.storage.provenance import machine
from varprobe.storage.text_tables import csv_of_rows
from varprobe.sweeps.folders import Reader
from varprobe.sweeps.record import versions
from varprobe.training.nets import net_table

__all__ = [
    "RECORD",
    "open_training",
    "read_record",
    "require_folder",
    "save_training",
    "training_record",
    "write_record",
]

RECORD = "training.json"
IN_MEMORY = Reader(load_dataset)
MAX_RECORD = 2**26
MOST_ARRAYS = 256
MOST_NUMBERS = 1 << 30
"""In the file of a job, which is read whole."""


def require_folder(folder: Path, spec: dict[str, Any]) -> None:
    """Refuse what cannot become the run folder of a training, before anything is computed.

    Raises:
        InvalidArgumentError: it holds another run, or is no folder that can be written.
    """
    require_room_for(RECORD, folder)
    if (folder / RECORD).exists():
        try:
            other = read_record(folder)["spec"]
        except DamagedError:
            return
        if asked(other) != asked(spec):
            raise InvalidArgumentError(
                f"{folder} holds another run ({other.get('command')}); choose another folder", "out"
            )


def asked(spec: dict[str, Any]) -> str:
    """What was asked for, whatever was in the user's files."""
    return json.dumps({k: v for k, v in spec.items() if k not in ("code", "data_digest")}, sort_keys=True)


def read_record(folder: Path) -> dict[str, Any]:
    """What training.json holds.

    `varprobe`, `spec`, `versions`, `machine`; `arguments`, from which it can be made again, None where they cannot be
    written down; `results`, the sha256 of results.nc, None until that is written.

    Raises:
        DamagedError: it is missing, damaged, or of another version.
    """
    record = unsealed_json(checked(folder / RECORD, folder), MAX_RECORD)
    if not {"spec", "versions", "machine", "arguments", "results"} <= set(record) or not isinstance(
        record["spec"], dict
    ):
        raise DamagedError("is not one that varprobe wrote")
    return record


def training_record(folder: Path) -> dict[str, Any]:
    """`read_record` of a folder that the user named.

    Raises:
        InvalidArgumentError: it is not one that varprobe wrote.
    """
    return named_record(read_record, folder, RECORD)


def write_record(
    folder: Path, spec: dict[str, Any], results: str | None, arguments: dict[str, Any] | None = None
) -> None:
    """Write training.json, see `read_record`.

    Raises:
        MachineError: the disk refuses.
    """
    about = {"varprobe": version("varprobe"), "spec": spec, "versions": versions(), "machine": machine()}
    content = sealed_json(about | {"arguments": arguments, "results": results})
    with writing(folder / RECORD):
        folder.mkdir(parents=True, exist_ok=True)
        put(folder / RECORD, lambda file: file.write(content))


def save_training(folder: Path, ds: xr.Dataset, spec: dict[str, Any], arguments: dict[str, Any] | None = None) -> None:
    """Write results.nc and results.csv; training.json comes last, so that a folder whose record has results is whole.

    Raises:
        MachineError: the disk refuses.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    digest = save_dataset(folder / "results.nc", ds)
    if kind_of(ds) == "trainability":
        save_text(folder / "results.csv", csv_of_rows(*net_table(ds)))
    else:
        save_csv(folder / "results.csv", ds)
    write_record(folder, spec, digest, arguments)


def open_training(folder: Path, read: Reader = IN_MEMORY) -> xr.Dataset:
    """The dataset of a training's run folder.

    Raises:
        InvalidArgumentError: it is unfinished or damaged.
    """
    digest = training_record(folder)["results"]
    if digest is None:
        raise InvalidArgumentError(f"{folder} is unfinished; resume with the same command", "run")
    try:
        return read(folder / "results.nc", str(digest))
    except DamagedError as error:
        raise InvalidArgumentError(
            f"{folder / 'results.nc'} {error}; the same command makes it again", "run"
        ) from error
