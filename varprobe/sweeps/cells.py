"""The cells of a sweep as tasks: their order, and what an executor makes of them."""

from collections.abc import Iterator
from pathlib import Path

from varprobe.engine.groups import work_of
from varprobe.engine.statistics import CellTable
from varprobe.errors import MachineError
from varprobe.nets.config import Config
from varprobe.sweeps.local_executor import CellExecutor, Failure
from varprobe.sweeps.queue import CellTask, Queue
from varprobe.sweeps.request import Request

__all__ = ["computed", "in_order"]


def in_order(tasks: list[tuple[int, CellTask]], executor: CellExecutor) -> list[tuple[int, CellTask]]:
    """The numbered tasks in the order that the executor wants."""
    if not executor.by_group:
        return tasks
    return sorted(tasks, key=lambda task: (-work_of(task[1].group), id(task[1].group)))


def computed(
    executor: CellExecutor, request: Request, queue: Queue[CellTask], folder: Path | None = None
) -> Iterator[tuple[CellTask, CellTable | None]]:
    """The cells of a queue as the executor computes them.

    Raises:
        MachineError: a device or its memory failed; says at which configurations.
    """
    try:
        yield from executor.run(queue, request.setting, folder)
    except Failure as failure:
        what = called([request.configs[i] for i in failure.configs])
        raise MachineError(f"{what}, seed {failure.seed}: {failure.reason}") from failure


def called(configs: list[Config]) -> str:
    """Some configurations, in words."""
    c = configs[0]
    names = [*([c.arch_name] if c.arch_name != "plain" else []), c.act.name, c.init.name]
    more = f" (and {len(configs) - 1} more)" if len(configs) > 1 else ""
    return f"{', '.join(names)}, depth {c.depth}, width {c.width}{more}"
