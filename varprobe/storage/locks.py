"""Who does what if several processes work on one run folder: locks of the operating system on bytes of an empty file.

Byte i is task i. Two more bytes are for the folder: `START` is held while a process begins or ends its work there, and
`WORKING` is shared by all that work. The system ends the locks of a process when it ends, however it ends, so nothing
expires and no clock is read. If a file system has no locks, every claim is granted: a task may then be computed twice,
with the same result.
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

__all__ = ["LOCKS", "Claims"]

LOCKS = ".claims"
"""The file, in the run folder."""

TAKEN = (errno.EACCES, errno.EAGAIN)
START = 1 << 40
WORKING = START + 1


class Claims:
    """The claims of this process; one object per process and folder, since closing a file ends all locks on it."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: the file; None grants every claim."""
        self.path = path
        self.descriptor: int | None = None

    def lock(self, place: int, how: int) -> bool:
        """Lock a byte; whether it is ours now."""
        if self.descriptor is None:
            return True
        try:
            fcntl.lockf(self.descriptor, how, 1, place)
        except OSError as error:
            return error.errno not in TAKEN
        return True

    def take(self, i: int) -> bool:
        """Claim task i; whether it is ours now."""
        return self.descriptor is None or self.lock(i, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def release(self, i: int) -> None:
        """Release task i."""
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, i)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Wait until no other process begins or ends its work in the folder, and keep others from it."""
        self.open()
        while self.descriptor is not None and self.lock(START, fcntl.LOCK_EX):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.stat(self.descriptor), os.lstat(self.path or "")):
                    break
            self.close()  # another process has removed the file
            self.open()
        try:
            yield
        finally:
            self.release(START)

    def alone(self) -> bool:
        """Whether no other process works in the folder; only while `starting`."""
        return self.descriptor is None or self.lock(WORKING, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def work(self) -> None:
        """Let others know that this process works in the folder; only while `starting`."""
        if self.descriptor is not None:
            self.lock(WORKING, fcntl.LOCK_SH)

    def leave(self) -> None:
        """End the work; the last process removes the file."""
        with self.starting():
            self.release(WORKING)
            if self.path is not None and self.alone():
                with contextlib.suppress(OSError):
                    self.path.unlink()
        self.close()

    def open(self) -> None:
        """Open the file, made if it is not there."""
        if fcntl is not None and self.path is not None and self.descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            with contextlib.suppress(OSError):
                self.descriptor = os.open(self.path, flags, 0o666)

    def close(self) -> None:
        """Close the file, and end all locks with it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None
