"""Run cells: one chunk of nets, one seed, one call of compiled code. A cell's numbers never depend on other cells.

Cells run on worker threads: on CPU one a core, each running single-threaded code, which is the faster use of small
matrix products and makes a product's rounding independent of the number of cores; on accelerators one a device.
"""

import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe import draws
from varprobe.configs import Setting
from varprobe.data import Source
from varprobe.draws import keys_of
from varprobe.errors import MachineError
from varprobe.program import Program
from varprobe.programs import AnyChunk, AnyProgram, run_program
from varprobe.stack import workspace_of
from varprobe.tables import CellTable, statistics_of
from varprobe.wired.cell import Keys
from varprobe.wired.chunks import WiredChunk
from varprobe.wired.own import OwnChunk, OwnProgram, own_table
from varprobe.wired.program import Wired
from varprobe.wired.tables import wired_statistics

__all__ = ["AnyChunk", "arguments", "batch_of", "compiled", "inputs_of", "run_cells", "target_of"]

Executable = Callable[..., tuple[Any, Any]]

CPU_OPTIONS: dict[str, str | bool] = {"xla_cpu_multi_thread_eigen": False}

compile_lock = threading.Lock()
programs: dict[tuple[AnyProgram, int], tuple[Executable, Any]] = {}


def batch_of(
    source: Source, key: Array, batch: int, width: int, units: int | None = None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(x, rows): a batch drawn for one seed, float32 or the file's float64, and which rows of the file it is.

    Random laws are drawn in float32 like the weights; rows of a file without replacement. Tokens are embedded in
    `units` values each (without it all `width`); row i of the table has the key fold_in(fold_in(key, 1), i).
    """
    if source.rows is not None:
        rows = np.asarray(jax.random.permutation(key, len(source.rows))[:batch])
        return source.rows[rows], rows
    with jax.enable_x64(False):
        if source.vocab:
            ids = jax.random.randint(key, (batch * (width // (units or width)),), 0, source.vocab)
            return np.asarray(embeddings(jax.random.fold_in(key, 1), ids, units or width)).reshape(batch, width), None
        x = drawn("uniform" if source.name == "uniform" else "normal", (batch, width), key)
        if source.name == "sphere":
            x = x * (np.sqrt(width) / jnp.linalg.norm(x, axis=1, keepdims=True))
    return np.asarray(x), None


@partial(jax.jit, static_argnums=2)
def embeddings(key: Array, ids: Array, units: int) -> Array:
    """The rows of a table of N(0, 1) entries, each with its own key."""
    return jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(key, i), (units,)))(ids)


@partial(jax.jit, static_argnums=(0, 1))
def drawn(law: Literal["normal", "uniform"], shape: tuple[int, int], key: Array) -> Array:
    """N(0, 1) or U[-1, 1): jax.random's numbers for this key, from code that compiles in a fifth of the time."""
    return (draws.uniform if law == "uniform" else draws.normal)(draws.random_bits(key, shape))


def target_of(setting: Setting, key: Array, rows: np.ndarray | None, batch: int, width: int) -> np.ndarray:
    """The cotangent, or the labels of the batch (the source's own, else drawn for the seed)."""
    labels = setting.source.labels
    with jax.enable_x64(False):
        if setting.loss == "cotangent":
            return np.asarray(drawn("normal", (batch, width), key))
        if labels is not None and rows is not None:
            chosen = labels[rows]
            return chosen.astype(np.int32) if setting.loss == "cross_entropy" else chosen.reshape(batch, -1)
        if setting.loss == "cross_entropy":
            return np.asarray(jax.random.randint(key, (batch,), 0, setting.outputs), np.int32)
        return np.asarray(drawn("normal", (batch, setting.outputs), key))


def inputs_of(
    setting: Setting, keys: dict[str, Array], batch: int, shape: tuple[int, ...], embed: bool
) -> tuple[Any, Any]:
    """(x, rows) as `batch_of`, samples in `shape`; rows of another width are embedded, or repeated until they fill it.

    The embedding is a random matrix of variance 1 / fan_in, which keeps the mean square; its key is fold_in(data, 1).
    """
    units = math.prod(shape)
    x, rows = batch_of(setting.source, keys["data"], batch, units, shape[-1])
    if embed and x.shape[1] != units:
        with jax.enable_x64(False):
            matrix = np.asarray(drawn("normal", (x.shape[1], units), jax.random.fold_in(keys["data"], 1)), np.float64)
        x = x @ (matrix / np.sqrt(len(matrix)))
    x = np.tile(x, (1, units // x.shape[1]))
    return x.reshape(batch, *shape), rows


def arguments(chunk: AnyChunk, setting: Setting, seed: int) -> tuple[Any, ...]:
    """The run-time arguments of a cell."""
    program = chunk.program
    keys = keys_of(setting.root_seed, seed)
    wide = np.float64 if setting.dtype == "float64" else np.float32
    if isinstance(program, Wired | OwnProgram):
        x, rows = inputs_of(setting, keys, program.batch, program.input_shape, program.arch.embeds)
        target = target_of(setting, keys["loss"], rows, program.batch, math.prod(program.output_shape))
        if setting.loss == "cotangent":
            target = target.reshape(program.batch, *program.output_shape)
        streams: tuple[Any, ...] = (Keys(keys["weights"], keys["biases"], keys["dropout"]),)
    else:
        x, rows = batch_of(setting.source, keys["data"], program.batch, program.segments[0].fan_in)
        target = target_of(setting, keys["loss"], rows, program.batch, program.segments[-1].fan_out)
        streams = (keys["weights"], keys["biases"])
    target = target if target.dtype == np.int32 else target.astype(wide)
    return np.True_, *streams, x.astype(wide), target, chunk.numbers()


def compiled(program: AnyProgram, arguments: tuple[Any, ...], device: Any) -> tuple[Executable, Any]:
    """(executable, shapes of its workspace) of a program on a device; compiled once, whoever asks first."""
    with compile_lock:
        if (program, device.id) not in programs:
            options = CPU_OPTIONS if device.platform == "cpu" else None
            space: Any = ()
            if isinstance(program, Program):
                running, weight_key, bias_key, x, _, numbers = arguments
                space = workspace_of(program, running, weight_key, bias_key, x, numbers)
            jitted = jax.jit(run_program, static_argnums=0, donate_argnums=1)
            programs[program, device.id] = (
                jitted.lower(program, space, *arguments).compile(compiler_options=options),
                space,
            )
        return programs[program, device.id]


class Worker:
    """A device with the memory that its cells use one after the other."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.program: AnyProgram | None = None
        self.space: Any = None

    def zeros(self, like: jax.ShapeDtypeStruct) -> Array:
        """From the host, since zeros made on the device would be a program to compile for each shape."""
        return jax.device_put(np.zeros(like.shape, like.dtype), self.device, may_alias=False)

    def run(self, program: AnyProgram, arguments: tuple[Any, ...]) -> Any:
        """Statistics of a cell, on the host."""
        arguments = jax.device_put(arguments, self.device)
        executable, shapes = compiled(program, arguments, self.device)
        if self.program != program:
            self.space = None  # before the new one is made
            self.program, self.space = program, jax.tree.map(self.zeros, shapes)
        statistics, self.space = executable(self.space, *arguments)
        return jax.device_get(statistics)


def run_cell_on(worker: Worker, chunk: AnyChunk, setting: Setting, seed: int) -> CellTable:
    """One cell, from arguments to a table of float64."""
    with jax.enable_x64(setting.dtype == "float64"), jax.default_device(worker.device):
        statistics = worker.run(chunk.program, arguments(chunk, setting, seed))
    if isinstance(chunk, OwnChunk):
        return own_table(chunk, statistics)
    return wired_statistics(chunk, statistics) if isinstance(chunk, WiredChunk) else statistics_of(chunk, statistics)


def workers() -> list[Any]:
    """The device of each worker thread."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [devices[i % len(devices)] for i in range(max(cores, len(devices)))]


def run_cells(cells: list[tuple[AnyChunk, int]], setting: Setting) -> Iterator[tuple[AnyChunk, int, CellTable]]:
    """Run (chunk, seed) cells on all workers; yields each with its table as it is done.

    Raises:
        MachineError: the device or its memory failed.
    """
    devices = workers()
    free = [Worker(device) for device in devices]

    def work(chunk: AnyChunk, seed: int) -> CellTable:
        worker = free.pop()
        try:
            return run_cell_on(worker, chunk, setting, seed)
        finally:
            free.append(worker)

    pool = ThreadPoolExecutor(len(devices), thread_name_prefix="varprobe")
    waiting = iter(cells)
    running: dict[Future[CellTable], tuple[AnyChunk, int]] = {}
    try:
        while True:
            while len(running) < 2 * len(devices) and (cell := next(waiting, None)) is not None:
                running[pool.submit(work, *cell)] = cell
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                chunk, seed = running.pop(future)
                yield chunk, seed, future.result()
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise MachineError(f"the device failed: {first}") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
