"""Run what was asked for beside a sweep, and join it to the dataset."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import xarray as xr

from varprobe.storage.files import DamagedError
from varprobe.storage.locks import Claims
from varprobe.sweeps.probes.pair_theory import with_theory
from varprobe.sweeps.probes.running import Table, Task, jobs_of
from varprobe.sweeps.probes.store import TaskStore
from varprobe.sweeps.probes.variables import framed, jacobian_size
from varprobe.sweeps.queue import FolderQueue
from varprobe.sweeps.shards import Shard, share

if TYPE_CHECKING:
    from varprobe.sweeps.local_executor import CellExecutor
    from varprobe.sweeps.request import Request

__all__ = ["Probing"]


class Probing:
    """The probes of a request: `total` steps still to be done here, `cached` found finished."""

    def __init__(
        self,
        request: "Request",
        shelf: TaskStore | None,
        fresh: bool,
        note: Callable[[str], object],
        shard: Shard | None = None,
    ) -> None:
        """`shelf` keeps what is finished; without one nothing is kept. Of the jobs of other shares none is done."""
        self.request, self.shelf, self.fresh, self.note = request, shelf, fresh, note
        jobs = list(enumerate(jobs_of(request))) if request.probes else []
        self.ours = {number for number, _ in share(jobs, shard, lambda job: job[1].steps)}
        self.tables: dict[int, Table] = {}
        self.jobs = [job for _, job in jobs]
        if not fresh:
            self.tables = {number: table for number, job in jobs if (table := self.loaded(job)) is not None}
        self.total = sum(job.steps for _, job in self.missing)
        self.cached = sum(self.jobs[number].steps for number in self.ours & set(self.tables))

    def loaded(self, job: Task) -> Table | None:
        """The table of a finished job."""
        try:
            return self.shelf.load(job) if self.shelf else None
        except DamagedError as error:
            assert self.shelf
            self.note(f"{self.shelf.path(job)} {error}; it is computed anew")
            self.shelf.path(job).unlink(missing_ok=True)
            return None

    @property
    def missing(self) -> list[tuple[int, Task]]:
        """The jobs that are still to be done here, numbered."""
        return [(i, job) for i, job in enumerate(self.jobs) if i in self.ours and i not in self.tables]

    @property
    def complete(self) -> bool:
        """Whether every job is done, those of other shares too."""
        for i, job in enumerate(self.jobs):
            if i not in self.tables and (table := self.loaded(job)) is not None:
                self.tables[i] = table
        return len(self.tables) == len(self.jobs)

    def run(self, executor: "CellExecutor", claims: Claims, advance: Callable[[int], object], first: int = 0) -> None:
        """Do what is missing; the jobs' locks follow those of `first` cells.

        Raises:
            MachineError: disk, memory or device failed; what was finished is kept.
        """
        numbers = {id(job): number for number, job in self.missing}

        def found(job: Task) -> None:
            if (table := self.loaded(job)) is not None:
                self.tables[numbers[id(job)]] = table
            advance(job.steps)

        def is_there(job: Task) -> bool:
            return self.shelf is not None and not self.fresh and self.shelf.path(job).exists()

        queue = FolderQueue([(first + i, job) for i, job in self.missing], claims, is_there, found)
        for job, table in executor.probe(queue):
            if table is not None:
                if self.shelf:
                    self.shelf.save(job, table)
                queue.done(job)
                self.tables[numbers[id(job)]] = table
            if table is None or job.steps == 1:
                advance(1)
        if not self.fresh and any(i not in self.tables for i in self.ours):  # a file was damaged since
            self.run(executor, claims, advance, first)

    def joined(self, ds: xr.Dataset) -> xr.Dataset:
        """The dataset with all variables of the probes."""
        request = self.request
        if not request.probes:
            return ds
        ds = framed(ds, request.probes, max(map(jacobian_size, request.configs)))
        for i, table in self.tables.items():
            enter(ds, self.jobs[i], table)
        return with_theory(request, ds) if request.probes.correlation else ds


def enter(ds: xr.Dataset, job: Task, table: Table) -> None:
    """Enter the numbers of a job; shallower and narrower networks leave the rest NaN."""
    for name, values in table.items():
        ds[name].values[(job.configs, job.seed, slice(values.shape[1]))] = values
