"""What was measured of one configuration, as the checks of a verdict read it."""

import json
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from varprobe.model.lineage import Lineage

__all__ = ["Evidence"]


class Evidence:
    """A model's dataset of one configuration.

    Args:
        ds: without the zeros that `zeros.without_zeros` takes away.
        labels: what messages call each row.
    """

    def __init__(self, ds: xr.Dataset, labels: list[str]) -> None:
        self.ds = ds
        self.labels = labels
        self.sites: list[str] = ds["site"].values.tolist()
        self.kinds: list[str] = ds["kind"].values.tolist()
        self.iterations: list[int] = ds["iteration"].values.tolist()
        self.notes: list[str] = ds["note"].values.tolist() if "note" in ds.coords else [""] * len(self.sites)

    @cached_property
    def lineage(self) -> Lineage:
        """Which sites follow from which."""
        return Lineage.of(self.ds)

    @cached_property
    def rows(self) -> dict[str, list[int]]:
        """The rows of each site, one for each iteration."""
        found: dict[str, list[int]] = {}
        for row, site in enumerate(self.sites):
            found.setdefault(site, []).append(row)
        return found

    def seeds(self, name: str) -> np.ndarray:
        """A variable, (seeds, rows or parameters); NaN where it was not measured."""
        if name in self.ds:
            return np.asarray(self.ds[name].values)
        if name == "loss_value":  # of runs that were written before it was recorded
            return np.zeros(self.ds.sizes["seed"])
        size = len(self.parameters) if name.startswith("parameter_") else len(self.sites)
        return np.full((self.ds.sizes["seed"], size), np.nan)

    def mean(self, name: str) -> np.ndarray:
        """Its mean over seeds."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.seeds(name).mean(axis=0))

    def values(self) -> np.ndarray:
        """log10 of the mean square of what each row gives, (seeds, rows): of its activation if it has one."""
        after, before = self.seeds("activation_log10_mean_square"), self.seeds("preactivation_log10_mean_square")
        return np.where(np.isnan(after), before, after)

    def value(self) -> np.ndarray:
        """Its mean over seeds, (rows,)."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.values().mean(axis=0))

    def terms(self) -> np.ndarray:
        """How many products an output sums."""
        return np.asarray(self.ds["terms" if "terms" in self.ds.coords else "fan_in"].values)

    def weights(self) -> np.ndarray:
        """log10 of terms E W^2, (seeds, rows): what the weights multiply the mean square by."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.seeds("weight_log10_mean_square") + np.log10(self.terms())

    def is_recurrent(self, site: str) -> bool:
        """Whether the iterations of a site are steps with the same weights, not layers whose weights are stacked."""
        weights, length = self.mean("weight_log10_mean_square"), len(self.rows[site])
        alike = (weights[rows] for rows in self.rows.values() if len(rows) == length)
        return length > 1 and all(np.ptp(values) < 1e-9 for values in alike if np.isfinite(values).all())

    @property
    def parameters(self) -> list[str]:
        """Paths of the parameters."""
        return list(self.ds["parameter"].values.tolist()) if "parameter" in self.ds.coords else []

    def listed(self, name: str) -> list[Any]:
        """An attribute that is a list."""
        return list(json.loads(self.ds.attrs.get(name, "[]")))
