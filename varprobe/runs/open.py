"""Run folders: what a sweep has computed, kept and found again.

    spec.json           what was asked for, and the plan: which cells there are
    cells/HASH.npz      one file for each finished cell (a chunk of configurations, one seed); never changed
    results.nc          the dataset
    results.csv         the same as a table, unless it is larger than memory

The cells are the truth, the other two are made from them. Everything that a reader needs is in these files: `open_run`
neither imports nor runs what the run was made of.
"""

import contextlib
import os
import warnings
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.runs import RECORD as MODEL_RECORD
from varprobe.model.runs import open_model_run
from varprobe.spec.extras import needed
from varprobe.storage.files import DamagedError, load_cell, load_dataset, open_dataset
from varprobe.storage.memmap import require_room
from varprobe.sweeps.folders import Note, Reader, folder_of, read_record, roomy, stored
from varprobe.sweeps.record import Record, fill
from varprobe.training.folders import RECORD as TRAINING_RECORD
from varprobe.training.folders import open_training

__all__ = ["open_run", "read_run"]


def open_run(path: str | os.PathLike[str], *, chunks: Any = None, note: Note = warnings.warn) -> xr.Dataset:
    """The dataset of a run folder.

    Nothing that the run names is imported or executed, and nothing is left behind.

    Args:
        path: the folder.
        chunks: None reads everything into memory. What `xarray.open_dataset` takes leaves the numbers on disk until
            they are used, as arrays of Dask: {} (the file's own blocks), "auto", or such as {"config": 1000}. For
            results that are larger than memory: selections, `varprobe.diagnose` and `varprobe.export` then read some
            configurations at a time.
        note: takes a line about a damaged file that was not needed; by default a Python warning.

    Raises:
        InvalidArgumentError: it is no run, not finished, or damaged beyond what its cells can restore; without chunks,
            it is larger than memory; with them, Dask is missing.

    Example:
        ds = varprobe.open_run("runs/relu-d50-w512-3f9a1c")
        varprobe.open_run("runs/large", chunks={}).gradient_log10_ms.mean("seed").compute()
    """
    if chunks is None:
        return read_run(path, note, fitting)
    needed("dask.array", "results in chunks", extra="dask")
    return read_run(path, note, partial(open_dataset, chunks=chunks), chunks)


def fitting(path: Path, sha256: str) -> xr.Dataset:
    """A file's dataset in memory.

    Raises:
        InvalidArgumentError: it is larger.
    """
    if path.is_file():
        require_room(path.stat().st_size, f"the numbers of {path}", "open them lazily, with chunks={}", "chunks")
    return load_dataset(path, sha256)


def read_run(
    path: str | os.PathLike[str], note: Note = warnings.warn, read: Reader = roomy, chunks: Any = None
) -> xr.Dataset:
    """`open_run` for the commands: the dataset of a run folder, of whatever size.

    Args:
        path: the folder.
        note: takes a line about a damaged file that was not needed.
        read: takes results.nc and its sha256.
        chunks: of arrays of Dask where there are only the cells to read; None for NumPy's.

    Raises:
        InvalidArgumentError: as `open_run`.
        MachineError: the cells have to be read, and neither memory nor the disk has room for them.
    """
    folder = folder_of(path, "run")
    record = read_record(folder, "run")
    if record is None and (folder / MODEL_RECORD).is_file():
        return open_model_run(folder, read)
    if record is None and (folder / TRAINING_RECORD).is_file():
        return open_training(folder, read)
    if record is None:
        raise InvalidArgumentError(no_run(folder), "run")
    try:
        ds = stored(folder, record, note, read)
        if ds is not None:
            return ds
        ds = rebuilt(folder, record, note)
        return ds if chunks is None else ds.chunk(chunks, token=record.identity)
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
    return frame


def no_run(folder: Path) -> str:
    """Why there is no run, and which was meant."""
    if folder.is_file():
        inside = (folder.parent / "spec.json").exists()
        return f"{str(folder)!r} is a file, not the folder of a run" + (
            f"; did you mean its folder {str(folder.parent)!r}?" if inside else ""
        )
    near: list[str] = []
    with contextlib.suppress(OSError):
        near = get_close_matches(folder.name, [p.parent.name for p in folder.parent.glob("*/spec.json")], n=1)
    what = f"there is no spec.json in {str(folder)!r}" if folder.is_dir() else f"there is no run {str(folder)!r}"
    return what + (f"; did you mean {str(folder.parent / near[0])!r}?" if near else "")
