"""What the table of verdicts says, cell by cell: rows that are alike stand for each other, the worst are explained."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from varprobe.errors import printable
from varprobe.spec.number_format import bound, brief, cosine, number, powered, scientific
from varprobe.storage.dataset import PARTS
from varprobe.sweeps.probes.summaries import probe_lines
from varprobe.verdict.flags import note_sentence
from varprobe.verdict.format_range import left_sentence

__all__ = ["UNCERTAIN", "TableRow", "VerdictTable", "sheet_of", "title_of"]

Row = dict[str, Any]

SHOWN = ("arch", "norm", "act", "init", *PARTS, "bias", "dropout", "depth", "width", "batch", "optimizer", "step")
"""Coordinates that may tell rows apart, in the order in which they are said."""

PREFIX = {k: f"{k} " for k in ("norm", "bias", "dropout", "depth", "width", "batch", "step")} | {
    "init_first": "first layer ",
    "init_last": "last layer ",
    "init_qk": "queries and keys ",
    "init_v": "values ",
    "init_o": "attention outputs ",
    "init_mlp": "perceptrons ",
}
VERBS = {
    "vanishing": "vanishes",
    "exploding": "explodes",
    "shrinking": "shrinks",
    "growing": "grows",
    "stable": "stable",
}
LEFT_RANGE = {
    "overflows": "overflows",
    "underflows": "underflows",
    "gradient_overflows": "gradient overflows",
    "gradient_underflows": "gradient underflows",
}
ALIKE = 0.02
"""Factors are alike where their logarithms differ by less."""

SAME = 0.05
"""The same of the two factors that theory predicts, written with two digits."""

SHORT = 21
"""Letters of two names that stand in one line, as in `he_normal (+ he_uniform)`."""

MOST_LINES = 40
"""A longer table is told by one line a verdict."""

EXPLAINED = 3
FINEST = 1e-4
"""An interval's half below this is written with an exponent."""
UNCERTAIN = "? The 95% interval over seeds crosses a threshold of the verdict; more seeds may settle it."


class TableRow(NamedTuple):
    """One row of the table; `grade` is stable, mild or severe, or heading for a line that names what follows."""

    cells: tuple[str, ...]
    grade: str


class VerdictTable(NamedTuple):
    """A table of verdicts with what stands below it."""

    headings: tuple[str, ...]
    lines: list[TableRow]
    notes: list[str]


def title_of(rows: Sequence[Row], attrs: dict[str, Any]) -> str:
    """What all rows have in common: `relu, depth 50, width 512, 8 seeds, batch 32 of N(0,1)`."""
    if not rows:
        return "no configurations"

    def same(name: str) -> Any:
        return rows[0].get(name) if len({str(r.get(name)) for r in rows}) == 1 else None

    edges = [PREFIX[name] + same(name) for name in PARTS if same(name)]
    inputs = attrs.get("data_description", "data")
    seeds = rows[0]["seeds"]
    parts = [
        same("arch") if same("arch") != "plain" else None,
        f"norm {same('norm')}" if same("norm") not in (None, "none") else None,
        same("act"),
        same("init") if len(rows) > 1 else None,
        *edges,
        *(f"{name} {same(name)}" for name in ("depth", "width") if same(name)),
        f"{seeds} seed{'s' if seeds != 1 else ''}",
        f"batch {same('batch')} of {inputs}" if same("batch") else f"data {inputs}",
        f"dropout {same('dropout'):g}" if same("dropout") else None,
        f"bias {same('bias')}" if same("bias") not in (None, "zeros", "own") else None,
        same("loss") if same("loss") != "cotangent" else None,
    ]
    dtype, real = same("dtype"), attrs.get("range") == "dtype"
    parts.append(f"{dtype}{' with its own range' if real else ''}" if real or dtype != "float32" else None)
    return printable(", ".join(p for p in parts if p))


def sheet_of(rows: Sequence[Row], ends: Sequence[dict[str, float]] = (), wide: bool = False) -> VerdictTable:
    """The table: every row where `wide`, else rows in groups, or verdicts with their counts where these are many."""
    rows = list(rows)
    if wide:
        return wide_sheet(rows, ends)
    names = varying(rows)
    blocks = blocks_of(rows, names)
    headings = headings_of(rows)
    lines: list[TableRow] = []
    notes: list[str] = []
    if sum(map(len, blocks.values())) > MOST_LINES:
        lines = [summary_line(g, names, headings) for g in by_verdict(rows)]
        notes = [f"{len(rows)} configurations; --wide shows each, results.csv has every number."]
    else:
        inner = ["init"] if "init" in names else names
        for heading, groups in blocks.items():
            if heading:
                lines.append(TableRow((heading, *[""] * (len(headings) - 1)), "heading"))
            for group in groups:
                label, others = named(group[0], inner, rows), [named(r, inner, rows) for r in group[1:]]
                if len(others) == 1 and len(label) + len(others[0]) <= SHORT:
                    label += f" (+ {others[0]})"
                elif others:
                    notes.append(f"Alike{f' ({heading})' if heading else ''}: {', '.join([label, *others])}.")
                    label += f" (+{len(others)} alike)"
                lines.append(line_of(("  " if heading else "") + label, group[0], headings))
    notes += [UNCERTAIN] if any(line.cells[-1].endswith("?") for line in lines) else []
    return VerdictTable(headings, lines, [*notes, *asked_lines(rows, names), *why(rows, names)])


def varying(rows: Sequence[Row]) -> list[str]:
    """The coordinates that tell rows apart; the initializer where there is nothing else."""
    return [k for k in SHOWN if len({str(r.get(k)) for r in rows}) > 1] or ["init"]


def named(row: Row, names: Sequence[str], rows: Sequence[Row]) -> str:
    """A row by these coordinates: `tanh, depth 50`."""
    texts = {k: short(k, str(row.get(k)), rows) for k in names}
    return printable(", ".join(("" if t.startswith("sigma_") else PREFIX.get(k, "")) + t for k, t in texts.items()))


def short(name: str, value: str, rows: Sequence[Row]) -> str:
    """A call form without the parameters that it shares with all others of the same name."""
    sigma = re.fullmatch(r"variance_scaling\(scale=([-+.e\d]+),mode=fan_in,distribution=normal\)", value)
    if sigma and name == "init":
        return f"sigma_w2={float(sigma[1]):.4g}"
    if name == "bias" and (sigma := re.fullmatch(r"normal\(var=([-+.e\d]+)\)", value)):
        return f"sigma_b2={float(sigma[1]):.4g}"
    forms = {re.fullmatch(r"(\w+)\(([^()]+)\)", str(r.get(name))) for r in rows}
    texts = {str(r.get(name)) for r in rows}
    parts = [m[2].split(",") for m in forms if m]
    if len(texts) < 2 or None in forms or len({m[1] for m in forms if m}) > 1 or len(set(map(len, parts))) > 1:
        return value
    common = [len({p[i] for p in parts}) == 1 for i in range(len(parts[0]))]
    if not any(common):
        return value
    call, _, own = value[:-1].partition("(")
    kept = [p for p, same in zip(own.split(","), common, strict=True) if not same]
    return f"{call}({','.join(kept)},...)"


def blocks_of(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[list[Row]]]:
    """Heading -> groups of rows that are alike; one heading for each value of all that varies but the initializer."""
    if len(names) == 1 or "init" not in names:
        return {"": grouped(rows) if names == ["init"] else [[r] for r in rows]}
    others = [k for k in names if k != "init"]
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(named(row, others, rows), []).append(row)
    return {heading: grouped(members) for heading, members in blocks.items()}


def grouped(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that differ in the initializer, those alike together, from stable to worst; an axis of numbers stays one."""
    if len(rows) > 2 and len({str(r["init"]).partition("(")[0] for r in rows}) == 1:
        return [[r] for r in rows]
    groups: list[list[Row]] = []
    for row in rows:
        home = next((g for g in groups if alike(g[0], row)), None)
        if home:
            home.append(row)
        else:
            groups.append([row])
    return sorted(groups, key=lambda g: severity(g[0]))


def alike(a: Row, b: Row) -> bool:
    """Whether two rows say the same."""
    if any(a[k] != b[k] for k in ("forward", "backward", "flags")):
        return False
    for key in ("activation_factor", "gradient_factor"):
        x, y = a[key], b[key]
        if (x is None) != (y is None) or (x and y and abs(math.log(x / y)) > ALIKE):
            return False
        if x is None and a["reason"] != b["reason"]:
            return False
    return True


def severity(row: Row) -> float:
    """0 for a stable row, larger the farther its factors are from 1; flags weigh most."""
    factors = [row["activation_factor"], row["gradient_factor"]]
    distance = max((abs(math.log10(f)) for f in factors if f), default=9.0)
    return (0 if row["healthy"] else 10) + distance + 20 * len(row["flags"])


FIRST = "mean square per layer"


def headings_of(rows: Sequence[Row]) -> tuple[str, ...]:
    """The columns of the first screen: what no row has is left out."""
    backward = ["backward"] if any(row["backward"] for row in rows) else []
    theory = ["theory"] if any(theory_cell(row) != "-" for row in rows) else []
    return (FIRST, "forward", *backward, *theory, "verdict")


def line_of(label: str, row: Row, headings: Sequence[str]) -> TableRow:
    """A row of the first screen."""
    cells = {
        FIRST: label,
        "forward": factor_cell(row, "activation_factor", "forward"),
        "backward": factor_cell(row, "gradient_factor", "backward"),
        "theory": theory_cell(row),
        "verdict": verdict(row),
    }
    return TableRow(tuple(cells[heading] for heading in headings), grade(row))


def theory_cell(row: Row) -> str:
    """The factors of the infinitely wide net: one where forward and backward are alike."""
    forward, backward = (row.get(f"theory_{quantity}_factor") for quantity in ("activation", "gradient"))
    if forward is None or backward is None or abs(math.log(forward / backward)) < SAME:
        value = backward if forward is None else forward
        return "-" if value is None else brief(value)
    return f"{brief(forward)}, {brief(backward)}"


def grade(row: Row) -> str:
    """How a verdict is colored."""
    return (
        "severe" if not row["healthy"] else "mild" if {row["forward"], row["backward"]} - {"stable", None} else "stable"
    )


def factor_cell(row: Row, name: str, word: str) -> str:
    """`0.498 ± .003`, or the ends of an interval that is wide."""
    value, (low, high) = row[name], row[f"{name}_ci95"]
    if value is None:
        if row[word] is None or row["depth"] == 1:
            return "-"
        return "not finite" if "non_finite" in row["flags"] else "zero" if row[word] == "vanishing" else "-"
    if low is None or high is None:
        return number(value)
    half = (high - low) / 2
    if half > value / 2:
        return f"{number(value)} [{bound(low)}, {bound(high)}]"
    if not 0.01 <= value < 999.5 or half < FINEST:
        return f"{number(value)} ± {powered(half, 0)}"
    digits = max(len(number(value).partition(".")[2]), -math.floor(math.log10(half) + 0.02))  # 0.096 is 0.1
    return f"{value:.{digits}f} ± {f'{half:.{digits}f}'.removeprefix('0')}"


def verdict(row: Row, uncertain: bool = True) -> str:
    """The verdict in a few words: what is wrong with the net, then what signal and gradient do."""
    left = [f"{LEFT_RANGE[n]} at layer {layer}" for n, layer in noted(row) if n in LEFT_RANGE]
    forward, backward = row["forward"], row["backward"]
    words: list[str] = []
    if not left and "non_finite" not in row["flags"]:
        if backward is None or forward == backward:
            words = [VERBS[forward] + (" both ways" if backward and forward != "stable" else "")]
        else:
            sides = (("forward", forward), ("gradient", backward))
            words = [f"{side} {VERBS[w]}" for side, w in sides if w != "stable"]
    flags = [f.replace("non_finite", "not finite").replace("_", " ") for f in row["flags"]]
    implied = {"dead"} if left or "symmetric" in flags else set()
    implied |= {"not finite"} if left else set()
    flags = [f for f in flags if f not in implied]
    if words == ["stable"] and flags:
        words = []
    doubt = " ?" if uncertain and words and not row["certain"] and row["seeds"] > 1 else ""
    return ", ".join([*left, *flags, *words]) + doubt


def noted(row: Row) -> list[tuple[str, str]]:
    """(name, layer) of each note."""
    return [(m[1], m[2]) for note in row["notes"] if (m := re.fullmatch(r"(\w+)\(layer=(\d+)\)", note))]


def by_verdict(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows with the same verdict, from stable to worst."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(re.sub(r" at layer \d+", "", verdict(row, uncertain=False)), []).append(row)
    return sorted(groups.values(), key=lambda g: severity(g[0]))


def summary_line(group: list[Row], names: Sequence[str], headings: Sequence[str]) -> TableRow:
    """How many rows have a verdict, the first of them, and the range of their factors."""
    label = named(group[0], names, group[:1])
    text = label if len(group) == 1 else f"{len(group)} configurations, e.g. {label}"

    def span(name: str) -> str:
        values = [r[name] for r in group if r[name] is not None]
        ends = list(dict.fromkeys(number(v) for v in (min(values), max(values)))) if values else ["-"]
        return " to ".join(ends)

    words = re.sub(r" at layer \d+", "", verdict(group[0], uncertain=False)) if len(group) > 1 else verdict(group[0])
    cells = {FIRST: text, "forward": span("activation_factor"), "backward": span("gradient_factor"), "verdict": words}
    cells["theory"] = theory_cell(group[0]) if len(group) == 1 else "-"
    return TableRow(tuple(cells[heading] for heading in headings), grade(group[0]))


def why(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The worst rows explained, at most three and first of different kinds."""
    firsts = [group[0] for groups in blocks_of(rows, names).values() for group in groups]
    bad = sorted((r for r in firsts if not r["healthy"]), key=severity, reverse=True)
    kinds: dict[str, Row] = {}
    for row in bad:
        kinds.setdefault(row["flags"][0] if row["flags"] else verdict(row, uncertain=False), row)
    first = list(kinds.values())[:EXPLAINED]
    chosen = [*first, *(r for r in bad if not any(r is f for f in first))][:EXPLAINED]
    lines = [
        printable(f"Why {named(r, names, rows)}: {r['reason']}" + (f" {r['advice']}" if r["advice"] else ""))
        for r in chosen
    ]
    if len(bad) > EXPLAINED:
        count = sum(not r["healthy"] for r in rows)
        lines.append(f"{count} of {len(rows)} are unhealthy; --json and vp.diagnose give the reason for each.")
    return lines


WIDE: dict[str, Callable[[Row, dict[str, float]], str]] = {
    "z forward": lambda row, ends: z_cell(row.get("theory_activation_z")),
    "z backward": lambda row, ends: z_cell(row.get("theory_gradient_z")),
    "gradient RMS layer 1": lambda row, ends: scientific(ends.get("gradient_rms_first")),
    "gradient RMS layer L": lambda row, ends: scientific(ends.get("gradient_rms_last")),
    "largest signal": lambda row, ends: scientific(ends.get("largest_signal")),
    "largest gradient": lambda row, ends: scientific(ends.get("largest_gradient")),
    "cosine layer L": lambda row, ends: cosine(ends.get("activation_correlation")),
    "gradient cosine layer 1": lambda row, ends: cosine(ends.get("gradient_correlation")),
    "certain": lambda row, ends: "yes" if row["certain"] else "no",
    "notes": lambda row, ends: ", ".join(row["notes"]),
}
"""The further columns of the wide table."""


def z_cell(z: float | None) -> str:
    """A z-score to one decimal."""
    return "-" if z is None else f"{z:.1f}"


def asked_lines(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """What was asked for beside variances."""
    return [printable(line) for line in probe_lines(rows, [named(row, names, rows) for row in rows])]


def noted_lines(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """The notes and what formats are left, in sentences, where the rows are few."""
    lines = []
    for row in rows if len(rows) <= MOST_LINES else ():
        sentences = [note_sentence(note) for note in row["notes"] if not note.startswith("leaves_")]
        told = " ".join(filter(None, [*sentences, left_sentence(row["formats"])]))
        lines += [printable(f"Notes {named(row, names, rows)}: {told}")] if told else []
    return lines


def wide_sheet(rows: Sequence[Row], ends: Sequence[dict[str, float]]) -> VerdictTable:
    """Every configuration on its own line, in the order of the grid, with more columns."""
    names, headings = varying(rows), headings_of(rows)
    lines = []
    for i, row in enumerate(rows):
        line, beside = line_of(named(row, names, rows[:1]), row, headings), ends[i] if i < len(ends) else {}
        lines.append(TableRow((*line.cells, *(cell(row, beside) for cell in WIDE.values())), line.grade))
    uncertain = [UNCERTAIN] if any("?" in cell for line in lines for cell in line.cells) else []
    further = [*noted_lines(rows, names), *asked_lines(rows, names)]
    return VerdictTable((*headings, *WIDE), lines, [*uncertain, *further, *why(rows, names)])
