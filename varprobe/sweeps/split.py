"""One cell in pieces, where it does not fit into memory whole.

Numbers of a net do not depend on its company, nor on whether its weights were kept or drawn again, so a cell may be
computed a few nets at a time: joined, the tables are those of the whole cell, to the bit.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import jax
import numpy as np

from varprobe.engine.plain_groups import PlainGroup
from varprobe.engine.programs import AnyGroup
from varprobe.engine.statistics import CellTable
from varprobe.engine.wired.chunks import WiredGroup
from varprobe.engine.wired.own import OwnGroup
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.storage.memory import memory_text
from varprobe.sweeps.cell_costs import cell_bytes
from varprobe.sweeps.rough_costs import rough_bytes

__all__ = ["in_pieces", "is_out_of_memory", "net_count", "pieces", "workers_within"]

SMALLEST_SHARE = 0.5
"""Of a cell's memory, what a worker should have before there is another one beside it."""


def workers_within(budget: int, largest: int, workers: int, least: int = 0) -> int:
    """How many workers may share a budget.

    Two workers with half a cell each are faster than one with a whole: their products are the same, and each half draws
    the weights again, at once. Smaller pieces spend their time on draws, so each worker has at least half of the
    largest cell; and what a single net takes, which cannot be cut.

    Args:
        budget: bytes for all cells that run at once.
        largest: `cell_bytes` of the largest cell.
        workers: how many there could be.
        least: bytes that the largest cell takes with a single net.
    """
    each = max(int(largest * SMALLEST_SHARE), least, 1)
    return max(1, min(workers, budget // each))


def net_count(chunk: AnyGroup) -> int:
    """How many nets it computes."""
    if isinstance(chunk, OwnGroup):
        return 1
    return len(chunk.nets) if isinstance(chunk, WiredGroup) else sum(map(len, chunk.nets))


def pieces(chunk: AnyGroup, budget: float, platform: str = "cpu") -> list[AnyGroup]:
    """The chunk itself if a cell of it fits, else chunks of equally many nets each that do.

    Weights are drawn again for the way back rather than kept, if that is what it takes: it costs as much as a second
    piece would, and saves more.

    Args:
        chunk: what is to be computed.
        budget: bytes for one cell.
        platform: cpu, cuda, rocm or tpu.

    Raises:
        InvalidArgumentError: a single net does not fit (option `memory`).
    """
    if rough_bytes(chunk) <= budget:
        return [chunk]
    for whole in (chunk, drawn_again(chunk)):
        if cell_bytes(whole, platform) <= budget:
            return [whole]
    most, one = net_count(chunk), largest(cut(drawn_again(chunk), 1), platform)
    if one > budget:
        raise InvalidArgumentError(
            f"{described(chunk)} takes {memory_text(one)} by itself, and there are {memory_text(budget)} for it",
            "memory",
        )
    each = max(1, (largest([drawn_again(chunk)], platform) - one) / max(1, most - 1))
    size = min(most - 1, 2 + int((budget - one) / each))
    while largest(parts := cut(drawn_again(chunk), size), platform) > budget:
        size = max(1, size - max(1, size // 8))
    kept = cut(chunk, size)
    return kept if largest(kept, platform) <= budget else parts


def largest(chunks: Sequence[AnyGroup], platform: str) -> int:
    """The most that a cell of one of them takes."""
    return max(cell_bytes(chunk, platform) for chunk in {chunk.program: chunk for chunk in chunks}.values())


def drawn_again(chunk: AnyGroup) -> AnyGroup:
    """The chunk with weights that are not kept for the way back."""
    if isinstance(chunk, PlainGroup):
        return replace(chunk, program=replace(chunk.program, keep_weights=False))
    if isinstance(chunk, WiredGroup):
        return replace(chunk, program=replace(chunk.program, keep_weights=False))
    return chunk


def cut(chunk: AnyGroup, size: int) -> list[AnyGroup]:
    """Chunks of at most so many nets, of one length each, the last filled up with nets that stand for nothing."""
    if isinstance(chunk, OwnGroup) or net_count(chunk) <= size:
        return [chunk]
    return list(wired_parts(chunk, size) if isinstance(chunk, WiredGroup) else plain_parts(chunk, size))


def slices(count: int, size: int) -> list[list[int]]:
    """Places 0 .. count - 1 in lists of one length, at most `size`; -1 fills up the last."""
    length = -(-count // -(-count // size))
    places = [*range(count), *[-1] * (-count % length)]
    return [places[start : start + length] for start in range(0, len(places), length)]


def plain_parts(chunk: PlainGroup, size: int) -> list[PlainGroup]:
    """Block by block."""
    parts = []
    for block, nets in zip(chunk.program.blocks, chunk.nets, strict=True):
        for places in slices(len(nets), size):
            chosen = tuple(nets[i] if i >= 0 else replace(nets[-1], members=[]) for i in places)
            bases = tuple(tuple(row[i] for i in places) for row in block.weights)
            means = tuple(m & set(row) for m, row in zip(chunk.program.with_mean, bases, strict=True))
            program = replace(chunk.program, blocks=(replace(block, weights=bases),), with_mean=means)
            parts.append(PlainGroup(program, (chosen,)))
    return parts


def wired_parts(chunk: WiredGroup, size: int) -> list[WiredGroup]:
    """Net by net."""
    parts, whole = [], chunk.program
    for places in slices(len(chunk.nets), size):
        weights = tuple(tuple(tuple(row[i] for i in places) for row in slots) for slots in whole.weights)
        means = tuple(
            tuple(m & set(row) for m, row in zip(*slots, strict=True))
            for slots in zip(whole.with_mean, weights, strict=True)
        )
        readout = tuple(whole.readout[i] for i in places) if whole.readout else ()
        program = replace(whole, weights=weights, with_mean=means, readout=readout)
        members = tuple(chunk.members[i] if i >= 0 else () for i in places)
        parts.append(WiredGroup(program, tuple(chunk.nets[i] for i in places), members))
    return parts


def in_pieces(chunk: AnyGroup, budget: float, run: Callable[[AnyGroup], CellTable], platform: str = "cpu") -> CellTable:
    """The table of a cell, computed in pieces that fit; a piece that finds no memory after all is halved.

    Args:
        chunk: what is to be computed.
        budget: bytes for one cell.
        run: computes a cell of a chunk, and raises what jax raises for want of memory.
        platform: cpu, cuda, rocm or tpu.

    Raises:
        InvalidArgumentError: a single net does not fit the budget (option `memory`).
        MachineError: the device has no memory for a single net.
    """
    waiting = deque(pieces(chunk, budget, platform))
    done: list[tuple[list[int], CellTable]] = []
    while waiting:
        piece = waiting.popleft()
        table = unless_too_large(run, piece)
        if table is None:
            size = net_count(piece)
            waiting = deque(half for part in (piece, *waiting) for half in halves(part, size))
        else:
            done.append((piece.configs, table))
    return joined(chunk.configs, done)


def unless_too_large(run: Callable[[AnyGroup], CellTable], piece: AnyGroup) -> CellTable | None:
    """What `run` returns, None where it finds no memory; nothing that it held outlives the call."""
    try:
        return run(piece)
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was no memory, on the device or here."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def halves(piece: AnyGroup, size: int) -> list[AnyGroup]:
    """A piece of `size` nets or more in halves; one net with its weights drawn again.

    Raises:
        MachineError: that was tried.
    """
    if (count := net_count(piece)) < size:
        return [piece]
    if count > 1:
        return cut(piece, -(-count // 2))
    if (again := drawn_again(piece)).program != piece.program:
        return [again]
    raise MachineError(f"the device has no memory for {described(piece)} alone")


def described(chunk: AnyGroup) -> str:
    """A configuration of a chunk, for messages."""
    if isinstance(chunk, OwnGroup):
        width = chunk.program.width
    else:
        width = max(max(s.fan_in, s.fan_out) for s in chunk.program.segments)
    p = chunk.program
    return f"configuration {chunk.configs[0]} (depth {p.depth}, width {width}, batch {p.batch})"


def joined(configs: Sequence[int], done: Sequence[tuple[list[int], CellTable]]) -> CellTable:
    """The table of all these configurations, in their order."""
    place = {config: row for row, config in enumerate(config for rows, _ in done for config in rows)}
    order = [place[config] for config in configs]
    return {name: np.concatenate([table[name] for _, table in done])[order] for name in done[0][1]}
