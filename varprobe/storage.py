"""The files of a run folder. Each is whole or not there: written under a temporary name, flushed to disk, renamed.

Nothing read here is trusted: no pickles, no links that lead out of the folder, and damage is told by a reason, never
by a traceback.
"""

import contextlib
import csv
import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from varprobe.errors import MachineError
from varprobe.names import printable
from varprobe.tidy import tidy_columns, tidy_rows
from varprobe.untrusted import UntrustedError, require_plain_results

__all__ = [
    "Cell",
    "DamagedError",
    "checked",
    "is_stray",
    "load_cell",
    "load_dataset",
    "put",
    "remove_strays",
    "save_cell",
    "save_csv",
    "save_dataset",
    "save_rows",
    "writing",
]

FORMULAS = ("=", "+", "-", "@")
"""What a spreadsheet takes a cell that starts so for."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.varprobe\.tmp")


class DamagedError(Exception):
    """A file is missing or does not hold what it must; the message says which of the two."""


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
            with temporary.open("xb") as file:
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


def save_cell(folder: Path, cell: Cell, table: dict[str, np.ndarray]) -> None:
    """Write a finished cell.

    Raises:
        MachineError: the disk refuses.
    """
    archive = io.BytesIO()
    np.savez(archive, config=np.array(cell.configs), seed=np.array(cell.seed), **table)  # type: ignore[arg-type]
    with writing(cell.path(folder)):
        put(cell.path(folder), lambda file: file.write(archive.getbuffer()))


def load_cell(folder: Path, cell: Cell, variables: set[str]) -> dict[str, np.ndarray]:
    """The variables of a finished cell, each float64 of shape (configs, depth + 1).

    Raises:
        DamagedError: it is missing, damaged, or another cell.
    """
    path = checked(cell.path(folder), folder)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            table = {name: archive[name] for name in archive.files}
        configs, seed = table.pop("config"), table.pop("seed")
    except Exception as error:  # a damaged archive fails in a dozen ways, from zlib's to the header parser's
        raise DamagedError(f"is damaged ({type(error).__name__})") from error
    if configs.tolist() != list(cell.configs) or seed.tolist() != cell.seed:
        raise DamagedError("is another cell's")
    shape = (len(cell.configs), cell.depth + 1)
    if set(table) != variables or any(a.shape != shape or a.dtype != np.float64 for a in table.values()):
        raise DamagedError("does not hold the variables of this sweep")
    return table


def save_dataset(path: Path, ds: xr.Dataset) -> str:
    """Write a dataset as NetCDF-4; the sha256 of the file.

    It is made in memory: HDF5 takes the process down with it where the disk is full.

    Raises:
        MachineError: the disk refuses.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        ds.dump_to_store(H5NetCDFStore(file))
    with writing(path):
        put(path, lambda file: file.write(content.getbuffer()))
    return hashlib.sha256(content.getbuffer()).hexdigest()


def load_dataset(path: Path, sha256: str) -> xr.Dataset:
    """The dataset that `save_dataset` wrote, identical to what it was given.

    Raises:
        DamagedError: the file is missing, or not the one with this sha256.
    """
    with checked(path, path.parent).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DamagedError("is damaged")
    try:
        require_plain_results(path)
        ds = xr.load_dataset(path, engine="h5netcdf").drop_encoding()
    except UntrustedError as error:
        raise DamagedError(str(error)) from error
    except Exception as error:  # as above
        raise DamagedError(f"is damaged ({type(error).__name__})") from error
    texts = {k: (v.dims, v.values.astype(str)) for k, v in ds.coords.items() if v.dtype.kind == "O"}
    ds.attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in ds.attrs.items()}
    return ds.assign_coords(texts)


def save_csv(path: Path, ds: xr.Dataset) -> None:
    """Write the tidy table of a dataset: every float in full, NaN as an empty cell.

    Raises:
        MachineError: the disk refuses.
    """
    save_rows(path, list(tidy_columns(ds)), tidy_rows(ds))


def inert(text: str) -> str:
    """A text that no spreadsheet computes and no terminal obeys: a quote before a formula, odd characters escaped."""
    shown = "\n".join(map(printable, text.split("\n")))
    return f"'{shown}" if shown.startswith(FORMULAS) else shown


def save_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table as CSV: UTF-8, lines that end in a line feed, None as an empty cell, texts inert.

    Raises:
        MachineError: the disk refuses.
    """

    def fill(binary: BinaryIO) -> None:
        file = io.TextIOWrapper(binary, "utf-8", newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([inert(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        file.detach()

    with writing(path):
        put(path, fill)
