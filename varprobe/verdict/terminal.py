"""The table of verdicts on a terminal (80 columns), as plain text, and in a notebook."""

import io
from collections.abc import Sequence
from html import escape
from typing import Any

from rich.console import Console
from rich.text import Text

from varprobe.verdict.columns import GAP, fold, side_by_side
from varprobe.verdict.table import VerdictTable, title_of

__all__ = ["html_of", "print_diagnosis", "text_of", "title_of"]

WIDTH = 80
STYLES = {"stable": "bright_blue", "mild": "yellow", "severe": "bold bright_red", "heading": ""}
BADGES = {"stable": "#00558a", "mild": "#755a00", "severe": "#b00020"}
"""Grounds of white text: a notebook may be light or dark, and no color of text is legible on both."""

LEAST = 18
"""Columns that the names of rows always have."""

SENTENCE = 16
"""Columns that verdicts and notes always have."""

VERDICT = "verdict"


def widths_of(sheet: VerdictTable, total: int) -> list[int]:
    """Width of each column: what its cells need, until headings fold, then the columns with words, then every cell."""
    columns = list(zip(sheet.headings, *(line.cells for line in sheet.lines if line.grade != "heading"), strict=True))
    need = [max(map(len, column)) for column in columns]
    headings = [max([longest_word(column[:1]), *map(len, column[1:])]) for column in columns]
    verdict = sheet.headings.index(VERDICT)
    folded = {0: LEAST} | {i: max(SENTENCE, longest_word(columns[i])) for i in (verdict, len(need) - 1)}
    tight = [min(LEAST, longest_word(column)) for column in columns]
    for least in (headings, [folded.get(i, width) for i, width in enumerate(headings)], tight):
        over = sum(need) + GAP * (len(need) - 1) - total
        for i in sorted(range(len(need)), key=lambda i: -need[i]):
            cut = min(max(over, 0), max(need[i] - least[i], 0))
            need[i], over = need[i] - cut, over - cut
    return need


def longest_word(cells: Sequence[str]) -> int:
    """The longest run without a blank."""
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def print_diagnosis(console: Console, diagnosis: Any, wide: bool = False, right: str = "") -> None:
    """Title, table and reasons, to a console; `right` stands at the end of the title's line where there is room."""
    title = diagnosis.title
    gap = console.width - len(title) - len(right)
    if right and gap > 1:
        show(console, [Text(title, "bold") + Text(" " * gap + right)])
    else:
        show(console, [Text(line, "bold") for line in fold(title, console.width)] + ([Text(right)] if right else []))
    sheet = diagnosis.sheet(wide)
    widths = widths_of(sheet, console.width) if sheet.lines else []
    if sheet.lines:
        show(console, side_by_side(sheet.headings, widths, ["bold"] * len(widths), indent=0))
    for line in sheet.lines:
        if line.grade == "heading":
            show(console, [Text(text, "bold") for text in fold(line.cells[0], console.width, indent=2)])
        else:
            styles = [STYLES[line.grade] if h == VERDICT else "" for h in sheet.headings]
            show(console, side_by_side(line.cells, widths, styles))
    for note in sheet.notes:
        show(console, [Text(text) for text in fold(note, console.width, indent=2)])


def show(console: Console, lines: Sequence[Text]) -> None:
    """Print lines that are folded already."""
    for line in lines:
        console.print(line, soft_wrap=True)


def text_of(diagnosis: Any) -> str:
    """The screen as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    print_diagnosis(console, diagnosis)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def html_of(diagnosis: Any) -> str:
    """The screen for a notebook: a paragraph, a table and a list."""
    sheet = diagnosis.sheet()
    head = "".join(f"<th scope='col' style='text-align:left'>{escape(h)}</th>" for h in sheet.headings)
    body = []
    for line in sheet.lines:
        if line.grade == "heading":
            body.append(
                f"<tr><th scope='rowgroup' colspan='{len(sheet.headings)}' style='text-align:left'>"
                f"{escape(line.cells[0])}</th></tr>"
            )
            continue
        cells = []
        for heading, cell in zip(sheet.headings, line.cells, strict=True):
            text = badge(cell, BADGES[line.grade]) if heading == VERDICT else escape(cell)
            cells.append(f"<td style='text-align:left'>{text}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in sheet.notes)
    return (
        f"<div><p><b>{escape(diagnosis.title)}</b></p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
        + (f"<ul>{notes}</ul>" if notes else "")
        + "</div>"
    )


def badge(text: str, color: str) -> str:
    """White text on a color of its own."""
    return f"<span style='background:{color};color:#fff;padding:1px 6px;border-radius:3px'>{escape(text)}</span>"
