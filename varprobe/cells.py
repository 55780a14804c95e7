"""Run cells: one chunk of nets, one seed, one call of compiled code. A cell's numbers never depend on other cells.

Cells run on worker threads: on CPU one a core, each running single-threaded code, which is the faster use of small
matrix products and makes a product's rounding independent of the number of cores; on accelerators one a device.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from varprobe.configs import Setting
from varprobe.data import Source
from varprobe.draws import keys_of
from varprobe.engine import Chunk
from varprobe.errors import MachineError
from varprobe.moments import Moments
from varprobe.program import Block, Program
from varprobe.stack import CellStatistics, run_cell

__all__ = ["batch_of", "compiled", "run_cells", "statistics_of", "target_of"]

LOG10_2 = np.log10(2.0)
CellTable = dict[str, np.ndarray]

Executable = Callable[..., tuple[CellStatistics, Any]]

compile_lock = threading.Lock()
programs: dict[tuple[Program, int], tuple[Executable, Any]] = {}


def batch_of(source: Source, key: Array, batch: int, width: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(x, rows): a batch drawn for one seed, float32 or the file's float64, and which rows of the file it is.

    Random laws are drawn in float32 like the weights; rows of a file without replacement.
    """
    if source.rows is not None:
        rows = np.asarray(jax.random.permutation(key, len(source.rows))[:batch])
        return source.rows[rows], rows
    with jax.enable_x64(False):
        if source.name == "uniform":
            x = jax.random.uniform(key, (batch, width), minval=-1.0)
        else:
            x = jax.random.normal(key, (batch, width))
        if source.name == "sphere":
            x = x * (np.sqrt(width) / jnp.linalg.norm(x, axis=1, keepdims=True))
    return np.asarray(x), None


def target_of(setting: Setting, key: Array, rows: np.ndarray | None, batch: int, width: int) -> np.ndarray:
    """The cotangent, or the labels of the batch (the source's own, else drawn for the seed)."""
    labels = setting.source.labels
    with jax.enable_x64(False):
        if setting.loss == "cotangent":
            return np.asarray(jax.random.normal(key, (batch, width)))
        if labels is not None and rows is not None:
            chosen = labels[rows]
            return chosen.astype(np.int32) if setting.loss == "cross_entropy" else chosen.reshape(batch, -1)
        if setting.loss == "cross_entropy":
            return np.asarray(jax.random.randint(key, (batch,), 0, setting.outputs), np.int32)
        return np.asarray(jax.random.normal(key, (batch, setting.outputs)))


def arguments(chunk: Chunk, setting: Setting, seed: int) -> tuple[Any, ...]:
    """The run-time arguments of a cell."""
    program = chunk.program
    keys = keys_of(setting.root_seed, seed)
    x, rows = batch_of(setting.source, keys["data"], program.batch, program.segments[0].fan_in)
    target = target_of(setting, keys["loss"], rows, program.batch, program.segments[-1].fan_out)
    wide = np.float64 if setting.dtype == "float64" else np.float32
    target = target if target.dtype == np.int32 else target.astype(wide)
    return np.True_, keys["weights"], keys["biases"], x.astype(wide), target, chunk.numbers()


def compiled(program: Program, arguments: tuple[Any, ...], device: Any) -> tuple[Executable, Any]:
    """(executable, shapes of its workspace) of a program on a device; compiled once, whoever asks first."""
    with compile_lock:
        if (program, device.id) not in programs:
            options: dict[str, str | bool] | None = (
                {"xla_cpu_multi_thread_eigen": False} if device.platform == "cpu" else None
            )
            _, space = jax.eval_shape(lambda *a: run_cell(program, None, *a), *arguments)
            jitted = jax.jit(run_cell, static_argnums=0, donate_argnums=1)
            programs[program, device.id] = (
                jitted.lower(program, space, *arguments).compile(compiler_options=options),
                space,
            )
        return programs[program, device.id]


class Worker:
    """A device with the memory that its cells use one after the other."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.program: Program | None = None
        self.space: Any = None

    def run(self, program: Program, arguments: tuple[Any, ...]) -> CellStatistics:
        """Statistics of a cell, on the host."""
        arguments = jax.device_put(arguments, self.device)
        executable, shapes = compiled(program, arguments, self.device)
        if self.program != program:
            self.space = None  # before the new one is made
            self.program, self.space = program, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        statistics, self.space = executable(self.space, *arguments)
        return jax.device_get(statistics)


def run_cell_on(worker: Worker, chunk: Chunk, setting: Setting, seed: int) -> CellTable:
    """One cell, from arguments to a table of float64."""
    with jax.enable_x64(setting.dtype == "float64"), jax.default_device(worker.device):
        statistics = worker.run(chunk.program, arguments(chunk, setting, seed))
    return statistics_of(chunk, statistics)


def workers() -> list[Any]:
    """The device of each worker thread."""
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [devices[i % len(devices)] for i in range(max(cores, len(devices)))]


def run_cells(cells: list[tuple[Chunk, int]], setting: Setting) -> Iterator[tuple[Chunk, int, CellTable]]:
    """Run (chunk, seed) cells on all workers; yields each with its table as it is done.

    Raises:
        MachineError: the device or its memory failed.
    """
    devices = workers()
    free = [Worker(device) for device in devices]

    def work(chunk: Chunk, seed: int) -> CellTable:
        worker = free.pop()
        try:
            return run_cell_on(worker, chunk, setting, seed)
        finally:
            free.append(worker)

    pool = ThreadPoolExecutor(len(devices), thread_name_prefix="varprobe")
    waiting = iter(cells)
    running: dict[Future[CellTable], tuple[Chunk, int]] = {}
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


def log10(values: Array | np.ndarray) -> np.ndarray:
    """log10 in float64; exactly zero is -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(np.asarray(values, np.float64))


def quantity(name: str, moments: Moments, log10_scale: np.ndarray) -> CellTable:
    """The four variables of a quantity whose values are 10^log10_scale times those measured."""
    shift = moments.e * LOG10_2 + log10_scale
    ms = np.asarray(moments.ms, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_over_rms = np.asarray(moments.mean, np.float64) / np.sqrt(ms)
    return {
        f"{name}_log10_ms": log10(ms) + 2 * shift,
        f"{name}_log10_var": log10(moments.var) + 2 * shift,
        f"{name}_mean_over_rms": np.clip(mean_over_rms, -1, 1),
        f"{name}_log10_absmax": log10(moments.absmax) + shift,
    }


def statistics_of(chunk: Chunk, statistics: CellStatistics) -> CellTable:
    """Every variable of the results, each (members, depth + 1), members in configuration order.

    Layer 0 is the input and has an activation only. Homogeneous nets are shifted to each configuration's scales.
    """
    program, rows = chunk.program, []
    bases = joined_base_moments(program, statistics)
    for b, column, member in chunk.members:
        scales = np.array(member.log10_scales)
        up = np.cumsum(scales)
        down = up[-1] - up
        pick = lambda tree, c=column: jax.tree.map(lambda a: a[:, c], tree)  # noqa: E731
        forward = pick(statistics.forward[b])
        row = quantity("preactivation", forward.preactivation, up) | quantity("activation", forward.activation, up)
        for name in forward._fields[2:]:
            row[name] = np.asarray(getattr(forward, name), np.float64)
        if not program.blocks[b].phi.bounded:
            row["saturated_nonzero_fraction"] = np.full(program.depth, np.nan)
        row["weight_log10_ms"] = weight_log10_ms(np.array(member.weights), bases[b][column])
        if statistics.backward is not None:
            backward = pick(statistics.backward[b])
            row |= quantity("gradient", backward.gradient, down)
            row |= quantity("weight_gradient", backward.weight_gradient, np.concatenate([[0.0], up[:-1]]) + down)
            row["gradient_correlation"] = np.asarray(backward.gradient_correlation, np.float64)
        inputs = quantity("activation", jax.tree.map(lambda a: a[0], statistics.input), np.zeros(()))
        inputs["activation_correlation"] = np.asarray(statistics.input_correlation, np.float64)[0]
        rows.append({k: np.concatenate([[inputs.get(k, np.nan)], v]) for k, v in row.items()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def joined_base_moments(program: Program, statistics: CellStatistics) -> list[list[np.ndarray]]:
    """(layers, 2) array of the mean and mean square of the bases of each block and net."""

    def of_net(block: Block, net: int) -> np.ndarray:
        places = [program.bases(i).index(bases[net]) for i, bases in enumerate(block.weights)]
        parts = [np.stack(statistics.bases[i][place], axis=-1) for i, place in enumerate(places)]
        return np.concatenate(parts).astype(np.float64)

    return [[of_net(block, net) for net in range(block.nets)] for block in program.blocks]


def weight_log10_ms(pairs: np.ndarray, base: np.ndarray) -> np.ndarray:
    """log10 of E[(mean + scale * base)^2], for values that may be far outside float64's squares."""
    mean, scale = pairs[:, 0], pairs[:, 1]
    unit = np.maximum(np.abs(mean), np.abs(scale))
    safe = np.where(unit > 0, unit, 1)
    m, s = mean / safe, scale / safe
    return log10(np.maximum(m * m + 2 * m * s * base[:, 0] + s * s * base[:, 1], 0)) + 2 * log10(unit)
