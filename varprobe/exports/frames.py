"""For programs: tidy layers or verdicts as CSV, JSON and Parquet, and the dataset itself; some rows at a time."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from varprobe.runs.diagnose import diagnose
from varprobe.spec.extras import needed
from varprobe.storage.chunks import Advance
from varprobe.storage.files import put, save_dataset, save_text, writing
from varprobe.storage.text_tables import csv_of, csv_of_rows, json_of, json_of_rows
from varprobe.storage.tidy import tidy_blocks, tidy_columns
from varprobe.training.nets import net_table

__all__ = ["NETS", "TABLES", "save_csv_to", "save_dataset_to", "save_json_to", "save_parquet_to"]

TABLES = ("verdicts", "layers")
NETS = "nets"
"""The one table of a grid of trained nets."""

TEXTS = ("forward", "backward", "reason", "advice", "flags", "notes")
"""Fields of verdicts that are words, also where none has any."""


def save_dataset_to(path: Path, ds: xr.Dataset, table: str, advance: Advance) -> None:
    """Write the dataset itself as NetCDF-4.

    Raises:
        MachineError: the disk refuses.
    """
    save_dataset(path, ds, advance)


def save_csv_to(path: Path, ds: xr.Dataset, table: str, advance: Advance) -> None:
    """Write a table as CSV, as `varprobe.storage.text_tables` has it.

    Raises:
        MachineError: the disk refuses.
    """
    save_text(path, csv_of(ds, advance) if table == "layers" else csv_of_rows(*rows_of(ds, table, advance)))


def save_json_to(path: Path, ds: xr.Dataset, table: str, advance: Advance) -> None:
    """Write a table as an array of JSON objects, as `varprobe.storage.text_tables` has it.

    Raises:
        MachineError: the disk refuses.
    """
    save_text(path, json_of(ds, advance) if table == "layers" else json_of_rows(*rows_of(ds, table, advance)))


def save_parquet_to(path: Path, ds: xr.Dataset, table: str, advance: Advance) -> None:
    """Write a table as Parquet; the dataset's attributes are its metadata, under `varprobe`, as JSON.

    Raises:
        InvalidArgumentError: no pyarrow.
        MachineError: the disk refuses.
    """
    pa, parquet = needed("pyarrow", "Parquet files"), needed("pyarrow.parquet", "Parquet files")
    about = {"varprobe": json.dumps({str(k): v for k, v in ds.attrs.items()}, default=str)}
    parts: Iterable[Iterable[Any]]
    if table == "layers":
        types: dict[type, Any] = {int: pa.int64(), bool: pa.bool_(), float: pa.float64(), str: pa.string()}
        schema = pa.schema([(name, types[kind]) for name, kind in tidy_columns(ds).items()])
        parts = (columns.values() for columns in tidy_blocks(ds, advance))
    else:
        header, rows = rows_of(ds, table, advance)
        schema = pa.schema([(name, kind_of(pa, name, [row[i] for row in rows])) for i, name in enumerate(header)])
        parts = [zip(*rows, strict=True)]

    def fill(file: Any) -> None:
        with parquet.ParquetWriter(file, schema.with_metadata(about)) as writer:
            for part in parts:
                columns = [pa.array(c, field.type, from_pandas=True) for c, field in zip(part, schema, strict=True)]
                writer.write_batch(pa.record_batch(columns, schema=writer.schema))

    with writing(path):
        put(path, fill)


def kind_of(pa: Any, name: str, column: Sequence[Any]) -> Any:
    """The type of a column of verdicts."""
    found = pa.array(column).type
    return (pa.string() if name in TEXTS else pa.float64()) if found == pa.null() else found


def rows_of(ds: xr.Dataset, table: str, advance: Advance) -> tuple[list[str], list[list[Any]]]:
    """(header, rows) of verdicts, or of the nets of a trained grid."""
    return net_table(ds) if table == NETS else verdicts(ds, advance)


def verdicts(ds: xr.Dataset, advance: Advance) -> tuple[list[str], list[list[Any]]]:
    """(header, rows) of `diagnose`, one cell a field."""
    rows = [dict(flat(row)) for row in diagnose(ds, advance=advance).rows]
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
