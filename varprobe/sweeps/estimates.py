"""What a sweep will take before it runs, roughly: time from a short calibration of this machine, memory, and disk."""

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from varprobe.engine.compile import CPU_OPTIONS
from varprobe.engine.groups import work_of
from varprobe.engine.programs import AnyGroup
from varprobe.engine.rough_memory import rough_bytes
from varprobe.storage.memory import memory_text
from varprobe.sweeps.assemble import variable_names
from varprobe.sweeps.budget import COMPILING
from varprobe.sweeps.limits import PLANNED
from varprobe.sweeps.request import Request
from varprobe.sweeps.split import pieces

__all__ = ["Estimate", "estimate", "sweep_bytes"]

PROCESS = 215 * 2**20
"""Python with jax and this package, before anything is compiled."""

PROGRAM = 20 * 2**20
"""What each compiled program but the first leaves behind."""

COMPILE_SECONDS = 4.0
"""Of one program, which is traced and compiled while the others wait."""

START_SECONDS, DATASET_SECONDS = 2.0, 1.5
"""Importing, and writing results and figure."""

PASSES = 4.0
"""Time that cells take over that of their products, for elementwise results, passes over memory and calls."""

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
        programs: distinct compiled programs.
        seconds: wall time, within a factor of about three.
        memory: bytes at the peak of the process; rather too many than too few.
        disk: bytes of the run folder.
        workers: how many cells run at once.
        parted: how many of the cells are computed in pieces for want of memory.
    """

    configs: int
    seeds: int
    cells: int
    programs: int
    seconds: float
    memory: int
    disk: int
    workers: int
    parted: int

    def __str__(self) -> str:
        """For a terminal."""
        cells = f"{self.cells} of {self.programs} compiled program{'s' if self.programs != 1 else ''}"
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
    request: Request, groups: Sequence[AnyGroup], workers: int, budget: float | None = None, in_memory: bool = True
) -> int:
    """Bytes that the process takes at its peak: Python and jax, compiled code, plan, cells that run at once, results.

    Args:
        request: what is swept.
        groups: of `groups_of`.
        workers: how many cells run at once.
        budget: bytes for the cell of one worker; larger ones are computed in pieces.
        in_memory: whether the results are held there as a whole.
    """
    parts = parts_of(groups, budget)
    programs = {part.program: part for part in parts}.values()
    cells = sorted(map(rough_bytes, programs), reverse=True)
    busy = min(workers, request.setting.seeds * len(groups))
    at_once = sum(cells[i // request.setting.seeds] for i in range(busy) if i // request.setting.seeds < len(cells))
    code = COMPILING + PROGRAM * (len(programs) - 1)
    plan = PLANNED * sum(config.depth + 1 for config in request.configs)
    results = 8 * IN_MEMORY * numbers_of(request) if in_memory else 0
    return int(PROCESS + code + plan + at_once + results)


def parts_of(groups: Sequence[AnyGroup], budget: float | None) -> list[AnyGroup]:
    """The groups, in pieces where they exceed the budget."""
    return list(groups) if budget is None else [part for group in groups for part in pieces(group, budget)]


def estimate(
    request: Request, groups: Sequence[AnyGroup], workers: int, budget: float | None = None, in_memory: bool = True
) -> Estimate:
    """What a sweep will take, from a short calibration; nothing of it is run.

    Args:
        request: what is swept; its probes (--correlation and others) are not counted.
        groups: of `groups_of`.
        workers: how many cells run at once.
        budget: bytes for the cell of one worker; larger ones are computed in pieces.
        in_memory: whether the results are held there as a whole.
    """
    seeds = request.setting.seeds
    split = [parts_of([group], budget) for group in groups]
    parts = [part for several in split for part in several]
    programs = {part.program: part for part in parts}.values()
    cells = seeds * len(groups)
    work = PASSES * seconds_of_an_operation(request.setting.dtype) * sum(map(work_of, parts)) * seeds
    return Estimate(
        configs=len(request.configs),
        seeds=seeds,
        cells=cells,
        programs=len(programs),
        seconds=START_SECONDS + DATASET_SECONDS + COMPILE_SECONDS * len(programs) + work / max(1, min(workers, cells)),
        memory=sweep_bytes(request, groups, workers, budget, in_memory),
        disk=ON_DISK * numbers_of(request),
        workers=workers,
        parted=seeds * sum(len(several) > 1 for several in split),
    )


@lru_cache
def seconds_of_an_operation(dtype: str) -> float:
    """Of a matrix product on one core, or one device, of this machine: the least of some."""
    with jax.enable_x64(dtype == "float64"):
        rows, square = jnp.ones((160, 512), dtype), jnp.ones((512, 512), dtype)
        options = CPU_OPTIONS if jax.local_devices()[0].platform == "cpu" else None
        product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=lax.Precision.HIGHEST))
        run = product.lower(rows, square).compile(compiler_options=options)
        times = []
        for _ in range(12):
            start = time.perf_counter()
            jax.block_until_ready(run(rows, square))
            times.append(time.perf_counter() - start)
    return min(times) / (2 * rows.size * 512)
