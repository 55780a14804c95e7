"""A crew that Dask schedules: workers that come and go, on this machine or on others.

A worker that dies is Dask's to replace: its batches go to others, up to three times. Where the scheduler itself goes
away, it is waited for, and what it had not finished is sent again; without one the sweep ends, and what has finished
is kept.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from varprobe.engine.statistics import CellTable
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.nets.config import SweepSettings
from varprobe.storage.provenance import cores
from varprobe.sweeps.pool_executor import PoolCellExecutor
from varprobe.sweeps.probes.running import Table, Task
from varprobe.sweeps.queue import CellTask, Queue

__all__ = ["DaskCellExecutor", "dask_crew"]

LOCAL = "local"
PATIENCE = 60.0
"""Seconds that a scheduler has to come back, and that the first worker has to come."""

LOOK = 5.0
"""Seconds between two counts of the workers."""


class DaskCellExecutor(PoolCellExecutor):
    """The workers of a scheduler."""

    def __init__(self, address: str, memory: int | None, note: Callable[[str], object], local: Any = None) -> None:
        """`local`: the cluster that was started for it, where one was."""
        self.address, self.note, self.local = address, note, local
        self.connect()
        super().__init__(self.executor, memory)

    def connect(self, seconds: float = 10.0) -> None:
        """Reach the scheduler.

        Raises:
            OSError: there is none.
        """
        from distributed import Client

        if self.local is None:
            knock(self.address, seconds)
        self.client = Client(self.local or self.address, timeout=seconds, set_as_default=False)
        self.executor = self.client.get_executor(pure=False)
        self.looked, self.threads = 0.0, 1

    @property
    def processes(self) -> int:
        """Threads of all workers that are there now."""
        if time.monotonic() - self.looked > LOOK:
            with suppress(OSError, TimeoutError):
                self.threads = max(sum(self.client.nthreads().values()), 1)
            self.looked = time.monotonic()
        return self.threads

    def versions(self) -> dict[str, Any]:
        """Of its workers, the first of which is waited for.

        Raises:
            MachineError: there is none.
        """
        if self.seen is None:
            if not self.client.nthreads():
                self.note(f"waiting for a worker at {self.address}")
                with suppress(TimeoutError):
                    self.client.wait_for_workers(1, timeout=PATIENCE)
            if not self.client.nthreads():
                raise MachineError(f"no worker came to {self.address} (dask worker {self.address} --nthreads 1)")
        return super().versions()

    def run(
        self, supply: Queue, setting: SweepSettings, folder: Path | None = None
    ) -> Iterator[tuple[CellTask, CellTable | None]]:
        """As `CellExecutor.run`."""
        yield from self.insisting(lambda: super(DaskCellExecutor, self).run(supply, setting, folder))

    def probe(self, supply: Queue) -> Iterator[tuple[Task, Table | None]]:
        """As `CellExecutor.probe`."""
        yield from self.insisting(lambda: super(DaskCellExecutor, self).probe(supply))

    def insisting(self, begin: Callable[[], Iterator[Any]]) -> Iterator[Any]:
        """What `begin()` yields, begun again where the scheduler was lost and has come back."""
        while True:
            try:
                yield from begin()
                return
            except (CancelledError, OSError, TimeoutError) as error:
                if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
                    raise  # a file's
                self.come_back()

    def come_back(self) -> None:
        """Wait for a scheduler at the same address.

        Raises:
            MachineError: none came.
        """
        self.note(f"lost the scheduler at {self.address}; waiting for it to come back")
        self.close()
        end = time.monotonic() + PATIENCE
        while self.local is None and time.monotonic() < end:
            with suppress(OSError, TimeoutError):
                self.connect(5.0)
                return
            time.sleep(0.5)
        raise MachineError(f"lost the scheduler at {self.address}; what has finished is kept")

    def close(self) -> None:
        """Leave the scheduler."""
        with suppress(Exception):  # it may be gone
            self.client.close(timeout=2)


def knock(address: str, seconds: float) -> None:
    """Raise OSError where nobody listens: a client that was made in vain complains when it is collected."""
    from distributed.comm import get_address_host_port

    host, port = get_address_host_port(address)
    if address.partition("://")[0] in ("tcp", "tls"):
        socket.create_connection((host, port), seconds).close()


@contextmanager
def dask_crew(address: str, memory: int | None, note: Callable[[str], object]) -> Iterator[DaskCellExecutor]:
    """The crew at an address such as tcp://10.0.0.7:8786, or `local`: a process for each core of this machine.

    Raises:
        InvalidArgumentError: Dask is not installed, or there is no scheduler.
    """
    try:
        from distributed import LocalCluster
    except ImportError:
        raise InvalidArgumentError('clusters need Dask: pip install "varprobe[dask]"', "dask") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters comes as an exception
    logging.getLogger("tornado").setLevel(logging.CRITICAL)
    local = None
    if address == LOCAL:
        os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")  # of semaphores that an interrupt leaves
        local = LocalCluster(n_workers=cores(), threads_per_worker=1, memory_limit=0, dashboard_address=None)
        address = local.scheduler_address
    elif "://" not in address:
        raise InvalidArgumentError(f"{address!r} is no address (such as tcp://10.0.0.7:8786, or local)", "dask")
    try:
        crew = DaskCellExecutor(address, memory, note, local)
    except (OSError, TimeoutError, ValueError) as error:
        raise InvalidArgumentError(f"there is no scheduler at {address!r}", "dask") from error
    try:
        yield crew
    finally:
        crew.close()
        if local is not None:
            local.close(timeout=5)
