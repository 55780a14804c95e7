"""Rates per layer with intervals over seeds: logs are averaged, never raw values."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

__all__ = ["Rate", "interval", "power", "rate", "slopes"]


class Rate(NamedTuple):
    """How a quantity's mean square changes with depth.

    factor: 10^slope per layer (NaN where there is none); low, high: its 95% t-interval over seeds. ratio: seed mean of
    log10(RMS at the far end / RMS at the near end); ratio_low, ratio_high: its 95% interval.
    """

    factor: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high): Student's 95% interval for the mean over seeds; NaN bounds for one seed."""
    n = values.size
    with np.errstate(invalid="ignore"):
        mean = float(np.mean(values))
        if n < 2 or not np.isfinite(values).all():
            return mean, np.nan, np.nan
        half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(n))
    return mean, mean - half, mean + half


def slopes(log10_mean_square: np.ndarray) -> np.ndarray:
    """Least-squares slope per layer of (seeds, layers) values, one a seed; NaN below two layers or where not finite."""
    layers = np.arange(log10_mean_square.shape[1], dtype=np.float64)
    if layers.size < 2:
        return np.full(log10_mean_square.shape[0], np.nan)
    centered = layers - layers.mean()
    with np.errstate(invalid="ignore"):
        return (log10_mean_square - log10_mean_square[:, :1]) @ centered / (centered @ centered)


def power(exponent: float) -> float:
    """10^exponent, infinity where that overflows."""
    with np.errstate(over="ignore"):
        return float(np.power(10.0, exponent))


def rate(log10_mean_square: np.ndarray) -> Rate:
    """The rate of a quantity from the near end (column 0) to the far end (last column); shape (seeds, layers)."""
    mean, low, high = interval(slopes(log10_mean_square))
    with np.errstate(invalid="ignore"):
        ends = (log10_mean_square[:, -1] - log10_mean_square[:, 0]) / 2
    return Rate(power(mean), power(low), power(high), *interval(ends))
