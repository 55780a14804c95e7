"""Rates per layer with intervals over seeds, and the words for them: logs are averaged, never raw values."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from varprobe.verdict.thresholds import threshold

__all__ = ["Rate", "certain", "factor_fields", "interval", "power", "rate", "slopes", "word"]


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


def factor_fields(found: Rate | None) -> tuple[float | None, list[float | None]]:
    """A factor and its interval; None where it is not finite, not above zero or not measured."""
    if found is None or not (math.isfinite(found.factor) and found.factor > 0):
        return None, [None, None]
    return found.factor, [x if math.isfinite(x) else None for x in (found.low, found.high)]


def word(found: Rate, log10_mean_square: Float[np.ndarray, "seeds layers"]) -> str:
    """The word for the seed-mean RMS ratio between layers 1 and L, near end first."""
    if math.isnan(found.ratio):  # zero from end to end, or out of range
        return (
            "vanishing"
            if np.isneginf(log10_mean_square).any() and not np.isnan(log10_mean_square).any()
            else "exploding"
        )
    return word_of_ratio(found.ratio)


def word_of_ratio(ratio: float) -> str:
    """The word for log10 of an RMS ratio."""
    mild, severe = math.log10(threshold("stable")), math.log10(threshold("vanishing"))
    if abs(ratio) <= mild:
        return "stable"
    if ratio < 0:
        return "shrinking" if ratio >= -severe else "vanishing"
    return "growing" if ratio <= severe else "exploding"


def certain(found: Rate, log10_mean_square: Float[np.ndarray, "seeds layers"]) -> bool:
    """Whether both ends of the ratio's interval have one word; where it is not finite, whether all seeds have."""
    if not math.isfinite(found.ratio):
        return len({word(rate(seed[None]), seed[None]) for seed in log10_mean_square}) == 1
    if not (math.isfinite(found.ratio_low) and math.isfinite(found.ratio_high)):
        return False
    return word_of_ratio(found.ratio_low) == word_of_ratio(found.ratio_high)
