"""`varprobe.rerun`: a run measured again from what its folder says, and compared with it number by number."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.runs.compare import Comparison, compare
from varprobe.runs.kinds import kind_of_run, resolve, run_folder
from varprobe.runs.repeating import Measure
from varprobe.runs.verifying.numbers import opened
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import listed
from varprobe.spec.calls import Call
from varprobe.spec.user_code import is_reference
from varprobe.storage.checksums import DamagedError
from varprobe.storage.dataset import PARTS
from varprobe.storage.paths import folder_of, require_writable
from varprobe.storage.progress import Progress
from varprobe.storage.provenance import ROUNDING, machine
from varprobe.storage.records import Record, required_values
from varprobe.storage.run_folder import make_folder, read_or_refuse, refusing, remove_empty, remove_run
from varprobe.storage.temporaries import is_temporary, temporary_file
from varprobe.sweeps.record import versions

__all__ = ["Rerun", "rerun"]

NAMES = ("act", "init", *PARTS, "bias", "arch", "norm", "optimizer")
"""Arguments that may name the user's code."""


MARK = "rerun"
"""Of a folder whose run has not been compared yet."""

NAMELESS = "it names functions of a session, which cannot be found again"


@dataclass(frozen=True)
class Rerun:
    """A run and its repetition.

    Attributes:
        folder: of the run.
        again: of the repetition; None where it was removed, being the same.
        changed: what is not as it was, such as "jax (0.10.2 -> 0.11.0)"; empty on the same machine and versions, where
            every bit must be the same.
        comparison: of all numbers.
    """

    folder: Path
    again: Path | None
    changed: list[str]
    comparison: Comparison

    @property
    def reproduced(self) -> bool:
        """Whether the numbers are the same; elsewhere than on the same machine, within rounding."""
        return not (self.comparison.beyond if self.changed else self.comparison.different)

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "run": str(self.folder),
            "again": None if self.again is None else str(self.again),
            "reproduced": self.reproduced,
            "changed": self.changed,
            **self.comparison.as_json(),
        }


@checks_types
def rerun(
    path: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    allow_code: bool = False,
    progress: Progress | None = None,
    measure: Measure | None = None,
) -> Rerun:
    """Measure a run again from the arguments in its folder, and compare every number with what it holds.

    With the same versions on the same kind of machine every bit is the same. Elsewhere the largest difference of
    each variable is compared with what rounding explains (`tolerances`); chaotic networks, for which that is
    anything, are named.

    Args:
        path: the folder of a finished run. Files that it names are looked for from the current folder.
        out: a folder for the repetition, which is kept. Without it RUN-again, which is removed where it is the same.
        allow_code: import the user's functions that the run names; without it such a run is refused.
        progress: as that of `varprobe.sweep`.
        measure: how a model's run is probed again; only the command knows that of `varprobe probe`.

    Raises:
        InvalidArgumentError: there is no finished run, its arguments could not be written down, they name code and that
            is not allowed, or a file that they name is not what it was.
        MachineError: disk, memory or device failed.

    Example:
        assert varprobe.rerun("runs/relu-d50-w512-3f9a1c").reproduced
    """
    folder = folder_of(path, "run")
    again = folder_of(f"{os.path.normpath(folder)}-again" if out is None else out, "out")
    if again.resolve() == folder.resolve():
        raise InvalidArgumentError(f"{again} is the run itself; name another folder", "out")
    interrupted = marked(again)
    if (again / "results.nc").exists() and not interrupted:
        raise InvalidArgumentError(f"{again} holds a finished run already; remove it, or name another folder", "out")
    temporary = out is None and (interrupted or not again.exists() or is_empty(again))
    values = required_values(run_folder(folder), "run")
    known = {name: values[name] for name in values if name in Record.__dataclass_fields__}
    record = read_or_refuse(folder, Record.of, known, "run")
    if record.results is None:
        raise InvalidArgumentError(f"{folder} is unfinished; the same command resumes it", "run")
    if record.arguments is None:
        raise InvalidArgumentError(
            f"{folder} cannot be measured again from what it says: {record.unrepeatable or NAMELESS}", "run"
        )
    if not allow_code and (name := code_in(record.arguments)):
        raise InvalidArgumentError(
            f"{folder} names code, {name}, which would be imported; --allow-code does so", "allow_code"
        )
    with intact(folder, record.results) as before, marking(again):
        resolve(kind_of_run(values).repeat)(folder, record, again, progress, measure)
        changed = changes(record.versions, versions(), *record.machines)
        with intact(again, required_values(again, "out")["results"]) as after:
            try:
                comparison = compare(before, after)
            except ValueError as error:
                raise InvalidArgumentError(f"{folder} and {again} cannot be compared: {error}", "run") from error
        if temporary and not comparison.different:
            remove_run(again)
            return Rerun(folder, None, changed, comparison)
        return Rerun(folder, again, changed, comparison)


def is_empty(folder: Path) -> bool:
    """Whether it is a folder without files."""
    return folder.is_dir() and not any(folder.iterdir())


def marked(again: Path) -> bool:
    """Whether a rerun was interrupted that measured into this folder."""
    return any(map(is_temporary, again.glob(f".{MARK}.*")))


@contextlib.contextmanager
def marking(again: Path) -> Iterator[None]:
    """Mark the folder, made if it is not there, with a temporary file until the repetition has been compared.

    Raises:
        InvalidArgumentError: it cannot be written.
        MachineError: the disk is full.
    """
    made: list[Path] = []
    try:
        with contextlib.ExitStack() as mark:
            with refusing(again):
                require_writable(again)
                made = make_folder(again)
                mark.enter_context(temporary_file(again / MARK))
            yield
    finally:
        remove_empty(made or [again])


def code_in(arguments: dict[str, Any]) -> str:
    """The first reference to the user's code among arguments, or the factory of a model; empty if there is none."""
    if arguments.get("factory"):
        return str(arguments["factory"])
    for option in NAMES:
        for item in listed(option, arguments[option]) if arguments.get(option) is not None else []:
            if isinstance(item, Call) and is_reference(item.name):
                return item.name
    return ""


def changes(before: dict[str, Any], now: dict[str, Any], *machines: dict[str, Any]) -> list[str]:
    """What of versions and machines is not what it was, as far as bits depend on it."""
    here = machine()
    moved = [(key, before.get(key), value) for key, value in now.items() if key != "varprobe"]
    moved += [(key, there.get(key), here[key]) for there in machines for key in ROUNDING]
    return list(dict.fromkeys(f"{key} ({was} -> {value})" for key, was, value in moved if was != value))


@contextlib.contextmanager
def intact(folder: Path, sha256: str | None) -> Iterator[xr.Dataset]:
    """The results.nc of a run, open.

    Raises:
        InvalidArgumentError: it is damaged.
    """
    with contextlib.ExitStack() as stack:
        try:
            ds = stack.enter_context(opened(folder / "results.nc", sha256))
        except DamagedError as error:
            text = f"{folder / 'results.nc'} {error}; `varprobe verify` says more"
            raise InvalidArgumentError(text, "run") from error
        yield ds
