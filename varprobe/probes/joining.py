"""Run what was asked for beside a sweep, and join it to the dataset."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import xarray as xr

from varprobe.probes.keeping import Shelf
from varprobe.probes.pair_theory import with_theory
from varprobe.probes.running import Job, Table, jobs_of, run_jobs
from varprobe.probes.variables import framed, jacobian_size
from varprobe.storage import DamagedError

if TYPE_CHECKING:
    from varprobe.configs import Request

__all__ = ["Probing"]


class Probing:
    """The probes of a request: `total` steps still to be done, `cached` found finished."""

    def __init__(self, request: "Request", shelf: Shelf | None, fresh: bool, note: Callable[[str], object]) -> None:
        """`shelf` keeps what is finished; without one nothing is kept."""
        self.request, self.shelf = request, shelf
        jobs = jobs_of(request) if request.probes else []
        self.found: list[tuple[Job, Table]] = []
        self.missing: list[Job] = []
        for job in jobs:
            table = None
            if shelf and not fresh:
                try:
                    table = shelf.load(job)
                except DamagedError as error:
                    note(f"{shelf.path(job)} {error}; it is computed anew")
            if table is None:
                self.missing.append(job)
            else:
                self.found.append((job, table))
        self.total = sum(job.steps for job in self.missing)
        self.cached = sum(job.steps for job, _ in self.found)

    def joined(self, ds: xr.Dataset, advance: Callable[[int], object]) -> xr.Dataset:
        """The dataset with all variables of the probes.

        Raises:
            MachineError: disk, memory or device failed; what was finished is kept.
        """
        request = self.request
        if not request.probes:
            return ds
        ds = framed(ds, request.probes, max(map(jacobian_size, request.configs)))
        for job, table in self.found:
            enter(ds, job, table)
        for job, made in run_jobs(self.missing):
            if made is not None:
                if self.shelf:
                    self.shelf.save(job, made)
                enter(ds, job, made)
            if made is None or job.steps == 1:
                advance(1)
        return with_theory(request, ds) if request.probes.correlation else ds


def enter(ds: xr.Dataset, job: Job, table: Table) -> None:
    """Enter the numbers of a job; shallower and narrower networks leave the rest NaN."""
    for name, values in table.items():
        ds[name].values[(job.configs, job.seed, slice(values.shape[1]))] = values
