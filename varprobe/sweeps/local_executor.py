"""Executors: who computes the missing cells. Here threads on the devices of this machine; see `executors` for others.

An executor takes items from a queue as it gets free, so that what other processes finish meanwhile is not done again,
and yields each with its table.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from varprobe.engine.compile import Worker, tables_of, teams
from varprobe.engine.programs import AnyGroup
from varprobe.engine.statistics import CellTable
from varprobe.errors import MachineError, first_line
from varprobe.nets.config import SweepSettings
from varprobe.storage.tasks import Table
from varprobe.sweeps.budget import allotment, needed_bytes
from varprobe.sweeps.probes.running import Task, run_jobs
from varprobe.sweeps.queue import CellTask, Queue
from varprobe.sweeps.record import versions
from varprobe.sweeps.split import TooLarge, in_pieces

__all__ = ["CellExecutor", "Failure", "LocalCellExecutor", "computed", "together"]

PAUSE = 0.2
"""Seconds until the queue is asked again whether others have finished."""


class Failure(Exception):
    """What kept a cell from being computed: its configurations, its seed, and why, in one line."""

    def __init__(self, configs: Sequence[int], seed: int, reason: str) -> None:
        super().__init__(list(configs), seed, reason)
        self.configs, self.seed, self.reason = list(configs), seed, reason


class CellExecutor(Protocol):
    """Whoever computes.

    Attributes:
        by_group: whether cells of one group should come one after the other, the largest groups first.
    """

    by_group: bool

    def versions(self) -> dict[str, Any]:
        """Of what computes: `record.versions` where it is."""

    def allotment(self, groups: Iterable[AnyGroup]) -> tuple[int, int]:
        """(how many cells of these are computed at once, bytes for each)."""

    def run(
        self, queue: Queue[CellTask], setting: SweepSettings, folder: Path | None = None
    ) -> Iterator[tuple[CellTask, CellTable | None]]:
        """Each item as it is done, with its table, or without one where it was written to the run folder.

        Items that are not done when it ends, however it ends, are given back to the queue.

        Raises:
            Failure: a device or its memory failed.
        """

    def probe(self, queue: Queue[Task], step: Callable[[Task], object]) -> Iterator[tuple[Task, Table]]:
        """Each probe of a queue with its table; `step` is called whenever a part of a probe is done.

        Raises:
            MachineError: a device or its memory failed.
        """


def computed(worker: Worker, items: Sequence[CellTask], setting: SweepSettings, memory: int) -> list[CellTable]:
    """The tables of some cells of one group, in pieces where `memory`, bytes for one cell, is short.

    Raises:
        Failure: the device or its memory failed.
        InvalidArgumentError: a single net does not fit (option `memory`).
    """
    group, seeds = items[0].group, [item.seed for item in items]

    def run(piece: AnyGroup) -> dict[str, np.ndarray]:
        if (need := needed_bytes(worker, piece)) > memory:
            raise TooLarge(need)
        tables = tables_of(worker, piece, setting, seeds)
        return {f"{i} {name}": values for i, table in enumerate(tables) for name, values in table.items()}

    try:
        joined = in_pieces(group, memory, run)
    except MachineError as error:
        raise Failure(group.configs, seeds[0], str(error)) from error
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        raise Failure(group.configs, seeds[0], f"the device failed: {first_line(error)}") from error
    tables: list[CellTable] = [{} for _ in seeds]
    for key, values in joined.items():
        i, _, name = key.partition(" ")
        tables[int(i)][name] = values
    return tables


class LocalCellExecutor:
    """Threads, one a worker."""

    def __init__(self, devices: int | None = None, memory: int | None = None) -> None:
        """`devices`: how many to use; `memory`: bytes for what is computed; None for a share of what is free."""
        self.devices, self.memory = devices, memory
        self.by_group = len(jax.local_devices()) > 1

    def versions(self) -> dict[str, Any]:
        """Of this process."""
        return versions()

    def allotment(self, groups: Iterable[AnyGroup]) -> tuple[int, int]:
        """As `CellExecutor.allotment`; raises InvalidArgumentError where a network does not fit."""
        return allotment(groups, teams(self.devices), self.memory)

    def run(
        self, queue: Queue[CellTask], setting: SweepSettings, folder: Path | None = None
    ) -> Iterator[tuple[CellTask, CellTable | None]]:
        """As `CellExecutor.run`; whoever runs it writes the tables."""
        count, each = self.allotment(queue.groups())
        free = [Worker(devices) for devices in teams(self.devices)[:count]]
        size, most = free[0].size, 2 * len(free)

        def work(items: list[CellTask]) -> list[CellTable]:
            worker = free.pop()
            try:
                return computed(worker, items, setting, each)
            finally:
                free.append(worker)

        pool = ThreadPoolExecutor(len(free), thread_name_prefix="varprobe")
        try:
            yield from together(queue, lambda: queue.take(size), lambda items: pool.submit(work, items), lambda: most)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def probe(self, queue: Queue[Task], step: Callable[[Task], object]) -> Iterator[tuple[Task, Table]]:
        """As `CellExecutor.probe`, one after the other: products and decompositions use all cores themselves."""
        while not queue.exhausted():
            if not (jobs := queue.take()):
                time.sleep(PAUSE)
            try:
                yield from run_jobs(jobs, step)
            except BaseException:
                queue.give_back(jobs)
                raise


def together(
    queue: Queue[Any],
    take: Callable[[], list[Any]],
    submit: Callable[[list[Any]], Future[Any]],
    most: Callable[[], int],
    failed: Callable[[list[Any], Exception], Exception] = lambda things, error: error,
) -> Iterator[tuple[Any, Any]]:
    """Keep up to `most()` futures going, each of what `take` found in the queue; yields what is done.

    Where one fails all that is not done goes back to the queue; `failed` says what is raised.
    """
    running: dict[Future[Any], list[Any]] = {}
    try:
        while True:
            while len(running) < most() and (items := take()):
                running[submit(items)] = items
            if not running:
                if queue.exhausted():
                    return
                time.sleep(PAUSE)  # others have the rest
                continue
            waited = wait(running, timeout=None if queue.exhausted() else PAUSE, return_when=FIRST_COMPLETED)
            for future in waited.done:
                try:
                    tables = future.result()
                except Exception as error:
                    raise failed(running[future], error) from error
                yield from zip(running.pop(future), tables, strict=True)
    finally:
        for future, items in running.items():
            future.cancel()
            queue.give_back(items)
