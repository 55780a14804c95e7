"""Enter the numbers of tasks: those that the run folder has, those computed here, and those of other processes."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from varprobe.storage.locks import Claims
from varprobe.storage.run_folder import RunFolder
from varprobe.storage.tasks import Shapes, Table, any_shape
from varprobe.sweeps.queue import Queue, Task

__all__ = ["Execute", "Filling"]

T = TypeVar("T", bound=Task)

Execute = Callable[["Queue[T]", Path | None], Iterator[tuple[T, Table | None]]]
"""Computes the tasks of a queue. It is given a run folder, into which workers may write; then a table is None."""


class Filling(Generic[T]):
    """The tasks of a run, while they are filled in."""

    def __init__(
        self,
        held: RunFolder | None,
        claims: Claims,
        enter: Callable[[T, Table], object],
        advance: Callable[[int], object],
        variables: Callable[..., Shapes | None] = any_shape,
        group: Callable[[T], int] = id,
    ) -> None:
        """What is filled.

        Args:
            held: the run folder; None keeps nothing.
            claims: of this process.
            enter: takes a task and its numbers.
            advance: takes the steps that were done.
            variables: (file of a task) -> the shape of each variable that it must hold, or None.
            group: equal for tasks that may be computed together.
        """
        self.held, self.claims, self.enter, self.advance = held, claims, enter, advance
        self.variables, self.group = variables, group
        self.ahead: dict[int, int] = {}

    def missing(self, tasks: Iterable[tuple[int, T]]) -> list[tuple[int, T]]:
        """Those of the numbered tasks that are not in the folder; the others are entered."""
        return [(number, task) for number, task in tasks if not self.entered(task)]

    def entered(self, task: T) -> bool:
        """Enter the numbers of a task from its file; whether it is there and intact."""
        if self.held is None or task.file is None:
            return False
        if (table := self.held.load(task.file, self.variables(task.file))) is None:
            return False
        self.enter(task, table)
        return True

    def step(self, task: T) -> None:
        """A part of a task is done."""
        self.ahead[id(task)] = self.ahead.get(id(task), 0) + 1
        self.advance(1)

    def fill(self, missing: list[tuple[int, T]], execute: "Execute[T]", fresh: bool = False) -> None:
        """Compute the numbered tasks, except those that another process finishes first.

        Args:
            missing: the tasks.
            execute: computes them.
            fresh: compute them even if they are there.
        """
        if not missing:
            return
        damaged: list[tuple[int, T]] = []
        numbers = {id(task): number for number, task in missing}

        def arrived(task: T) -> None:
            if not self.entered(task):
                damaged.append((numbers[id(task)], task))
            self.advance(task.steps)

        def is_there(task: T) -> bool:
            return not fresh and self.held is not None and task.file is not None and self.held.has(task.file)

        queue = Queue(missing, self.claims, is_there, arrived, self.group)
        folder = None if fresh or self.held is None else self.held.folder
        for task, table in execute(queue, folder):
            if table is None:  # a worker has written it
                assert self.held and task.file
                self.held.wait_for(task.file)
                queue.done(task)
                arrived(task)
            else:
                if self.held and task.file:
                    self.held.save(task.file, table)
                queue.done(task)
                self.enter(task, table)
                self.advance(task.steps - self.ahead.pop(id(task), 0))
        if damaged:
            self.fill(damaged, execute)
