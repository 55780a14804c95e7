"""Two models site by site: RMS of the signal and of the gradient, and their ratio."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.model.families import labels_of
from varprobe.spec.number_format import brief
from varprobe.storage.kinds import require_kind
from varprobe.verdict.rates import power

__all__ = ["side_by_side", "table_of"]

COLUMNS = ("site", "signal A", "signal B", "B/A", "gradient A", "gradient B", "B/A")


def side_by_side(a: xr.Dataset, b: xr.Dataset) -> list[dict[str, Any]]:
    """A row for each site of either, in the order of A and then of B; what one of them lacks is None.

    Raises:
        InvalidArgumentError: one is not a dataset of a model.
    """
    for ds in (a, b):
        require_kind(ds, "probe", "track_model", option="compare")
    found = [levels_of(ds) for ds in (a, b)]
    rows = []
    for site in dict.fromkeys([*found[0], *found[1]]):
        row: dict[str, Any] = {"site": site}
        for quantity, i in (("signal", 0), ("gradient", 1)):
            logs = [one.get(site, (math.nan, math.nan))[i] for one in found]
            values = [power(log) if log < 300 else math.inf for log in logs]
            row[f"{quantity}_rms"] = [x if math.isfinite(x) else None for x in values]
            ratio = power(logs[1] - logs[0]) if all(map(math.isfinite, logs)) else math.nan
            row[f"{quantity}_ratio"] = ratio if math.isfinite(ratio) else None
        rows.append(row)
    return rows


def levels_of(ds: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Label of a row -> log10 of the RMS of its value and of its gradient, means over seeds."""
    one = ds.isel(config=0) if "config" in ds.dims else ds
    with np.errstate(invalid="ignore"):
        means = [
            one[f"{q}_log10_mean_square"].values.mean(axis=0) / 2
            if f"{q}_log10_mean_square" in one
            else np.full(one.sizes["layer"], np.nan)
            for q in ("preactivation", "activation", "gradient")
        ]
    signal = np.where(np.isnan(means[0]), means[1], means[0])
    return {label: (float(s), float(g)) for label, s, g in zip(labels_of(one), signal, means[2], strict=True)}


def table_of(rows: Sequence[dict[str, Any]], names: tuple[str, str], width: int) -> Iterator[str]:
    """The lines of a table; long sites are cut at the left."""
    yield f"A = {names[0]}, B = {names[1]}; RMS at each site"
    numbers = [[cell(x) for q in ("signal", "gradient") for x in (*row[f"{q}_rms"], row[f"{q}_ratio"])] for row in rows]
    widths = [max(len(c) for c in column) for column in zip(COLUMNS[1:], *numbers, strict=True)]
    room = max(width - sum(widths) - 2 * len(widths), 12)
    sites = [row["site"] if len(row["site"]) <= room else f"...{row['site'][3 - room :]}" for row in rows]
    longest = max(map(len, [*sites, COLUMNS[0]]))
    for site, cells in zip([COLUMNS[0], *sites], [COLUMNS[1:], *numbers], strict=True):
        yield "  ".join([site.ljust(longest), *(c.rjust(w) for c, w in zip(cells, widths, strict=True))]).rstrip()


def cell(value: float | None) -> str:
    """A number to two digits."""
    return "-" if value is None else "0" if value == 0 else brief(value)
