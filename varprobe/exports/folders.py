"""Folders that appear whole or not at all: filled beside their place, then renamed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import writing
from varprobe.storage.temporaries import temporary_file

__all__ = ["placed", "require_free"]


@contextlib.contextmanager
def placed(folder: Path, replaced: str | None = None) -> Iterator[Path]:
    """A folder to fill, which takes its place when all has gone well.

    Args:
        folder: the place; what is there is replaced if it is empty.
        replaced: a folder with nothing but a file of this name is an earlier export, and is replaced too.

    Raises:
        InvalidArgumentError: there is something else in the folder.
        MachineError: the disk refuses; nothing is left behind.
    """
    folder = folder.resolve()
    require_free(folder, replaced)
    with writing(folder), temporary_file(folder) as (lock, _):
        half, old = lock.with_suffix(".half"), lock.with_suffix(".old")  # of nobody else while the lock is held
        try:
            restore(half, old, folder)
            half.mkdir()
            yield half
            if folder.exists():
                folder.rename(old)
            half.rename(folder)
        finally:
            restore(half, old, folder)


def restore(half: Path, old: Path, folder: Path) -> None:
    """Remove what this or a killed process left, and put back the folder if only its old version is there."""
    shutil.rmtree(half, ignore_errors=True)
    if old.exists() and not folder.exists():
        old.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def require_free(folder: Path, replaced: str | None) -> None:
    """Refuse to replace what is not ours, or the folder that the user is in.

    Raises:
        InvalidArgumentError: and what is in it.
    """
    if not folder.exists():
        return
    if folder.samefile(Path.cwd()):
        raise InvalidArgumentError(f"{str(folder)!r} is the current folder; name a new one", "path")
    other = next((name for name in sorted(os.listdir(folder)) if name != replaced), None)
    if other is not None:
        raise InvalidArgumentError(f"{str(folder)!r} is not empty ({other!r} is in it); name a new folder", "path")
