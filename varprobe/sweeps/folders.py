"""Run folders: their names, and what a sweep has kept in them."""

import contextlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.storage.files import DamagedError, load_dataset, open_dataset
from varprobe.storage.memmap import too_large
from varprobe.sweeps.record import Record, asked, hashed

if TYPE_CHECKING:
    from varprobe.sweeps.request import Request

__all__ = ["Note", "Reader", "act_part", "default_folder", "folder_of", "read_record", "roomy", "span", "stored"]

Note = Callable[[str], object]
"""Takes one line for the user."""

Reader = Callable[[Path, str], xr.Dataset]
"""Takes a file of results and its sha256, as `files.load_dataset` does."""

FILES = ("spec.json", "cells", "probes", "results.nc", "results.csv")
"""What a run may hold beside figures; none of it may be a link that leads out of the folder."""


def default_folder(request: "Request") -> Path:
    """Where the command puts a run that was given no folder, such as runs/relu-d50-w512-3f9a1c.

    The same request always has the same folder, edited files or not.
    """
    acts, depths, widths = (request.spec[key] for key in ("act", "depth", "width"))
    digits = hashed(json.dumps(asked(request.spec)))[:6]
    return Path("runs", f"{act_part(acts)}-d{span(depths)}-w{span(widths)}-{digits}")


def act_part(acts: list[str]) -> str:
    """The activations in a folder's name: of the user's own the function, not the file."""
    if len(acts) > 1:
        return f"{len(acts)}acts"
    name, parenthesis, rest = acts[0].partition("(")
    return safe(re.split(r"[:/\\]", name)[-1] + parenthesis + rest, 20) or "act"


def span(values: list[Any]) -> str:
    """Depths or widths in a folder's name."""
    if len(values) == 1:
        return safe(str(values[0]), 14)
    return f"{len(values)}x" if any(isinstance(v, str) for v in values) else f"{min(values)}-{max(values)}"


def safe(text: str, length: int) -> str:
    """The text in letters, digits, `_`, `-` and decimal points."""
    kept = re.sub(r"(?<!\d)\.|\.(?!\d)", "-", re.sub(r"[^A-Za-z0-9_.]+", "-", text))
    return kept[:length].strip("-_.")


def roomy(path: Path, sha256: str) -> xr.Dataset:
    """A file's dataset in memory; where it takes too much of that, read as far as it is used."""
    large = path.is_file() and too_large(path.stat().st_size)
    return (open_dataset if large else load_dataset)(path, sha256)


def stored(folder: Path, record: Record, note: Note, read: Reader = roomy) -> xr.Dataset | None:
    """What results.nc holds, or None where it is to be made from the cells."""
    from varprobe.sweeps.assemble import variable_names

    if record.results is None:
        return None
    path = folder / "results.nc"
    try:
        ds = read(path, record.results)
        if ds.attrs != record.attributes or not set(variable_names(record.spec["arch"])) <= set(ds.data_vars):
            raise DamagedError("is not this run's")
        return ds
    except DamagedError as error:
        note(f"{path} {error}; its cells are read instead")
        return None


def read_record(folder: Path, option: str) -> Record | None:
    """The record of a run folder; None where there is none.

    Raises:
        InvalidArgumentError: spec.json is not one that varprobe wrote, or a file is a link that leads out of the
            folder.
    """
    try:
        if not os.path.lexists(folder / "spec.json"):
            return None
        for name in FILES:
            if not (folder / name).resolve().is_relative_to(folder.resolve()):
                raise InvalidArgumentError(f"{folder / name} is a link that leads out of the run folder", option)
        return Record.read(folder / "spec.json")
    except InvalidArgumentError:
        raise
    except DamagedError as error:
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json {error}", option
        ) from error
    except Exception as error:  # spec.json may hold anything
        raise InvalidArgumentError(
            f"{folder} is not a run that varprobe wrote: its spec.json is another program's, or damaged", option
        ) from error


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
