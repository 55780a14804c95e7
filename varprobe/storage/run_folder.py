"""Run folders as a run writes them: taken before anything is computed, filled task by task, and resumed.

    spec.json           the record: what was asked for, and the plan
    cells/HASH.npz      the numbers of a finished task of a sweep; never changed (probes/, training/: of other tasks)
    results.nc          the dataset
    results.csv         the same as a table, unless it is larger than memory

The record is written first, while the folder is locked, so a folder belongs to one request from then on. The same
request may fill it from several processes.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import xarray as xr

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.storage.checksums import DamagedError
from varprobe.storage.files import save_csv, save_dataset, save_text
from varprobe.storage.locks import LOCKS, Claims
from varprobe.storage.memmap import too_large
from varprobe.storage.paths import require_writable
from varprobe.storage.records import (
    RECORD,
    Record,
    difference,
    has_record,
    read_values,
    record_name,
    require_storable,
    required_values,
)
from varprobe.storage.tasks import PARTS, TaskFile, TaskStore
from varprobe.storage.temporaries import is_temporary, remove_dead

__all__ = ["RunFolder", "make_folder", "read_or_refuse", "refusing", "remove_empty", "remove_run"]

LATE, PAUSE = 60.0, 0.2
"""Seconds until a file of another machine is given up, and between two looks."""

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

R = TypeVar("R", bound=Record)


class RunFolder(TaskStore, Generic[R]):
    """A run folder that a run reads and writes.

    Attributes:
        folder: where it is, or will be.
        record: that of the run; None before there is one.
        note: takes a line for the user, such as which file is damaged.
    """

    def __init__(self, folder: Path, record: R | None, read: Callable[[dict[str, Any]], R], note: Any) -> None:
        super().__init__(folder, note)
        self.record, self.read = record, read

    @classmethod
    def find(
        cls, folder: Path, kind: str, spec: dict[str, Any], read: Callable[[dict[str, Any]], R], note: Any
    ) -> "RunFolder[R]":
        """The run folder of a request, there or not; nothing is written.

        Args:
            folder: where it is, or will be.
            kind: of the dataset.
            spec: the canonical request.
            read: makes a record of its values; raises DamagedError.
            note: takes a line for the user.

        Raises:
            InvalidArgumentError: the folder holds another run, or files and no run, or cannot be written; or the
                request has text that cannot be stored.
        """
        require_storable(spec)
        try:
            require_writable(folder)
            if not has_record(folder):
                if folder.is_dir() and not all(map(is_left_over, folder.iterdir())):
                    raise InvalidArgumentError(f"{folder} holds files and no run; name a new or an empty folder", "out")
                return cls(folder, None, read, note)
            values = required_values(folder, "out")
        except OSError as error:
            raise InvalidArgumentError(f"cannot read {folder}: {error.strerror or error}", "out") from error
        require_same(folder, kind, spec, values)
        return cls(folder, read_or_refuse(folder, read, values), read, note)

    @contextlib.contextmanager
    def claimed(self, record: R) -> Iterator[Claims]:
        """Take the folder for a run: write its record before anything is computed.

        If the body raises InvalidArgumentError, the request was wrong: what was made here is removed again.

        Raises:
            InvalidArgumentError: another process has taken it for another run, or it cannot be written. Nothing is
                left behind.
            MachineError: the disk is full.
        """
        made: list[Path] = []
        new, ours = self.record is None, Claims(self.folder / LOCKS)
        try:
            with refusing(self.folder):
                made += make_folder(self.folder)
                with ours.starting():
                    self.take(record, ours)
                    ours.work()
            try:
                yield ours
            except InvalidArgumentError:
                if new and not any(any((self.folder / part).glob("*.npz")) for part in PARTS) and ours.alone():
                    (self.folder / RECORD).unlink(missing_ok=True)
                    made += [self.folder / part for part in PARTS]
                raise
        finally:
            ours.leave()
            remove_empty(made)

    def tidy(self) -> None:
        """Remove what killed processes left in a finished run, as far as the folder can be written."""
        with contextlib.suppress(OSError):
            if (self.folder / LOCKS).exists():
                Claims(self.folder / LOCKS).leave()
            self.remove_temporaries()

    def remove_temporaries(self) -> None:
        """Remove the temporary files of dead processes."""
        remove_dead([self.folder, *(self.folder / part for part in PARTS)])

    def take(self, record: R, ours: Claims) -> None:
        """Write the record, unless another process has written that of another run meanwhile."""
        now: R | None = None
        if has_record(self.folder):
            with contextlib.suppress(DamagedError):  # it is written again
                values = read_values(self.folder)
                require_same(self.folder, record.kind, record.spec, values)
                now = self.read(values)
        if now is not None and now.identity != record.identity and not ours.alone():
            raise InvalidArgumentError(
                f"{self.folder} is in use by another process that computes the same from other code or data; "
                "wait for it, or name another folder",
                "out",
            )
        self.record = record.after(now)
        self.remove_temporaries()
        self.record.save(self.folder)

    def wait_for(self, task: TaskFile) -> None:
        """Wait until a file that another machine has written shows up here, or a minute has gone by."""
        for _ in range(int(LATE / PAUSE)):
            if self.has(task):
                return
            with contextlib.suppress(OSError):
                os.listdir(self.folder / task.part)  # lets a network's file system look again
            time.sleep(PAUSE)

    def write_table(self, ds: xr.Dataset, text: Iterable[str] | None = None) -> None:
        """Write results.csv, the text given or the tidy table.

        It is left out if the results are larger than memory: as text they take hours and seldom serve.
        """
        if text is not None:
            save_text(self.folder / "results.csv", text)
        elif not too_large(ds.nbytes):
            save_csv(self.folder / "results.csv", ds)

    def finish(self, ds: xr.Dataset, text: Iterable[str] | None = None) -> None:
        """Write the table, the dataset, and last that they are there.

        Raises:
            MachineError: the disk refuses.
        """
        assert self.record is not None
        self.write_table(ds, text)
        self.record = self.record.finished(self.folder, save_dataset(self.folder / "results.nc", ds))


def is_left_over(path: Path) -> bool:
    """Whether a process that was killed as it began may have left this in a folder."""
    return path.name == LOCKS or is_temporary(path) or (path.name in PARTS and all(map(is_temporary, path.iterdir())))


def require_same(folder: Path, kind: str, spec: dict[str, Any], values: dict[str, Any]) -> None:
    """Refuse a folder that holds the run of another request.

    Raises:
        InvalidArgumentError: says in what they differ.
    """
    if differs := difference(kind, spec, values["kind"], values["spec"]):
        raise InvalidArgumentError(f"{folder} holds another run: {differs}; name another folder", "out")


def read_or_refuse(folder: Path, read: Callable[[dict[str, Any]], R], values: dict[str, Any], option: str = "out") -> R:
    """The record with these values.

    Raises:
        InvalidArgumentError: they are not those of a record of this kind.
    """
    try:
        return read(values)
    except Exception as error:  # the checksum may be right, and the rest anything
        name = record_name(folder) or RECORD
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its {name} is another program's, or damaged", option
        ) from error


@contextlib.contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Turn an error of the disk into one that says that a folder cannot be written."""
    try:
        yield
    except OSError as error:
        text = f"cannot write to {folder}: {error.strerror or error}"
        raise MachineError(text) if error.errno in DISK else InvalidArgumentError(text, "out") from error


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those around it; those that were not there, from the outermost in. Raises OSError."""
    made = []
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(exist_ok=True)
            made.append(path)
    return made


def remove_run(folder: Path) -> None:
    """Remove the files of a run so that one that is half removed is resumed like an unfinished one. Raises OSError."""
    for name in ("results.nc", "results.csv", *PARTS, RECORD):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def remove_empty(folders: list[Path]) -> None:
    """Remove these folders, made from the outermost in, as far as they are empty."""
    for folder in reversed(folders):
        with contextlib.suppress(OSError):
            folder.rmdir()
