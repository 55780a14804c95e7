"""How each kind of run is repeated from its record."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.run_folders import model_folder
from varprobe.storage.progress import Progress
from varprobe.storage.records import Record
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

__all__ = ["Measure", "repeat_model", "repeat_sweep", "repeat_training"]

Measure = Callable[[dict[str, Any]], xr.Dataset]
"""Probes a model again, given the arguments of its run."""

R = TypeVar("R")


def repeat_sweep(folder: Path, record: Record, again: Path, progress: Progress | None, measure: Measure | None) -> None:
    """Measure a sweep again."""
    run(requested(folder, read_request, record), out=again, progress=progress)


def repeat_model(folder: Path, record: Record, again: Path, progress: Progress | None, measure: Measure | None) -> None:
    """Probe a model again, which `measure` does if the record names a factory or a command.

    Raises:
        InvalidArgumentError: it names neither.
    """
    if measure is None or not (isinstance(record.spec.get("factory"), str) or record.spec.get("command")):
        raise InvalidArgumentError(f"{folder} is the run of a model; `varprobe rerun` makes it from its factory", "run")
    with model_folder(again, record.kind, record.spec) as save:
        save(measure(record.spec))


def repeat_training(
    folder: Path, record: Record, again: Path, progress: Progress | None, measure: Measure | None
) -> None:
    """Train again."""
    from varprobe.training.request import read_training
    from varprobe.training.run import run_training
    from varprobe.training.trainability import run_trainability

    training = requested(folder, partial(read_training, record.kind), record)
    runner = run_trainability if record.kind == "trainability" else run_training
    runner(training, again, False, progress)


def requested(folder: Path, read: Callable[..., R], record: Record) -> R:
    """What `read` makes of the arguments of a run, which asks for the same as its spec.

    Raises:
        InvalidArgumentError: the data or the source of a function changed since, or this version does not take the
            arguments.
    """
    spec = record.spec
    try:
        request = read(**record.arguments or {})
    except TypeError as error:
        raise InvalidArgumentError(f"{folder} was given what this version does not take: {error}", "run") from error
    now: dict[str, Any] = request.spec  # type: ignore[attr-defined]
    for key in dict.fromkeys([*now, *spec]):
        if now.get(key) != spec.get(key):
            what = {"data_digest": "the data", "code": "the source of a function"}.get(key, key)
            raise InvalidArgumentError(f"{folder} cannot be measured again: {what} changed since", "run")
    return request
