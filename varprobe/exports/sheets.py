"""Tables for people: the columns of the printed table, one row a configuration, as Markdown and LaTeX."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import xarray as xr

from varprobe.errors import printable
from varprobe.model.sheet import HEADINGS as OF_FAMILIES
from varprobe.model.sheet import finding_line
from varprobe.model.sheet import line_of as family_line
from varprobe.runs.diagnose import diagnose
from varprobe.spec.extras import needed
from varprobe.storage.chunks import Advance, unwatched
from varprobe.training.coord_verdict import coord_sheet
from varprobe.training.nets import HEADINGS, prediction_lines
from varprobe.verdict.table import headings_of, line_of, named, varying

__all__ = ["latex_of", "markdown_of", "site_table", "verdict_table"]

Cells = list[list[str]]
UNCERTAIN = " ?"
"""Behind verdicts on the screen, which explains it; here the interval says it."""

NUMBERS = re.compile(r"[\d.e\s,\[\]±-]*\d[\d.e\s,\[\]±-]*")
NUMBER = re.compile(r"(\d*\.?\d+)(?:e(-?\d+))?")

MARKDOWN = re.compile(r"([\\`*|<>\[\]~&$#])")
EDGE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
"""An underscore that would start or end emphasis: none inside a word does."""

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before, as would a star
    "*": "{*}",
    **{c: f"\\{c}" for c in "{}$&#_%"},
}


def verdict_table(ds: xr.Dataset, advance: Advance = unwatched) -> tuple[list[str], Cells]:
    """(headings, cells) of the verdicts: a row for each configuration, or for each family of a model's sites.

    Of a coordinate check a row for each layer, of a grid of trained nets one for each optimizer.
    """
    if "trained" in ds:
        return ["optimizer", *HEADINGS[1:]], [list(line) for line in prediction_lines(ds)]
    rows = diagnose(ds, advance=advance).rows
    if "width" in ds.dims:
        sheet = coord_sheet(rows)
        return list(sheet.headings), [plain(line.cells) for line in sheet.lines]
    if "site" not in ds.coords:
        headings, names = headings_of(rows), varying(rows)
        lines = [line_of(named(row, names, rows), row, headings) for row in rows]
        return list(headings), [plain(line.cells) for line in lines]
    told = [("step" if "step" in rows[0] else "arch")] if len(rows) > 1 else []
    cells = [[*(printable(str(row[name])) for name in told), *line] for row in rows for line in model_lines(row)]
    return [*told, *OF_FAMILIES], cells


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


def site_table(ds: xr.Dataset) -> tuple[list[str], Cells]:
    """(headings, cells) of a model's layers, which is which."""
    names = ("site", "kind", "iteration")
    columns = [ds["layer"].values.tolist(), *(ds[name].values.tolist() for name in names)]
    return ["layer", *names], [[printable(str(cell)) for cell in row] for row in zip(*columns, strict=True)]


def is_numeric(cell: str) -> bool:
    """Whether a cell is a number, some, or one with an interval."""
    return NUMBERS.fullmatch(cell) is not None


def markdown_of(headings: Sequence[str], cells: Cells) -> str:
    """The table as Markdown."""
    rows = [[cell if is_numeric(cell) else in_markdown(cell) for cell in row] for row in cells]
    table = needed("tabulate", "tables").tabulate(rows, list(headings), tablefmt="pipe", disable_numparse=True)
    return f"{table}\n"


def in_markdown(text: str) -> str:
    """The text with escapes, so that it is shown as it is."""
    return EDGE.sub(r"\\_", MARKDOWN.sub(r"\\\1", text))


def latex_of(headings: Sequence[str], cells: Cells) -> str:
    r"""The table as a tabular environment of LaTeX's package booktabs, for \input: numbers in math, names escaped."""
    tabulate = needed("tabulate", "tables")
    aligned = "".join("r" if any(map(is_numeric, column)) else "l" for column in zip(*cells, strict=True))
    booktabs = tabulate.TableFormat(
        lineabove=tabulate.Line(f"\\begin{{tabular}}{{{aligned or 'l' * len(headings)}}}\n\\toprule", "", "", ""),
        linebelowheader=tabulate.Line("\\midrule", "", "", ""),
        linebetweenrows=None,
        linebelow=tabulate.Line("\\bottomrule\n\\end{tabular}", "", "", ""),
        headerrow=tabulate.DataRow("", " & ", " \\\\"),
        datarow=tabulate.DataRow("", " & ", " \\\\"),
        padding=0,
        with_header_hide=None,
    )
    rows = [[in_math(cell) if is_numeric(cell) else in_latex(cell) for cell in row] for row in cells]
    table = tabulate.tabulate(rows, [in_latex(h) for h in headings], tablefmt=booktabs, disable_numparse=True)
    return f"% \\usepackage{{booktabs}}\n{table}\n"


def in_latex(text: str) -> str:
    """The text with escapes, so that it is printed as it is; a dash where there is nothing."""
    return "--" if text == "-" else "".join(LATEX.get(c, c) for c in text)


def in_math(cell: str) -> str:
    r"""`$7.4 \times 10^{-4} \pm 8 \times 10^{-5}$` of `7.4e-4 ± 8e-5`; `$0.498 \pm 0.007$` of `0.498 ± .007`."""
    said = NUMBER.sub(lambda m: number(m[1], m[2]), cell)
    return f"${said.replace('±', chr(92) + 'pm').replace(' [', chr(92) + '; [')}$"


def number(mantissa: str, exponent: str | None) -> str:
    """One number."""
    whole = f"0{mantissa}" if mantissa.startswith(".") else mantissa
    return rf"{whole} \times 10^{{{exponent}}}" if exponent else whole
