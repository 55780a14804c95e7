"""Run folders: their names, and what a sweep has kept in them."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.checksums import DamagedError
from varprobe.storage.reading import Note, Reader
from varprobe.storage.records import asked
from varprobe.storage.tasks import load_task
from varprobe.sweeps.record import SweepRecord, fill, hashed

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = ["KIND", "act_part", "default_folder", "open_sweep", "span", "stored"]

KIND = {"kind": "sweep"}
"""What the records of older versions lack among the attributes of the dataset."""


def default_folder(request: "Request") -> Path:
    """Where the command puts a run that was given no folder, such as runs/relu-d50-w512-3f9a1c.

    The same request always has the same folder, edited files or not.
    """
    acts, depths, widths = (request.spec[key] for key in ("act", "depth", "width"))
    digits = hashed(json.dumps(asked(request.spec)))[:6]
    return Path("runs", f"{act_part(acts)}-d{span(depths)}-w{span(widths)}-{digits}")


def act_part(acts: list[str]) -> str:
    """The activations in a folder's name: of the user's own the function, not the file."""
    if len(acts) > 1:
        return f"{len(acts)}acts"
    name, parenthesis, rest = acts[0].partition("(")
    return safe(re.split(r"[:/\\]", name)[-1] + parenthesis + rest, 20) or "act"


def span(values: list[Any]) -> str:
    """Depths or widths in a folder's name."""
    if len(values) == 1:
        return safe(str(values[0]), 14)
    return f"{len(values)}x" if any(isinstance(v, str) for v in values) else f"{min(values)}-{max(values)}"


def safe(text: str, length: int) -> str:
    """The text in letters, digits, `_`, `-` and decimal points."""
    kept = re.sub(r"(?<!\d)\.|\.(?!\d)", "-", re.sub(r"[^A-Za-z0-9_.]+", "-", text))
    return kept[:length].strip("-_.")


def open_sweep(folder: Path, values: dict[str, Any], read: Reader) -> xr.Dataset:
    """The dataset of the run folder of a sweep: that of results.nc, or one made from the cells.

    Raises:
        InvalidArgumentError: it is unfinished, or damaged beyond what its cells can restore.
        MachineError: the cells have to be read, and neither memory nor the disk has room for them.
    """
    try:
        record = SweepRecord.read(values)
        ds = stored(folder, record, read)
        if ds is not None:
            return ds
        ds = rebuilt(folder, record, read.note)
        return ds if read.chunks is None else ds.chunk(read.chunks, token=record.identity)
    except (DamagedError, KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json is damaged", "run"
        ) from error


def rebuilt(folder: Path, record: SweepRecord, note: Note) -> xr.Dataset:
    """The dataset made from the cells, all of which must be there."""
    present = [cell for cell in record.cells if cell.path(folder).is_file()]
    whole = len(present) == len(record.cells) and all(cell.path(folder).stat().st_size > cell.bytes for cell in present)
    done, frame = 0, record.frame(folder) if whole else None
    for cell in present:
        try:
            table = load_task(folder, cell, record.variables(cell))
            done += 1
            if frame is not None:
                fill(frame, cell.configs, cell.seed, table)
        except DamagedError as error:
            note(f"{cell.path(folder)} {error}")
    if frame is None or done < len(record.cells):
        what = "is unfinished" if record.results is None else "has lost its results.nc"
        raise InvalidArgumentError(
            f"{folder} {what}: {done} of {len(record.cells)} cells; resume with the same command", "run"
        )
    return frame.assign_attrs(KIND)


def stored(folder: Path, record: SweepRecord, read: Reader) -> xr.Dataset | None:
    """What results.nc holds, or None where it is to be made from the cells."""
    from varprobe.sweeps.assemble import variable_names

    if record.results is None:
        return None
    path = folder / "results.nc"
    try:
        ds = read(path, record.results)
        if ds.attrs != KIND | record.attributes or not set(variable_names(record.spec["arch"])) <= set(ds.data_vars):
            raise DamagedError("is not this run's")
        return ds
    except DamagedError as error:
        read.note(f"{path} {error}; its cells are read instead")
        return None
