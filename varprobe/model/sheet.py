"""The table of a model's verdict: a line for each family of sites, the worst first, and why."""

from collections.abc import Sequence
from typing import Any

from varprobe.names import printable
from varprobe.verdict_table import Line, Sheet, factor_cell, grade, verdict

__all__ = ["model_sheet", "whole"]

HEADINGS = ("mean square per site", "sites", "forward", "backward", "verdict")
SHOWN = 12
"""Families in the narrow table; all that are unhealthy are shown."""


def model_sheet(rows: Sequence[dict[str, Any]], wide: bool = False) -> Sheet:
    """All families where `wide`, else those that are unhealthy and as many as there is room for."""
    lines: list[Line] = []
    notes: list[str] = []
    for row in rows:
        if len(rows) > 1:
            what = f"step {row['step']}" if "step" in row else row["arch"]
            lines.append(Line((what, *("" for _ in HEADINGS[1:])), "heading"))
        found = [line_of(family, row) for family in row["families"]]
        kept = [line for i, line in enumerate(found) if wide or i < SHOWN or line.grade == "severe"]
        lines += kept
        if len(found) > len(kept):
            notes.append(f"{len(found) - len(kept)} more families are healthy; --wide shows all.")
        why = " ".join(filter(None, [row["reason"], row["advice"]]))
        notes.append(printable(f"Why: {why}" if not row["healthy"] else why))
    return Sheet(HEADINGS, lines, list(dict.fromkeys(notes)))


def line_of(family: dict[str, Any], row: dict[str, Any]) -> Line:
    """One family."""
    found = whole(family, row)
    cells = (
        printable(family["family"]),
        str(family["sites"]),
        factor_cell(found, "activation_factor", "forward"),
        factor_cell(found, "gradient_factor", "backward"),
        verdict(found),
    )
    return Line(cells, grade(found))


def whole(family: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A family of a model's row as a row of its own."""
    depth = family["sites"] if family["fitted"] else 1
    healthy = not {family["forward"], family["backward"]} & {"vanishing", "exploding"}
    return family | {"flags": [], "notes": [], "seeds": row["seeds"], "depth": depth, "healthy": healthy}
