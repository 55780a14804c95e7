"""Tables for people: the columns of the printed table, one row a configuration, as Markdown and LaTeX."""

import re
from collections.abc import Sequence

import xarray as xr

from varprobe.runs.kinds import KINDS, resolve
from varprobe.spec.extras import needed
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.kinds import kind_of

__all__ = ["latex_of", "markdown_of", "verdict_table"]

Cells = list[list[str]]
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
    """(headings, cells) of the verdicts, as the kind of the dataset has them."""
    found: tuple[list[str], Cells] = resolve(KINDS[kind_of(ds)].tabulate)(ds, advance)
    return found


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
