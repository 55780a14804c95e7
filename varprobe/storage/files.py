"""Files that are whole or not there: written under a temporary name, flushed to disk, renamed.

Nothing that is read is trusted: no pickles, no links that lead out of the folder. Damage raises DamagedError with the
reason.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError, MachineError, did_you_mean
from varprobe.storage.checksums import DamagedError
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.netcdf import read_netcdf, with_current_names, write_netcdf
from varprobe.storage.safe_open import UntrustedError, require_plain_results
from varprobe.storage.temporaries import temporary_file
from varprobe.storage.text_tables import csv_of

__all__ = [
    "DamagedError",
    "checked",
    "load_dataset",
    "open_dataset",
    "put",
    "save_csv",
    "save_dataset",
    "save_text",
    "writing",
]

ATTEMPTS = 5
"""To write a file whose temporary file was removed meanwhile, as on file systems without locks."""


def put(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file at once: whoever looks finds the old one or the new one, whole.

    Raises:
        OSError: it could not be written; nothing is left of it.
    """
    for attempt in range(ATTEMPTS):
        try:
            write(path, fill)
            break
        except FileNotFoundError:
            if attempt == ATTEMPTS - 1 or not path.parent.is_dir():
                raise
    with contextlib.suppress(OSError):  # the name is on disk too, where a folder can be flushed
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    """Write a file under a temporary name and rename it. Raises OSError."""
    with temporary_file(path) as (temporary, file):
        fill(file)
        file.flush()
        os.fsync(file.fileno())
        if os.name == "nt":  # a file that is open there cannot be renamed
            file.close()
        os.replace(temporary, path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let what keeps a file from being written be one line that names it."""
    try:
        yield
    except OSError as error:
        raise MachineError(f"cannot write {str(path)!r}: {error.strerror or error}") from error


def checked(path: Path, folder: Path) -> Path:
    """The path of a file that is there and in the folder."""
    if not path.is_file():
        raise DamagedError("is not a file" if os.path.lexists(path) else "is missing")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DamagedError("is a link that leads out of the run folder")
    return path


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
