"""Verdicts of `varprobe.coord_check`: of each layer the powers of width, and of a parametrization whether it is muP."""

from typing import Any

import numpy as np
import xarray as xr

from varprobe.model.families import labels_of
from varprobe.names import printable
from varprobe.results import require_dims
from varprobe.training.scaling import power_of, sure, told, word_of
from varprobe.verdict_table import Line, Sheet

__all__ = ["coord_sheet", "judged"]

ABOUT = ("arch", "act", "init", "bias", "optimizer", "batch", "loss", "dtype")
DIMS = ("config", "seed", "width", "step", "layer")
FEWEST_SEEDS = 2
"""For an interval."""


def judged(ds: xr.Dataset) -> tuple[list[dict[str, Any]], str]:
    """(a row for each configuration, title); rows as --json has them.

    Raises:
        RequestError: a dimension is missing.
    """
    require_dims(ds, *DIMS)
    ds = ds.transpose(*DIMS, ...)
    widths = ds["width"].values.tolist()
    rows = [row_of(ds.isel(config=i), widths) for i in range(ds.sizes["config"])]
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
    odd = [layer for layer in layers if layer["verdict"] != "stable"]
    row: dict[str, Any] = {name: ds[name].values.item() for name in ABOUT}
    row |= {"widths": widths, "steps": ds.sizes["step"] - 1, "seeds": ds.sizes["seed"]}
    row |= {"mup": not odd and not diverged, "certain": sure_of(layers, odd) or bool(diverged)}
    row |= {"diverged": [{"width": width, "step": step} for width, step in diverged.items()]}
    row |= {"healthy": row["mup"], "flags": [], "notes": []}
    row["reason"] = reason_of(row, odd)
    return row | {"layers": layers}


def sure_of(layers: list[dict[str, Any]], odd: list[dict[str, Any]]) -> bool:
    """Whether one layer is certainly not stable, or all certainly are."""
    return any(layer["certain"] for layer in odd) if odd else all(layer["certain"] for layer in layers)


def diverged_in(ds: xr.Dataset) -> dict[int, int]:
    """Width -> the first step at which the loss of some seed is not finite."""
    lost = ~np.isfinite(ds["batch_loss"].values).all(axis=0)
    return {int(w): int(np.argmax(at)) for w, at in zip(ds["width"].values, lost, strict=True) if at.any()}


def layer_of(ds: xr.Dataset, label: str, widths: list[int]) -> dict[str, Any]:
    """The verdict on one layer: of its value at step 0, where that grows, and else of its change at the last step."""
    change = ds["change_log10_ms"].values[..., -1]
    value, moved = power_of(ds["value_log10_ms"].values[..., 0], widths), power_of(change, widths)
    verdict, what, text = word_of(moved.mean), "change", ""
    certain = sure(moved) and (verdict == "grows" or word_of(value.high) != "grows")
    if word_of(value.mean) == "grows":
        verdict, what, text = "grows", "value", f"starts at {told(value.mean)}: not muP"
        certain = sure(value)
    elif not verdict:
        verdict, text, certain = without_power(change, widths)
    elif verdict == "grows":
        text = f"grows like {told(moved.mean)}: not muP"
    elif verdict == "shrinks":
        text = f"shrinks like {told(moved.mean)}: wide nets stop learning it"
    return {
        "site": label,
        **value.fields("value"),
        **moved.fields("change"),
        "verdict": verdict,
        "of": what,
        "certain": certain,
        "text": text or verdict,
    }


def without_power(change: np.ndarray, widths: list[int]) -> tuple[str, str, bool]:
    """(verdict, text, whether it is sure) of a change that is zero or not finite at some width."""
    if np.isneginf(change).all():
        return "stable", "never moves", True
    lost = ~np.isfinite(change).all(axis=0)
    width = widths[int(np.argmax(lost))]
    if np.isneginf(change[:, lost]).all():
        return "shrinks", f"exactly zero at width {width}: wide nets stop learning it", True
    return "grows", f"not finite at width {width}", True


def reason_of(row: dict[str, Any], odd: list[dict[str, Any]]) -> str:
    """One sentence on the whole."""
    name = row["init"] or row["arch"]
    steps = f"{row['steps']} step{'s' * (row['steps'] != 1)}"
    if row["diverged"]:
        first = row["diverged"][0]
        return f"{name}: the loss is not finite at width {first['width']} from step {first['step']} on: not muP."
    if not odd:
        return f"{name}: in {steps} no layer grows or shrinks with width, as in muP."
    first, count = odd[0], len(odd)
    more = f"; {count - 1} more follow{'s' * (count == 2)}" if count > 1 else ""
    grows = [layer for layer in odd if layer["verdict"] == "grows"]
    kind = "not muP" if grows else "not muP, though nothing grows"
    return (
        f"{name}: {kind}. In order of execution {first['site']} is the first: its {first['of']} {plainly(first)}{more}."
    )


def plainly(layer: dict[str, Any]) -> str:
    """`grows like width^0.67`."""
    text: str = layer["text"].partition(":")[0]
    return text if text[:2] != "no" and text[:2] != "ex" else f"is {text}"


def coord_sheet(rows: list[dict[str, Any]]) -> Sheet:
    """The table: a line a layer, under a heading for each parametrization if there are several."""
    lines = []
    several = len({row["optimizer"] for row in rows}) > 1
    for row in rows:
        if len(rows) > 1:
            heading = f"{row['init'] or row['arch']}{', ' + row['optimizer'] if several else ''}"
            lines.append(Line((printable(heading), "", "", ""), "heading"))
        lines += [line_of(layer, row["seeds"]) for layer in row["layers"]]
    notes = [printable(row["reason"]) for row in rows]
    if any(line.cells[3].endswith(" ?") for line in lines):
        notes.insert(0, "? the 95% interval over seeds crosses the threshold: more seeds, or wider nets, decide")
    return Sheet(("power of width", "value, step 0", f"change, step {rows[0]['steps']}", "verdict"), lines, notes)


def line_of(layer: dict[str, Any], seeds: int) -> Line:
    """One layer."""
    doubt = " ?" if not layer["certain"] and seeds >= FEWEST_SEEDS else ""
    cells = (printable(layer["site"]), cell(layer, "value"), cell(layer, "change"), printable(layer["text"]) + doubt)
    return Line(cells, {"stable": "stable", "shrinks": "mild", "grows": "severe"}[layer["verdict"]])


def cell(layer: dict[str, Any], name: str) -> str:
    """`0.67 ± .12`."""
    mean, (_, high) = layer[f"{name}_exponent"], layer[f"{name}_exponent_ci95"]
    if mean is None:
        return "-"
    half = "" if high is None else f" ± {high - mean:.2f}".replace(" 0.", " .")
    return f"{round(mean, 2) + 0.0:5.2f}{half}"
