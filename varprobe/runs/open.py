"""Run folders: what a sweep has computed, kept and found again.

    spec.json           what was asked for, and the plan: which cells there are
    cells/HASH.npz      one file for each finished cell (a chunk of configurations, one seed); never changed
    results.nc          the dataset
    results.csv         the same as a table, unless it is larger than memory

The cells are the truth, the other two are made from them. Everything that a reader needs is in these files: `open_run`
neither imports nor runs what the run was made of.
"""

import os
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.runs.kinds import kind_of_run, resolve, run_folder
from varprobe.spec.argument_types import checks_types
from varprobe.spec.extras import needed
from varprobe.storage.files import load_dataset, open_dataset
from varprobe.storage.memmap import require_room
from varprobe.storage.paths import folder_of
from varprobe.storage.reading import Load, Note, Reader, roomy
from varprobe.storage.records import required_values

__all__ = ["open_run", "read_run"]


@checks_types
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
        varprobe.open_run("runs/large", chunks={}).gradient_log10_mean_square.mean("seed").compute()
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
    path: str | os.PathLike[str], note: Note = warnings.warn, load: Load = roomy, chunks: Any = None
) -> xr.Dataset:
    """`open_run` for the commands: the dataset of a run folder, of whatever size.

    Args:
        path: the folder.
        note: takes a line about a damaged file that was not needed.
        load: takes results.nc and its sha256.
        chunks: of arrays of Dask where there are only the cells to read; None for NumPy's.

    Raises:
        InvalidArgumentError: as `open_run`.
        MachineError: the cells have to be read, and neither memory nor the disk has room for them.
    """
    folder = folder_of(path, "run")
    values = required_values(run_folder(folder), "run")
    ds: xr.Dataset = resolve(kind_of_run(values).open)(folder, values, Reader(load, note, chunks))
    return ds
