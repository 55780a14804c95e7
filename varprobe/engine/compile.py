"""Workers: compiled programs on devices. One computes the cells that it is given, one call at a time.

On CPU a worker is a core, running single-threaded code on the host's device: that is the faster use of small matrix
products, and makes a product's rounding independent of the number of cores. Where there are several devices, one
worker has them all: a program is compiled once for the mesh of them, and each device computes another seed.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, SingleDeviceSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from varprobe.engine.device_check import check_device, check_table
from varprobe.engine.inputs import arguments, shapes_of
from varprobe.engine.programs import AnyGroup, AnyProgram, compilable, run_program, space_of
from varprobe.engine.statistics import CellTable, statistics_of
from varprobe.engine.wired.groups import WiredGroup
from varprobe.engine.wired.own import OwnGroup, own_table
from varprobe.engine.wired.tables import wired_statistics
from varprobe.nets.config import SweepSettings
from varprobe.storage.provenance import cores

__all__ = ["Executable", "Worker", "programs", "tables_of", "teams"]

Devices = tuple[Any, ...]

CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_multi_thread_eigen": False}
AXIS = "seed"
ALONG = P(AXIS)


class Executable(NamedTuple):
    """A compiled program.

    run: the code. space: shapes of a cell's workspace. bytes: what a cell takes on its device while the code runs, by
    the compiler's plan: arguments, results and what the code works on; None where the platform does not say.
    """

    run: Callable[..., tuple[Any, Any]]
    space: Any
    bytes: int | None


programs: dict[tuple[AnyProgram, tuple[int, ...]], Executable] = {}
"""By program and the numbers of its devices."""

trusted: set[Devices] = set()
"""Devices whose first numbers were looked at."""

compiling: defaultdict[tuple[AnyProgram, tuple[int, ...]], threading.Lock] = defaultdict(threading.Lock)


class Worker:
    """Devices with the memory that their cells use one after the other; each computes a cell at a time."""

    def __init__(self, devices: Sequence[Any]) -> None:
        self.devices: Devices = tuple(devices)
        several = len(self.devices) > 1
        self.sharding = NamedSharding(Mesh(np.array(self.devices), (AXIS,)), ALONG) if several else None
        self.program: AnyProgram | None = None
        self.space: Any = None

    @property
    def size(self) -> int:
        """How many cells of one program it computes at once."""
        return len(self.devices)

    def run(self, group: AnyGroup, cells: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Statistics of some cells, on the host; `cells` are their arguments, as many as `size` or fewer."""
        given, executable = self.put(cells), self.compiled(group)
        if self.program != group.program:
            self.program, self.space = group.program, None  # before the new one is made
            self.space = jax.tree.map(self.zeros, executable.space)
        space, self.space = self.space, None
        if space is None:  # an earlier call failed with it
            space = jax.tree.map(self.zeros, executable.space)
        statistics, self.space = executable.run(space, *given)
        found = jax.device_get(statistics)
        return [found] if self.sharding is None else [entry(found, i) for i in range(len(cells))]

    def put(self, cells: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        """The arguments on the devices; where there are more devices than cells, the last cell again."""
        if self.sharding is None:
            return jax.device_put(cells[0], self.devices[0])
        filled = [*cells, *[cells[-1]] * (self.size - len(cells))]
        return jax.device_put(jax.tree.map(stacked, *filled), self.sharding)

    def zeros(self, like: jax.ShapeDtypeStruct) -> Array:
        """From the host, since zeros made on the device would be a program to compile for each shape."""
        if self.sharding is None:
            return jax.device_put(np.zeros(like.shape, like.dtype), self.devices[0], may_alias=False)
        return jax.device_put(np.zeros((self.size, *like.shape), like.dtype), self.sharding, may_alias=False)

    def compiled(self, group: AnyGroup) -> Executable:
        """The program of a group, compiled the first time that it is needed."""
        key = group.program, tuple(device.id for device in self.devices)
        with compiling[key], jax.enable_x64(group.program.dtype == "float64"):
            if key not in programs:
                programs[key] = self.compile(group)
            return programs[key]

    def compile(self, group: AnyGroup) -> Executable:
        """From the shapes of what it is given; nothing is drawn."""
        program, one = group.program, shapes_of(group)
        space, given = space_of(program, one), jax.tree.map(self.placed, one)
        if self.sharding is None:
            lowered = compilable.lower(program, space, *given)
        else:
            function = jax.shard_map(
                on_each(lambda space, *given: run_program(program, space, *given)),
                mesh=self.sharding.mesh,
                in_specs=ALONG,
                out_specs=ALONG,
                check_vma=False,
            )
            spaces = jax.tree.map(lambda s: jax.ShapeDtypeStruct((self.size, *s.shape), s.dtype), space)
            lowered = jax.jit(function, donate_argnums=0).lower(spaces, *given)
        run = lowered.compile(compiler_options=CPU_OPTIONS if self.devices[0].platform == "cpu" else None)
        return Executable(run, space, planned_bytes(run))

    def placed(self, one: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        """The shape of what `put` makes of an argument of a cell."""
        if self.sharding is None:
            return jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=SingleDeviceSharding(self.devices[0]))
        return jax.ShapeDtypeStruct((self.size, *one.shape), one.dtype, sharding=self.sharding)


def planned_bytes(compiled: Any) -> int | None:
    """Bytes on each device while compiled code runs; None where the platform does not say."""
    m = compiled.memory_analysis()
    if m is None:
        return None
    return m.argument_size_in_bytes + m.output_size_in_bytes - m.alias_size_in_bytes + m.temp_size_in_bytes


def entry(tree: Any, i: int) -> Any:
    """Entry i of the first axis of each array."""
    return jax.tree.map(lambda a: a[i], tree)


def stacked(*leaves: Any) -> Any:
    """The leaves along a new first axis; keys stay keys."""
    return jnp.stack(leaves) if isinstance(leaves[0], jax.Array) else np.stack(leaves)


def on_each(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function for arrays whose first axis has one entry on each device."""

    def alone(*given: Any) -> Any:
        return jax.tree.map(lambda a: a[None], function(*jax.tree.map(lambda a: a[0], given)))

    return alone


def tables_of(worker: Worker, group: AnyGroup, setting: SweepSettings, seeds: Sequence[int]) -> list[CellTable]:
    """The cells of some seeds, from arguments to tables of float64."""
    first = worker.devices not in trusted
    if first:
        for device in worker.devices:
            check_device(device)
    with jax.enable_x64(setting.dtype == "float64"), jax.default_device(worker.devices[0]):
        found = worker.run(group, [arguments(group, setting, seed) for seed in seeds])
    tables = [table_of(group, statistics) for statistics in found]
    if first:
        for table in tables:
            check_table(table, setting.real_range or isinstance(group, OwnGroup))
        trusted.add(worker.devices)
    return tables


def table_of(group: AnyGroup, statistics: Any) -> CellTable:
    """What the results say of a cell."""
    if isinstance(group, OwnGroup):
        return own_table(group, statistics)
    return wired_statistics(group, statistics) if isinstance(group, WiredGroup) else statistics_of(group, statistics)


def teams(count: int | None = None) -> list[Devices]:
    """The devices of each worker: of a CPU one worker a core, of several devices one worker for all.

    Args:
        count: of devices, or of cores where the only device is the host's; None for all.
    """
    devices = jax.local_devices()
    if len(devices) > 1:
        return [tuple(devices[:count])]
    return [tuple(devices)] * (min(count or cores(), cores()) if devices[0].platform == "cpu" else 1)
