"""The run folder of a sweep: found, checked against a request, and read if it is finished."""

import os
from typing import TYPE_CHECKING, Any

import xarray as xr

from varprobe.storage.paths import folder_of
from varprobe.storage.reading import Note, Reader
from varprobe.storage.run_folder import RunFolder
from varprobe.sweeps.folders import stored
from varprobe.sweeps.record import NAME, SweepRecord, changes

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = ["SweepFolder", "find_run", "finished", "remove_unusable"]

SweepFolder = RunFolder[SweepRecord]


def find_run(out: str | os.PathLike[str], request: "Request", note: Note) -> SweepFolder:
    """The run folder `out`, there or not; nothing is written.

    Raises:
        InvalidArgumentError: it is a file, holds another run, or holds what is no run.
    """
    return RunFolder.find(folder_of(out, "out"), "sweep", request.spec, SweepRecord.read, note)


def finished(held: SweepFolder, request: "Request", versions: dict[str, Any]) -> xr.Dataset | None:
    """The dataset, if it and every cell are there and intact. Nothing is computed or compiled."""
    if held.record is None:
        return None
    if changed := changes(held.record, request, versions):
        held.note(f"{held.folder}: {changed} changed since this run began; it is computed again")
        return None
    if not held.holds(held.record.cells, held.record.variables):
        return None
    ds = stored(held.folder, held.record, Reader(note=held.note))
    if ds is not None and not (held.folder / "results.csv").exists():
        held.write_table(ds)
    return ds


def remove_unusable(held: SweepFolder) -> None:
    """Remove cells that no run can use again, those of functions whose source is in no file."""
    assert held.record
    names = {cell.name for cell in held.record.cells}
    for path in (held.folder / "cells").glob("*-*.npz"):
        name = NAME.fullmatch(path.stem)
        if name and name["once"] and path.stem not in names:
            path.unlink(missing_ok=True)
