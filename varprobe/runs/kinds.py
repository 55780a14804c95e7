"""What can be done with each kind of dataset: one table of functions, each imported when it is first used."""

import contextlib
import os
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError

__all__ = ["KINDS", "Folder", "Kind", "folder_kind", "resolve"]


class Folder(NamedTuple):
    """A kind of run folder. Functions are named as "package.module:function", within varprobe.

    Attributes:
        record: the file that says what was asked for.
        open: (folder, reader) -> dataset.
        verify: (verification, progress), which adds what it finds.
        rerun: (folder, measure) -> `varprobe.runs.repeating.Recorded`, which can be repeated.
    """

    record: str
    open: str
    verify: str
    rerun: str


class Kind(NamedTuple):
    """What can be done with a kind of dataset.

    Attributes:
        folder: the run folder that holds one; None if none does.
        diagnose: (dataset, advance) -> (rows, title, ...) of `Diagnosis`; None if it has no verdict.
        sheet: (rows, wide) -> the `VerdictTable` that is printed.
        tabulate: (dataset, advance) -> (headings, cells) of a table for people.
        plot: name of its default figure; `varprobe.plots.kinds` says which others it has.
        tables: names of the tables for programs, the default first.
    """

    folder: Folder | None
    diagnose: str | None
    sheet: str | None
    tabulate: str
    plot: str
    tables: tuple[str, ...] = ("layers", "verdicts")


SWEEP = Folder(
    "spec.json", "sweeps.folders:open_sweep", "runs.verifying.whole:verify_sweep", "runs.repeating:recorded_sweep"
)
MODEL = Folder(
    "model.json", "model.runs:open_model_run", "runs.verifying.whole:verify_model", "runs.repeating:recorded_model"
)
TRAINING = Folder(
    "training.json", "training.folders:open_training", "runs.verifying.whole:verify_training",
    "runs.repeating:recorded_training",
)  # fmt: skip

STEPS = Kind(
    TRAINING, "training.verdicts:diagnosed_training", "training.verdicts:training_sheet", "runs.tables:stack_table",
    "training",
)  # fmt: skip

KINDS = {
    "sweep": Kind(
        SWEEP, "verdict.stacks:diagnosed_stacks", "verdict.table:sheet_of", "runs.tables:stack_table",
        "variance",
    ),
    "probe": Kind(
        MODEL, "runs.diagnose:diagnosed_model", "model.sheet:model_sheet", "runs.tables:family_table", "variance"
    ),
    "track": STEPS,
    "track_model": STEPS._replace(folder=None, tabulate="runs.tables:family_table"),
    "coord_check": Kind(
        MODEL, "training.coord_verdict:judged", "training.coord_verdict:coord_sheet", "runs.tables:width_table",
        "coord-check",
    ),
    "trainability": Kind(TRAINING, None, None, "runs.tables:accuracy_table", "trainability", ("nets",)),
}  # fmt: skip
"""Kind, as `varprobe.storage.kinds.DESCRIPTIONS` has them -> what can be done with it."""

FOLDERS = tuple(dict.fromkeys(kind.folder for kind in KINDS.values() if kind.folder))


def resolve(name: str) -> Callable[..., Any]:
    """The function "package.module:function"."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"varprobe.{module}"), function)
    return found


def folder_kind(folder: Path) -> Folder:
    """The kind of a run folder, by the record in it.

    Raises:
        InvalidArgumentError: there is no run.
    """
    for kind in FOLDERS:
        if os.path.lexists(folder / kind.record):
            return kind
    raise InvalidArgumentError(no_run(folder), "run")


def no_run(folder: Path) -> str:
    """Why there is no run, and which was meant."""
    if folder.is_file():
        inside = (folder.parent / "spec.json").exists()
        return f"{str(folder)!r} is a file, not the folder of a run" + (
            f"; did you mean its folder {str(folder.parent)!r}?" if inside else ""
        )
    near: list[str] = []
    with contextlib.suppress(OSError):
        near = get_close_matches(folder.name, [p.parent.name for p in folder.parent.glob("*/spec.json")], n=1)
    what = f"there is no spec.json in {str(folder)!r}" if folder.is_dir() else f"there is no run {str(folder)!r}"
    return what + (f"; did you mean {str(folder.parent / near[0])!r}?" if near else "")
