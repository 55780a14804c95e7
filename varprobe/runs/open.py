"""Run folders: what a sweep has computed, kept and found again.

    spec.json           what was asked for, and the plan: which cells there are
    cells/HASH.npz      one file for each finished cell (a chunk of configurations, one seed); never changed
    results.nc          the dataset
    results.csv         the same as a table, unless it is larger than memory

The cells are the truth, the other two are made from them. Everything that a reader needs is in these files: `open_run`
neither imports nor runs what the run was made of.
"""

import contextlib
import json
import os
import re
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from varprobe.errors import RequestError
from varprobe.exports.extras import needed
from varprobe.model.runs import RECORD as MODEL_RECORD
from varprobe.model.runs import open_model_run
from varprobe.storage.files import DamagedError, load_cell, load_dataset, open_dataset
from varprobe.storage.memmap import require_room, too_large
from varprobe.sweeps.record import Record, asked, fill, hashed
from varprobe.training.folders import RECORD as TRAINING_RECORD
from varprobe.training.folders import open_training

if TYPE_CHECKING:
    from varprobe.nets.config import Request

__all__ = ["Note", "default_folder", "folder_of", "open_run", "read_record", "read_run", "stored"]

Note = Callable[[str], object]
"""Takes one line for the user."""

Reader = Callable[[Path, str], xr.Dataset]
"""Takes a file of results and its sha256, as `files.load_dataset` does."""

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
        RequestError: it is no run, not finished, or damaged beyond what its cells can restore; without chunks, it is
            larger than memory; with them, Dask is missing.

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
        RequestError: it is larger.
    """
    if path.is_file():
        require_room(path.stat().st_size, f"the numbers of {path}", "open them lazily, with chunks={}", "chunks")
    return load_dataset(path, sha256)


def roomy(path: Path, sha256: str) -> xr.Dataset:
    """A file's dataset in memory; where it takes too much of that, read as far as it is used."""
    large = path.is_file() and too_large(path.stat().st_size)
    return (open_dataset if large else load_dataset)(path, sha256)


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
        RequestError: as `open_run`.
        MachineError: the cells have to be read, and neither memory nor the disk has room for them.
    """
    folder = folder_of(path, "run")
    record = read_record(folder, "run")
    if record is None and (folder / MODEL_RECORD).is_file():
        return open_model_run(folder, read)
    if record is None and (folder / TRAINING_RECORD).is_file():
        return open_training(folder, read)
    if record is None:
        raise RequestError(no_run(folder), "run")
    try:
        ds = stored(folder, record, note, read)
        if ds is not None:
            return ds
        ds = rebuilt(folder, record, note)
        return ds if chunks is None else ds.chunk(chunks, token=record.identity)
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:  # a plan that does not add up
        if isinstance(error, RequestError):
            raise
        raise RequestError(f"{folder} is not a run that varprobe wrote: its spec.json is damaged", "run") from error


def stored(folder: Path, record: Record, note: Note, read: Reader = roomy) -> xr.Dataset | None:
    """What results.nc holds, or None where it is to be made from the cells."""
    from varprobe.storage.dataset import variable_names

    if record.results is None:
        return None
    path = folder / "results.nc"
    try:
        ds = read(path, record.results)
        if ds.attrs != record.attributes or not set(variable_names(record.spec["arch"])) <= set(ds.data_vars):
            raise DamagedError("is not this run's")
        return ds
    except DamagedError as error:
        note(f"{path} {error}; its cells are read instead")
        return None


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
        raise RequestError(f"{folder} {what}: {done} of {len(record.cells)} cells; resume with the same command", "run")
    return frame


def read_record(folder: Path, option: str) -> Record | None:
    """The record of a run folder; None where there is none.

    Raises:
        RequestError: spec.json is not one that varprobe wrote, or a file is a link that leads out of the folder.
    """
    try:
        if not os.path.lexists(folder / "spec.json"):
            return None
        for name in FILES:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise RequestError(f"{folder / name} is a link that leads out of the run folder", option)
        return Record.read(folder / "spec.json")
    except RequestError:
        raise
    except DamagedError as error:
        raise RequestError(f"{folder} is not a run that varprobe wrote: its spec.json {error}", option) from error
    except Exception as error:  # spec.json may hold anything
        raise RequestError(
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
        raise RequestError(f"{path!r} cannot be used as a folder: {why}", option) from error


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
