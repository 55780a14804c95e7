"""Run folders as a sweep writes them: claimed before anything is computed, filled cell by cell, and resumed."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.storage.files import (
    Cell,
    DamagedError,
    is_stray,
    load_cell,
    remove_strays,
    save_cell,
    save_csv,
    save_dataset,
    writing,
)
from varprobe.storage.locks import LOCKS
from varprobe.storage.memmap import too_large
from varprobe.sweeps.folders import Note, Reader, folder_of, read_record, stored
from varprobe.sweeps.record import NAME, Record, asked, changes

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = ["Run", "find_run"]

LATE, PAUSE = 60.0, 0.2
"""Seconds until a file of another machine is given up, and between two looks."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass
class Run:
    """A run folder that a sweep reads and writes.

    Attributes:
        folder: where it is, or will be.
        record: its plan; None before there is one.
        note: takes a line for the user, such as which file is damaged.
    """

    folder: Path
    record: Record | None
    note: Note

    def finished(self, request: "Request", versions: dict[str, Any]) -> xr.Dataset | None:
        """The dataset, where it and every cell are there and intact. Nothing is computed or compiled."""
        if self.record is None:
            return None
        if changed := changes(self.record, request, versions):
            self.note(f"{self.folder}: {changed} changed since this run began; it is computed anew")
            return None
        try:
            for cell in self.record.cells:
                load_cell(self.folder, cell, self.record.variables(cell))
        except DamagedError:  # to be named when the cell is asked for
            return None
        ds = stored(self.folder, self.record, Reader(note=self.note))
        if ds is not None and not (self.folder / "results.csv").exists():
            self.write_table(ds)
        return ds

    def claim(self, record: Record) -> list[Path]:
        """Take the folder for a plan; the folders made for it.

        Raises:
            InvalidArgumentError: the folder cannot be made or written to; then nothing is left behind.
            MachineError: the disk is full.
        """
        made: list[Path] = []
        record = record.after(self.record)
        try:
            for folder in [*reversed(self.folder.parents), self.folder, self.folder / "cells"]:
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    made.append(folder)
            remove_leftovers(self.folder, record)
            record.save(self.folder)
        except OSError as error:
            remove_empty(made)
            text = f"cannot write to {self.folder}: {error.strerror or error}"
            raise MachineError(text) if error.errno in DISK else InvalidArgumentError(text, "out") from error
        self.record = record
        return made

    @contextlib.contextmanager
    def claimed(self, record: Record) -> Iterator[None]:
        """Claim the folder. Where the body shows the request to be wrong, what was made here is removed again."""
        new = self.record is None
        made = self.claim(record)
        try:
            yield
        except InvalidArgumentError:
            if new and not any((self.folder / "cells").iterdir()):
                for name in ("spec.json", LOCKS):
                    (self.folder / name).unlink(missing_ok=True)
                remove_empty(made)
            raise

    def has(self, cell: Cell) -> bool:
        """Whether a cell's file is there."""
        return os.path.lexists(cell.path(self.folder))

    def wait_for(self, cell: Cell) -> None:
        """Wait until a file that another machine has written shows up here, or a minute has gone by."""
        for _ in range(int(LATE / PAUSE)):
            if self.has(cell):
                return
            with contextlib.suppress(OSError):
                os.listdir(self.folder / "cells")  # lets a network's file system look again
            time.sleep(PAUSE)

    def load(self, cell: Cell) -> dict[str, np.ndarray] | None:
        """A cell's numbers, or None where they are still to be computed; a damaged file is removed."""
        assert self.record is not None
        if not self.has(cell):
            return None
        try:
            return load_cell(self.folder, cell, self.record.variables(cell))
        except DamagedError as error:
            self.note(f"{cell.path(self.folder)} {error}; it is computed anew")
            with contextlib.suppress(OSError):
                cell.path(self.folder).unlink()
            return None

    def save(self, cell: Cell, table: dict[str, np.ndarray]) -> None:
        """Write a finished cell. Raises MachineError."""
        save_cell(self.folder, cell, table)

    def write_table(self, ds: xr.Dataset) -> None:
        """Write results.csv, unless the results are larger than memory: as text they take hours, and seldom serve."""
        if not too_large(ds.nbytes):
            save_csv(self.folder / "results.csv", ds)

    def finish(self, ds: xr.Dataset) -> None:
        """Write the table, the dataset, and last that they are there: nobody has to claim anything now.

        Raises:
            MachineError: the disk refuses.
        """
        assert self.record is not None
        self.write_table(ds)
        self.record = replace(self.record, results=save_dataset(self.folder / "results.nc", ds))
        with writing(self.folder / "spec.json"):
            self.record.save(self.folder)
        with contextlib.suppress(OSError):
            (self.folder / LOCKS).unlink()


def find_run(out: str | os.PathLike[str], request: "Request", note: Note) -> Run:
    """The run folder `out`, there or not; nothing is written.

    Raises:
        InvalidArgumentError: it is a file, holds another run, or holds what is no run.
    """
    folder = folder_of(out, "out")
    try:
        blocking = next((p for p in [folder, *folder.parents] if os.path.lexists(p) and not p.is_dir()), None)
        if blocking:
            raise InvalidArgumentError(f"{str(blocking)!r} is a file, not a folder", "out")
        record = read_record(folder, "out")
        if record is None and folder.is_dir() and any(not is_stray(p) for p in folder.iterdir()):
            raise InvalidArgumentError(f"{folder} holds files and no run; name a new or an empty folder", "out")
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {folder}: {error.strerror or error}", "out") from error
    if record:
        here, there = asked(request.spec), asked(record.spec)
        for key in dict.fromkeys([*here, *there]):
            if here.get(key) != there.get(key):
                raise InvalidArgumentError(
                    f"{folder} holds another run: {key} is {brief(there.get(key))} there and "
                    f"{brief(here.get(key))} here; name another folder",
                    "out",
                )
    return Run(folder, record, note)


def brief(value: Any) -> str:
    """A value of a spec, cut to what fits a line."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{text[:57]}..." if len(text) > 60 else text or "nothing"


def remove_leftovers(folder: Path, record: Record) -> None:
    """Remove what a killed run left half written, and cells that no run can use again."""
    remove_strays(folder)
    names = {cell.name for cell in record.cells}
    for path in (folder / "cells").glob("*-*.npz"):
        name = NAME.fullmatch(path.stem)
        if name and name["once"] and path.stem not in names:
            path.unlink(missing_ok=True)


def remove_empty(folders: list[Path]) -> None:
    """Remove these folders, made from the outermost in, as far as they are empty."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()
