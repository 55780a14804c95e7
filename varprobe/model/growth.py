"""Whether a mean square changes by a factor a site, or like a power of depth as in residual streams."""

from typing import NamedTuple

import numpy as np

__all__ = ["Growth", "growth_of"]

LEAST = 6
"""Sites from which two laws can be told apart."""

CHANGED = 0.3
"""Decades of mean square below which there is nothing to tell apart."""

ROUGH = 0.03
"""Decades, root mean square: an exponential that fits as well as this is one."""

STEEPEST = 4.0
"""Exponents above this are those of an exponential, which a power far from its start resembles."""

BETTER = 0.3
"""The squared residuals of a power of depth are below this part of an exponential's."""


class Growth(NamedTuple):
    """mean square ~ (site + start)^exponent, site being 1, 2, ... in the order of execution."""

    exponent: float
    start: float


def growth_of(log10_mean_square: np.ndarray) -> Growth | None:
    """The power of depth that fits values (seeds, sites) better than an exponential does; None if none does.

    Both are fitted by least squares to log10 of the mean square, averaged over seeds. A residual stream to which each
    block adds as much begins with what the embedding gives, which is the start.
    """
    values = log10_mean_square.mean(axis=0)
    if values.size < LEAST or not np.isfinite(values).all() or np.ptp(values) < CHANGED:
        return None
    sites = np.arange(1, values.size + 1, dtype=float)
    exponential = residual(sites, values)[0]
    starts = np.concatenate([[0.0], np.geomspace(0.1, values.size, 24)])
    least, exponent, start = min((*residual(np.log10(sites + start), values), float(start)) for start in starts)
    rough = exponential > values.size * ROUGH**2
    if not rough or least >= BETTER * exponential or abs(exponent) > STEEPEST or start == starts[-1]:
        return None
    return Growth(exponent, start)


def residual(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(sum of squared residuals of a line, its slope)."""
    slope, level = np.polyfit(x, y, 1)
    return float(np.sum((y - slope * x - level) ** 2)), float(slope)
