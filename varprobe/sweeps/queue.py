"""Supplies: the cells that are still to be had, handed out as somebody gets free."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from varprobe.engine.programs import AnyGroup
from varprobe.storage.files import Cell
from varprobe.storage.locks import Claims

__all__ = ["CellTask", "ListQueue", "FolderQueue", "Queue"]


class WithChunk(Protocol):
    """A cell's item, or a job."""

    @property
    def chunk(self) -> Any:
        """The nets."""


Thing = TypeVar("Thing", bound=WithChunk)


class CellTask(NamedTuple):
    """A cell to be computed: `cell` says where it belongs in a run folder, None without one."""

    chunk: AnyGroup
    seed: int
    cell: Cell | None = None

    @property
    def configs(self) -> list[int]:
        """Its configurations."""
        return self.chunk.configs


class Queue(Protocol):
    """What is still to be had."""

    def take(self, several: int) -> list[Any]:
        """Up to so many things that go together, ours from now on; none where there are none at the moment."""

    def give_back(self, things: Sequence[Any]) -> None:
        """These were taken and are not done."""

    def exhausted(self) -> bool:
        """Whether there will be no more."""

    def chunks(self) -> Iterable[AnyGroup]:
        """Those of what is still to be had, each once."""


class ListQueue:
    """A queue of items that nobody else wants."""

    def __init__(self, items: Iterable[CellTask]) -> None:
        self.items = list(items)[::-1]

    def take(self, several: int) -> list[CellTask]:
        """The next items, up to the next chunk."""
        taken: list[CellTask] = []
        while self.items and len(taken) < several and (not taken or self.items[-1].chunk is taken[0].chunk):
            taken.append(self.items.pop())
        return taken

    def give_back(self, things: Sequence[CellTask]) -> None:
        """The items again."""
        self.items.extend(reversed(things))

    def exhausted(self) -> bool:
        """Whether all were taken."""
        return not self.items

    def chunks(self) -> Iterable[AnyGroup]:
        """As `Queue.chunks`."""
        return {id(item.chunk): item.chunk for item in self.items}.values()


class FolderQueue(Generic[Thing]):
    """What a run folder misses, each thing handed out to one process only; a thing is a cell's item, or a job."""

    def __init__(
        self,
        things: Iterable[tuple[int, Thing]],
        claims: Claims,
        is_there: Callable[[Thing], bool],
        found: Callable[[Thing], object],
        group: Callable[[Thing], int] = id,
    ) -> None:
        """What is still to be had.

        Args:
            things: the number of each thing's lock, and the thing.
            claims: of this process.
            is_there: whether the thing's file is in the folder.
            found: takes a thing that another process has finished.
            group: equal for things that may be taken together.
        """
        self.waiting = deque(things)
        self.claims, self.is_there, self.found, self.group = claims, is_there, found, group
        self.places: dict[int, int] = {}

    def take(self, several: int) -> list[Thing]:
        """Up to so many of one group, ours from now on; what others claimed comes last, and is ours if they end."""
        taken: list[Thing] = []
        for _ in range(len(self.waiting)):
            place, thing = self.waiting[0]
            if len(taken) == several or (taken and self.group(thing) != self.group(taken[0])):
                break
            self.waiting.popleft()
            if self.is_there(thing):
                self.found(thing)
            elif not self.claims.take(place):
                self.waiting.append((place, thing))
            elif self.is_there(thing):  # since we looked
                self.claims.release(place)
                self.found(thing)
            else:
                self.places[id(thing)] = place
                taken.append(thing)
        return taken

    def done(self, thing: Thing) -> None:
        """It is in the folder: nobody needs the claim any more."""
        self.claims.release(self.places.pop(id(thing)))

    def give_back(self, things: Sequence[Thing]) -> None:
        """These were taken and are not done."""
        for thing in reversed(things):
            self.waiting.appendleft((self.places[id(thing)], thing))
            self.done(thing)

    def exhausted(self) -> bool:
        """Whether there will be no more."""
        return not self.waiting

    def chunks(self) -> Iterable[AnyGroup]:
        """As `Queue.chunks`."""
        return {id(thing.chunk): thing.chunk for _, thing in self.waiting}.values()
