"""How a budget of memory is shared: how many workers there are, and what the cell of each may take."""

from collections.abc import Iterable, Sequence
from typing import Any

from varprobe.engine.programs import AnyGroup
from varprobe.storage.memory import SHARE, device_free_bytes, free_bytes, resident_bytes
from varprobe.sweeps.cell_costs import cell_bytes
from varprobe.sweeps.estimates import COMPILING
from varprobe.sweeps.rough_costs import rough_bytes
from varprobe.sweeps.split import cut, drawn_again, pieces, workers_within

__all__ = ["allotment", "budget_of"]

LEAST_CELLS = 64 * 2**20
"""Bytes that cells always get: some systems do not say what is free."""


def budget_of(memory: int | None) -> int:
    """Bytes for cells: what may still be taken, of `memory` or of SHARE of what is free; compiled code aside."""
    left = int(SHARE * free_bytes()) if memory is None else memory - resident_bytes()
    return max(left - COMPILING, LEAST_CELLS)


def allotment(chunks: Iterable[AnyGroup], teams: Sequence[tuple[Any, ...]], memory: int | None) -> tuple[int, int]:
    """(how many of the workers there are to be, bytes for a cell of each).

    Args:
        chunks: whose cells are to be computed.
        teams: the devices of every worker that there could be.
        memory: bytes for all of them; None for a share of what is free.

    Raises:
        InvalidArgumentError: a single network does not fit (option `memory`).
    """
    several, device, budget = list(chunks), teams[0][0], budget_of(memory)
    own = [found for d in teams[0] if (found := device_free_bytes(d)) is not None]
    if own:  # an accelerator's memory is not the host's
        return check(several, device.platform, len(teams), int(SHARE * min(own)))
    budget //= len(teams[0])
    if all(rough_bytes(chunk) * len(teams) <= budget for chunk in several):
        return len(teams), budget // len(teams)
    largest = max(several, key=rough_bytes)
    count = workers_within(budget, cell_bytes(largest), len(teams), least_bytes(largest))
    return check(several, device.platform, count, budget // count)


def least_bytes(chunk: AnyGroup) -> int:
    """What the largest of its networks takes alone."""
    alone = {piece.program: piece for piece in cut(drawn_again(chunk), 1)}
    return max(map(cell_bytes, alone.values()))


def check(chunks: Sequence[AnyGroup], platform: str, workers: int, each: int) -> tuple[int, int]:
    """(workers, each), where every chunk fits in pieces."""
    for chunk in chunks:
        if rough_bytes(chunk) > each:
            pieces(chunk, each, platform)
    return workers, each
