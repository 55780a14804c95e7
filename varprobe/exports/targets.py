"""What `--save` says: a file by its ending, or a folder of events by its prefix."""

import os
from pathlib import Path
from typing import NamedTuple

from varprobe.errors import InvalidArgumentError, did_you_mean
from varprobe.storage.paths import place_of

__all__ = ["ENDINGS", "PREFIXES", "Target", "target_of"]

ENDINGS = {
    ".csv": "layers",
    ".parquet": "layers",
    ".json": "layers",
    ".nc": "layers",
    ".md": "verdicts",
    ".tex": "verdicts",
}
"""Of files, with the table that each holds where none is named; the dataset is more than one, and has all layers."""

PREFIXES = ("tb:", "wandb:")
"""Of folders."""


class Target(NamedTuple):
    """Where a run's numbers go: `kind` is an ending or a prefix."""

    kind: str
    path: Path


def target_of(text: str | os.PathLike[str]) -> Target:
    """The kind and the place of an export.

    Raises:
        InvalidArgumentError: an unknown ending or prefix, no folder behind the prefix, or the parent folder does not
            exist.
    """
    written = os.fspath(text) if isinstance(text, str | os.PathLike) else ""
    if not isinstance(written, str) or not written.strip() or "\0" in written:
        raise InvalidArgumentError(f"{text!r} names no file{allowed('')}", "path")
    prefix, colon, rest = written.partition(":")
    if prefix + colon in PREFIXES:
        if not rest.strip():
            raise InvalidArgumentError(f"{written!r} names no folder, such as {prefix}:logs", "path")
        return Target(prefix + colon, standing(written, rest, is_folder=True))
    ending = Path(written).suffix.lower()
    if ending in ENDINGS:
        return Target(ending, standing(written, written, is_folder=False))
    if colon and not ending and not set("/\\") & set(prefix):
        raise InvalidArgumentError(f"unknown prefix {prefix + colon!r}{allowed(prefix + colon)}", "path")
    what = f"unknown ending {ending!r}" if ending else f"{written!r} has no ending"
    raise InvalidArgumentError(what + allowed(ending), "path")


def allowed(near: str) -> str:
    """What could have been meant, and all that there is."""
    return did_you_mean(near, (*ENDINGS, *PREFIXES))


def standing(written: str, place: str, is_folder: bool) -> Path:
    """The place, where a file or folder can be put."""
    path = place_of(place, "path")
    if is_folder and path.is_file():
        raise InvalidArgumentError(f"{place!r} is a file, not a folder", "path")
    if not is_folder and path.is_dir():
        raise InvalidArgumentError(f"{written!r} is a folder, not a file", "path")
    if not path.absolute().parent.is_dir():
        raise InvalidArgumentError(f"there is no folder {str(path.parent)!r} for {path.name!r}", "path")
    return path
