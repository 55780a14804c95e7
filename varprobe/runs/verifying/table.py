"""results.csv against results.nc, line by line."""

import csv
from collections.abc import Iterator

import xarray as xr

from varprobe.runs.verifying.findings import Verification
from varprobe.storage.checksums import DamagedError, current_name
from varprobe.storage.files import checked
from varprobe.storage.memmap import too_large
from varprobe.storage.text_tables import csv_of
from varprobe.storage.tidy import tidy_columns

__all__ = ["check_table"]

LONGEST = 1 << 20
"""Bytes of a line."""


def check_table(found: Verification, ds: xr.Dataset) -> None:
    """Every row and number of results.csv is that of the dataset."""
    if not (found.folder / "results.csv").exists() and too_large(ds.nbytes):
        found.checked["results.csv"] = "none, since the results are larger than memory"
        return
    try:
        path = checked(found.folder / "results.csv", found.folder)
    except DamagedError as error:
        found.problem("results.csv", str(error))
        return
    number = 0
    with path.open("rb") as file:
        for number, expected in enumerate(lines(ds), 1):
            line = file.readline(LONGEST)
            line = current_name(line.decode("utf-8", "replace")).encode() if number == 1 else line
            if line != expected:
                text = f"has another line {number} than results.nc" if line else f"ends after {number - 1} lines"
                found.problem("results.csv", text + column_of(line, expected, tidy_columns(ds)))
                break
        else:
            if file.read(1):
                found.problem("results.csv", f"has more than the {number} lines of results.nc")
    found.checked["results.csv"] = f"{number - 1} rows"


def lines(ds: xr.Dataset) -> Iterator[bytes]:
    """The lines that the table of a dataset has."""
    for text in csv_of(ds):
        *whole, rest = text.encode().split(b"\n")
        assert not rest, "a table ends its lines"
        yield from (line + b"\n" for line in whole)


def column_of(line: bytes, expected: bytes, columns: dict[str, type]) -> str:
    """Where two lines differ, in words."""
    rows = [next(csv.reader([text.decode("utf-8", "replace")]), []) for text in (line, expected)]
    if len(rows[0]) != len(rows[1]) or len(rows[1]) != len(columns):
        return ""
    names = (name for name, a, b in zip(columns, *rows, strict=True) if a != b)
    return "".join(f" ({name})" for name in [next(names, "")] if name)
