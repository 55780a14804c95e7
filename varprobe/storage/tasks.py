"""The files of finished tasks in a run folder: PART/NAME.npz, each named by all that decides its numbers.

A task is one seed of some configurations: a cell of a sweep, a probe, or the training of some networks.
"""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varprobe.storage.checksums import DamagedError, sealed_archive, unsealed_archive
from varprobe.storage.files import checked, put, writing

__all__ = [
    "PARTS",
    "Shapes",
    "Table",
    "TaskFile",
    "TaskStore",
    "any_shape",
    "load_task",
    "read_archive",
    "read_task",
    "save_task",
]

Table = dict[str, np.ndarray]
"""Variable -> float64, the first axis the configurations of the task."""

Shapes = dict[str, tuple[int, ...]]
"""Variable -> its shape in a file."""

PARTS = {"cells": ("cell",), "probes": ("pairs", "batch", "jacobian"), "training": ("training",)}
"""Folder of a run -> kinds of tasks whose files it holds."""

MOST_ARRAYS = 256
MOST_NUMBERS = 1 << 30
"""In a file, which is read whole, if the task does not say how many."""


@dataclass(frozen=True)
class TaskFile:
    """Where the numbers of a task are kept.

    Attributes:
        name: the hash of all that decides the numbers.
        seed: the seed.
        configs: indices of the configurations, in the order of the rows.
        part: the folder of the run, one of `PARTS`.
        kind: of the task.
    """

    name: str
    seed: int
    configs: tuple[int, ...]
    part: str
    kind: str

    def path(self, folder: Path) -> Path:
        """The file in a run folder."""
        return folder / self.part / f"{self.name}.npz"


def save_task(folder: Path, task: TaskFile, table: Table) -> None:
    """Write the numbers of a finished task.

    Raises:
        MachineError: the disk refuses.
    """
    kinds, path = PARTS[task.part], task.path(folder)
    header = {"kind": np.array(kinds.index(task.kind))} if len(kinds) > 1 else {}
    header |= {"config": np.array(task.configs), "seed": np.array(task.seed)}
    content = sealed_archive({**header, **table})
    with writing(path):
        path.parent.mkdir(exist_ok=True)
        put(path, lambda file: file.write(content))


def read_archive(path: Path, folder: Path, arrays: int = MOST_ARRAYS, numbers: int = MOST_NUMBERS) -> Table:
    """The arrays in a file of a run folder; at most so many arrays and numbers.

    Raises:
        DamagedError: it is missing, damaged, or of another version.
    """
    return unsealed_archive(checked(path, folder), arrays, numbers)


def read_task(
    path: Path, folder: Path, arrays: int = MOST_ARRAYS, numbers: int = MOST_NUMBERS
) -> tuple[TaskFile, Table]:
    """The task that a file of a run folder says it is, and its numbers; at most so many arrays and numbers.

    Raises:
        DamagedError: it is missing, damaged, of another version, or not such a file.
    """
    table = read_archive(path, folder, arrays, numbers)
    part, kinds = path.parent.name, PARTS[path.parent.name]
    try:
        kind = kinds[int(table.pop("kind"))] if len(kinds) > 1 else kinds[0]
        configs, seed = (table.pop(name).tolist() for name in ("config", "seed"))
        task = TaskFile(path.stem, seed, tuple(configs), part, kind)
    except (KeyError, IndexError, TypeError) as error:
        raise DamagedError(f"is not the file of a {' or '.join(kinds)}") from error
    if not table or any(a.dtype != np.float64 or not a.ndim or len(a) != len(task.configs) for a in table.values()):
        raise DamagedError("does not hold the numbers of its configurations")
    return task, table


def load_task(folder: Path, task: TaskFile, variables: Shapes | None = None) -> Table:
    """The numbers of a finished task.

    Args:
        folder: the run folder.
        task: which.
        variables: the shape of each variable that it must hold; None for any.

    Raises:
        DamagedError: they are missing, damaged, of another version, or another task's.
    """
    if variables is None:
        found, table = read_task(task.path(folder), folder)
    else:
        numbers = len(task.configs) + 1 + sum(map(int, map(np.prod, variables.values())))
        found, table = read_task(task.path(folder), folder, len(variables) + 3, numbers + 1)
    if (found.seed, found.configs, found.kind) != (task.seed, task.configs, task.kind):
        raise DamagedError("is another task's")
    if variables is not None and {name: a.shape for name, a in table.items()} != variables:
        raise DamagedError("does not hold the variables of this run")
    return table


def any_shape(task: TaskFile) -> None:
    """No expectation of the variables of a file."""


@dataclass
class TaskStore:
    """The finished tasks of a run folder.

    Attributes:
        folder: the run folder.
        note: takes a line about a damaged file.
    """

    folder: Path
    note: Callable[[str], object]

    def has(self, task: TaskFile) -> bool:
        """Whether the file of a task is there."""
        return os.path.lexists(task.path(self.folder))

    def holds(self, tasks: Iterable[TaskFile], variables: Callable[..., Shapes | None] = any_shape) -> bool:
        """Whether the files of all these tasks are there and intact. A damaged one is noted when it is loaded."""
        try:
            for task in tasks:
                load_task(self.folder, task, variables(task))
        except DamagedError:
            return False
        return True

    def load(self, task: TaskFile, variables: Shapes | None = None) -> Table | None:
        """The numbers of a task, or None if they have to be computed. A damaged file is removed."""
        if not self.has(task):
            return None
        try:
            return load_task(self.folder, task, variables)
        except DamagedError as error:
            self.note(f"{task.path(self.folder)} {error}; it is computed again")
            with contextlib.suppress(OSError):
                task.path(self.folder).unlink()
            return None

    def save(self, task: TaskFile, table: Table) -> None:
        """Write the numbers of a finished task. Raises MachineError."""
        save_task(self.folder, task, table)
