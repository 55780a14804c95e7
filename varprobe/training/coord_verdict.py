"""Verdicts of `varprobe.coord_check`: the powers of width of each layer, and whether a parametrization is muP."""

from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import printable
from varprobe.model.families import labels_of
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.dataset import require_dims
from varprobe.training.scaling import as_text, scaling_of, word_of
from varprobe.training.width_decisions import Decision, decide
from varprobe.verdict.table import TableRow, VerdictTable

__all__ = ["coord_sheet", "judged"]

ABOUT = ("arch", "act", "init", "bias", "optimizer", "batch", "loss", "dtype")
DIMS = ("config", "seed", "width", "step", "layer")
ODD = ("grows", "shrinks")
"""Verdicts that no layer has in muP."""
FIELDS = "{0}_exponent {0}_exponent_ci95 {0}_exponents {0}_limit"
"""Entries of a layer in --json; None where no power can be fitted."""
FEWEST_SEEDS = 2
"""For an interval."""
MOST_EXPONENTS = 4
"""Local exponents in a line of the table; of more the first and the last two."""


def judged(ds: xr.Dataset, advance: Advance = unwatched) -> tuple[list[dict[str, Any]], str]:
    """(a row for each configuration, title); rows as --json has them.

    Raises:
        InvalidArgumentError: a dimension is missing.
    """
    require_dims(ds, *DIMS)
    ds = ds.transpose(*DIMS, ...)
    widths = ds["width"].values.tolist()
    rows = [row_of(ds.isel(config=i), widths) for i in range(ds.sizes["config"])]
    advance(len(rows))
    row, attrs = rows[0], ds.attrs
    optimizer = f", {row['optimizer']}" if len({r["optimizer"] for r in rows}) == 1 else ""
    steps, seeds, data = row["steps"], row["seeds"], attrs["data_description"]
    title = (
        f"{attrs['about']}, widths {widths[0]} to {widths[-1]}{optimizer}, {steps} step{'s' * (steps != 1)}, "
        f"{seeds} seed{'s' * (seeds != 1)}, batch {row['batch']}{' of ' * bool(data)}{data}"
    )
    return rows, title


def row_of(ds: xr.Dataset, widths: list[int]) -> dict[str, Any]:
    """The verdict on one parametrization."""
    layers = [layer_of(ds.isel(layer=i), label, widths) for i, label in enumerate(labels_of(ds))]
    diverged = diverged_in(ds)
    odd = [layer for layer in layers if layer["verdict"] in ODD]
    open_ones = [layer for layer in layers if layer["verdict"] == "undecided"]
    row: dict[str, Any] = {name: ds[name].values.item() for name in ABOUT}
    row |= {"widths": widths, "steps": ds.sizes["step"] - 1, "seeds": ds.sizes["seed"]}
    row |= {"mup": False if odd or diverged else None if open_ones else True}
    row |= {"certain": bool(diverged) or any(one["certain"] for one in odd) or all(one["certain"] for one in layers)}
    row |= {"diverged": [{"width": width, "step": step} for width, step in diverged.items()]}
    farther = max((one["go_to_width"] or 0 for one in open_ones), default=0) or None
    row |= {"go_to_width": farther if row["mup"] is None else None}
    row |= {"healthy": row["mup"], "flags": [], "notes": []}
    row["reason"] = reason_of(row, odd, open_ones)
    return row | {"layers": layers}


def diverged_in(ds: xr.Dataset) -> dict[int, int]:
    """Width -> the first step at which the loss of some seed is not finite."""
    lost = ~np.isfinite(ds["batch_loss"].values).all(axis=0)
    return {int(w): int(np.argmax(at)) for w, at in zip(ds["width"].values, lost, strict=True) if at.any()}


def layer_of(ds: xr.Dataset, label: str, widths: list[int]) -> dict[str, Any]:
    """The verdict on one layer: by its value at step 0, if that grows, else by its change at the last step or before.

    A change that grows with width at first may level off later, when training has undone it.
    """
    found = {name: ds[f"{name}_log10_mean_square"].values[..., at] for name, at in (("value", 0), ("change", -1))}
    scalings = {name: scaling_of(log10_mean_square, widths) for name, log10_mean_square in found.items()}
    layer: dict[str, Any] = {"site": label}
    for name, scaling in scalings.items():
        layer |= dict.fromkeys(FIELDS.format(name).split()) | {f"{name}_exponent_ci95": [None, None]}
        layer |= scaling.fields(name) if scaling else {}
    decisions = {name: decide(scaling) for name, scaling in scalings.items() if scaling}
    value, change = decisions.get("value"), decisions.get("change")
    if value and value.word == "grows":
        return layer | verdict_of(value, "value", f"starts at {as_text(value.power.mean)}: not muP")
    moved = verdict_of(change, "change") if change else without_power(ds, found["change"], widths)
    if moved["verdict"] != "grows" and (first := grows_before(ds, widths)):
        return layer | first
    if value and value.word == "undecided" and value.grows and moved["verdict"] not in ODD:
        return layer | verdict_of(value, "value")
    if value and moved["verdict"] != "grows" and word_of(value.power.high) == "grows":
        moved["certain"] = False
    return layer | moved


def grows_before(ds: xr.Dataset, widths: list[int]) -> dict[str, Any] | None:
    """The verdict on a change that grows with width at a step before the last, where the seeds leave no doubt."""
    for at in range(1, ds.sizes["step"] - 1):
        scaling = scaling_of(ds["change_log10_mean_square"].values[..., at], widths)
        decision = decide(scaling) if scaling else None
        if decision and decision.word == "grows" and decision.certain:
            power = as_text(decision.power.mean)
            return verdict_of(decision, "change", f"grows like {power} at step {ds['step'].values[at]}: not muP")
    return None


def verdict_of(decision: Decision, of: str, text: str = "") -> dict[str, Any]:
    """The verdict on a curve of a value or of a change."""
    power = as_text(decision.power.mean)
    texts = {
        "stable": "levels off" if decision.levels else "stable",
        "grows": f"grows like {power}: not muP",
        "shrinks": f"shrinks like {power}: wide nets stop learning it",
        "undecided": f"undecided: go to width {decision.width}",
    }
    return judged_as(decision.word, of, text or texts[decision.word], decision.certain, decision.width)


def judged_as(verdict: str, of: str, text: str, certain: bool = True, width: int = 0) -> dict[str, Any]:
    """The fields of a verdict in --json."""
    return {"verdict": verdict, "of": of, "certain": certain, "text": text, "go_to_width": width or None}


def without_power(ds: xr.Dataset, change: np.ndarray, widths: list[int]) -> dict[str, Any]:
    """The verdict on a change that is zero or not finite, where no power can be fitted."""
    lost = ~np.isfinite(change).all(axis=0)
    width = widths[int(np.argmax(lost))]
    if not np.isneginf(change[:, lost]).all():
        return judged_as("grows", "change", f"not finite at width {width}")
    if np.isneginf(change).all():
        if "update_log10_mean_square" in ds and np.isfinite(ds["update_log10_mean_square"].values[..., -1]).any():
            return judged_as("undecided", "change", "undecided: zero so far, take more steps", False)
        return judged_as("stable", "change", "never moves")
    if lost[-1]:
        return judged_as("shrinks", "change", f"exactly zero at width {widths[-1]}: wide nets stop learning it")
    return judged_as("undecided", "change", f"undecided: go to width {2 * widths[-1]}", False, 2 * widths[-1])


def reason_of(row: dict[str, Any], odd: list[dict[str, Any]], open_ones: list[dict[str, Any]]) -> str:
    """One sentence on the whole."""
    name = row["init"] or row["arch"]
    steps = f"{row['steps']} step{'s' * (row['steps'] != 1)}"
    if row["diverged"]:
        first = row["diverged"][0]
        return f"{name}: the loss is not finite at width {first['width']} from step {first['step']} on: not muP."
    if not odd and not open_ones:
        return f"{name}: in {steps} no layer grows or shrinks with width, as in muP."
    first, count = (odd or open_ones)[0], len(odd or open_ones)
    more = f"; {count - 1} more follow{'s' * (count == 2)}" if count > 1 else ""
    if not odd:
        width, zero = row["go_to_width"], any(not one["go_to_width"] for one in open_ones)
        ends = f" Take more than {steps}." * zero + f" Go to width {width}, or take more seeds." * bool(width)
        return f"{name}: undecided at these widths, first {first['site']}, its {first['of']}{more}.{ends}"
    grows = [layer for layer in odd if layer["verdict"] == "grows"]
    kind = "not muP" if grows else "not muP, though nothing grows"
    return (
        f"{name}: {kind}. In order of execution {first['site']} is the first: its {first['of']} {plainly(first)}{more}."
    )


def plainly(layer: dict[str, Any]) -> str:
    """`grows like width^0.67`."""
    text: str = layer["text"].partition(":")[0]
    return text if text[:2] != "no" and text[:2] != "ex" else f"is {text}"


def coord_sheet(rows: list[dict[str, Any]], wide: bool = False) -> VerdictTable:
    """The table, `wide` or not: a line for each layer, under a heading for each parametrization of several."""
    lines = []
    optimizers = {row["optimizer"] for row in rows}
    for row in rows:
        if len(rows) > 1:
            heading = f"{row['init'] or row['arch']}{', ' + row['optimizer'] if len(optimizers) > 1 else ''}"
            lines.append(TableRow((printable(heading), "", "", ""), "heading"))
        lines += [line_of(layer, row["seeds"]) for layer in row["layers"]]
    notes = [printable(row["reason"]) for row in rows]
    several = any(len(layer["change_exponents"] or ()) > 1 for row in rows for layer in row["layers"])
    between = ", of a change between neighboring widths, the last with its 95% interval over seeds"
    notes.insert(0, f"value, change: the power of width{between * several}")
    if any(line.cells[3].endswith(" ?") for line in lines):
        notes.insert(0, "? the 95% interval over seeds crosses the threshold: more seeds, or wider nets, decide")
    return VerdictTable(("site", "value, step 0", f"change, step {rows[0]['steps']}", "verdict"), lines, notes)


def line_of(layer: dict[str, Any], seeds: int) -> TableRow:
    """One layer."""
    doubt = " ?" if not layer["certain"] and seeds >= FEWEST_SEEDS and layer["verdict"] != "undecided" else ""
    change = [f"{short(power):>4}" for power in (layer["change_exponents"] or ())[:-1]]
    change = change if len(change) < MOST_EXPONENTS else [change[0], "..", change[-1]]
    moved = " ".join([*change, cell(layer, "change")])
    cells = (printable(layer["site"]), cell(layer, "value"), moved, printable(layer["text"]) + doubt)
    return TableRow(cells, GRADES[layer["verdict"]])


GRADES = {"stable": "stable", "undecided": "mild", "shrinks": "mild", "grows": "severe"}


def cell(layer: dict[str, Any], name: str) -> str:
    """`0.67 ± .12`."""
    mean, (_, high) = layer[f"{name}_exponent"], layer[f"{name}_exponent_ci95"]
    if mean is None:
        return "-"
    half = "" if high is None else f" ± {high - mean:.2f}".replace(" 0.", " .")
    return f"{round(mean, 2) + 0.0:5.2f}{half}"


def short(power: float) -> str:
    """`-.53`."""
    return f"{round(power, 2) + 0.0:.2f}".replace("0.", ".", 1) if abs(power) < 0.995 else f"{power:.1f}"
