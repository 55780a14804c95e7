"""Tables for programs: tidy layers or verdicts, as CSV and Parquet."""

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.diagnosis import diagnose
from varprobe.exports.extras import needed
from varprobe.storage import put, save_csv, save_rows, writing
from varprobe.tidy import tidy_columns, tidy_rows

__all__ = ["TABLES", "save_parquet", "save_text"]

TABLES = ("verdicts", "layers")
AT_ONCE = 10_000
"""Rows that are in memory together."""

TEXTS = ("forward", "backward", "reason", "advice", "flags", "notes")
"""Fields of verdicts that are words, also where none has any."""


def save_text(path: Path, ds: xr.Dataset, table: str) -> None:
    """Write a table as CSV.

    Raises:
        MachineError: the disk refuses.
    """
    if table == "layers":
        save_csv(path, ds)
    else:
        header, rows = verdicts(ds)
        save_rows(path, header, rows)


def save_parquet(path: Path, ds: xr.Dataset, table: str) -> None:
    """Write a table as Parquet; the dataset's attributes are its metadata, under `varprobe`, as JSON.

    Raises:
        RequestError: no pyarrow.
        MachineError: the disk refuses.
    """
    pa, parquet = needed("pyarrow", "Parquet files"), needed("pyarrow.parquet", "Parquet files")
    about = {"varprobe": json.dumps({str(k): v for k, v in ds.attrs.items()}, default=str)}
    rows: Iterable[Sequence[Any]]
    if table == "layers":
        types: dict[type, Any] = {int: pa.int64(), bool: pa.bool_(), float: pa.float64(), str: pa.string()}
        schema, rows = pa.schema([(k, types[kind]) for k, kind in tidy_columns(ds).items()]), tidy_rows(ds)
    else:
        header, rows = verdicts(ds)
        schema = pa.schema([(name, kind_of(pa, name, [row[i] for row in rows])) for i, name in enumerate(header)])
    schema = schema.with_metadata(about)

    def fill(file: Any) -> None:
        waiting = iter(rows)
        with parquet.ParquetWriter(file, schema) as writer:
            while some := list(islice(waiting, AT_ONCE)):
                columns = [pa.array(c, field.type) for c, field in zip(zip(*some, strict=True), schema, strict=True)]
                writer.write_batch(pa.record_batch(columns, schema=schema))

    with writing(path):
        put(path, fill)


def kind_of(pa: Any, name: str, column: Sequence[Any]) -> Any:
    """The type of a column of verdicts."""
    found = pa.array(column).type
    return (pa.string() if name in TEXTS else pa.float64()) if found == pa.null() else found


def verdicts(ds: xr.Dataset) -> tuple[list[str], list[list[Any]]]:
    """(header, rows) of `diagnose`, one cell a field."""
    rows = [dict(flat(row)) for row in diagnose(ds).rows]
    header = list(dict.fromkeys(name for row in rows for name in row))
    return header, [[row.get(name) for name in header] for row in rows]


def flat(row: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """The fields of a row: an interval's ends are `_low` and `_high`, words are joined, what else is nested is JSON."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}_")
        elif name.endswith("_ci95"):
            yield from ((f"{prefix}{name}_{end}", x) for end, x in zip(("low", "high"), value, strict=True))
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            yield prefix + name, "; ".join(value)
        else:
            yield prefix + name, json.dumps(value) if isinstance(value, list) else value
