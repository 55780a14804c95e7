"""`varprobe.verify`: a run folder against its own plan and checksums."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import MachineError
from varprobe.model.runs import RECORD, read_model_record
from varprobe.runs.kinds import folder_kind, resolve
from varprobe.runs.verifying.cells import check_cells, check_dataset, check_probes
from varprobe.runs.verifying.findings import Verification
from varprobe.runs.verifying.folders import check_others
from varprobe.runs.verifying.numbers import opened
from varprobe.runs.verifying.plan import plan_faults
from varprobe.runs.verifying.table import check_table
from varprobe.storage.checksums import DamagedError, unsealed_archive
from varprobe.storage.files import checked
from varprobe.storage.kinds import kind_of
from varprobe.storage.progress import Progress, Unwatched
from varprobe.sweeps.folders import folder_of
from varprobe.sweeps.record import Record
from varprobe.training.folders import MOST_ARRAYS, MOST_NUMBERS, read_record
from varprobe.training.folders import RECORD as TRAINING

__all__ = ["verify"]

BESIDE = 2
"""results.nc and results.csv, in the progress."""


def verify(path: str | os.PathLike[str], *, progress: Progress | None = None) -> Verification:
    """Check a run folder against its spec and its checksums, reading every byte of it once.

    The plan adds up; every cell and probe is there, whole, and the one that its name says; results.nc has their
    numbers, and results.csv those of results.nc; no link leads out of the folder. Predictions of theory (`theory_*`)
    stand in results.nc only, and are covered by its checksum. Nothing is written, and no code that the run names is
    imported. Memory does not grow with the run.

    Args:
        path: the folder of a sweep's or a model's run.
        progress: told how many files are to be read, and that they were.

    Returns:
        `.intact`, `.findings` (each with `place`, `text`, `serious`), and `.checked`.

    Raises:
        InvalidArgumentError: there is no run.
        MachineError: a file cannot be read.

    Example:
        assert varprobe.verify("runs/relu-d50-w512-3f9a1c").intact
    """
    found = Verification(folder_of(path, "run"))
    progress = progress or Unwatched()
    try:
        lost = (found.folder / "cells").is_dir()  # a sweep, even if it has lost its spec.json
        check = verify_sweep if lost else resolve(folder_kind(found.folder).verify)
        check(found, progress)
    except OSError as error:
        raise MachineError(f"cannot read {error.filename or found.folder}: {error.strerror or error}") from error
    return found


def verify_sweep(found: Verification, progress: Progress) -> None:
    """Check the run of a sweep."""
    record = plan_of(found)
    if record is None:
        check_others(found, set())
        return
    faults = plan_faults(record)
    for text in faults:
        found.problem("spec.json", text)
    found.checked["spec.json"] = f"{len(record.deciding.get('each', []))} configurations"
    if not faults:
        cells = len(record.cells)
        progress.start(cells + len(list((found.folder / "probes").glob("*.npz"))) + BESIDE, 0)
        with results(found, record.results) as ds:
            usable = ds if ds is not None and check_dataset(found, record, ds) else None
            check_cells(found, record, usable, progress)
            check_probes(found, record, usable, progress)
            if usable is not None:
                check_table(found, usable)
            progress.advance(BESIDE)
        if record.results is None:
            found.problem("the run", "is unfinished; the same sweep resumes it")
    check_others(found, {cell.name for cell in record.cells})


def plan_of(found: Verification) -> Record | None:
    """The plan in spec.json; None, and why, where there is none."""
    try:
        return Record.as_written(checked(found.folder / "spec.json", found.folder))
    except DamagedError as error:
        found.problem("spec.json", str(error))
    except Exception as error:  # the checksum may be right, and the rest anything
        found.problem("spec.json", f"holds no plan ({type(error).__name__})")
    return None


@contextlib.contextmanager
def results(found: Verification, sha256: str | None) -> Iterator[xr.Dataset | None]:
    """results.nc, open; None, and why, where it is not there as it was written."""
    with contextlib.ExitStack() as stack:
        ds = None
        if sha256 is not None:
            try:
                ds = stack.enter_context(opened(found.folder / "results.nc", sha256))
                found.checked["results.nc"] = f"{len(ds.data_vars)} variables"
            except DamagedError as error:
                found.problem("results.nc", str(error))
        yield ds


def verify_model(found: Verification, progress: Progress) -> None:
    """Check the run of a model."""
    verify_saved(found, progress, RECORD, read_model_record, [], "1 model")


def verify_training(found: Verification, progress: Progress) -> None:
    """Check the run of a training, and what its jobs left."""
    jobs = sorted((found.folder / "training").glob("*.npz"))
    verify_saved(found, progress, TRAINING, read_record, jobs, f"{len(jobs)} files of its nets")


def verify_saved(
    found: Verification,
    progress: Progress,
    name: str,
    read: Callable[[Path], dict[str, Any]],
    jobs: Sequence[Path],
    text: str,
) -> None:
    """Check the files of jobs, the record `name`, which `read` reads, the dataset, and its table."""
    progress.start(1 + len(jobs) + BESIDE, 0)
    for path in jobs:
        try:
            unsealed_archive(checked(path, found.folder), MOST_ARRAYS, MOST_NUMBERS)
        except DamagedError as error:
            found.problem(f"training/{path.name}", str(error))
        progress.advance(1)
    try:
        record = read(found.folder)
        found.checked[name] = text
    except DamagedError as error:
        found.problem(name, str(error))
    else:
        progress.advance(1)
        with results(found, record["results"]) as ds:
            if ds is not None and kind_of(ds) != "trainability":
                check_table(found, ds)
        if record["results"] is None:
            found.problem("the run", "is unfinished; the same command resumes it")
        progress.advance(BESIDE)
    check_others(found, set())
