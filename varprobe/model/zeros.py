"""Parameters that start at zero, as an adapter's second matrix: zeros that they make are no vanishing signal."""

import json
from collections.abc import Callable

import numpy as np
import xarray as xr

from varprobe.model.lineage import Lineage

__all__ = ["sentence", "without_zeros", "zero_factors"]


def zero_factors(ds: xr.Dataset) -> list[tuple[str, list[str], str]]:
    """(parameter, sites directly behind the signal that it multiplies, site of the product) of those that are zero.

    ds: of one configuration.
    """
    name = "parameter_log10_absmax"
    if name not in ds or "factors" not in ds.attrs:
        return []
    zero = np.isneginf(ds[name].values).all(axis=0)
    found = set(ds["parameter"].values[zero].tolist())
    return [(parameter, *where) for parameter, *where in json.loads(ds.attrs["factors"]) if parameter in found]


def without_zeros(ds: xr.Dataset) -> xr.Dataset:
    """The dataset without values that are zero since such a parameter multiplies a signal: NaN stands in their place.

    These are values of sites behind which it lies, and gradients of sites that lie before it, or before what is
    multiplied with a signal that it makes zero, as the gate of a branch.
    """
    factors = zero_factors(ds)
    if not factors:
        return ds
    lineage = Lineage.of(ds)
    rows = ds["site"].values.tolist()

    def rows_where(holds: Callable[[str], bool]) -> np.ndarray:
        return np.array([row > 0 and holds(site) for row, site in enumerate(rows)])

    starts = [site for _, behind, product in factors for site in ([product] if product else behind)]
    after = rows_where(lambda site: any(lineage.is_behind(start, site) for start in starts))
    nothing = {site for row, site in enumerate(rows) if after[row] and is_nothing(ds, row)}
    multiplied = [gate for name in ("gates", "mixed") for gate in json.loads(ds.attrs.get(name, "[]"))]
    gates = [pair for gate in multiplied for pair in (gate, gate[::-1])]
    ends = {site for _, behind, _ in factors for site in behind}
    ends |= {site for shut, behind in gates if shut and nothing.issuperset(shut) for site in behind}
    before = rows_where(lambda site: any(lineage.is_behind(site, end) for end in ends))
    changed = {}
    either = before | after  # the gradient of a weight is made of what enters and of the gradient of what comes out
    concerned_by = {"preactivation": after, "activation": after, "gradient": before, "weight_gradient": either}
    for quantity, concerned in concerned_by.items():
        for name in (f"{quantity}_log10_mean_square", f"{quantity}_log10_absmax"):
            if name in ds:
                values = ds[name].values
                changed[name] = (ds[name].dims, np.where(concerned & np.isneginf(values), np.nan, values))
    for name in ("dead_unit_fraction", "activation_zero_fraction"):
        if name in ds:
            values = ds[name].values
            changed[name] = (ds[name].dims, np.where(after & (values == 1), np.nan, values))
    return ds.assign(changed)


def is_nothing(ds: xr.Dataset, row: int) -> bool:
    """Whether the value of a site is exactly zero."""
    values = [
        ds[name].values[:, row]
        for name in ("preactivation_log10_mean_square", "activation_log10_mean_square")
        if name in ds
    ]
    return any(bool(np.isneginf(value).all()) for value in values)


def sentence(ds: xr.Dataset) -> str:
    """What such parameters do; nothing without one."""
    never: set[str] = set()
    if "parameter_stuck" in ds:
        never = set(ds["parameter"].values[ds["parameter_stuck"].values.max(axis=0) > 0].tolist())
    names = list(dict.fromkeys(name for name, *_ in zero_factors(ds) if name not in never))
    if not names:
        return ""
    who = f"{names[0]} starts" if len(names) == 1 else f"{len(names)} parameters, such as {names[0]}, start"
    return f"{who} at zero: in this step no signal and no gradient gets through there."
