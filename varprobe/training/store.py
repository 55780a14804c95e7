"""The files of finished jobs in a run folder: training/HASH.npz, each named by all that decides its numbers."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from varprobe.storage.checksums import DamagedError, sealed_archive, unsealed_archive
from varprobe.storage.files import checked, put, writing
from varprobe.sweeps.record import hashable, hashed, versions
from varprobe.training.folders import MOST_ARRAYS, MOST_NUMBERS
from varprobe.training.jobs import Outcome, Task
from varprobe.training.request import Training

__all__ = ["TaskStore"]

VERSION = 1
"""Raised with every change that changes a number of a training."""


@dataclass(frozen=True)
class TaskStore:
    """Where finished jobs are; `shared` and `each` decide the numbers of all, and of each place along `config`."""

    folder: Path
    shared: str
    each: list[str]

    @classmethod
    def of(cls, folder: Path, training: Training) -> "TaskStore | None":
        """The folder of a training; None where its code cannot be known again."""
        if not training.reusable:
            return None
        shared, configs = hashable(training.request, versions())
        told = [[o.name, o.digest] for o in training.optimizers]
        each = [json.dumps([config, optimizer]) for config in configs for optimizer in told]
        return cls(folder, json.dumps([VERSION, shared, training.steps, training.at]), each)

    def path(self, job: Task) -> Path:
        """The file of a job."""
        return (
            self.folder
            / "training"
            / f"{hashed(self.shared, str(job.seed), *map(self.each.__getitem__, job.nets))}.npz"
        )

    def load(self, job: Task) -> Outcome | None:
        """A finished job's outcome, or None where it is still to be done.

        Raises:
            DamagedError: the file is no outcome of this job.
        """
        path = self.path(job)
        if not path.exists():
            return None
        found = unsealed_archive(checked(path, self.folder), MOST_ARRAYS, MOST_NUMBERS)
        if not found or any(a.dtype != np.float64 or not a.ndim or len(a) != len(job.nets) for a in found.values()):
            raise DamagedError("does not hold the numbers of its nets")
        return found

    def save(self, job: Task, outcome: Outcome) -> None:
        """Write a finished job.

        Raises:
            MachineError: the disk refuses.
        """
        path, content = self.path(job), sealed_archive(outcome)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, lambda file: file.write(content))
