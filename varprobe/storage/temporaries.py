"""Temporary files: a file is written under a temporary name next to its own and then renamed.

A writer holds a lock of the operating system on its temporary file until the file has its name. The lock ends with the
process, however that ends, so a temporary file that can be locked belongs to no living process and may be used again
or removed. File systems without locks get random names, and their temporary files are removed after an hour.
"""

import contextlib
import itertools
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["held", "is_temporary", "remove_dead", "temporary_file"]

NAME = re.compile(r"\..+\.[0-9a-f]{1,8}\.varprobe\.tmp")
TOO_OLD = 3600.0
"""Age in seconds from which a temporary file is removed if the file system has no locks."""
MOST_SLOTS = 64
"""Temporary names that are tried for one file before a random one is taken."""


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of a temporary file."""
    return NAME.fullmatch(path.name) is not None


def named(path: Path, mark: str) -> Path:
    """The temporary name of a file."""
    return path.with_name(f".{path.name}.{mark}.varprobe.tmp")


def lock(file: BinaryIO) -> bool | None:
    """Lock an open file: True, or False if another writer has it; None if the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether `path` is a plain file with one name, and the one that is open."""
    there, here = os.lstat(path), os.fstat(file.fileno())
    return stat.S_ISREG(there.st_mode) and here.st_nlink == 1 and os.path.samestat(there, here)


def open_slot(path: Path, flags: int) -> BinaryIO:
    """An open file for reading and writing; links are not followed."""
    flags |= os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "r+b")


def claim(path: Path) -> tuple[Path, BinaryIO]:
    """(name, open file) of an empty temporary file for `path`, locked. A dead writer's file is used again.

    Raises:
        OSError: no file can be made there.
    """
    for mark in map(str, range(MOST_SLOTS)):
        temporary = named(path, mark)
        try:
            file = open_slot(temporary, os.O_CREAT)
        except OSError:
            if os.path.lexists(temporary):  # a link, or another user's
                continue
            raise
        with contextlib.suppress(FileNotFoundError):  # renamed or removed since it was opened
            locked = lock(file)
            if locked and is_at(file, temporary):
                file.truncate()
                return temporary, file
            if locked is None:
                file.close()
                temporary.unlink(missing_ok=True)
                break
        file.close()
    temporary = named(path, secrets.token_hex(4))
    return temporary, open_slot(temporary, os.O_CREAT | os.O_EXCL)


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A temporary file for `path`, removed at the end unless it was renamed: (its name, the file open for writing).

    Raises:
        OSError: no file can be made there.
    """
    temporary, file = claim(path)
    try:
        yield temporary, file
    finally:
        with contextlib.suppress(OSError):
            if not file.closed and is_at(file, temporary):
                temporary.unlink()
        file.close()


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """An empty file at `path`, which must have the name of a temporary file, that counts as in use until the end."""
    with open_slot(path, os.O_CREAT | os.O_EXCL) as file:
        lock(file)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                path.unlink()


def remove_dead(folders: Iterable[Path]) -> None:
    """Remove the temporary files in these folders that no living process writes."""
    for path in itertools.chain.from_iterable(folder.glob(".*.varprobe.tmp") for folder in folders):
        if not is_temporary(path):
            continue
        with contextlib.suppress(OSError), open_slot(path, 0) as file:
            locked = lock(file)
            old = locked is None and time.time() - os.fstat(file.fileno()).st_mtime > TOO_OLD
            if (locked or old) and is_at(file, path):
                path.unlink()
