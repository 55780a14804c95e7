"""Curves: the seed mean of a log10 statistic against the layer, with its deviation, followed as the signal runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from varprobe.plots.quantities import QUANTITIES, variable

__all__ = ["Curve", "Lost", "SIGNALS", "Theory", "read_curves", "summarize"]

SIGNALS = ("activation", "preactivation", "gradient")
"""Quantities that every layer of a stack has."""


@dataclass(frozen=True)
class Lost:
    """Where a signal became exactly zero, or infinite (or no number at all), and in how many of the seeds.

    `place` is what `layer` counts: layers, or steps of training.
    """

    layer: int
    infinite: bool
    seeds: int
    of: int
    number: bool = True
    place: str = "layer"

    def __str__(self) -> str:
        what = (r"$\infty$" if self.infinite else "0") if self.number else "not finite"
        share = "" if self.seeds == self.of else f" ({self.seeds} of {self.of} seeds)"
        return f"{what} at {self.place} {self.layer}{share}"


@dataclass(frozen=True, eq=False)
class Theory:
    """A predicted log10 statistic by layer, and one standard deviation at the net's width around it (NaN: unknown).

    The deviation is that of the mean square, which the variance shares to first order.
    """

    mean: Float[np.ndarray, " layer"]
    low: Float[np.ndarray, " layer"]
    high: Float[np.ndarray, " layer"]


@dataclass(frozen=True, eq=False)
class Curve:
    """One configuration's log10 statistic, under the name that the figure gives it.

    `mean` is the mean over seeds and `deviation` their standard deviation (one degree of freedom less than
    seeds; None where there is one seed). Both are NaN where the quantity does not exist and from `lost` on.
    `theory` is the infinitely wide net's; None where there is none to draw. `place` is what `layer` counts.
    """

    name: str
    layer: Int[np.ndarray, " layer"]
    mean: Float[np.ndarray, " layer"]
    deviation: Float[np.ndarray, " layer"] | None
    backward: bool
    lost: Lost | None
    theory: Theory | None = None
    place: str = "layer"

    @property
    def drawn(self) -> Int[np.ndarray, " finite"]:
        """Indices of the finite points, in the order of the signal: from the loss down where it runs backward."""
        finite = np.flatnonzero(np.isfinite(self.mean))
        return finite[::-1] if self.backward else finite

    @property
    def traced(self) -> bool:
        """Whether there is anything to draw: a point, or a signal that was lost at once."""
        return bool(self.drawn.size) or self.lost is not None

    @property
    def end(self) -> tuple[int, float] | None:
        """Layer and log10 value where the signal arrives; None where no point is finite."""
        drawn = self.drawn
        return (int(self.layer[drawn[-1]]), float(self.mean[drawn[-1]])) if drawn.size else None


def read_curves(
    ds: xr.Dataset, quantity: str, statistic: str, names: Sequence[str], theory: bool = False
) -> list[Curve]:
    """One curve for each config of the dataset, in order, with the names given; with its `theory` where wanted."""
    array = variable(ds, quantity, statistic)
    layer = np.asarray(array["layer"].values, dtype=int)
    backward = QUANTITIES[quantity].backward
    every = np.asarray(array.values, dtype=float)
    told = depths(ds) if quantity in SIGNALS else [None] * len(every)
    curves = [summarize(n, layer, seeds, backward, depth) for n, seeds, depth in zip(names, every, told, strict=True)]
    if not theory:
        return curves
    return [replace(c, theory=t) for c, t in zip(curves, predictions(ds, quantity, statistic), strict=True)]


def predictions(ds: xr.Dataset, quantity: str, statistic: str) -> list[Theory | None]:
    """What theory says of each config; of gradients, whose mean is 0, variance and mean square are one."""
    count = ds.sizes.get("config", 1)
    names = [f"theory_{quantity}_log10_{s}" for s in (statistic, "mean_square") if s == statistic or statistic == "var"]
    name = next((name for name in names if name in ds), None)
    if name is None:
        return [None] * count

    def rows(name: str) -> Float[np.ndarray, "config layer"]:
        """A variable by config and layer; NaN where the dataset has none."""
        if name not in ds:
            return np.full((count, ds.sizes["layer"]), np.nan)
        one = ds[name].isel(seed=0) if "seed" in ds[name].dims else ds[name]
        return np.asarray(one.values, dtype=float).reshape(count, -1)

    mean, drift, std = rows(name), rows(f"theory_{quantity}_drift"), rows(f"theory_{quantity}_std")
    known = np.isfinite(mean).any(axis=1)
    return [Theory(m, m + d - s, m + d + s) if k else None for m, d, s, k in zip(mean, drift, std, known, strict=True)]


def depths(ds: xr.Dataset) -> list[int | None]:
    """The depth of each net, to whose end its signals are numbers; None of a model's sites, which need not have any."""
    count = ds.sizes.get("config", 1)
    if "layers" in ds.attrs or "depth" not in ds.coords:
        return [None] * count
    return np.broadcast_to(ds["depth"].values, count).tolist()


def summarize(
    name: str,
    layer: Int[np.ndarray, " layer"],
    values: Float[np.ndarray, "seed layer"],
    backward: bool,
    depth: int | None = None,
    place: str = "layer",
) -> Curve:
    """The curve of one config. Seeds that are NaN throughout were never run and do not count."""
    values = values[~np.isnan(values).all(axis=1)]
    seeds = len(values)
    if seeds == 0:
        return Curve(name, layer, np.full(layer.shape, np.nan), None, backward, None, place=place)
    lost = None
    gone = np.isinf(values)
    if depth is not None:
        gone |= np.isnan(values) & (layer >= 1) & (layer <= depth)
    if gone.any():
        there = np.flatnonzero(gone.any(axis=0))
        at = there[-1] if backward else there[0]
        found = values[gone[:, at], at]
        number = not np.isnan(found).any()
        lost = Lost(int(layer[at]), bool((found != -np.inf).any()), int(gone[:, at].sum()), seeds, number, place)
        values = np.where(layer <= layer[at] if backward else layer >= layer[at], np.nan, values)
    deviation = values.std(axis=0, ddof=1) if seeds > 1 else None
    return Curve(name, layer, values.mean(axis=0), deviation, backward, lost, place=place)
