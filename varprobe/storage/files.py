"""The files of a run folder. Each is whole or not there: written under a temporary name, flushed to disk, renamed.

Nothing read here is trusted: no pickles, no links that lead out of the folder, and damage is told by a reason, never
by a traceback.
"""

import contextlib
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError, MachineError, did_you_mean
from varprobe.storage.checksums import DamagedError, sealed_archive, unsealed_archive
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.netcdf import read_netcdf, with_current_names, write_netcdf
from varprobe.storage.safe_open import UntrustedError, require_plain_results
from varprobe.storage.text_tables import csv_of

__all__ = [
    "Cell",
    "DamagedError",
    "checked",
    "is_stray",
    "load_cell",
    "load_dataset",
    "named_record",
    "open_dataset",
    "put",
    "remove_strays",
    "save_cell",
    "save_csv",
    "save_dataset",
    "save_text",
    "writing",
]

FORMULAS = ("=", "+", "-", "@")
"""What a spreadsheet takes a cell that starts so for."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.varprobe\.tmp")


@dataclass(frozen=True)
class Cell:
    """One file of numbers: some configurations of one depth, one seed.

    Attributes:
        name: the hash of all that decides its numbers.
        chunk: which of the run's chunks it belongs to.
        seed: its seed.
        configs: indices of its configurations, in the order of its rows.
        depth: their number of weight layers; each variable has shape (configs, depth + 1).
    """

    name: str
    chunk: int
    seed: int
    configs: tuple[int, ...]
    depth: int

    @property
    def bytes(self) -> int:
        """Of one of its variables, and less than its file has."""
        return 8 * len(self.configs) * (self.depth + 1)

    def path(self, folder: Path) -> Path:
        """Its file in a run folder."""
        return folder / "cells" / f"{self.name}.npz"


def put(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file at once: whoever looks finds the old one or the new one, whole.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    for last in (False, False, True):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.varprobe.tmp")
        try:
            with temporary.open("x+b") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            break
        except FileNotFoundError:  # another process that started on this folder took it for a stray
            if last:
                raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    with contextlib.suppress(OSError):  # the name is on disk too, where a folder can be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let what keeps a file from being written be one line that names it."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def is_stray(path: Path) -> bool:
    """Whether a file is one of ours, half written."""
    return TEMPORARY.fullmatch(path.name) is not None


def remove_strays(folder: Path) -> None:
    """Remove what a killed run left half written."""
    for path in (found for place in (".", "cells", "probes") for found in (folder / place).glob(".*.varprobe.tmp")):
        if is_stray(path):
            with contextlib.suppress(OSError):
                path.unlink()


def checked(path: Path, folder: Path) -> Path:
    """The path of a file that is there and in the folder."""
    if not path.is_file():
        raise DamagedError("is not a file" if os.path.lexists(path) else "is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DamagedError("is a link that leads out of the run folder")
    return path


def named_record(read: Callable[[Path], dict[str, Any]], folder: Path, name: str) -> dict[str, Any]:
    """What `read` says of a run folder that the user named; name: that of the record's file.

    Raises:
        InvalidArgumentError: varprobe did not write it.
    """
    try:
        return read(folder)
    except DamagedError as error:
        raise InvalidArgumentError(f"{folder / name} {error}", "run") from error


def save_cell(folder: Path, cell: Cell, table: dict[str, np.ndarray]) -> None:
    """Write a finished cell.

    Raises:
        MachineError: the disk refuses.
    """
    content = sealed_archive({"config": np.array(cell.configs), "seed": np.array(cell.seed), **table})
    with writing(cell.path(folder)):
        put(cell.path(folder), lambda file: file.write(content))


def load_cell(folder: Path, cell: Cell, variables: set[str]) -> dict[str, np.ndarray]:
    """The variables of a finished cell, each float64 of shape (configs, depth + 1).

    Raises:
        DamagedError: it is missing, damaged, of another version, or another cell.
    """
    path, shape = checked(cell.path(folder), folder), (len(cell.configs), cell.depth + 1)
    numbers = len(cell.configs) + 1 + len(variables) * shape[0] * shape[1]
    table = unsealed_archive(path, len(variables) + 2, numbers)
    if not {"config", "seed"} <= set(table):
        raise DamagedError("is no cell")
    configs, seed = table.pop("config"), table.pop("seed")
    if configs.tolist() != list(cell.configs) or seed.tolist() != cell.seed:
        raise DamagedError("is another cell's")
    if set(table) != variables or any(a.shape != shape or a.dtype != np.float64 for a in table.values()):
        raise DamagedError("does not hold the variables of this sweep")
    return table


def save_dataset(path: Path, ds: xr.Dataset, advance: Advance = unwatched) -> str:
    """Write a dataset as NetCDF-4, block by block; the sha256 of the file.

    Raises:
        MachineError: the disk refuses.
    """
    digest = ""

    def fill(file: BinaryIO) -> None:
        nonlocal digest
        write_netcdf(file, ds, advance)
        file.flush()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    with writing(path):
        put(path, fill)
    return digest


def load_dataset(path: Path, sha256: str) -> xr.Dataset:
    """The dataset that `save_dataset` wrote, identical to what it was given, in memory.

    Raises:
        DamagedError: the file is missing, or not the one with this sha256.
    """
    with trusting(path, sha256), read_netcdf(path) as opened:
        return as_saved(opened, opened).load()


def open_dataset(path: Path, sha256: str, chunks: Any = None) -> xr.Dataset:
    """`load_dataset`, but the variables stay in the file until they are used.

    Args:
        path: the file.
        sha256: of its content, which is read for it.
        chunks: xarray's, for arrays of Dask; without them what is read is not kept either.

    Raises:
        DamagedError: the file is missing, or not the one with this sha256.
        InvalidArgumentError: chunks that xarray does not take.
    """
    with trusting(path, sha256), contextlib.ExitStack() as stack:
        opened = stack.enter_context(xr.open_dataset(path, engine="h5netcdf", cache=False))
        ds = as_saved(opened, opened if chunks is None else in_chunks(opened, path, chunks))
        ds.set_close(stack.pop_all().close)
    return ds


@contextlib.contextmanager
def trusting(path: Path, sha256: str) -> Iterator[None]:
    """Work on a file that is there, whole and plain; what goes wrong in it is a reason.

    Raises:
        DamagedError: the file is missing, or not the one with this sha256, or no dataset.
    """
    with checked(path, path.parent).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DamagedError("is damaged")
    try:
        require_plain_results(path)
        yield
    except UntrustedError as error:
        raise DamagedError(str(error)) from error
    except (InvalidArgumentError, MemoryError):
        raise
    except Exception as error:  # with the right checksum it is still anybody's
        raise DamagedError(f"is damaged ({type(error).__name__})") from error


def as_saved(opened: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    """The dataset of a file, or `ds` of the same file, with coordinates in memory and attributes as they were saved."""
    coords = {
        name: (c.dims, c.values.astype(str) if c.dtype.kind == "O" else c.values, c.attrs)
        for name, c in opened.coords.items()
        if name not in opened.indexes
    }
    ds = ds.drop_encoding()
    ds.attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in ds.attrs.items()}
    return with_current_names(ds).assign_coords(coords)


def in_chunks(opened: xr.Dataset, path: Path, chunks: Any) -> xr.Dataset:
    """The dataset of a file as arrays of Dask.

    Raises:
        InvalidArgumentError: chunks of something that is no dimension, or that xarray does not take.
    """
    for name in chunks if isinstance(chunks, Mapping) else ():
        if name not in opened.dims:
            raise InvalidArgumentError(
                f"unknown dimension {name!r}{did_you_mean(str(name), map(str, opened.dims))}", "chunks"
            )
    try:
        return xr.open_dataset(path, engine="h5netcdf", cache=False, chunks=chunks)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise InvalidArgumentError(
            f"{chunks!r} is not what xarray takes: {str(error).partition(chr(10))[0]}", "chunks"
        ) from error


def save_csv(path: Path, ds: xr.Dataset, advance: Advance = unwatched) -> None:
    """Write the tidy table of a dataset, as `varprobe.storage.text_tables.csv_of` has it.

    Raises:
        MachineError: the disk refuses.
    """
    save_text(path, csv_of(ds, advance))


def save_text(path: Path, parts: Iterable[str]) -> None:
    """Write text in UTF-8, part by part, its line ends as they are.

    Raises:
        MachineError: the disk refuses.
    """
    with writing(path):
        put(path, lambda file: file.writelines(part.encode() for part in parts))
