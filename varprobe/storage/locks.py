"""Who computes what, where several processes fill one run folder: a lock of the operating system for each cell.

Byte i of one empty file is cell i. The system lets go of a lock when its process ends, however it ends, so there is
nothing to expire, to renew or to clean up, and no clock is read. Where a file system has no locks every claim is
granted: a cell may then be computed twice, and is the same.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCKS", "Claims", "claims"]

LOCKS = ".claims"
"""The file, in the run folder."""

TAKEN = (errno.EACCES, errno.EAGAIN)


class Claims:
    """The claims of this process; one object a process and folder, since closing a file ends all locks on it."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def take(self, i: int) -> bool:
        """Claim cell i; whether it is ours now."""
        if self.descriptor is None:
            return True
        try:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, i)
        except OSError as error:
            return error.errno not in TAKEN
        return True

    def release(self, i: int) -> None:
        """Let go of cell i."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, i)


@contextlib.contextmanager
def claims(folder: Path) -> Iterator[Claims]:
    """Claims on the cells of a run folder, all let go of at the end."""
    descriptor: int | None = None
    if fcntl is not None:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / LOCKS, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        yield Claims(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)
