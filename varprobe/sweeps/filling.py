"""Fill a dataset with the cells that its folder has, those that an executor computes, and those of other processes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from varprobe.engine.groups import work_of
from varprobe.engine.statistics import CellTable
from varprobe.errors import MachineError
from varprobe.nets.config import Config
from varprobe.storage.files import Cell
from varprobe.storage.locks import Claims
from varprobe.storage.progress import Progress
from varprobe.sweeps.local_executor import CellExecutor, Failure
from varprobe.sweeps.queue import CellTask, FolderQueue, Queue
from varprobe.sweeps.record import fill
from varprobe.sweeps.request import Request
from varprobe.sweeps.run_folder import Run

__all__ = ["Filling", "Table", "computed", "in_order"]

Table = dict[str, np.ndarray]
"""A cell's variables, each (configurations, layers)."""


class Filling:
    """A run's dataset while it is filled, with cells of its folder and with those that an executor computes."""

    def __init__(
        self, request: Request, held: Run, frame: xr.Dataset, executor: CellExecutor, claims: Claims, progress: Progress
    ) -> None:
        self.request, self.held, self.frame = request, held, frame
        self.executor, self.claims, self.progress = executor, claims, progress

    def missing(self, items: Iterable[tuple[int, CellTask]]) -> list[tuple[int, CellTask]]:
        """Those of the numbered items that are not in the folder; the others are entered."""
        return [(number, item) for number, item in items if not self.entered(item)]

    def entered(self, item: CellTask) -> bool:
        """Enter a cell of the folder; whether it is there and intact."""
        if (table := self.held.load(cell_of(item))) is None:
            return False
        self.enter(item, table)
        return True

    def enter(self, item: CellTask, table: Table) -> None:
        """Enter a table into the dataset."""
        fill(self.frame, cell_of(item).configs, item.seed, table)

    def fill(self, missing: list[tuple[int, CellTask]], fresh: bool = False) -> None:
        """Compute these, but those that another process finishes first; `fresh`: even if they are there."""
        if not missing:
            return
        damaged: list[tuple[int, CellTask]] = []
        numbers = {id(item): number for number, item in missing}

        def arrived(item: CellTask) -> None:
            if not self.entered(item):
                damaged.append((numbers[id(item)], item))
            self.progress.advance(1)

        def is_there(item: CellTask) -> bool:
            return not fresh and self.held.has(cell_of(item))

        ordered = in_order(missing, self.executor, lambda item: item[1])
        queue = FolderQueue(ordered, self.claims, is_there, arrived, lambda item: id(item.chunk))
        folder = None if fresh else self.held.folder  # where workers take what they find for done
        for item, table in computed(self.executor, queue, self.request, folder):
            if table is None:  # a worker has written it
                self.held.wait_for(cell_of(item))
                queue.done(item)
                arrived(item)
            else:
                self.held.save(cell_of(item), table)
                queue.done(item)
                self.enter(item, table)
                self.progress.advance(1)
        if damaged:
            self.fill(damaged)


def cell_of(item: CellTask) -> Cell:
    """Where an item belongs in the run folder."""
    assert item.cell is not None
    return item.cell


def in_order(items: list[Any], executor: CellExecutor, of: Callable[[Any], CellTask] = lambda item: item) -> list[Any]:
    """The items as the executor wants them."""
    if not executor.by_chunk:
        return items
    return sorted(items, key=lambda item: (-work_of(of(item).chunk), id(of(item).chunk)))


def computed(
    executor: CellExecutor, queue: Queue, request: Request, folder: Path | None = None
) -> Iterator[tuple[CellTask, CellTable | None]]:
    """What the executor makes of a queue.

    Raises:
        MachineError: a device or its memory failed; says at which configurations.
    """
    try:
        yield from executor.run(queue, request.setting, folder)
    except Failure as failure:
        what = called([request.configs[i] for i in failure.configs])
        raise MachineError(f"{what}, seed {failure.seed}: {failure.reason}") from failure


def called(configs: list[Config]) -> str:
    """Some configurations, in words."""
    c = configs[0]
    names = [*([c.arch_name] if c.arch_name != "plain" else []), c.act.name, c.init.name]
    more = f" (and {len(configs) - 1} more)" if len(configs) > 1 else ""
    return f"{', '.join(names)}, depth {c.depth}, width {c.width}{more}"
