"""Run folders: their names, and what a sweep has kept in them."""

import contextlib
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import DamagedError, load_cell, load_dataset, open_dataset
from varprobe.storage.kinds import with_kind
from varprobe.storage.memmap import too_large
from varprobe.sweeps.record import Record, asked, fill, hashed

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = [
    "KIND",
    "Load",
    "Note",
    "Reader",
    "act_part",
    "default_folder",
    "folder_of",
    "open_sweep",
    "read_record",
    "roomy",
    "span",
    "stored",
]

Note = Callable[[str], object]
"""Takes one line for the user."""

Load = Callable[[Path, str], xr.Dataset]
"""Takes a file of results and its sha256, as `files.load_dataset` does."""

KIND = {"kind": "sweep"}
"""What the records of older versions lack among the attributes of the dataset."""

FILES = ("spec.json", "cells", "probes", "results.nc", "results.csv")
"""What a run may hold beside figures; none of it may be a link that leads out of the folder."""


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


def roomy(path: Path, sha256: str) -> xr.Dataset:
    """A file's dataset in memory; where it takes too much of that, read as far as it is used."""
    large = path.is_file() and too_large(path.stat().st_size)
    return (open_dataset if large else load_dataset)(path, sha256)


class Reader(NamedTuple):
    """How the results of a run folder are read; it can be called as `load` can, and adds the kind of the dataset.

    Attributes:
        load: takes results.nc and its sha256.
        note: takes a line about a damaged file that was not needed.
        chunks: of arrays of Dask if the results are made from cells; None for NumPy's.
    """

    load: Load = roomy
    note: Note = warnings.warn
    chunks: Any = None

    def __call__(self, path: Path, sha256: str) -> xr.Dataset:
        """The dataset of a file, with the attribute `kind`."""
        return with_kind(self.load(path, sha256))


def open_sweep(folder: Path, read: Reader) -> xr.Dataset:
    """The dataset of the run folder of a sweep: that of results.nc, or one made from the cells.

    Raises:
        InvalidArgumentError: it is unfinished, or damaged beyond what its cells can restore.
        MachineError: the cells have to be read, and neither memory nor the disk has room for them.
    """
    record = read_record(folder, "run")
    assert record is not None
    try:
        ds = stored(folder, record, read)
        if ds is not None:
            return ds
        ds = rebuilt(folder, record, read.note)
        return ds if read.chunks is None else ds.chunk(read.chunks, token=record.identity)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:  # a plan that does not add up
        if isinstance(error, InvalidArgumentError):
            raise
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json is damaged", "run"
        ) from error


def rebuilt(folder: Path, record: Record, note: Note) -> xr.Dataset:
    """The dataset made from the cells, all of which must be there."""
    present = [cell for cell in record.cells if cell.path(folder).is_file()]
    whole = len(present) == len(record.cells) and all(cell.path(folder).stat().st_size > cell.bytes for cell in present)
    done, frame = 0, record.frame(folder) if whole else None
    for cell in present:
        try:
            table = load_cell(folder, cell, record.variables(cell))
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


def stored(folder: Path, record: Record, read: Reader) -> xr.Dataset | None:
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


def read_record(folder: Path, option: str) -> Record | None:
    """The record of a run folder; None where there is none.

    Raises:
        InvalidArgumentError: spec.json is not one that varprobe wrote, or a file is a link that leads out of the
            folder.
    """
    try:
        if not os.path.lexists(folder / "spec.json"):
            return None
        for name in FILES:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise InvalidArgumentError(f"{folder / name} is a link that leads out of the run folder", option)
        return Record.read(folder / "spec.json")
    except InvalidArgumentError:
        raise
    except DamagedError as error:
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json {error}", option
        ) from error
    except Exception as error:  # spec.json may hold anything
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json is another program's, or damaged", option
        ) from error


def folder_of(path: str | os.PathLike[str], option: str) -> Path:
    """The folder that the user means, whether or not it is there."""
    try:
        text = os.fspath(path)
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise ValueError("empty, or not text")
        folder = Path(text)
        with contextlib.suppress(RuntimeError):  # ~ of nobody
            folder = folder.expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
        return folder
    except (TypeError, ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidArgumentError(f"{path!r} cannot be used as a folder: {why}", option) from error
