"""Queue of the tasks of a run, handed out as somebody gets free, each to one process only."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from varprobe.engine.programs import AnyGroup
from varprobe.storage.locks import Claims
from varprobe.storage.tasks import TaskFile

__all__ = ["CellTask", "Queue", "Task"]


class Task(Protocol):
    """One seed of some networks: a cell, a probe, or the training of networks."""

    @property
    def file(self) -> TaskFile | None:
        """Where its numbers are kept; None if they are not."""

    @property
    def steps(self) -> int:
        """What it counts for in the progress."""


T = TypeVar("T", bound=Task)


class CellTask(NamedTuple):
    """A cell to be computed."""

    group: AnyGroup
    seed: int
    file: TaskFile | None = None

    @property
    def configs(self) -> list[int]:
        """Its configurations."""
        return self.group.configs

    @property
    def steps(self) -> int:
        """One."""
        return 1


class Queue(Generic[T]):
    """The tasks that a run still misses."""

    def __init__(
        self,
        tasks: Iterable[tuple[int, T]],
        claims: Claims,
        is_there: Callable[[T], bool],
        found: Callable[[T], object],
        group: Callable[[T], int] = id,
    ) -> None:
        """What is missing.

        Args:
            tasks: the number of each task's lock, and the task.
            claims: of this process.
            is_there: whether the task's file is in the folder.
            found: takes a task that another process has finished.
            group: equal for tasks that may be taken together.
        """
        self.waiting = deque(tasks)
        self.claims, self.is_there, self.found, self.group = claims, is_there, found, group
        self.places: dict[int, int] = {}

    @classmethod
    def of(cls, tasks: Iterable[T], group: Callable[[T], int] = id) -> "Queue[T]":
        """A queue of tasks that no other process wants."""
        return cls(enumerate(tasks), Claims(), lambda task: False, id, group)

    def take(self, several: int = 1) -> list[T]:
        """Up to so many tasks of one group, claimed; none if there are none at the moment.

        Tasks that other processes claimed come last, and can be had if those processes end.
        """
        taken: list[T] = []
        for _ in range(len(self.waiting)):
            place, task = self.waiting[0]
            if len(taken) == several or (taken and self.group(task) != self.group(taken[0])):
                break
            self.waiting.popleft()
            if self.is_there(task):
                self.found(task)
            elif not self.claims.take(place):
                self.waiting.append((place, task))
            elif self.is_there(task):  # since we looked
                self.claims.release(place)
                self.found(task)
            else:
                self.places[id(task)] = place
                taken.append(task)
        return taken

    def done(self, task: T) -> None:
        """Release a task that is finished."""
        self.claims.release(self.places.pop(id(task)))

    def give_back(self, tasks: Sequence[T]) -> None:
        """Release tasks that were taken and are not finished."""
        for task in reversed(tasks):
            self.waiting.appendleft((self.places[id(task)], task))
            self.done(task)

    def exhausted(self) -> bool:
        """Whether there will be no more."""
        return not self.waiting

    def groups(self) -> Iterable[Any]:
        """The groups of networks that are missing, each once."""
        return {id(task.group): task.group for _, task in self.waiting}.values()  # type: ignore[attr-defined]
