"""Tables as text: CSV and JSON, some rows at a time.

Floats stand in full. Text that a spreadsheet would compute, for it begins with = + - @,
has an apostrophe before it in CSV; numbers are as they are.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import printable
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.tidy import tidy_blocks, tidy_columns

__all__ = ["csv_of", "csv_of_rows", "json_of", "json_of_rows"]

AT_ONCE = 10_000
"""Rows whose text is in memory together."""

FORMULA = ("=", "+", "-", "@")
"""What formulas begin with."""

NOT_FINITE = {"nan": "null", "inf": '"Infinity"', "-inf": '"-Infinity"'}
"""Floats in JSON, which has no such numbers; the strings are what Python, pandas and JavaScript take for them."""


def csv_of(ds: xr.Dataset, advance: Advance = unwatched) -> Iterator[str]:
    """The tidy table of a dataset; NaN is an empty cell."""
    yield csv_row(list(tidy_columns(ds)))
    for cells in text_of(ds, csv_float, csv_text, advance):
        yield "".join(f"{line}\n" for line in map(",".join, zip(*cells, strict=True)))


def csv_of_rows(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A table of any values; None is an empty cell."""
    yield csv_row(header)
    for row in rows:
        yield csv_row([harmless(cell) if isinstance(cell, str) else cell for cell in row])


def json_of(ds: xr.Dataset, advance: Advance = unwatched) -> Iterator[str]:
    """The tidy table of a dataset as an array of objects, one a line; what is not finite as NOT_FINITE has it."""
    names = [json.dumps(name).replace("{", "{{").replace("}", "}}") for name in tidy_columns(ds)]
    row = "{{" + ", ".join(f"{name}: {{}}" for name in names) + "}}"
    parts = (map(row.format, *cells) for cells in text_of(ds, json_float, json.dumps, advance))
    yield from array_of(line for lines in parts for line in lines)


def json_of_rows(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """A table of any values as an array of objects, one a line."""
    yield from array_of(json.dumps(dict(zip(header, row, strict=True))) for row in rows)


def array_of(lines: Iterator[str]) -> Iterator[str]:
    """JSON's array of these."""
    yield f"[\n{next(lines, '')}"
    for line in lines:
        yield f",\n{line}"
    yield "\n]\n"


def text_of(
    ds: xr.Dataset, of_float: Callable[[float], str], of_text: Callable[[str], str], advance: Advance
) -> Iterator[list[list[str]]]:
    """The cells of some rows of the tidy table, column by column."""
    for columns in tidy_blocks(ds, advance):
        for start in range(0, len(columns["config"]), AT_ONCE):
            yield [cells_of(column[start : start + AT_ONCE], of_float, of_text) for column in columns.values()]


def cells_of(column: np.ndarray, of_float: Callable[[float], str], of_text: Callable[[str], str]) -> list[str]:
    """A column's cells."""
    values = column.tolist()
    if column.dtype.kind == "f":
        return list(map(of_float, values))
    if column.dtype.kind in "iu":
        return list(map(str, values))
    texts = {value: of_text(value) for value in set(values)}
    return [texts[value] for value in values]


def csv_float(value: float) -> str:
    """A cell; empty for NaN."""
    return repr(value) if value == value else ""


def json_float(value: float) -> str:
    """A number, or what stands for it."""
    text = repr(value)
    return text if text[-1].isdigit() else NOT_FINITE[text]


def csv_text(value: Any) -> str:
    """A cell, quoted where it must be; Python's word for a boolean."""
    return csv_row([harmless(str(value)), ""]).removesuffix(",\n")


def harmless(text: str) -> str:
    """The text, such that no spreadsheet computes it and no terminal obeys it: odd characters are escaped."""
    shown = "\n".join(map(printable, text.split("\n")))
    return f"'{shown}" if shown.startswith(FORMULA) else shown


def csv_row(cells: Sequence[Any]) -> str:
    """A line."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
