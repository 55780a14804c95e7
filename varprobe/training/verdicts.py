"""Verdicts on trainings: one row a configuration, from the first record to the last."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.errors import printable
from varprobe.model.verdict import diagnosed
from varprobe.spec.number_format import brief, powered
from varprobe.storage.chunks import Advance, unwatched
from varprobe.storage.dataset import require_variables, with_configs
from varprobe.storage.kinds import of_sites
from varprobe.storage.steps import by_step
from varprobe.verdict.stacks import diagnosed_stacks
from varprobe.verdict.table import TableRow, VerdictTable, grade, named, varying, verdict, why

__all__ = ["diagnosed_training", "training_sheet"]

Row = dict[str, Any]

EACH = ("activation_factor", "gradient_factor", "forward", "backward", "healthy")
"""What a row has of every record, as a list `NAME_at`."""

ADVICE = "Lower the learning rate, warm it up (warmup=N), or clip the gradient (clip=1)."


def diagnosed_training(ds: xr.Dataset, advance: Advance = unwatched) -> tuple[list[Row], str]:
    """(rows, title); a row is that of the first record which is unhealthy, else of the last, and tells what follows.

    Rows have `steps`, `at`, `optimizer`, and by record `activation_factor_at`, `gradient_factor_at`, `forward_at`,
    `backward_at`, `healthy_at` and `update_ratio_at`, the RMS of the update over that of the weights in the median
    layer; `losses` at the start and the end, `final_accuracy`, `diverged_step` and `diverged_seeds`.
    """
    ds = with_configs(ds)
    steps_of = by_step(ds)
    records, title, *_ = diagnosed(steps_of) if of_sites(ds) else diagnosed_stacks(steps_of)
    at = ds["step"].values.tolist()
    rows = []
    for i in range(ds.sizes["config"]):
        own = [dict(row) for row in records[i * len(at) : (i + 1) * len(at)]]
        rows.append(row_of(ds.isel(config=i), own, at))
        advance(1)
    steps = ds.attrs["steps"]
    optimizers = {row["optimizer"] for row in rows}
    parts = [title, *(optimizers - {"own"} if len(optimizers) == 1 else []), f"{steps} step{'s' * (steps != 1)}"]
    return rows, ", ".join(printable(part) for part in parts if part)


def row_of(net: xr.Dataset, records: Sequence[Row], at: list[int]) -> Row:
    """The row of one configuration from those of its records."""
    first_bad = next((i for i, row in enumerate(records) if not row["healthy"]), None)
    row = dict(records[-1 if first_bad is None else first_bad])
    row["step"] = at[-1 if first_bad is None else first_bad]
    row |= {"optimizer": str(net["optimizer"].values), "steps": int(net.attrs["steps"]), "at": at}
    row |= {f"{name}_at": [record[name] for record in records] for name in EACH}
    row["update_ratio_at"] = [ratio_of(net.isel(step=i)) for i in range(len(at))]
    losses = net["batch_loss"].values
    last = net["final_loss"].values if "final_loss" in net else losses[:, -1]
    row["losses"] = [mean_of(losses[:, 0]), mean_of(last)]
    row["final_accuracy"] = mean_of(net["final_accuracy"].values) if "final_accuracy" in net else None
    diverged = net["diverged_step"].values
    lost = diverged[np.isfinite(diverged)]
    row["diverged_step"], row["diverged_seeds"] = (int(lost.min()) if lost.size else None), int(lost.size)
    if lost.size:
        row["flags"] = list(dict.fromkeys(["diverged", *row["flags"]]))
        row["healthy"] = False
    row["reason"], row["advice"] = reason_of(row, records, first_bad, len(diverged))
    return row


def reason_of(row: Row, records: Sequence[Row], first_bad: int | None, seeds: int) -> tuple[str, str | None]:
    """(what became of it, what to do)."""
    steps, lost = row["steps"], row["diverged_step"]
    if lost is not None and (first_bad is None or first_bad > 0):
        several = f" in {row['diverged_seeds']} of {seeds} seeds" if seeds > 1 else ""
        return f"Healthy at step 0; the loss is not finite from step {lost}{several}.", ADVICE
    if first_bad is None:
        return f"Signal and gradient get through from step 0 to step {steps}.", None
    found = records[first_bad]
    if first_bad == 0:
        end = "" if records[-1]["healthy"] else " It is so at the last step, too."
        return f"Before any training: {found['reason']}{end if lost is None else ''}", found["advice"]
    faster = bool(found["flags"]) or "exploding" in (found["forward"], found["backward"])
    advice = ADVICE if faster else None  # a smaller step gives back no signal that vanishes
    return f"Healthy until step {row['at'][first_bad - 1]}; at step {row['step']}: {found['reason']}", advice


def ratio_of(net: xr.Dataset) -> float | None:
    """RMS of the update over RMS of the weights: the median over layers of the mean over seeds (of logs)."""
    require_variables(net, "update_log10_ratio")
    values = net["update_log10_ratio"].values
    with np.errstate(invalid="ignore"):
        means = values.mean(axis=0)
    known = means[means < np.inf]
    return float(10 ** np.median(known)) if known.size else None


def mean_of(values: np.ndarray) -> float | None:
    """The mean over seeds; None where one is not finite."""
    return float(values.mean()) if np.isfinite(values).all() else None


HEADINGS = ("training", "step 0", "loss", "accuracy", "update", "verdict")


def training_sheet(rows: Sequence[Row], wide: bool = False) -> VerdictTable:
    """The table, `wide` or not: a line for each configuration, in the order of the grid."""
    names = [name for name in varying(rows) if name != "step"] or ["init"]
    names = ["arch"] if "families" in rows[0] and names == ["init"] else names
    lines = [TableRow(cells_of(row, named(row, names, rows)), grade(row)) for row in rows]
    notes = ["update: RMS of what the last step changes the weights by over theirs, median layer."]
    return VerdictTable(HEADINGS, lines, [*notes, *why(rows, names)])


def cells_of(row: Row, label: str) -> tuple[str, ...]:
    """One line."""
    return (
        label,
        words(row["forward_at"][0], row["backward_at"][0]),
        " to ".join(cell(value, brief) for value in row["losses"]),
        "-" if row["final_accuracy"] is None else f"{row['final_accuracy']:.0%}",
        cell(row["update_ratio_at"][-1], lambda v: powered(v, 0)),
        ending(row),
    )


def cell(value: float | None, text: Callable[[float], str]) -> str:
    """A number, 0, or `-` where there is none."""
    return "-" if value is None else text(value) if value else "0"


def words(forward: str, backward: str | None) -> str:
    """What signal and gradient do: one word where they do the same."""
    return forward if backward in (None, forward) else f"{forward}, gradient {backward}"


def ending(row: Row) -> str:
    """The verdict, and since when."""
    if row["diverged_step"] is not None:
        return f"diverges at step {row['diverged_step']}"
    text = verdict(row, uncertain=False)
    return text if row["healthy"] or not row["step"] else f"{text} at step {row['step']}"
