"""Run the probes that were asked for with a sweep, and join them to the dataset."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from varprobe.storage.locks import Claims
from varprobe.storage.run_folder import RunFolder
from varprobe.storage.tasks import Table
from varprobe.sweeps.filling import Filling
from varprobe.sweeps.probes.files import with_files
from varprobe.sweeps.probes.pair_theory import with_theory
from varprobe.sweeps.probes.running import Task, jobs_of
from varprobe.sweeps.probes.variables import framed, jacobian_size
from varprobe.sweeps.queue import Queue
from varprobe.sweeps.shards import Shard, share

if TYPE_CHECKING:
    from varprobe.sweeps.local_executor import CellExecutor
    from varprobe.sweeps.request import Request

__all__ = ["Probing"]


class Probing:
    """The probes of a request.

    Attributes:
        total: steps still to be done here.
        cached: steps found finished.
    """

    def __init__(
        self,
        request: "Request",
        advance: Callable[[int], object],
        claims: Claims,
        held: RunFolder | None = None,
        versions: dict[str, Any] | None = None,
        fresh: bool = False,
        shard: Shard | None = None,
        first: int = 0,
    ) -> None:
        """Find what is finished.

        Args:
            request: of the sweep.
            advance: takes the steps that were done.
            claims: of this process; the locks of probes follow those of the `first` cells.
            held: the run folder; None keeps nothing.
            versions: of what computes; needed with a run folder.
            fresh: compute what is there again.
            shard: only the tasks of this shard are computed.
            first: number of cells.
        """
        self.request, self.fresh = request, fresh
        tasks = jobs_of(request) if request.probes else []
        self.tasks = list(enumerate(tasks if versions is None else with_files(tasks, request, versions), start=first))
        self.tables: dict[int, tuple[Task, Table]] = {}
        self.filling = Filling[Task](held, claims, self.enter, advance)
        ours = share(self.tasks, shard, lambda task: task[1].steps)
        self.missing = ours if fresh else self.filling.missing(ours)
        self.total = sum(task.steps for _, task in self.missing)
        self.cached = sum(task.steps for _, task in ours) - self.total

    def enter(self, task: Task, table: Table) -> None:
        """Remember the numbers of a task."""
        self.tables[id(task)] = task, table

    def complete(self) -> bool:
        """Whether every task is done, those of other shards too."""
        return not self.filling.missing([task for task in self.tasks if id(task[1]) not in self.tables])

    def run(self, executor: "CellExecutor") -> None:
        """Do what is missing.

        Raises:
            MachineError: disk, memory or device failed; what was finished is kept.
        """

        def execute(queue: Queue[Task], folder: Path | None) -> Iterator[tuple[Task, Table]]:
            return executor.probe(queue, self.filling.step)

        self.filling.fill(self.missing, execute, self.fresh)

    def joined(self, ds: xr.Dataset) -> xr.Dataset:
        """The dataset with all variables of the probes."""
        request = self.request
        if not request.probes:
            return ds
        ds = framed(ds, request.probes, max(map(jacobian_size, request.configs)))
        for task, table in self.tables.values():  # networks of less depth and width leave the rest NaN
            for name, values in table.items():
                ds[name].values[(task.configs, task.seed, slice(values.shape[1]))] = values
        return with_theory(request, ds) if request.probes.correlation else ds
