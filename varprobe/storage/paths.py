"""Paths that a user gave for files and runs: what can be looked at or written, or a line that says why not."""

import os
from pathlib import Path

from varprobe.errors import InvalidArgumentError

__all__ = ["place_of", "require_room_for"]

RECORDS = {"spec.json": "a sweep", "model.json": "a model", "training.json": "a training"}
"""The file that says what a run folder holds -> of what."""


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


def require_room_for(record: str, folder: Path) -> None:
    """Refuse a folder in which a run with this record cannot be written.

    Raises:
        InvalidArgumentError: it holds a run with another record, or is no folder that can be written.
    """
    for name, what in RECORDS.items():
        if name != record and (folder / name).exists():
            raise InvalidArgumentError(f"{folder} holds the run of {what}; choose another folder", "out")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise InvalidArgumentError(f"{str(there)!r} is a file, not a folder", "out")
    if not os.access(there, os.W_OK):
        raise InvalidArgumentError(f"{str(there)!r} cannot be written", "out")
