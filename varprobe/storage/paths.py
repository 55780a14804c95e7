"""Paths that a user gave for files and runs: what can be looked at or written, or a line that says why not."""

import contextlib
import os
from pathlib import Path

from varprobe.errors import InvalidArgumentError

__all__ = ["folder_of", "place_of", "require_writable"]


def place_of(path: str | os.PathLike[str], option: str) -> Path:
    """The path, `~` followed; whether there is a file is for the caller to see.

    Raises:
        InvalidArgumentError: no machine takes it for a path: a null character, too long, the home of nobody.
    """
    try:
        place = Path(path).expanduser()
        place.is_dir()
        os.path.lexists(place)
        if "\0" in str(place):
            raise ValueError("it holds a null character")
        if len(os.fsencode(place.name)) > 255 - len(".12345678.varprobe.tmp."):
            raise ValueError("its name is too long")
    except (TypeError, ValueError, RuntimeError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidArgumentError(f"{path!r:.120} cannot be used as a file: {why}", option) from error
    return place


def folder_of(path: str | os.PathLike[str], option: str) -> Path:
    """The folder that the user means, whether or not it is there."""
    try:
        text = os.fspath(path)
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise ValueError("empty, or not text")
        folder = Path(text)
        with contextlib.suppress(RuntimeError):  # ~ of nobody
            folder = folder.expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()
        return folder
    except (TypeError, ValueError, OSError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidArgumentError(f"{path!r} cannot be used as a folder: {why}", option) from error


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written.

    Raises:
        InvalidArgumentError: it is a file, lies in one, or its parent cannot be written.
    """
    there = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), Path())
    if not there.is_dir():
        raise InvalidArgumentError(f"{str(there)!r} is a file, not a folder", "out")
    if not os.access(there, os.W_OK):
        raise InvalidArgumentError(f"{str(there)!r} cannot be written", "out")
