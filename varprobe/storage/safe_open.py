"""Files that anybody may have made: what is opened is a file, what is read has an end, and nothing leads elsewhere.

A pipe would be waited for forever, a device has no end, a link in a file of results reads what it likes, and a header
may claim terabytes. Each is an error with a reason, before anything is read or allocated.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["UntrustedError", "content_of", "opened", "require_plain_results"]

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}
UNALLOCATED = 2**20
"""Bytes that results may claim without holding them: the lengths of dimensions."""


class UntrustedError(Exception):
    """A file is not to be read; the message says why, to stand behind its name."""


@contextlib.contextmanager
def opened(path: Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """A file, open to be read; opening never waits, as it would for somebody to write into a pipe.

    Args:
        path: where.
        limit: the most bytes that it may have.

    Raises:
        UntrustedError: it is no file, or larger.
        OSError: it cannot be opened.
    """
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_IFMT(found.st_mode) in KINDS:
            raise UntrustedError(f"is {KINDS[stat.S_IFMT(found.st_mode)]}, not a file")
        if limit is not None and found.st_size > limit:
            raise UntrustedError(f"has {gibibytes(found.st_size)}, too much to be read (at most {gibibytes(limit)})")
        yield file


def content_of(path: Path, limit: int) -> bytes:
    """All bytes of a file of at most `limit`.

    Raises:
        UntrustedError: it is no file, or larger.
        OSError: it cannot be read.
    """
    with opened(path, limit) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def gibibytes(count: float) -> str:
    """So many bytes."""
    return f"{count / 2**30:.3g} GiB"


def require_plain_results(path: Path) -> None:
    """Refuse a NetCDF-4 file that reads other files, or takes more memory than disk space.

    Raises:
        UntrustedError: it has links, groups, or numbers that lie elsewhere; or arrays that are compressed or not in it.
        OSError: it is no HDF5.
    """
    import h5py

    claimed = 0
    with h5py.File(path, "r") as file:
        for name in file:
            there = isinstance(file.get(name, getlink=True), h5py.HardLink)
            array = file[name] if there else None
            if not isinstance(array, h5py.Dataset) or array.external or array.is_virtual:
                raise UntrustedError(f"holds {name!r}, which is no array of its own")
            if array.compression is not None:
                raise UntrustedError(f"holds {name!r} compressed, which varprobe does not write")
            claimed += array.size * array.dtype.itemsize
    size = path.stat().st_size
    if claimed > size + UNALLOCATED:
        raise UntrustedError(f"claims {gibibytes(claimed)} in a file of {gibibytes(size)}")
