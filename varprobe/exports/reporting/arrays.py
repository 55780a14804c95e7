"""The numbers of a report: means and standard deviations over seeds, packed as text."""

import base64
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from varprobe.exports.reporting.sources import Run
from varprobe.plots.curves import predictions
from varprobe.plots.quantities import QUANTITIES

__all__ = ["STATISTICS", "quantity_label", "variables_of"]

STATISTICS = {
    "log10_mean_square": "mean square",
    "log10_var": "variance",
    "log10_absmax": "largest magnitude",
    "mean_over_rms": "mean over RMS",
    "correlation": "mean cosine between samples",
}
"""What a quantity may have, by the end of the variable's name; those that start with log10 are drawn as powers."""

NAME = re.compile(rf"(.+)_({'|'.join(STATISTICS)})")
PREDICTED = {"log10_mean_square": "mean_square", "log10_var": "var"}


def variables_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every variable with dims (config, seed, layer) that holds a number.

    Each has the arrays `mean`, `std` (None where there is one seed) and `theory` (None where there is none), float32,
    (rows, layers): the configurations of all runs, one after the other, in base64. What is exactly zero in some seed
    is -inf, what does not apply is NaN.
    """
    names = dict.fromkeys(
        str(name)
        for run in runs
        for name, v in run.ds.data_vars.items()
        if v.dims == ("config", "seed", "layer") and not str(name).startswith("theory_")
    )
    layers = max(run.ds.sizes["layer"] for run in runs)
    found = []
    for name in names:
        parts = [moments(values_of(run.ds, name)) for run in runs]
        mean, std = (stacked([part[i] for part in parts], layers) for i in (0, 1))
        if np.isnan(mean).all():
            continue
        match = NAME.fullmatch(name)
        quantity, statistic = match.groups() if match else (None, None)
        found.append(
            {
                "name": name,
                "quantity": quantity,
                "statistic": statistic,
                "label": name.replace("_", " "),
                "about": next((run.ds[name].attrs.get("long_name", "") for run in runs if name in run.ds), ""),
                "log10": "_log10_" in name,
                "backward": "gradient" in name,
                "mean": packed(mean),
                "std": None if np.isnan(std).all() else packed(std),
                "theory": theory_of(runs, quantity, statistic, layers),
            }
        )
    return found


def quantity_label(name: str) -> str:
    """A quantity as a menu names it."""
    return QUANTITIES[name].name if name in QUANTITIES else name.replace("_", " ")


def values_of(ds: xr.Dataset, name: str) -> Float[np.ndarray, "config seed layer"]:
    """A variable; NaN where the dataset has none."""
    if name not in ds:
        return np.full((ds.sizes["config"], ds.sizes["seed"], ds.sizes["layer"]), np.nan)
    return np.asarray(ds[name].values, dtype=float)


def moments(
    values: Float[np.ndarray, "config seed layer"],
) -> tuple[Float[np.ndarray, "config layer"], Float[np.ndarray, "config layer"]]:
    """Mean and standard deviation over seeds; seeds that are NaN throughout were never run and do not count."""
    run = ~np.isnan(values).all(axis=2, keepdims=True)
    count = run.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(run, values, 0.0).sum(axis=1) / count
        square = np.where(run, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
        std = np.sqrt(np.where(count > 1, square / (count - 1), np.nan))
    return mean, std


def theory_of(runs: Sequence[Run], quantity: str | None, statistic: str | None, layers: int) -> str | None:
    """What an infinitely wide net has."""
    if quantity is None or statistic not in PREDICTED:
        return None
    parts = []
    for run in runs:
        shape = (run.ds.sizes["config"], run.ds.sizes["layer"])
        found = predictions(run.ds, quantity, PREDICTED[statistic])
        parts.append(np.stack([np.full(shape[1:], np.nan) if one is None else one.mean for one in found]))
    together = stacked(parts, layers)
    return None if np.isnan(together).all() else packed(together)


def stacked(parts: Sequence[Float[np.ndarray, "config layer"]], layers: int) -> Float[np.ndarray, "rows layers"]:
    """The parts one below the other, padded with NaN."""
    return np.concatenate(
        [np.pad(part, ((0, 0), (0, layers - part.shape[1])), constant_values=np.nan) for part in parts]
    )


def packed(values: Float[np.ndarray, "rows layers"]) -> str:
    """float32, little-endian, in base64."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")
