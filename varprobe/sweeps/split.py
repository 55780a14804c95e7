"""One cell in pieces, where it does not fit into memory whole.

Numbers of a net do not depend on its company, nor on whether its weights were kept or drawn again, so a cell may be
computed a few nets at a time: joined, the tables are those of the whole cell, to the bit. A rough formula says how many
nets go together; a piece that turns out too large, by the compiler's plan or in the device's memory, is halved.
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
from varprobe.sweeps.rough_memory import net_count, rough_bytes

__all__ = ["TooLarge", "in_pieces", "is_out_of_memory", "pieces", "smallest", "too_large", "workers_within"]

SMALLEST_SHARE = 0.5
"""Of a cell's memory, what a worker should have before there is another one beside it."""


class TooLarge(Exception):
    """A piece needs more than there is for it: so many bytes."""

    def __init__(self, need: float) -> None:
        super().__init__(need)
        self.need = need


def workers_within(budget: int, largest: int, workers: int, least: int = 0) -> int:
    """How many workers may share a budget.

    Two workers with half a cell each are faster than one with a whole: their products are the same, and each half draws
    the weights again, at once. Smaller pieces spend their time on draws, so each worker has at least half of the
    largest cell; and what a single net takes, which cannot be cut.

    Args:
        budget: bytes for all cells that run at once.
        largest: bytes of the largest cell.
        workers: how many there could be.
        least: bytes that the largest cell takes with a single net.
    """
    each = max(int(largest * SMALLEST_SHARE), least, 1)
    return max(1, min(workers, budget // each))


def pieces(chunk: AnyGroup, budget: float) -> list[AnyGroup]:
    """The chunk itself if a cell of it fits by the formula, else chunks of equally many nets each that do.

    Weights are drawn again for the way back rather than kept, if that is what it takes: it costs as much as a second
    piece would, and saves more. Where a single net does not fit by the formula, every net is a piece.

    Args:
        chunk: what is to be computed.
        budget: bytes for one cell.
    """
    again = drawn_again(chunk)
    for whole in (chunk, again):
        if rough_bytes(whole) <= budget:
            return [whole]
    one, most = rough_bytes(smallest(chunk)), net_count(chunk)
    each = max(1.0, (rough_bytes(again) - one) / max(1, most - 1))
    return cut(again, max(1, 1 + int((budget - one) / each)))


def smallest(chunk: AnyGroup) -> AnyGroup:
    """The least that can be computed at once: a single net, of a chunk's nets the largest."""
    return max(cut(drawn_again(chunk), 1), key=rough_bytes)


def too_large(chunk: AnyGroup, need: float, budget: float) -> InvalidArgumentError:
    """The error of a net that cannot be split."""
    text = f"{described(chunk)} takes {memory_text(need)} by itself, and there are {memory_text(budget)} for it"
    return InvalidArgumentError(text, "memory")


def drawn_again(chunk: AnyGroup) -> AnyGroup:
    """The chunk with weights that are not kept for the way back."""
    if isinstance(chunk, OwnGroup):
        return chunk
    return replace(chunk, program=replace(chunk.program, keep_weights=False))  # type: ignore[arg-type]


def cut(chunk: AnyGroup, size: int) -> list[AnyGroup]:
    """Chunks of at most so many nets, of one length each, the last filled up with nets that stand for nothing."""
    if isinstance(chunk, OwnGroup) or net_count(chunk) <= size:
        return [chunk]
    parts = wired_parts(chunk, size) if isinstance(chunk, WiredGroup) else plain_parts(chunk, size)
    return [part for part in parts if part.configs]  # a chunk that was cut before may be filled up


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


def in_pieces(chunk: AnyGroup, budget: float, run: Callable[[AnyGroup], CellTable]) -> CellTable:
    """The table of a cell, computed in pieces that fit; a piece that is too large after all is halved.

    Args:
        chunk: what is to be computed.
        budget: bytes for one cell.
        run: computes a cell of a chunk; raises TooLarge, or what jax raises for want of memory.

    Raises:
        InvalidArgumentError: a single net does not fit the budget (option `memory`).
        MachineError: the device has no memory for a single net.
    """
    waiting = deque(pieces(chunk, budget))
    done: list[tuple[list[int], CellTable]] = []
    while waiting:
        piece = waiting.popleft()
        table, need = attempt(run, piece)
        if table is not None:
            done.append((piece.configs, table))
        elif smaller := halves(piece):
            size = net_count(piece)
            rest = [part for one in waiting for part in (net_count(one) >= size and halves(one) or [one])]
            waiting = deque([*smaller, *rest])
        elif need is not None:
            raise too_large(piece, need, budget)
        else:
            raise MachineError(f"the device has no memory for {described(piece)} alone")
    return joined(chunk.configs, done)


def attempt(run: Callable[[AnyGroup], CellTable], piece: AnyGroup) -> tuple[CellTable | None, float | None]:
    """(what `run` returns, None where there is no memory for it; bytes that it needs, None where nobody says).

    Nothing that it held outlives the call.
    """
    try:
        return run(piece), None
    except TooLarge as error:
        return None, error.need
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    return None, None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that there was no memory, on the device or here."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def halves(piece: AnyGroup) -> list[AnyGroup]:
    """A piece with its weights drawn again; if it has that, in halves; none of a single net."""
    if (again := drawn_again(piece)).program != piece.program:
        return [again]
    return cut(piece, -(-net_count(piece) // 2)) if net_count(piece) > 1 else []


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
