"""What the record of each kind of run folder says, and how the run is repeated from it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.runs import model_record, save_model_run
from varprobe.storage.progress import Progress, Unwatched
from varprobe.sweeps.folders import read_record
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run
from varprobe.training.folders import training_record

__all__ = ["Measure", "Recorded", "recorded_model", "recorded_sweep", "recorded_training"]

Measure = Callable[[dict[str, Any]], xr.Dataset]
"""Probes a model again, given the arguments of its run."""

R = TypeVar("R")


class Recorded(NamedTuple):
    """What the record of a run folder says.

    Attributes:
        results: sha256 of results.nc; None until the run is finished.
        arguments: from which the run is repeated; None if that cannot be done.
        why: the reason.
        versions: of what computed it.
        machines: those that computed it.
        repeat: (folder, progress), which measures the run again into another folder.
    """

    results: str | None
    arguments: dict[str, Any] | None
    why: str
    versions: dict[str, Any]
    machines: list[dict[str, Any]]
    repeat: Callable[[Path, Progress | None], object]


def recorded_sweep(folder: Path, measure: Measure | None) -> Recorded:
    """The record of a sweep."""
    record = read_record(folder, "run")
    assert record is not None

    def repeat(again: Path, progress: Progress | None) -> None:
        run(requested(folder, read_request, record.arguments or {}, record.spec), out=again, progress=progress)

    why = f"cannot be measured again from what it says: {record.unrepeatable}"
    return Recorded(record.results, record.arguments, why, record.versions, record.machines, repeat)


def recorded_model(folder: Path, measure: Measure | None) -> Recorded:
    """The record of a model's run, which `measure` can repeat if it names a factory or a command."""
    record = model_record(folder)
    asked = record["asked"]
    known = measure is not None and (isinstance(asked.get("factory"), str) or asked.get("command"))

    def repeat(again: Path, progress: Progress | None) -> None:
        assert measure is not None
        save_model_run(again, measure(asked), asked)

    why = "is the run of a model; `varprobe rerun` makes it from its factory"
    return Recorded(record["results"], asked if known else None, why, record["versions"], [record["machine"]], repeat)


def recorded_training(folder: Path, measure: Measure | None) -> Recorded:
    """The record of a training run."""
    from varprobe.training.request import read_training
    from varprobe.training.run import run_training
    from varprobe.training.trainability import run_trainability

    record, runners = training_record(folder), {"track": run_training, "trainability": run_trainability}
    command = record["spec"].get("command")

    def repeat(again: Path, progress: Progress | None) -> None:
        if command not in runners:
            raise InvalidArgumentError(f"{command!r} is no training that this version can make again", "run")
        training = requested(folder, partial(read_training, command), record["arguments"], record["spec"])
        runners[command](training, again, False, progress or Unwatched())

    why = "names functions of a session, which cannot be found again"
    return Recorded(record["results"], record["arguments"], why, record["versions"], [record["machine"]], repeat)


def requested(folder: Path, read: Callable[..., R], arguments: dict[str, Any], spec: dict[str, Any]) -> R:
    """What `read` makes of the arguments of a run, which asks for the same as `spec`.

    Raises:
        InvalidArgumentError: the data or the source of a function changed since, or this version does not take the
            arguments.
    """
    try:
        request = read(**arguments)
    except TypeError as error:
        raise InvalidArgumentError(f"{folder} was given what this version does not take: {error}", "run") from error
    now: dict[str, Any] = request.spec  # type: ignore[attr-defined]
    for key in dict.fromkeys([*now, *spec]):
        if now.get(key) != spec.get(key):
            what = {"data_digest": "the data", "code": "the source of a function"}.get(key, key)
            raise InvalidArgumentError(f"{folder} cannot be measured again: {what} changed since", "run")
    return request
