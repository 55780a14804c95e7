"""What else lies in a run folder."""

import json
import os
from pathlib import Path

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.runs.verifying.findings import Verification
from varprobe.storage.figure_origin import origin_of
from varprobe.storage.locks import LOCKS
from varprobe.storage.records import OLDER, RECORD
from varprobe.storage.temporaries import is_temporary
from varprobe.sweeps.record import NAME

__all__ = ["check_figures", "check_others"]

FIGURES = [f"{name}.{kind}" for name in ("variance", "training", "trainability", "phase") for kind in ("pdf", "png")]
OURS = {LOCKS, RECORD, *OLDER, "results.nc", "results.csv", "caption.tex", *FIGURES}
NAMED = 3
"""Files that a line names."""


def check_others(found: Verification, planned: set[str]) -> None:
    """Links that lead out of the folder, files half written, cells of other plans, and files of somebody else's."""
    strays, foreign, other = [], [], 0
    root = found.folder.resolve()
    for place, folders, files in os.walk(found.folder):
        here = Path(place)
        for name in sorted([*folders, *files]):
            path = here / name
            inside = path.relative_to(found.folder).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                found.problem(inside, "is a link that leads out of the run folder")
            elif name in folders:
                continue
            elif is_temporary(path):
                strays.append(inside)
            elif inside in OURS or (inside.startswith(("probes/", "training/")) and npz(path)):
                continue
            elif inside.startswith("cells/") and npz(path):
                other += path.stem not in planned
            else:
                foreign.append(inside)
    for count, text in (
        (len(strays), f"holds files of an interrupted run, half written: {named(strays)}"),
        (other, f"holds {other} cells of other versions of what the run names"),
        (len(foreign), f"holds files that are not of the run: {named(foreign)}"),
    ):
        if count:
            found.note("the folder", text)


def check_figures(found: Verification, ds: xr.Dataset) -> None:
    """Whether the figures in the folder say that they were made of this run."""
    for name in FIGURES:
        if (found.folder / name).is_file():
            try:
                runs = origin_of(found.folder / name).get("runs")
            except InvalidArgumentError:
                found.note(name, "does not say how it was made")
                continue
            if runs and runs != [json.loads(ds.attrs["spec"])]:
                found.problem(name, "is the figure of another run; the same command draws it again")


def npz(path: Path) -> bool:
    """Whether a file has the name of a cell or a finished probe."""
    return path.suffix == ".npz" and NAME.fullmatch(path.stem) is not None


def named(files: list[str]) -> str:
    """The first of them, and how many more there are."""
    rest = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(files[:NAMED]) + rest
