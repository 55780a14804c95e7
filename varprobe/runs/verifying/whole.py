"""`varprobe.verify`: a run folder against its own plan and checksums."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import xarray as xr

from varprobe.errors import MachineError
from varprobe.runs.kinds import kind_of_run, resolve, run_folder
from varprobe.runs.verifying.cells import check_cells, check_dataset, check_probes
from varprobe.runs.verifying.findings import Verification
from varprobe.runs.verifying.folders import check_figures, check_others
from varprobe.runs.verifying.numbers import opened
from varprobe.runs.verifying.plan import plan_faults
from varprobe.runs.verifying.table import check_table
from varprobe.spec.argument_types import checks_types
from varprobe.storage.checksums import DamagedError
from varprobe.storage.kinds import kind_of
from varprobe.storage.paths import folder_of
from varprobe.storage.progress import Progress, Unwatched
from varprobe.storage.records import RECORD, read_values, record_name
from varprobe.storage.tasks import read_archive, read_task
from varprobe.sweeps.record import SweepRecord

__all__ = ["verify"]

BESIDE = 2
"""results.nc and results.csv, in the progress."""


@checks_types
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
        kind_of_folder(found.folder)(found, progress)
    except OSError as error:
        raise MachineError(f"cannot read {error.filename or found.folder}: {error.strerror or error}") from error
    return found


def kind_of_folder(folder: Path) -> Callable[[Verification, Progress], None]:
    """What verifies a run folder: as a sweep if it has cells, even if its record is lost, else by its record."""
    if (folder / "cells").is_dir():
        return verify_sweep
    try:
        return resolve(kind_of_run(read_values(run_folder(folder))).verify)
    except DamagedError:
        return verify_results


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
                check_figures(found, usable)
            progress.advance(BESIDE)
        if record.results is None:
            found.problem("the run", "is unfinished; the same sweep resumes it")
    check_others(found, {cell.name for cell in record.cells})


def plan_of(found: Verification) -> SweepRecord | None:
    """The plan in spec.json; None, and why, where there is none."""
    try:
        return SweepRecord.as_written(read_values(found.folder))
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


def verify_results(found: Verification, progress: Progress) -> None:
    """Check the run of a model or of a training: the files of its tasks, its record, the dataset, and its table."""
    tasks = sorted((found.folder / "training").glob("*.npz"))
    progress.start(1 + len(tasks) + BESIDE, 0)
    name = record_name(found.folder) or RECORD
    read = read_task if name == RECORD else read_archive  # the files of version 0.1 do not say whose they are
    for path in tasks:
        try:
            read(path, found.folder)
        except DamagedError as error:
            found.problem(f"training/{path.name}", str(error))
        progress.advance(1)
    try:
        values = read_values(found.folder)
        found.checked[name] = f"{len(tasks)} files of its networks" if tasks else "1 model"
    except DamagedError as error:
        found.problem(name, str(error))
    else:
        progress.advance(1)
        with results(found, values["results"]) as ds:
            if ds is not None and kind_of(ds) != "trainability":
                check_table(found, ds)
            if ds is not None:
                check_figures(found, ds)
        if values["results"] is None:
            found.problem("the run", "is unfinished; the same command resumes it")
        progress.advance(BESIDE)
    check_others(found, set())
