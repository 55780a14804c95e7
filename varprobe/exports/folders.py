"""Folders that appear whole or not at all: filled beside their place, then renamed."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import writing

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
    half, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.varprobe.tmp") for _ in range(2))
    try:
        with writing(folder):
            half.mkdir()
            yield half
            if folder.exists():
                folder.rename(old)
            try:
                half.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
    finally:
        for rest in (half, old):
            shutil.rmtree(rest, ignore_errors=True)


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
