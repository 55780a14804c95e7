"""An executor of other processes: any `concurrent.futures.Executor`, on this machine or on a cluster.

What is sent is a batch of cells with all that they depend on, as bytes; nothing but this package and its libraries, of
the same versions, has to be there. A process that sees the run folder writes its cells there itself, and sends the
tables back otherwise.
"""

import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from varprobe.engine.compile import Worker, teams
from varprobe.engine.groups import work_of
from varprobe.engine.inputs import rows_of
from varprobe.engine.programs import AnyGroup
from varprobe.engine.random_bits import keys_of
from varprobe.engine.statistics import CellTable
from varprobe.errors import InvalidArgumentError, MachineError, first_line
from varprobe.nets.config import SweepSettings
from varprobe.storage.provenance import cores
from varprobe.storage.tasks import Table, save_task
from varprobe.storage.temporaries import held
from varprobe.sweeps.budget import budget_of
from varprobe.sweeps.local_executor import Failure, computed, together
from varprobe.sweeps.pickling import packed, unpacked
from varprobe.sweeps.probes.running import Task, run_jobs
from varprobe.sweeps.queue import CellTask, Queue
from varprobe.sweeps.record import versions

__all__ = ["PoolCellExecutor"]

BATCH_WORK = 2e10
"""Operations of a batch, about a second of a core: what a scheduler takes for each is then little."""

AHEAD = 3
"""Batches for each process that are sent before it can begin them."""

TOKEN = ".here.{}.varprobe.tmp"
"""A file in the run folder: who sees it sees the same folder."""


class Batch(NamedTuple):
    """What is sent.

    versions: of what must compute it. folder, token: the run folder, and the name of a file that is in it now; None
    without one. memory: bytes that a cell may take; None for a core's share of what is free. cache: where compiled
    code is kept; None where it is not.
    """

    items: tuple[CellTask, ...]
    setting: SweepSettings
    versions: dict[str, Any]
    folder: Path | None = None
    token: str | None = None
    memory: int | None = None
    cache: str | None = None


idle: list[Worker] = []
"""Workers of this process that compute nothing now."""


def work(parcel: bytes) -> list[CellTable | None]:
    """The tables of a batch, in another process; None of those that are in the run folder.

    It writes them there itself, where it sees the folder; what a process before it wrote, and died, is not done again.

    Raises:
        Failure: a device or its memory failed.
        MachineError: the process is not of the versions that the sweep is of, or its disk refuses.
    """
    batch: Batch = unpacked(parcel)
    if batch.cache and cache_folder() is None and os.path.isdir(batch.cache):
        jax.config.update("jax_compilation_cache_dir", batch.cache)
    require_same(batch.versions)
    folder = batch.folder if batch.folder and batch.token and (batch.folder / batch.token).is_file() else None
    memory = batch.memory or budget_of(None) // cores()
    worker = idle.pop() if idle else Worker(teams()[0])
    try:
        found: dict[int, CellTable] = {}
        missing = [item for item in batch.items if not (folder and item.file and item.file.path(folder).exists())]
        for items in calls(missing, worker.size):
            for item, table in zip(items, computed(worker, items, batch.setting, memory), strict=True):
                if folder and item.file:
                    save_task(folder, item.file, table)
                else:
                    found[id(item)] = table
        return [found.get(id(item)) for item in batch.items]
    finally:
        idle.append(worker)


def failed(things: list[Any], error: Exception) -> Exception:
    """What is raised where a batch fails: what it says itself, or which batch it was."""
    if isinstance(error, Failure | MachineError | InvalidArgumentError) or is_lost(error):
        return error
    died = isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"
    what = (
        "a worker process died; perhaps it had too little memory" if died else f"a worker failed: {message_of(error)}"
    )
    return Failure(things[0].configs, things[0].seed, what)


def is_lost(error: Exception) -> bool:
    """Whether it says that nobody is there any more who runs what was sent; a file's error has another number."""
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        return error.errno is None
    return isinstance(error, CancelledError | ConnectionError | TimeoutError)


@contextmanager
def unless_lost() -> Iterator[None]:
    """Raise MachineError where the scheduler of the workers was lost."""
    try:
        yield
    except (CancelledError, OSError) as error:
        if not is_lost(error):
            raise
        text = "the scheduler of the workers was lost; what has finished is kept, and the same command goes on"
        raise MachineError(text) from error


def message_of(error: Exception) -> str:
    """An error of another process in one line."""
    return f"{type(error).__name__}: {first_line(error)}"


def probe(parcel: bytes) -> list[Table]:
    """The table of a job, in another process; raises as `work` does."""
    job, wanted = unpacked(parcel)
    require_same(wanted)
    return [table for _, table in run_jobs([job])]


def cache_folder() -> str | None:
    """Where this process keeps compiled code, if it does."""
    return getattr(jax.config, "jax_compilation_cache_dir", None)


def calls(items: Sequence[CellTask], most: int) -> Iterator[list[CellTask]]:
    """The items, up to `most` of one group at a time."""
    for _, neighbors in groupby(items, key=lambda item: id(item.group)):
        some = list(neighbors)
        yield from (some[i : i + most] for i in range(0, len(some), most))


def require_same(wanted: dict[str, Any]) -> None:
    """Refuse to compute what other versions of the libraries would round otherwise.

    Raises:
        MachineError: says what differs, and where.
    """
    here = versions()
    for name, value in wanted.items():
        if here.get(name) != value:
            raise MachineError(
                f"the worker on {socket.gethostname()} has {name} {here.get(name)}, and the sweep {value}; "
                "install the same versions everywhere"
            )


class PoolCellExecutor:
    """The processes of an executor."""

    by_group = True

    def __init__(self, executor: Executor, memory: int | None = None, count: Callable[[], int] | None = None) -> None:
        """What computes.

        Args:
            executor: takes batches.
            memory: bytes that a process may take for a cell; None for what it needs.
            count: how many compute at the same time now; None for what the executor says, or as many as cores here.
        """
        self.executor, self.memory = executor, memory
        self.processes = count or (lambda: int(getattr(executor, "_max_workers", 0) or cores()))
        self.seen: dict[str, Any] | None = None

    def versions(self) -> dict[str, Any]:
        """Of its processes."""
        if self.seen is None:
            with unless_lost():
                try:
                    self.seen = self.executor.submit(versions).result()
                except Exception as error:  # such as no varprobe where the worker is
                    if isinstance(error, MachineError) or is_lost(error):
                        raise
                    raise MachineError(f"a worker failed: {message_of(error)}") from error
        return self.seen

    def allotment(self, groups: Iterable[AnyGroup]) -> tuple[int, int]:
        """As `CellExecutor.allotment`; what a process has free only it knows."""
        return self.processes(), self.memory or budget_of(None) // cores()

    def most(self) -> int:
        """Batches that are on their way at the same time."""
        return AHEAD * self.processes()

    def run(
        self, queue: Queue[CellTask], setting: SweepSettings, folder: Path | None = None
    ) -> Iterator[tuple[CellTask, CellTable | None]]:
        """As `CellExecutor.run`."""
        token = TOKEN.format(secrets.token_hex(4)) if folder else None
        cache = cache_folder()
        seen = self.versions()

        def take() -> list[CellTask]:
            items, size = list[CellTask](), 0.0
            while size < BATCH_WORK and (more := queue.take(1)):
                items += more
                size += work_of(more[0].group)
            return items

        def submit(items: list[CellTask]) -> Future[Any]:
            largest = max(item.group.program.batch for item in items)
            some = needed(setting, (item.seed for item in items), largest)
            batch = Batch(tuple(items), some, seen, folder, token, self.memory, cache)
            return self.executor.submit(work, packed(batch))

        with unless_lost(), held(folder / token) if folder and token else nullcontext():
            yield from together(queue, take, submit, self.most, failed)

    def probe(self, queue: Queue[Task], step: Callable[[Task], object]) -> Iterator[tuple[Task, Table]]:
        """As `CellExecutor.probe`; the steps of a probe are reported when it is done."""
        seen = self.versions()

        def submit(jobs: list[Task]) -> Future[Any]:
            (job,) = jobs
            setting = needed(job.setting, [job.seed], job.group.program.batch)
            return self.executor.submit(probe, packed((replace(job, setting=setting), seen)))

        with unless_lost():
            yield from together(queue, queue.take, submit, self.most, failed)


def needed(setting: SweepSettings, seeds: Iterable[int], batch: int) -> SweepSettings:
    """The setting with those rows of a file that these seeds are given, and no others."""
    source = setting.source
    if source.rows is None:
        return setting
    rows = [rows_of(source, keys_of(setting.root_seed, seed)["data"], batch) for seed in dict.fromkeys(seeds)]
    return replace(setting, source=source.excerpt(np.concatenate(rows)))
