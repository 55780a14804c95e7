"""How the results of a run folder are read: into memory, or as far as they are used."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.checksums import DamagedError
from varprobe.storage.files import load_dataset, open_dataset
from varprobe.storage.kinds import DESCRIPTIONS, with_kind
from varprobe.storage.memmap import too_large

__all__ = ["Load", "Note", "Reader", "open_results", "roomy"]

Note = Callable[[str], object]
"""Takes one line for the user."""

Load = Callable[[Path, str], xr.Dataset]
"""Takes a file of results and its sha256, as `files.load_dataset` does."""


def roomy(path: Path, sha256: str) -> xr.Dataset:
    """A file's dataset in memory; where it takes too much of that, read as far as it is used."""
    large = path.is_file() and too_large(path.stat().st_size)
    return (open_dataset if large else load_dataset)(path, sha256)


class Reader(NamedTuple):
    """How the results of a run folder are read; it can be called as `load` can, and adds the kind of the dataset.

    Attributes:
        load: takes results.nc and its sha256.
        note: takes a line about a damaged file that was not needed.
        chunks: of arrays of Dask if the results are made from cells; None for NumPy's.
    """

    load: Load = roomy
    note: Note = warnings.warn
    chunks: Any = None

    def __call__(self, path: Path, sha256: str) -> xr.Dataset:
        """The dataset of a file, with the attribute `kind`."""
        return with_kind(self.load(path, sha256))


def open_results(folder: Path, values: dict[str, Any], read: Reader) -> xr.Dataset:
    """The dataset in results.nc of a run folder whose record has these values.

    Raises:
        InvalidArgumentError: the run is unfinished or damaged, or results.nc holds another kind of dataset.
    """
    path, kind = folder / "results.nc", values["kind"]
    if values["results"] is None:
        raise InvalidArgumentError(f"{folder} is unfinished; resume with the same command", "run")
    try:
        ds = read(path, str(values["results"]))
        if ds.attrs["kind"] != kind:
            raise DamagedError(f"holds {DESCRIPTIONS[ds.attrs['kind']]}, not {DESCRIPTIONS.get(kind, kind)}")
        return ds
    except DamagedError as error:
        raise InvalidArgumentError(f"{path} {error}; the same command computes it again", "run") from error
