"""The table of a model's verdict: a line for each family of sites, the worst first, and why."""

from collections.abc import Sequence
from typing import Any

from varprobe.errors import printable
from varprobe.spec.number_format import number, rounded
from varprobe.verdict.table import UNCERTAIN, TableRow, VerdictTable, factor_cell, grade, verdict

__all__ = ["finding_line", "model_sheet", "weak_sentences", "whole"]

HEADINGS = ("site", "sites", "weights / needed", "forward", "backward", "verdict")
FACTORS = "forward, backward: factor of the mean square from each site to the next."
SHOWN = 12
"""Families in the narrow table; all that are unhealthy are shown."""


def model_sheet(rows: Sequence[dict[str, Any]], wide: bool = False) -> VerdictTable:
    """All families where `wide`, else those that are unhealthy and as many as there is room for."""
    lines: list[TableRow] = []
    notes: list[str] = []
    for row in rows:
        if len(rows) > 1:
            what = f"step {row['step']}" if "step" in row else row["arch"]
            lines.append(TableRow((what, *("" for _ in HEADINGS[1:])), "heading"))
        lines += [finding_line(found, weak=found["flag"] in row["notes"]) for found in row["findings"]]
        found = [line_of(family, row) for family in row["families"]]
        kept = [line for i, line in enumerate(found) if wide or i < SHOWN or line.grade == "severe"]
        lines += kept
        if more := len(found) - len(kept):
            notes.append(f"{more} more {'group is' if more == 1 else 'groups are'} healthy; --wide shows all.")
        why = " ".join(filter(None, [row["reason"], row["advice"]]))
        notes.append(printable(f"Why: {why}" if not row["healthy"] else why))
        notes += [printable(f"Note: {sentence}") for sentence in weak_sentences(row)]
    first = [FACTORS] if any(family["fitted"] for row in rows for family in row["families"]) else []
    first += [UNCERTAIN] if any(line.cells[-1].endswith("?") for line in lines) else []
    return VerdictTable(HEADINGS, lines, list(dict.fromkeys([*first, *notes])))


def weak_sentences(row: dict[str, Any]) -> list[str]:
    """What only strict checks count."""
    found = [found for found in row["findings"] if found["flag"] in row["notes"]]
    return [" ".join(filter(None, (one["sentence"], one["advice"]))) for one in found]


def finding_line(found: dict[str, Any], weak: bool) -> TableRow:
    """One place that is off: `large_logits: 7.95 (1 is usual)`."""
    value, near = found["value"], found["near"]
    said = found["flag"] if not value else f"{found['flag']}: {rounded(value)}"
    said += "" if near is None or not value else f" ({rounded(near) if near else 0} is usual)"
    blanks = ["-"] * (len(HEADINGS) - 2)
    return TableRow((printable(found["site"] or "all"), *blanks, said), "mild" if weak else "severe")


def line_of(family: dict[str, Any], row: dict[str, Any]) -> TableRow:
    """One family."""
    found = whole(family, row)
    cells = (
        printable(family["family"]),
        str(family["sites"]),
        weights_cell(family),
        cell_of(found, "activation", "forward"),
        cell_of(found, "gradient", "backward"),
        verdict(found),
    )
    return TableRow(cells, grade(found))


def weights_cell(family: dict[str, Any]) -> str:
    """`1.02 / 2.00`: terms E W^2, and what it must be for the activation to give back the mean square."""
    if family.get("weights") is None:
        return "-"
    return f"{number(family['weights'])} / {'-' if family['needed'] is None else number(family['needed'])}"


def cell_of(found: dict[str, Any], quantity: str, side: str) -> str:
    """The factor, or the power of depth where that fits better."""
    power = found.get(f"{quantity}_power")
    return factor_cell(found, f"{quantity}_factor", side) if power is None else f"depth^{power:.2f}"


def whole(family: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    """A family of a model's row as a row of its own."""
    depth = family["sites"] if family["fitted"] else 1
    backward = "stable" if family["forgets"] else family["backward"]  # a line of its own says so
    more = {"flags": [], "notes": [], "seeds": row["seeds"], "depth": depth, "backward": backward}
    return family | more
