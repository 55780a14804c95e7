"""What a sweep will take before it runs: time from a short calibration of this machine, memory, and disk."""

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from varprobe.engine import random_bits
from varprobe.engine.programs import AnyGroup
from varprobe.storage.memory import memory_text
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.cell_costs import cell_bytes, cell_footprint
from varprobe.sweeps.footprints import Work, footprint
from varprobe.sweeps.limits import PLANNED
from varprobe.sweeps.request import Request
from varprobe.sweeps.split import pieces

__all__ = ["Estimate", "estimate", "sweep_bytes"]

PROCESS = 215 * 2**20
"""Python with jax and this package, before anything is compiled."""

COMPILING, COMPILING_EQUATION = 160 * 2**20, 72 * 2**10
"""What compiling the first program leaves behind, and what each of its equations does."""

PROGRAM = 20 * 2**20
"""What each further program does."""

COMPILE_SECONDS, EQUATIONS_A_SECOND = 1.0, 900
"""Of one program, which is traced and compiled while the others wait."""

START_SECONDS, DATASET_SECONDS = 2.0, 1.5
"""Importing, and writing results and figure."""

COSTLY_OVER_SIMPLE = 8
"""Time of one tanh or square root over that of one sum."""

PASSES = 1.5
"""Time that cells take over that of their products and elementwise results alone, for passes over memory and calls."""

IN_MEMORY = 2
"""Copies of the results that are there when they are put together."""

ON_DISK = 8 + 8 + 19
"""Bytes of a number in its cell, in results.nc and in results.csv."""


class Estimate(NamedTuple):
    """What a sweep will take. `str` of it are lines of at most 80 columns.

    Attributes:
        configs: configurations.
        seeds: of each.
        cells: units of work and of storage, a group of nets and a seed each.
        groups: distinct compiled programs.
        seconds: wall time, within a factor of about two.
        memory: bytes at the peak of the process, within about a quarter.
        disk: bytes of the run folder.
        workers: how many cells run at once.
        parted: how many of the cells are computed in pieces for want of memory.
    """

    configs: int
    seeds: int
    cells: int
    groups: int
    seconds: float
    memory: int
    disk: int
    workers: int
    parted: int

    def __str__(self) -> str:
        """For a terminal."""
        cells = f"{self.cells} of {self.groups} compiled program{'s' if self.groups != 1 else ''}"
        if self.parted:
            cells += f", {self.parted} of them in pieces"
        rows = {
            "configurations": f"{self.configs}, {self.seeds} seed{'s' if self.seeds != 1 else ''} each",
            "cells": f"{cells}, {self.workers} at once",
            "time": f"about {time_text(self.seconds)}",
            "memory": f"about {memory_text(self.memory)}",
            "disk": f"about {memory_text(self.disk)}",
        }
        return "\n".join(f"{name:<16}{text}" for name, text in rows.items())


def time_text(seconds: float) -> str:
    """Seconds for people: 8 s, 3 min, 2.5 h, 4 days."""
    for unit, size, most in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds < most * size:
            return f"{max(1, seconds / size):.2g} {unit}"
    return f"{seconds / 86400:.3g} days"


def numbers_of(request: Request) -> int:
    """How many numbers the results have, those of the input included."""
    each = len(variable_names(request.spec["arch"]))
    return request.setting.seeds * each * sum(config.depth + 1 for config in request.configs)


def sweep_bytes(
    request: Request, chunks: Sequence[AnyGroup], workers: int, budget: float | None = None, in_memory: bool = True
) -> int:
    """Bytes that the process takes at its peak: Python and jax, compiled code, plan, cells that run at once, results.

    Args:
        request: what is swept.
        chunks: of `chunks_of`.
        workers: how many cells run at once.
        budget: bytes for the cell of one worker; larger ones are computed in pieces.
        in_memory: whether the results are held there as a whole.
    """
    parts = parts_of(chunks, budget)
    programs = {part.program: part for part in parts}.values()
    cells = sorted((cell_bytes(part) for part in programs), reverse=True)
    busy = min(workers, request.setting.seeds * len(chunks))
    at_once = sum(cells[i // request.setting.seeds] for i in range(busy) if i // request.setting.seeds < len(cells))
    equations = max(cell_footprint(part).work.equations for part in programs)
    code = COMPILING + COMPILING_EQUATION * equations + PROGRAM * (len(programs) - 1)
    plan = PLANNED * sum(config.depth + 1 for config in request.configs)
    results = 8 * IN_MEMORY * numbers_of(request) if in_memory else 0
    return PROCESS + code + plan + at_once + results


def parts_of(chunks: Sequence[AnyGroup], budget: float | None) -> list[AnyGroup]:
    """The chunks, in pieces where they exceed the budget."""
    return list(chunks) if budget is None else [part for chunk in chunks for part in pieces(chunk, budget)]


def estimate(
    request: Request, chunks: Sequence[AnyGroup], workers: int, budget: float | None = None, in_memory: bool = True
) -> Estimate:
    """What a sweep will take, from traces of its programs and two seconds of calibration; nothing of it is run.

    Args:
        request: what is swept; its probes (--correlation and others) are not counted.
        chunks: of `chunks_of`.
        workers: how many cells run at once.
        budget: bytes for the cell of one worker; larger ones are computed in pieces.
        in_memory: whether the results are held there as a whole.

    Raises:
        InvalidArgumentError: a single net does not fit the budget (option `memory`).
    """
    seeds, setting = request.setting.seeds, request.setting
    split = [parts_of([chunk], budget) for chunk in chunks]
    parts = [part for several in split for part in several]
    programs = {part.program: part for part in parts}.values()
    cells = seeds * len(chunks)
    work = sum(seconds_of(cell_footprint(part).work, setting.dtype) for part in parts) * seeds
    code = sum(COMPILE_SECONDS + cell_footprint(part).work.equations / EQUATIONS_A_SECOND for part in programs)
    return Estimate(
        configs=len(request.configs),
        seeds=seeds,
        cells=cells,
        groups=len(programs),
        seconds=START_SECONDS + DATASET_SECONDS + code + work / max(1, min(workers, cells)),
        memory=sweep_bytes(request, chunks, workers, budget, in_memory),
        disk=ON_DISK * numbers_of(request),
        workers=workers,
        parted=seeds * sum(len(several) > 1 for several in split),
    )


def seconds_of(work: Work, dtype: str) -> float:
    """Time that one worker takes for it."""
    product, simple = rates(dtype)
    return PASSES * (work.products * product + (work.simple + COSTLY_OVER_SIMPLE * work.costly) * simple)


@lru_cache
def rates(dtype: str) -> tuple[float, float]:
    """(seconds of one multiplication in a matrix product, seconds of one simple elementwise result) on this machine."""
    with jax.enable_x64(dtype == "float64"):
        rows, square = jnp.ones((160, 512), dtype), jnp.ones((512, 512), dtype)
        product = timed(lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST), rows, square)
        key = jax.random.key(0, impl="threefry2x32")
        draw = lambda key: random_bits.normal(random_bits.random_bits(key, square.shape))  # noqa: E731
        work = footprint(jax.jit(draw).trace(key).jaxpr).work
        simple = timed(draw, key)
    return product / (rows.size * 512), simple / (work.simple + COSTLY_OVER_SIMPLE * work.costly)


def timed(f: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of one call, the least of some, in code that is compiled as that of cells."""
    options: dict[str, str | bool] | None = None
    if jax.local_devices()[0].platform == "cpu":
        options = {"xla_cpu_multi_thread_eigen": False}
    run = jax.jit(f).lower(*arguments).compile(compiler_options=options)
    times = []
    for _ in range(12):
        start = time.perf_counter()
        jax.block_until_ready(run(*arguments))
        times.append(time.perf_counter() - start)
    return min(times)
