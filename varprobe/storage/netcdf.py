"""Datasets as NetCDF-4, written block by block.

A dataset of several blocks lies in the file as it is read: in chunks of so many configurations. The same dataset always
makes the same bytes.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xarray as xr

from varprobe.storage.checksums import current_name
from varprobe.storage.chunks import Advance, block_size, blocks, unwatched

__all__ = ["read_netcdf", "with_current_names", "write_netcdf"]


AS_XARRAY = {"decode_vlen_strings": True, "phony_dims": "access"}
"""How xarray opens a file."""


class Guarded(io.RawIOBase):
    """A file for HDF5, which takes the process down with it where a write fails: the first error is noted instead."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; after an error with zeros."""
        content = memoryview(buffer).cast("B")
        read = self.attempt(lambda: self.file.readinto(content))  # type: ignore[attr-defined]
        content[read:] = bytes(len(content) - read)
        return len(content)

    def write(self, content: Any) -> int:
        """Write all of it, or note why not."""
        self.attempt(lambda: self.file.write(content))
        return memoryview(content).nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go there."""
        return self.attempt(lambda: self.file.seek(offset, whence))

    def tell(self) -> int:
        """Where it is."""
        return self.attempt(self.file.tell)

    def truncate(self, size: int | None = None) -> int:
        """Make the file this long."""
        return self.attempt(lambda: self.file.truncate(size))

    def flush(self) -> None:
        """Hand everything to the system."""
        self.attempt(lambda: self.file.flush() or 0)  # type: ignore[func-returns-value]

    def attempt(self, work: Any) -> int:
        """The result of what the file is to do; 0 after an error."""
        try:
            return 0 if self.error else work()
        except OSError as error:
            self.error = error
            return 0

    def check(self) -> None:
        """Raise the error that was noted, if there is one."""
        if self.error:
            raise self.error


class Deferred:
    """Takes the arrays that xarray wants written: all but those `later` are written at once."""

    def __init__(self, later: list[str]) -> None:
        self.later = later

    def add(self, source: Any, target: Any, region: Any = None) -> None:
        """Write an array."""
        if target.variable_name not in self.later:
            target[...] = source


def write_netcdf(file: BinaryIO, ds: xr.Dataset, advance: Advance = unwatched) -> None:
    """Write a dataset to a file that can be read, too; never more than a block is in memory.

    Raises:
        OSError: the disk refuses.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    from varprobe.storage.hdf5 import KnownFile

    ds = ds.drop_encoding()
    size, several = block_size(ds), block_size(ds) < ds.sizes.get("config", 0)
    later = {
        str(name): v
        for name, v in ds.data_vars.variables.items()
        if several and v.dims[:1] == ("config",) and v.dtype.kind == "f"
    }
    blank = {name: v.copy(data=np.broadcast_to(np.zeros((), v.dtype), v.shape)) for name, v in later.items()}
    chunked = {name: {"chunksizes": (size, *v.shape[1:])} for name, v in later.items()}
    guarded = Guarded(file)
    with KnownFile(guarded, "w", track_order=True) as known, h5netcdf.File(known, "w") as made:
        ds.assign(blank).dump_to_store(H5NetCDFStore(made), writer=Deferred(list(later)), encoding=chunked)
        start = 0
        for block in blocks(xr.Dataset(later), advance) if later else ():
            end = start + block.sizes["config"]
            for name, v in block.variables.items():
                made.variables[name][start:end] = v.values
            guarded.check()
            start = end
    guarded.check()


@contextlib.contextmanager
def read_netcdf(path: Path) -> Iterator[xr.Dataset]:
    """The dataset in a file; its numbers are read when they are used, and only here.

    Raises:
        Exception: the file is not NetCDF-4. The type depends on h5py, h5netcdf and xarray.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    from varprobe.storage.hdf5 import KnownFile

    with KnownFile(path, "r") as known, h5netcdf.File(known, "r", **AS_XARRAY) as opened:
        yield with_current_names(xr.open_dataset(H5NetCDFStore(opened), cache=False))


def with_current_names(ds: xr.Dataset) -> xr.Dataset:
    """The dataset with the names that variables have now, where an older version wrote it."""
    names = {name: current_name(str(name)) for name in ds.data_vars}
    return ds.rename({old: new for old, new in names.items() if old != new})
