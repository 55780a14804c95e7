"""The files of finished probes in a run folder: probes/HASH.npz, one a job, named by all that decides its numbers."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from varprobe.plans import hashable, hashed
from varprobe.storage import DamagedError, checked, put, writing

if TYPE_CHECKING:
    from varprobe.configs import Request
    from varprobe.probes.running import Job, Table

__all__ = ["Shelf"]

PROBES_VERSION = 1
"""Raised with every change that changes a number of a probe."""


@dataclass(frozen=True)
class Shelf:
    """Where finished jobs are; `folder` is the run's."""

    folder: Path
    shared: str
    each: list[str]

    @classmethod
    def of(cls, folder: Path, request: "Request", versions: dict[str, Any]) -> "Shelf | None":
        """The shelf of a run; None where its code cannot be known again."""
        return cls(folder, *hashable(request, versions)) if request.reusable else None

    def path(self, job: "Job") -> Path:
        """The file of a job."""
        texts = (self.each[i] for i in job.configs)
        what = json.dumps([PROBES_VERSION, job.kind, job.asked.spec, job.seed])
        return self.folder / "probes" / f"{hashed(what, self.shared, *texts)}.npz"

    def load(self, job: "Job") -> "Table | None":
        """A finished job's table, or None where it is still to be done.

        Raises:
            DamagedError: the file is no table of this job.
        """
        path = self.path(job)
        if not path.exists():
            return None
        try:
            with checked(path, self.folder).open("rb") as file, np.load(file, allow_pickle=False) as archive:
                table = {name: archive[name] for name in archive.files}
            configs = table.pop("config").tolist()
        except DamagedError:
            raise
        except Exception as error:  # a damaged archive fails in a dozen ways
            raise DamagedError(f"is damaged ({type(error).__name__})") from error
        if configs != job.configs or any(a.dtype != np.float64 or len(a) != len(configs) for a in table.values()):
            raise DamagedError("is another job's")
        return table

    def save(self, job: "Job", table: "Table") -> None:
        """Write a finished job.

        Raises:
            MachineError: the disk refuses.
        """
        path = self.path(job)
        archive = io.BytesIO()
        np.savez(archive, config=np.array(job.configs), **table)  # type: ignore[arg-type]
        with writing(path):
            path.parent.mkdir(exist_ok=True)
            put(path, lambda file: file.write(archive.getbuffer()))
