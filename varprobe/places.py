"""Paths that a user gave for files: what can be looked at, or a line that says why not."""

import os
from pathlib import Path

from varprobe.errors import RequestError

__all__ = ["place_of"]


def place_of(path: str | os.PathLike[str], option: str) -> Path:
    """The path, `~` followed; whether there is a file is for the caller to see.

    Raises:
        RequestError: no machine takes it for a path: a null character, too long, the home of nobody.
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
        raise RequestError(f"{path!r:.120} cannot be used as a file: {why}", option) from error
    return place
