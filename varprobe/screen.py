"""The first screen: a table of at most 80 columns with a verdict per row, rows alike merged, the worst explained."""

import io
import math
from typing import Any

import xarray as xr
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["html_of", "print_diagnosis", "text_of", "title_of", "why_lines"]

ALIKE = 0.02
WIDTH = 80
COLORS = {"stable": "bright_blue", "mild": "yellow", "severe": "bold bright_red"}
SHOWN = ("act", "init", "init_first", "init_last", "bias", "depth", "width", "batch")
EXPLAINED = 3


def title_of(ds: xr.Dataset) -> str:
    """What all rows have in common: `relu, depth 50, width 512, 8 seeds, batch 32 of N(0,1)`."""

    def same(name: str) -> Any:
        values = {str(v) for v in ds[name].values} if ds[name].ndim else {str(ds[name].values)}
        return values.pop() if len(values) == 1 else None

    parts = [same("act"), *(f"{k} {same(k)}" if same(k) else None for k in ("depth", "width"))]
    parts.append(f"{ds.sizes['seed']} seed{'s' if ds.sizes['seed'] != 1 else ''}")
    batch = same("batch")
    parts.append(f"batch {batch} of {ds.attrs.get('data_description', 'data')}" if batch else None)
    if same("bias") not in (None, "zeros"):
        parts.append(f"bias {same('bias')}")
    parts += [
        v for k, default in (("loss", "cotangent"), ("dtype", "float32")) if (v := same(k)) not in (None, default)
    ]
    if ds.attrs.get("range") == "dtype":
        parts.append("range of the dtype")
    return ", ".join(p for p in parts if p)


def varying(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that tell rows apart; the initializer where there is nothing else."""
    found = [k for k in SHOWN if len({r.get(k) for r in rows}) > 1]
    return found or ["init"]


def alike(a: dict[str, Any], b: dict[str, Any], names: list[str]) -> bool:
    """Whether two rows differ in the initializer only, and say the same."""
    if any(a.get(k) != b.get(k) for k in (*[n for n in names if n != "init"], "forward", "backward", "flags")):
        return False
    for key in ("activation_factor", "gradient_factor"):
        x, y = a[key], b[key]
        if (x is None) != (y is None) or (x and y and abs(math.log(x / y)) > ALIKE):
            return False
    return True


def merged(rows: list[dict[str, Any]], names: list[str]) -> list[list[dict[str, Any]]]:
    """Rows in groups that are alike, healthy ones first, then by how far they are from stable."""
    groups: list[list[dict[str, Any]]] = []
    for row in rows:
        home = next((g for g in groups if alike(g[0], row, names)), None)
        if home:
            home.append(row)
        else:
            groups.append([row])
    return sorted(groups, key=lambda g: severity(g[0])) if names == ["init"] else groups


def severity(row: dict[str, Any]) -> float:
    """0 for a stable row, larger the farther its factors are from 1; flags weigh most."""
    factors = [row["activation_factor"], row["gradient_factor"]]
    distance = max((abs(math.log10(f)) for f in factors if f), default=9.0)
    return (0 if row["healthy"] else 10) + distance + 20 * len(row["flags"])


def name_cell(group: list[dict[str, Any]], names: list[str]) -> list[str]:
    """The cells that name a group."""
    cells = [str(group[0].get(k, "")) for k in names]
    others = [str(r["init"]) for r in group[1:]]
    if others:
        one = len(others) == 1 and len(names) == 1 and len(cells[0] + others[0]) < 24
        cells[names.index("init")] += f" (+ {others[0]})" if one else f" (+{len(others)} alike)"
    return cells


def number(value: float) -> str:
    """A factor to three digits."""
    if 0.001 <= value < 9999.5:
        return f"{value:#.3g}".rstrip(".")
    return f"{value:.1e}"


def factor_cell(value: float | None, interval: list[float | None]) -> str:
    """`0.498 ± .003`."""
    if value is None:
        return "-"
    low, high = interval
    if low is None or high is None:
        return number(value)
    half = (high - low) / 2
    digits = 3 if value < 1 else 2 if value < 10 else 1
    if not 0.001 <= value < 1000 or half < 0.5 * 10**-digits:
        spread = f"{half:.0e}".replace("e-0", "e-").replace("e+0", "e+")
    else:
        spread = f"{half:.{digits}f}".removeprefix("0")
    return f"{number(value)} ± {spread}"


def verdict_cell(row: dict[str, Any]) -> Text:
    """The verdict in a few words, colored."""
    verbs = {
        "vanishing": "vanishes",
        "exploding": "explodes",
        "shrinking": "shrinks",
        "growing": "grows",
        "stable": "stable",
    }
    forward, backward = row["forward"], row["backward"]
    if forward == backward or backward is None:
        text = verbs[forward] if forward == "stable" or backward is None else f"{verbs[forward]} both ways"
    else:
        parts = [f"{side} {verbs[w]}" for side, w in (("forward", forward), ("gradient", backward)) if w != "stable"]
        text = ", ".join(parts)
    if row["flags"]:
        text = ", ".join([*row["flags"], *([] if text == "stable" else [text])])
    if not row["certain"] and row["seeds"] > 1 and "finite" not in text:
        text += " ?"
    words = {forward, backward}
    style = "severe" if not row["healthy"] else "mild" if words - {"stable", None} else "stable"
    return Text(text.replace("_", "-"), COLORS[style])


def table_of(rows: list[dict[str, Any]], wide: bool = False) -> Table:
    """One line a group of rows that are alike."""
    names = varying(rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in names:
        table.add_column("mean square per layer" if name == "init" else name.replace("_", " "), overflow="fold")
    table.add_column("forward", justify="left", no_wrap=True)
    table.add_column("backward", justify="left", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    if wide:
        table.add_column("certain")
        table.add_column("notes", overflow="fold")
    for group in merged(rows, names) if not wide else [[r] for r in rows]:
        row = group[0]
        cells: list[Any] = [
            *name_cell(group, names),
            factor_cell(row["activation_factor"], row["activation_factor_ci95"]),
            factor_cell(row["gradient_factor"], row["gradient_factor_ci95"]),
            verdict_cell(row),
        ]
        if wide:
            cells += ["yes" if row["certain"] else "no", ", ".join(row["notes"])]
        table.add_row(*cells)
    return table


def why_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The worst groups explained, at most three."""
    names = varying(rows)
    bad = [g for g in merged(rows, names) if not g[0]["healthy"]]
    lines = []
    for group in sorted(bad, key=lambda g: -severity(g[0]))[:EXPLAINED]:
        row = group[0]
        label = ", ".join(str(row.get(k)) for k in names)
        lines.append(f"Why {label}: {row['reason']}" + (f" {row['advice']}" if row["advice"] else ""))
    if len(bad) > EXPLAINED:
        lines.append(f"({len(bad) - EXPLAINED} more are unhealthy; --json or vp.diagnose has the reason for each.)")
    return lines


def print_diagnosis(console: Console, diagnosis: Any, wide: bool = False, right: str = "") -> None:
    """Title, table and the reasons, to a console."""
    gap = console.width - len(diagnosis.title) - len(right)
    console.print(
        Text(diagnosis.title, "bold")
        + (Text(" " * gap + right) if right and gap > 1 else Text(f"\n{right}" if right else ""))
    )
    console.print(table_of(diagnosis.rows, wide))
    for line in why_lines(diagnosis.rows):
        console.print(Text(line))


def text_of(diagnosis: Any) -> str:
    """The screen as plain text."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    print_diagnosis(console, diagnosis)
    return console.file.getvalue().rstrip()  # type: ignore[attr-defined]


def html_of(diagnosis: Any) -> str:
    """The screen for a notebook."""
    console = Console(file=io.StringIO(), width=100, record=True, force_terminal=True, color_system="truecolor")
    print_diagnosis(console, diagnosis)
    return console.export_html(inline_styles=True, code_format="<pre style='font-family:monospace'>{code}</pre>")
