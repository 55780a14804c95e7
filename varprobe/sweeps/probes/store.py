"""The files of finished probes in a run folder: probes/HASH.npz, one a job, named by all that decides its numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from varprobe.storage.checksums import DamagedError, sealed_archive, unsealed_archive
from varprobe.storage.files import checked, put, writing
from varprobe.sweeps.record import hashable, hashed

if TYPE_CHECKING:
    from varprobe.sweeps.probe_options import ProbeOptions
    from varprobe.sweeps.probes.running import Table, Task
    from varprobe.sweeps.request import Request

__all__ = ["KINDS", "Kept", "TaskStore", "kept_name", "load_kept"]

PROBES_VERSION = 1
"""Raised with every change that changes a number of a probe."""


KINDS = ("pairs", "batch", "jacobian")
"""Of jobs; a file has the number of its own."""
MOST_ARRAYS = 64
MOST_NUMBERS = 1 << 30
"""In the file of a job, which is read whole."""


@dataclass(frozen=True)
class Kept:
    """What the file of a finished job holds: of which kind, seed and configurations, and its table."""

    kind: str
    seed: int
    configs: list[int]
    table: "Table"


def kept_name(kind: str, asked: "ProbeOptions", seed: int, shared: str, each: Sequence[str]) -> str:
    """The name of a job's file: the hash of all that decides its numbers; `each` are its configurations'."""
    return hashed(json.dumps([PROBES_VERSION, kind, asked.spec, seed]), shared, *each)


def load_kept(path: Path, folder: Path) -> Kept:
    """What a file of a finished job in a run folder holds.

    Raises:
        DamagedError: it is missing, damaged, of another version, or no such file.
    """
    table = unsealed_archive(checked(path, folder), MOST_ARRAYS, MOST_NUMBERS)
    try:
        kind, seed, configs = (table.pop(name).tolist() for name in ("kind", "seed", "config"))
        kept = Kept(KINDS[kind], seed, configs, table)
    except (KeyError, IndexError, TypeError) as error:
        raise DamagedError("is no finished probe") from error
    if any(a.dtype != np.float64 or not a.ndim or len(a) != len(kept.configs) for a in table.values()):
        raise DamagedError("does not hold the numbers of its configurations")
    return kept


@dataclass(frozen=True)
class TaskStore:
    """Where finished jobs are; `folder` is the run's."""

    folder: Path
    shared: str
    each: list[str]

    @classmethod
    def of(cls, folder: Path, request: "Request", versions: dict[str, Any]) -> "TaskStore | None":
        """The shelf of a run; None where its code cannot be known again."""
        return cls(folder, *hashable(request, versions)) if request.reusable else None

    def path(self, job: "Task") -> Path:
        """The file of a job."""
        name = kept_name(job.kind, job.asked, job.seed, self.shared, [self.each[i] for i in job.configs])
        return self.folder / "probes" / f"{name}.npz"

    def load(self, job: "Task") -> "Table | None":
        """A finished job's table, or None where it is still to be done.

        Raises:
            DamagedError: the file is no table of this job.
        """
        path = self.path(job)
        if not path.exists():
            return None
        kept = load_kept(path, self.folder)
        if (kept.kind, kept.seed, kept.configs) != (job.kind, job.seed, job.configs):
            raise DamagedError("is another job's")
        return kept.table

    def save(self, job: "Task", table: "Table") -> None:
        """Write a finished job.

        Raises:
            MachineError: the disk refuses.
        """
        path = self.path(job)
        number = {"kind": KINDS.index(job.kind), "seed": job.seed, "config": job.configs}
        content = sealed_archive({**{name: np.array(value) for name, value in number.items()}, **table})
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            put(path, lambda file: file.write(content))
