"""Columns of text in a terminal: each cell folds within its own width, and no line has blanks at its end."""

import re
from collections.abc import Sequence

from rich.text import Text

__all__ = ["GAP", "fold", "side_by_side"]

GAP = 2
PIECE = re.compile(r"[^\s,/|(]*[,/|(]*\s*")
"""Where a line may end: at a blank, or after a mark inside a call form."""


def fold(text: str, width: int, indent: int = 0) -> list[str]:
    """The text in lines of at most `width`, those after the first indented; cut inside a word only where it must be."""
    lines: list[str] = []
    line = ""
    for piece in filter(None, PIECE.findall(text)):
        while piece:
            room = max(1, width - (indent if lines else 0))
            if len((line + piece).rstrip()) <= room:
                line, piece = line + piece, ""
            elif line.strip():
                lines.append(line.rstrip())
                line = ""
            else:
                lines.append(piece[:room])
                piece = piece[room:]
    lines += [line.rstrip()] if line.strip() or not lines else []
    return [lines[0], *(" " * indent + line for line in lines[1:])]


def side_by_side(cells: Sequence[str], widths: Sequence[int], styles: Sequence[str], indent: int = 2) -> list[Text]:
    """The lines of one row of a table."""
    columns = [fold(cell, width, indent) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for i in range(max(map(len, columns))):
        line = Text()
        for column, width, style in zip(columns, widths, styles, strict=True):
            line.append(" " * GAP if line else "")
            line.append((column[i] if i < len(column) else "").ljust(width), style)
        line.rstrip()
        lines.append(line)
    return lines
