"""A training made again from what its record says."""

from importlib import import_module
from pathlib import Path
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.storage.progress import Progress, Unwatched
from varprobe.training.request import read_training

__all__ = ["repeat"]

RUNNERS = {
    "track": "varprobe.training.run:run_training",
    "trainability": "varprobe.training.trainability:run_trainability",
}
"""Command -> the function of (training, folder, fresh, progress) that runs it."""


def repeat(record: dict[str, Any], again: Path, progress: Progress | None) -> None:
    """Run it in another folder.

    Raises:
        InvalidArgumentError: the data or the source of a function changed since, or this version does not take the
            arguments.
    """
    command, before = record["spec"].get("command"), record["spec"]
    if command not in RUNNERS:
        raise InvalidArgumentError(f"{command!r} is no training that this version can make again", "run")
    try:
        training = read_training(command, **record["arguments"])
    except TypeError as error:
        raise InvalidArgumentError(f"it was given what this version does not take: {error}", "run") from error
    for key in dict.fromkeys([*training.spec, *before]):
        if training.spec.get(key) != before.get(key):
            what = {"data_digest": "the data", "code": "the source of a function"}.get(key, key)
            raise InvalidArgumentError(f"it cannot be made again: {what} changed since", "run")
    module, _, name = RUNNERS[command].partition(":")
    getattr(import_module(module), name)(training, again, False, progress or Unwatched())
