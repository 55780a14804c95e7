"""Measured against predicted over a plane: the factor by which the gradient's mean square changes per layer.

Both are 10 to the minus slope of a least-squares line through gradient_log10_ms on the deeper half of the layers, where
the forward signal has nearly settled: at infinite depth that is chi_1. The prediction follows the signal from the
measured input through the same number of infinitely wide layers, so that what remains is due to finite width.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from varprobe.activations import Activation
from varprobe.rates import slopes
from varprobe.theory.fixed_points import curve
from varprobe.theory.laws import averages_of

__all__ = ["Measured", "compare", "deeper_half", "predicted_factors"]

Plane = Float[np.ndarray, "sigma_w2 sigma_b2"]
STEPS = 8
"""Points to a doubling of q, between which averages are interpolated: to 1e-8 of their logs."""


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


def compare(ds: Any, act: Activation, sigma_w2: np.ndarray, sigma_b2: np.ndarray) -> Measured:
    """The measured and predicted factors of a sweep of `sigma_w2` and `sigma_b2`, weights varying fastest."""
    depth, shape = int(ds["depth"].values[0]), (sigma_b2.size, sigma_w2.size)
    first, last = deeper_half(depth)
    levels = ds["gradient_log10_ms"].values[:, :, first : last + 1]
    with np.errstate(over="ignore"):
        factors = 10 ** -np.array([slopes(seeds).mean() for seeds in levels])
    inputs = ds["activation_log10_ms"].values[:, :, 0].mean(axis=1).reshape(shape).T
    return Measured(
        measured=np.where(np.isfinite(factors), factors, np.nan).reshape(shape).T,
        predicted=predicted_factors(act, sigma_w2, sigma_b2, depth, inputs * np.log(10)),
        depth=depth,
        width=int(ds["width"].values[0]),
        seeds=ds.sizes["seed"],
        layers=(first, last),
    )


def predicted_factors(
    act: Activation, sigma_w2: np.ndarray, sigma_b2: np.ndarray, depth: int, log_q0: Plane | float = 0.0
) -> Plane:
    """The factors of infinitely wide stacks of `depth` layers whose inputs have ln mean square `log_q0`."""
    grid, _ = curve(act)
    log_q = np.linspace(grid[0], grid[-1], STEPS * round((grid[-1] - grid[0]) / np.log(2)) + 1)
    found = averages_of(act, np.exp(log_q))
    with np.errstate(divide="ignore"):
        table = np.log([found.mean_square, found.derivative_mean_square])
        log_w, log_b = np.log(sigma_w2)[:, None], np.log(sigma_b2)[None, :]
    forward, backward = (beyond(log_q, values) for values in table)
    log_h = np.broadcast_to(log_q0, np.broadcast_shapes(log_w.shape, log_b.shape))
    per_layer = []
    for _ in range(depth):
        q = np.logaddexp(log_w + log_h, log_b)
        log_h = forward(q)
        per_layer.append(log_w + backward(q))
    first, last = deeper_half(depth)
    steps = np.stack(per_layer[first - 1 : last - 1], axis=-1)  # from layer l + 1 to layer l
    levels = -np.concatenate([np.zeros((*steps.shape[:2], 1)), np.cumsum(steps, axis=-1)], axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.exp(-slopes(levels.reshape(-1, levels.shape[-1])).reshape(log_h.shape))


def beyond(x: np.ndarray, y: np.ndarray) -> Any:
    """A function through the points that goes on as a straight line; where y is not finite, as its nearest value."""
    finite = np.isfinite(y)
    if not finite.any():
        return lambda at: np.full_like(at, -np.inf)
    spline = CubicSpline(x[finite], y[finite])
    low, high = x[finite][[0, -1]]

    def value(at: np.ndarray) -> np.ndarray:
        inside = np.clip(at, low, high)
        return spline(inside) + np.where(at == inside, 0.0, spline(inside, 1) * (at - inside))

    return value
