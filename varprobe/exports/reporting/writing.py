"""`varprobe.report`: one HTML file to explore runs."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from varprobe.errors import InvalidArgumentError
from varprobe.exports.reporting.content import content_of
from varprobe.exports.reporting.page import page_of
from varprobe.exports.reporting.sources import Run, runs_of
from varprobe.spec.argument_types import checks_types
from varprobe.storage.files import put, writing
from varprobe.storage.paths import place_of
from varprobe.storage.reading import Note

__all__ = ["report", "require_file", "write"]

ENDING = ".html"


@checks_types
def report(runs: Any, path: str | os.PathLike[str], *, note: Note = warnings.warn) -> Path:
    """Write one HTML file that shows verdicts, curves, layers and how it was run, and needs no network.

    Args:
        runs: a dataset of `varprobe.sweep` or `varprobe.probe`, a run folder, a list of these, or a mapping of names
            to these. Two are shown as before and after.
        path: the file, which ends in .html; it appears only when it is complete, and replaces one that is there.
        note: takes a line about a damaged file of a run that was not needed; by default a Python warning.

    Returns:
        The path. The same runs give the same bytes, with the same versions of varprobe and plotly.

    Raises:
        InvalidArgumentError: another ending, a folder that does not exist, something that is not a run, or plotly is
            missing.
        MachineError: the disk refuses.

    Example:
        varprobe.report({"before": before, "after": after}, "report.html")
    """
    file = require_file(path, "path")
    write(runs_of(runs, note), file)
    return file


def write(runs: Sequence[Run], file: Path) -> None:
    """Write the report of these runs."""
    text = page_of(content_of(runs)).encode()
    with writing(file):
        put(file, lambda binary: binary.write(text))


def require_file(path: str | os.PathLike[str], option: str) -> Path:
    """The path of a report that can be written.

    Raises:
        InvalidArgumentError: it cannot.
    """
    file = place_of(path, option)
    if file.suffix.lower() != ENDING:
        raise InvalidArgumentError(f"{str(path)!r} must end in {ENDING}{near(file.suffix)}", option)
    if file.is_dir():
        raise InvalidArgumentError(f"{str(path)!r} is a folder, not a file", option)
    if not file.parent.is_dir():
        raise InvalidArgumentError(f"there is no folder {str(file.parent)!r} for {file.name!r}", option)
    return file


def near(suffix: str) -> str:
    """A hint at the figure command where the ending is a figure's."""
    return "; varprobe plot draws figures" if suffix.lower() in (".pdf", ".svg", ".png") else ""
