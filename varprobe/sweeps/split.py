"""One cell in pieces, where it does not fit into memory whole.

Numbers of a net do not depend on its company, nor on whether its weights were kept or drawn again, so a cell may be
computed a few nets at a time: joined, the tables are those of the whole cell, to the bit. A rough formula says how many
nets go together; a piece that turns out too large, by the compiler's plan or in the device's memory, is halved.
"""

from collections import deque
from collections.abc import Callable, Sequence

import jax
import numpy as np

from varprobe.engine.pieces import cut, drawn_again, net_count, width_of
from varprobe.engine.programs import AnyGroup
from varprobe.engine.rough_memory import rough_bytes
from varprobe.engine.statistics import CellTable
from varprobe.errors import InvalidArgumentError, MachineError
from varprobe.storage.memory import memory_text

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


def pieces(group: AnyGroup, budget: float) -> list[AnyGroup]:
    """The group itself if a cell of it fits by the formula, else groups of equally many nets each that do.

    Weights are drawn again for the way back rather than kept, if that is what it takes: it costs as much as a second
    piece would, and saves more. Where a single net does not fit by the formula, every net is a piece.

    Args:
        group: what is to be computed.
        budget: bytes for one cell.
    """
    again = drawn_again(group)
    for whole in (group, again):
        if rough_bytes(whole) <= budget:
            return [whole]
    one, most = rough_bytes(smallest(group)), net_count(group)
    each = max(1.0, (rough_bytes(again) - one) / max(1, most - 1))
    return cut(again, max(1, 1 + int((budget - one) / each)))


def smallest(group: AnyGroup) -> AnyGroup:
    """The least that can be computed at once: a single net, of a group's nets the largest."""
    return max(cut(drawn_again(group), 1), key=rough_bytes)


def too_large(group: AnyGroup, need: float, budget: float) -> InvalidArgumentError:
    """The error of a net that cannot be split."""
    text = f"{described(group)} takes {memory_text(need)} by itself, and there are {memory_text(budget)} for it"
    return InvalidArgumentError(text, "memory")


def in_pieces(group: AnyGroup, budget: float, run: Callable[[AnyGroup], CellTable]) -> CellTable:
    """The table of a cell, computed in pieces that fit; a piece that is too large after all is halved.

    Args:
        group: what is to be computed.
        budget: bytes for one cell.
        run: computes a cell of a group; raises TooLarge, or what jax raises for want of memory.

    Raises:
        InvalidArgumentError: a single net does not fit the budget (option `memory`).
        MachineError: the device has no memory for a single net.
    """
    waiting = deque(pieces(group, budget))
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
    return joined(group.configs, done)


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


def described(group: AnyGroup) -> str:
    """A configuration of a group, for messages."""
    p = group.program
    return f"configuration {group.configs[0]} (depth {p.depth}, width {width_of(group)}, batch {p.batch})"


def joined(configs: Sequence[int], done: Sequence[tuple[list[int], CellTable]]) -> CellTable:
    """The table of all these configurations, in their order."""
    place = {config: row for row, config in enumerate(config for rows, _ in done for config in rows)}
    order = [place[config] for config in configs]
    return {name: np.concatenate([table[name] for _, table in done])[order] for name in done[0][1]}
