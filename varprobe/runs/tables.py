"""Verdicts as tables for people: the columns of the printed table, one row per configuration, as text."""

from collections.abc import Iterator, Sequence
from typing import Any

import xarray as xr

from varprobe.errors import printable
from varprobe.model.sheet import HEADINGS as OF_FAMILIES
from varprobe.model.sheet import finding_line
from varprobe.model.sheet import line_of as family_line
from varprobe.runs.diagnose import diagnose
from varprobe.storage.chunks import Advance
from varprobe.training.nets import HEADINGS, prediction_lines
from varprobe.verdict.table import headings_of, line_of, named, varying

__all__ = ["accuracy_table", "family_table", "site_table", "stack_table", "width_table"]

Table = tuple[list[str], list[list[str]]]
"""Headings, and the cells of each row."""

UNCERTAIN = " ?"
"""Suffix of uncertain verdicts on the screen, which explains it; here the interval says it."""


def stack_table(ds: xr.Dataset, advance: Advance) -> Table:
    """A row for each configuration of stacks."""
    rows = diagnose(ds, advance=advance).rows
    headings, names = headings_of(rows), varying(rows)
    return list(headings), [plain(line_of(named(row, names, rows), row, headings).cells) for row in rows]


def family_table(ds: xr.Dataset, advance: Advance) -> Table:
    """A row for each finding and each family of a model's sites."""
    rows = diagnose(ds, advance=advance).rows
    told = [("step" if "step" in rows[0] else "arch")] if len(rows) > 1 else []
    cells = [[*(printable(str(row[name])) for name in told), *line] for row in rows for line in model_lines(row)]
    return [*told, *OF_FAMILIES], cells


def width_table(ds: xr.Dataset, advance: Advance) -> Table:
    """A row for each layer of a coordinate check."""
    sheet = diagnose(ds, advance=advance).sheet()
    return list(sheet.headings), [plain(line.cells) for line in sheet.lines]


def accuracy_table(ds: xr.Dataset, advance: Advance) -> Table:
    """A row for each optimizer of a grid of trained networks: how well the verdict predicted which train."""
    lines = [list(line) for line in prediction_lines(ds)]
    advance(ds.sizes["config"])
    return ["optimizer", *HEADINGS[1:]], lines


def site_table(ds: xr.Dataset) -> Table:
    """A row for each layer of a model: its site."""
    names = ("site", "kind", "iteration")
    columns = [ds["layer"].values.tolist(), *(ds[name].values.tolist() for name in names)]
    return ["layer", *names], [[printable(str(cell)) for cell in row] for row in zip(*columns, strict=True)]


def model_lines(row: dict[str, Any]) -> Iterator[list[str]]:
    """What is off at single places, and all families; of a model that has neither, its name and its verdict."""
    found = [finding_line(one, weak=False) for one in row["findings"] if one["flag"] in row["flags"]]
    found += [family_line(family, row) for family in row["families"]]
    if found:
        yield from (plain(line.cells) for line in found)
        return
    verdict = "healthy" if row["healthy"] else ", ".join(row["flags"]) or "unhealthy"
    cells = dict.fromkeys(OF_FAMILIES, "-") | {OF_FAMILIES[0]: printable(str(row["arch"])), OF_FAMILIES[-1]: verdict}
    yield list(cells.values())


def plain(cells: Sequence[str]) -> list[str]:
    """The cells of a line, without the mark that the screen explains below the table."""
    return [cell.strip().removesuffix(UNCERTAIN) for cell in cells]
