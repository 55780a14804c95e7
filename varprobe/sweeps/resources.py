"""What a sweep may use: memory, devices, other processes, and which share of it is to be done here."""

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import single
from varprobe.storage.memory import read_memory
from varprobe.storage.provenance import cores
from varprobe.sweeps.local_executor import CellExecutor, LocalCellExecutor
from varprobe.sweeps.pool_executor import PoolCellExecutor
from varprobe.sweeps.shards import Shard, read_shard

__all__ = ["Resources", "read_resources"]


@dataclass(frozen=True)
class Resources:
    """See `varprobe.sweep`: bytes, a count, a share, and whoever computes; None for all, and for this process."""

    memory: int | None = None
    devices: int | None = None
    shard: Shard | None = None
    executor: Executor | CellExecutor | None = None

    def cell_executor(self) -> CellExecutor:
        """Who computes."""
        if self.executor is None:
            return LocalCellExecutor(self.devices, self.memory)
        return PoolCellExecutor(self.executor, self.memory) if isinstance(self.executor, Executor) else self.executor


def read_resources(memory: Any = None, devices: Any = None, shard: Any = None, executor: Any = None) -> Resources:
    """Check what was given.

    Raises:
        InvalidArgumentError: names the argument, its value, and what is allowed.
    """
    if executor is not None and not isinstance(executor, Executor) and not hasattr(executor, "run"):
        hint = "; of a Dask client take client.get_executor()" if hasattr(executor, "get_executor") else ""
        raise InvalidArgumentError(f"{executor!r:.60} is not a concurrent.futures.Executor{hint}", "executor")
    if devices is not None and executor is not None:
        raise InvalidArgumentError(f"{devices!r}: with an executor its processes decide", "devices")
    count = None if devices is None else device_count(devices)
    return Resources(
        None if memory is None else read_memory(memory), count, None if shard is None else read_shard(shard), executor
    )


def device_count(devices: Any) -> int:
    """How many devices to use, of those that there are."""
    import jax

    there = jax.local_devices()
    several = len(there) > 1 or there[0].platform != "cpu"
    most, what = (len(there), "device") if several else (cores(), "core")
    wanted = single("devices", devices, 1)
    if wanted > most:
        raise InvalidArgumentError(f"{wanted} is more than the {most} {what}{'s' if most > 1 else ''} here", "devices")
    return wanted
