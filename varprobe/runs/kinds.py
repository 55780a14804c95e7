"""What can be done with each kind of dataset: one table of functions, each imported when it is first used."""

import contextlib
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from varprobe.errors import InvalidArgumentError
from varprobe.storage.records import has_record

__all__ = ["KINDS", "Folder", "Kind", "kind_of_run", "resolve", "run_folder"]


class Folder(NamedTuple):
    """What can be done with a run folder. Functions are named as "package.module:function", within varprobe.

    Attributes:
        open: (folder, values of the record, reader) -> dataset.
        verify: (verification, progress), which adds what it finds.
        repeat: (folder, record, again, progress, measure), which measures the run again into the folder `again`.
    """

    open: str
    verify: str
    repeat: str


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


SWEEP = Folder("sweeps.folders:open_sweep", "runs.verifying.whole:verify_sweep", "runs.repeating:repeat_sweep")
SAVED = "storage.reading:open_results", "runs.verifying.whole:verify_results"
MODEL = Folder(*SAVED, "runs.repeating:repeat_model")
TRAINING = Folder(*SAVED, "runs.repeating:repeat_training")

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
    "track_model": STEPS._replace(tabulate="runs.tables:family_table"),
    "coord_check": Kind(
        MODEL, "training.coord_verdict:judged", "training.coord_verdict:coord_sheet", "runs.tables:width_table",
        "coord-check",
    ),
    "trainability": Kind(TRAINING, None, None, "runs.tables:accuracy_table", "trainability", ("nets",)),
}  # fmt: skip
"""Kind, as `varprobe.storage.kinds.DESCRIPTIONS` has them -> what can be done with it."""


def resolve(name: str) -> Callable[..., Any]:
    """The function "package.module:function"."""
    module, _, function = name.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"varprobe.{module}"), function)
    return found


def kind_of_run(values: dict[str, Any]) -> Folder:
    """What can be done with the run folder whose record has these values.

    Raises:
        InvalidArgumentError: this version knows no such kind.
    """
    kind = KINDS.get(values["kind"])
    if kind is None or kind.folder is None:
        raise InvalidArgumentError(f"this version knows no run of kind {values['kind']!r:.40}", "run")
    return kind.folder


def run_folder(folder: Path) -> Path:
    """The folder, which must hold a run.

    Raises:
        InvalidArgumentError: there is none.
    """
    if not has_record(folder):
        raise InvalidArgumentError(no_run(folder), "run")
    return folder


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
