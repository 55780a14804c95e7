"""The workers of a Dask scheduler, which come and go, on this machine or on others, as a `concurrent.futures` executor.

A worker that dies is Dask's to replace: its batches go to others, up to three times. Where the scheduler itself is
lost, the sweep ends with one line, what has finished is kept, and the same command goes on.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.storage.provenance import cores
from varprobe.sweeps.pool_executor import PoolCellExecutor

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["dask_executor"]

LOCAL = "local"
PATIENCE = 60.0
"""Seconds that the first worker has to come."""


@contextmanager
def dask_executor(address: str, memory: int | None, note: Callable[[str], object]) -> Iterator[PoolCellExecutor]:
    """The executor at an address such as tcp://10.0.0.7:8786, or `local`: a process for each core of this machine.

    Raises:
        InvalidArgumentError: Dask is not installed, or there is no scheduler.
        MachineError: no worker came.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InvalidArgumentError('clusters need Dask: pip install "varprobe[dask]"', "dask") from None
    if address != LOCAL and "://" not in address:
        raise InvalidArgumentError(f"{address!r} is no address (such as tcp://10.0.0.7:8786, or local)", "dask")
    for name in ("distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters comes as an exception
    local = local_cluster(cores()) if address == LOCAL else None
    try:
        if local is None:
            knock(address)
        client = Client(local or address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise InvalidArgumentError(f"there is no scheduler at {address!r}", "dask") from error
    try:
        wait_for_workers(client, address, note)
        executor: Any = client.get_executor(pure=False)
        yield PoolCellExecutor(executor, memory, lambda: max(1, sum(client.nthreads().values())))
    finally:
        with suppress(Exception):  # it may be gone
            client.close(timeout=2)
        if local is not None:
            local.close(timeout=5)


def local_cluster(workers: int) -> "LocalCluster":
    """So many processes of one thread on this machine, and their scheduler."""
    from distributed import LocalCluster

    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")  # of semaphores that an interrupt leaves
    return LocalCluster(n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address=None)


def knock(address: str) -> None:
    """Raise OSError where nobody listens: a client that was made in vain complains when it is collected."""
    from distributed.comm import get_address_host_port

    if address.partition("://")[0] in ("tcp", "tls"):
        socket.create_connection(get_address_host_port(address), 10.0).close()


def wait_for_workers(client: "Client", address: str, note: Callable[[str], object]) -> None:
    """Return as soon as there is one; MachineError where none comes."""
    if client.nthreads():
        return
    note(f"waiting for a worker at {address}")
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        raise MachineError(f"no worker came to {address} (dask worker {address} --nthreads 1)") from None
