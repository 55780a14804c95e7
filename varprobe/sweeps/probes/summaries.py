"""What rows and the table say of probes: the ends of the network, as means over seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from varprobe.spec.expressions import number_text
from varprobe.spec.number_format import cosine, scientific

__all__ = ["probe_fields", "probe_lines"]

Row = dict[str, Any]
MOST = 12
"""Rows up to which the table says it of each."""


def probe_fields(ds: xr.Dataset) -> list[Row]:
    """What each configuration's row has of probes; nothing of those that were not asked for.

    correlation: of each c0 the cosines of activations at layer L, measured and in theory, and of gradients at layer 1;
    effective_rank: at layer L. jacobian: of dh_L/dh_0. histogram: excess kurtosis of activations at layer L and of
    gradients at layer 1. What is not finite is None.
    """
    rows: list[Row] = []
    for i, depth in enumerate(np.atleast_1d(ds["depth"].values)):
        one = ds.isel(config=i) if "config" in ds.dims else ds
        row: Row = {}
        if "pair_correlation" in ds:
            names = {"activation": ("pair_correlation", depth), "gradient": ("gradient_pair_correlation", 1)}
            if "theory_pair_correlation" in ds:
                names["theory"] = ("theory_pair_correlation", depth)
            found = {key: seed_mean(one[name].isel(layer=int(layer))) for key, (name, layer) in names.items()}
            row["correlation"] = [
                {"c0": float(c0)} | {key: number(values[k]) for key, values in found.items()}
                for k, c0 in enumerate(ds["c0"].values)
            ]
            row["effective_rank"] = number(seed_mean(one["effective_rank"].isel(layer=int(depth))))
        if "jacobian_log10_max" in ds:
            row["jacobian"] = {
                f"log10_{name}": number(seed_mean(one[f"jacobian_log10_{name}"].isel(layer=int(depth))))
                for name in ("max", "min", "median", "mean_square", "condition")
            }
        if "activation_kurtosis" in ds:
            row["histogram"] = {
                "activation_kurtosis": number(seed_mean(one["activation_kurtosis"].isel(layer=int(depth)))),
                "gradient_kurtosis": number(seed_mean(one["gradient_kurtosis"].isel(layer=1))),
            }
        rows.append(row)
    return rows


def seed_mean(variable: xr.DataArray) -> np.ndarray:
    """Over seeds."""
    with np.errstate(invalid="ignore"):
        return variable.values.mean(axis=variable.dims.index("seed"))


def number(value: Any) -> float | None:
    """The number, None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def probe_lines(rows: Sequence[Row], labels: Sequence[str]) -> list[str]:
    """A line for each probe, with every row's ends."""
    if not rows or not {"correlation", "jacobian", "histogram"} & set(rows[0]):
        return []
    if len(rows) > MOST:
        return [f"What else was asked for, of {len(rows)} configurations: --json, results.nc."]
    lines = []
    if "correlation" in rows[0]:
        start = ", ".join(number_text(pair["c0"]) for pair in rows[0]["correlation"])
        lines.append(f"Cosine of activations at layer L, of inputs at {start}: {report_of(rows, labels, pair_text)}.")
        if any(pair["gradient"] is not None for row in rows for pair in row["correlation"]):
            lines.append(f"Cosine of their gradients at layer 1: {report_of(rows, labels, gradient_text)}.")
    if "jacobian" in rows[0]:
        text = report_of(rows, labels, jacobian_text)
        lines.append(f"Singular values of dh_L/dh_0, largest and smallest: {text}.")
    if "histogram" in rows[0]:
        lines.append(f"Excess kurtosis of activations at layer L: {report_of(rows, labels, kurtosis_text)}.")
    return lines


def report_of(rows: Sequence[Row], labels: Sequence[str], text: Any) -> str:
    """`he_normal 0.98, 0.99; orthogonal 0.91, 0.95`; rows that say the same together."""
    groups: dict[str, list[str]] = {}
    for row, label in zip(rows, labels, strict=True):
        groups.setdefault(text(row), []).append(label)
    return "; ".join(f"{' = '.join(names)} {said}" if len(rows) > 1 else said for said, names in groups.items())


def pair_text(row: Row) -> str:
    """Cosines of activations."""
    return ", ".join(cosine(pair["activation"]) for pair in row["correlation"])


def gradient_text(row: Row) -> str:
    """Cosines of gradients."""
    return ", ".join(cosine(pair["gradient"]) for pair in row["correlation"])


def jacobian_text(row: Row) -> str:
    """The ends of the spectrum; a smallest one that is not finite is zero."""
    high, low = row["jacobian"]["log10_max"], row["jacobian"]["log10_min"]
    return f"{scientific(high)}, {scientific(-math.inf if low is None and high is not None else low)}"


def kurtosis_text(row: Row) -> str:
    """Of activations."""
    value = row["histogram"]["activation_kurtosis"]
    return "-" if value is None else f"{value:.3g}"
