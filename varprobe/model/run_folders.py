"""Run folders of models: taken before anything is measured, written at the end."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.storage.progress import Unwatched
from varprobe.storage.provenance import machine
from varprobe.storage.records import Record
from varprobe.storage.run_folder import RunFolder
from varprobe.sweeps.record import versions

__all__ = ["model_folder"]


@contextlib.contextmanager
def model_folder(folder: Path | None, kind: str, spec: dict[str, Any]) -> Iterator[Callable[[xr.Dataset], None]]:
    """Take a folder for the run of a model; the function that is yielded writes its dataset.

    Nothing is known of the user's code, so every run computes all of it again. Until that is done the folder keeps the
    results of the run before.

    Args:
        folder: where it is, or will be; None keeps nothing.
        kind: "probe" or "coord_check".
        spec: what was asked for, as JSON can hold it.

    Raises:
        InvalidArgumentError: the folder holds another run, is in use, or cannot be written.
        MachineError: the disk refuses.
    """
    if folder is None:
        yield lambda ds: None
        return
    held = RunFolder.find(folder, kind, spec, Record.of, Unwatched().note)
    record = Record(
        kind=kind,
        spec=spec,
        versions=versions(),
        identity=secrets.token_hex(8),
        machines=[machine()],
        arguments=spec,
        results=held.record.results if held.record else None,
    )
    with held.claimed(record):
        yield held.finish
