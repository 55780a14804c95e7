"""The numbers of a results.nc, read a block at a time."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from varprobe.storage.checksums import DamagedError
from varprobe.storage.files import checked
from varprobe.storage.kinds import with_kind
from varprobe.storage.netcdf import read_netcdf
from varprobe.storage.safe_open import UntrustedError, require_plain_results

__all__ = ["BLOCK", "differing", "opened", "read_rows"]

BLOCK = 1 << 22
"""Numbers that are held at a time, about."""


@contextlib.contextmanager
def opened(path: Path, sha256: str | None) -> Iterator[xr.Dataset]:
    """The dataset in a file with this checksum, its numbers still on disk.

    Raises:
        DamagedError: the file is missing, or another one, or holds another kind of dataset than it says.
    """
    with checked(path, path.parent).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise DamagedError("is damaged (its checksum does not fit)")
    with contextlib.ExitStack() as stack:
        try:
            require_plain_results(path)
            ds = stack.enter_context(read_netcdf(path))
        except UntrustedError as error:
            raise DamagedError(str(error)) from error
        except Exception as error:  # with the right checksum it is still anybody's
            raise DamagedError(f"is damaged ({type(error).__name__})") from error
        ds.attrs = {k: v.item() if isinstance(v, np.generic) else v for k, v in ds.attrs.items()}
        yield with_kind(ds)


def read_rows(variable: xr.DataArray, configs: Sequence[int], seeds: slice) -> np.ndarray:
    """The numbers of some configurations and seeds, (configs, seeds, ...), whatever lies between them unread."""
    order = np.argsort(configs)
    wanted = np.asarray(configs)[order]
    cuts = np.flatnonzero(np.diff(wanted) > 1) + 1
    parts = [variable[slice(run[0], run[-1] + 1), seeds].values for run in np.split(wanted, cuts)]
    rows: np.ndarray = np.empty((len(wanted), *parts[0].shape[1:]), parts[0].dtype)
    rows[order] = np.concatenate(parts)
    return rows


def differing(a: np.ndarray, b: np.ndarray) -> tuple[Any, ...] | None:
    """The index of the first number in which two arrays are not the same bits (all NaNs are alike); None if none is."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return ()
    same = (a == b) & (np.signbit(a) == np.signbit(b)) | (a != a) & (b != b)
    return None if same.all() else tuple(int(i) for i in np.argwhere(~same)[0])
