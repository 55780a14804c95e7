"""Measured against predicted over a plane: the factor by which the gradient's mean square changes per layer.

Both are 10 to the minus slope of a least-squares line through gradient_log10_mean_square on the deeper half of the
layers, where the forward signal has nearly settled: at infinite depth that is chi_1. The prediction follows the signal
from the data's mean square through the same number of infinitely wide layers, so that what remains is due to finite
width.
"""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float

from varprobe.verdict.rates import slopes

__all__ = ["Measured", "compare", "deeper_half"]

Plane = Float[np.ndarray, "sigma_w2 sigma_b2"]


@dataclass(frozen=True, eq=False)
class Measured:
    """Factors per layer toward the input, shape (sigma_w2, sigma_b2); NaN where the gradient is not finite.

    Attributes:
        measured: seeds averaged as logs.
        predicted: of the same layers of an infinitely wide stack.
        depth, width, seeds: of the stacks.
        layers: the first and the last layer of the fit.
    """

    measured: Plane
    predicted: Plane
    depth: int
    width: int
    seeds: int
    layers: tuple[int, int]

    @property
    def deviation(self) -> Plane:
        """Measured over predicted, minus 1."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.measured / self.predicted - 1

    @property
    def median(self) -> float:
        """The median magnitude of the deviation; NaN where nothing is finite."""
        finite = np.abs(self.deviation[np.isfinite(self.deviation)])
        return float(np.median(finite)) if finite.size else np.nan

    @property
    def largest(self) -> tuple[int, int] | None:
        """Where the deviation is largest, None where nothing is finite."""
        size = np.where(np.isfinite(self.deviation), np.abs(self.deviation), -1.0)
        i, j = np.unravel_index(size.argmax(), size.shape)
        return (int(i), int(j)) if size[i, j] >= 0 else None


def deeper_half(depth: int) -> tuple[int, int]:
    """The first and the last layer of the fit."""
    return max(1, depth // 2), depth


def compare(ds: xr.Dataset, sigma_w2: np.ndarray, sigma_b2: np.ndarray) -> Measured:
    """The measured and predicted factors of a sweep of `sigma_w2` and `sigma_b2`, weights varying fastest."""
    depth, shape = int(ds["depth"].values[0]), (sigma_b2.size, sigma_w2.size)
    first, last = deeper_half(depth)
    levels = ds["gradient_log10_mean_square"].values[:, :, first : last + 1]
    predicted = ds["theory_gradient_log10_mean_square"].values[:, :1, first : last + 1]

    def plane(levels: np.ndarray) -> Plane:
        """Factors from levels of shape (configurations, seeds, layers)."""
        with np.errstate(over="ignore"):
            factors = 10 ** -np.array([slopes(seeds).mean() for seeds in levels])
        return np.where(np.isfinite(factors), factors, np.nan).reshape(shape).T

    return Measured(
        measured=plane(levels),
        predicted=plane(predicted),
        depth=depth,
        width=int(ds["width"].values[0]),
        seeds=ds.sizes["seed"],
        layers=(first, last),
    )
