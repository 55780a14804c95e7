"""The files of finished probes in a run folder: probes/HASH.npz, one per task."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from varprobe.storage.tasks import TaskFile
from varprobe.sweeps.record import hashable, hashed

if TYPE_CHECKING:
    from varprobe.sweeps.probe_options import ProbeOptions
    from varprobe.sweeps.probes.running import Task
    from varprobe.sweeps.request import Request

__all__ = ["probe_name", "with_files"]

PROBES_VERSION = 1
"""Raised with every change that changes a number of a probe."""


def probe_name(kind: str, asked: "ProbeOptions", seed: int, shared: str, each: Sequence[str]) -> str:
    """The name of a task's file: the hash of all that decides its numbers; `each` are its configurations'."""
    return hashed(json.dumps([PROBES_VERSION, kind, asked.spec, seed]), shared, *each)


def with_files(tasks: "list[Task]", request: "Request", versions: dict[str, Any]) -> "list[Task]":
    """The tasks with the files in which their numbers are kept; with none if the code cannot be known again."""
    if not request.reusable:
        return tasks
    shared, each = hashable(request, versions)

    def file(task: "Task") -> TaskFile:
        name = probe_name(task.kind, task.asked, task.seed, shared, [each[i] for i in task.configs])
        return TaskFile(name, task.seed, tuple(task.configs), "probes", task.kind)

    return [replace(task, file=file(task)) for task in tasks]
