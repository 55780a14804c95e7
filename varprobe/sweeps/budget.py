"""How a budget of memory is shared: how many workers there are, and what the cell of each may take."""

from collections.abc import Iterable, Sequence
from typing import Any

from varprobe.engine.compile import Worker
from varprobe.engine.programs import AnyGroup
from varprobe.engine.rough_memory import AROUND, rough_bytes
from varprobe.storage.memory import SHARE, device_free_bytes, free_bytes, resident_bytes
from varprobe.sweeps.split import smallest, too_large, workers_within

__all__ = ["COMPILING", "allotment", "budget_of", "needed_bytes"]

COMPILING = 256 * 2**20
"""Bytes that compiling a first program leaves behind."""

LEAST_CELLS = 64 * 2**20
"""Bytes that cells always get: some systems do not say what is free."""


def budget_of(memory: int | None) -> int:
    """Bytes for cells: what may still be taken, of `memory` or of SHARE of what is free; compiled code aside."""
    left = int(SHARE * free_bytes()) if memory is None else memory - resident_bytes()
    return max(left - COMPILING, LEAST_CELLS)


def allotment(groups: Iterable[AnyGroup], teams: Sequence[tuple[Any, ...]], memory: int | None) -> tuple[int, int]:
    """(how many of the workers there are to be, bytes for a cell of each).

    Args:
        groups: whose cells are to be computed.
        teams: the devices of every worker that there could be.
        memory: bytes for all of them; None for a share of what is free.

    Raises:
        InvalidArgumentError: a single network does not fit (option `memory`).
    """
    several, worker, count = list(groups), Worker(teams[0]), len(teams)
    own = [found for d in worker.devices if (found := device_free_bytes(d)) is not None]
    largest = max(several, key=rough_bytes)
    if own:  # an accelerator's memory is not the host's
        each = int(SHARE * min(own))
    else:
        budget, rough = budget_of(memory) // worker.size, int(rough_bytes(largest))
        if rough * count > budget:
            count = workers_within(budget, rough, count, int(needed_bytes(worker, smallest(largest))))
        each = budget // count
    for group in several:
        if rough_bytes(group) > each and rough_bytes(one := smallest(group)) > each:
            if (need := needed_bytes(worker, one)) > each:
                raise too_large(one, need, each)
    return count, each


def needed_bytes(worker: Worker, group: AnyGroup) -> float:
    """What a cell takes on each device: the compiled code's plan, or the formula where the platform has none.

    On CPU it was 0.7 to 1.06 times the measured peak in eleven cases of 130 MiB or more (`scripts/measure_memory.py`).
    """
    planned = worker.compiled(group).bytes
    return rough_bytes(group) if planned is None else planned + AROUND
