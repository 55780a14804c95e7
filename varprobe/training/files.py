"""The record of a training run, and the files of its finished tasks: training/HASH.npz."""

import json
import secrets
from dataclasses import replace

from varprobe.storage.provenance import machine
from varprobe.storage.records import Record
from varprobe.storage.tasks import TaskFile
from varprobe.sweeps.record import hashable, hashed, versions
from varprobe.training.jobs import Task
from varprobe.training.request import Training

__all__ = ["record_of", "with_files"]

TRAINING_VERSION = 2
"""Raised with every change that changes a number of a training run."""


def deciding(training: Training) -> tuple[str, list[str]]:
    """JSON of all that decides the numbers: of what the networks share, and of each place along `config`."""
    shared, configs = hashable(training.request, versions())
    optimizers = [[o.name, o.digest] for o in training.optimizers]
    each = [json.dumps([config, optimizer]) for config in configs for optimizer in optimizers]
    return json.dumps([TRAINING_VERSION, shared, training.steps, training.at]), each


def record_of(training: Training) -> Record:
    """The record of a run that begins now."""
    shared, each = deciding(training)
    once = "" if training.reusable else f"-{secrets.token_hex(4)}"
    return Record(
        kind=training.spec["command"],
        spec=training.spec,
        versions=versions(),
        identity=hashed(shared, str(training.request.setting.seeds), *each) + once,
        machines=[machine()],
        arguments=training.arguments,
        unrepeatable="" if training.arguments else "it names functions of a session, which cannot be found again",
    )


def with_files(tasks: list[Task], training: Training) -> list[Task]:
    """The tasks with the files in which their numbers are kept; with none if the code cannot be known again."""
    if not training.reusable:
        return tasks
    shared, each = deciding(training)

    def file(task: Task) -> TaskFile:
        name = hashed(shared, str(task.seed), *(each[place] for place in task.nets))
        return TaskFile(name, task.seed, task.nets, "training", "training")

    return [replace(task, file=file(task)) for task in tasks]
