"""How the size of something goes with width: powers of width with intervals over seeds, and the words for them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtr

from varprobe.verdict.rates import interval
from varprobe.verdict.thresholds import threshold

__all__ = ["Power", "Scaling", "as_text", "power_of", "scaling_of", "sure", "word_of"]

BENDS = 0.05
"""Local exponents follow a trend if chance makes one as strong, in that direction, less often than this."""


class Power(NamedTuple):
    """RMS ~ width^mean; low, high: its 95% interval over seeds, NaN of one. NaN where an RMS is 0 or not finite."""

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval; NaN of one seed."""
        return self.high - self.mean

    def fields(self, name: str) -> dict[str, Any]:
        """Its entries in --json; None for what is not finite."""
        mean, *ends = (float(value) if np.isfinite(value) else None for value in self)
        return {f"{name}_exponent": mean, f"{name}_exponent_ci95": ends}


class Scaling(NamedTuple):
    """The powers of width of an RMS that was measured at several widths.

    Attributes:
        widths: ascending, two at least.
        local: exponents between neighboring widths, one fewer than widths.
        overall: of one power that is fitted to all widths.
        limit: of an infinite width, if local exponents approach it like width^-1/2; NaN of two widths.
        bends: whether the local exponents follow a trend, by a one-sided t test over seeds at 5%; of one seed, whether
            there are three widths.
    """

    widths: tuple[int, ...]
    local: tuple[Power, ...]
    overall: Power
    limit: Power
    bends: bool

    @property
    def largest(self) -> Power:
        """The exponent between the two largest widths."""
        return self.local[-1]

    def fields(self, name: str) -> dict[str, Any]:
        """Its entries in --json: NAME_exponent at the largest widths, NAME_exponents, NAME_limit."""
        limit = self.limit.mean
        return self.largest.fields(name) | {
            f"{name}_exponents": [float(power.mean) for power in self.local],
            f"{name}_limit": float(limit) if np.isfinite(limit) else None,
        }


def scaling_of(log10_mean_square: Float[np.ndarray, "seeds widths"], widths: Sequence[int]) -> Scaling | None:
    """The powers of width of the largest widths at which every seed is above 0; None where these are fewer than two."""
    found = np.isfinite(log10_mean_square).all(axis=0)
    first = found.size - int(np.argmin(found[::-1])) if not found.all() else 0
    if found.size - first < 2:
        return None
    n, log10_rms = np.asarray(widths[first:], float), log10_mean_square[:, first:] / 2
    slopes = np.diff(log10_rms) / np.diff(np.log10(n))
    overall = power_of(log10_mean_square[:, first:], widths[first:])
    local = tuple(Power(*interval(slope)) for slope in slopes.T)
    nowhere = Power(np.nan, np.nan, np.nan)
    if n.size < 3:
        return Scaling(tuple(widths[first:]), local, overall, nowhere, False)
    x = (n[1:] * n[:-1]) ** -0.25
    trends = slopes @ (x - x.mean()) / np.square(x - x.mean()).sum()
    limit = Power(*interval(slopes.mean(axis=1) - trends * x.mean()))
    return Scaling(tuple(widths[first:]), local, overall, limit, is_trend(trends))


def is_trend(values: Float[np.ndarray, " seeds"]) -> bool:
    """Whether the mean over seeds is not zero; always of one seed."""
    if values.size < 2:
        return True
    error = values.std(ddof=1) / np.sqrt(values.size)
    return bool(error == 0 or stdtr(values.size - 1, -abs(values.mean()) / error) < BENDS)


def power_of(log10_mean_square: Float[np.ndarray, "seeds widths"], widths: Sequence[int]) -> Power:
    """The least-squares slope of log RMS against log width, per seed, averaged."""
    x = np.log10(np.asarray(widths, float))
    x = x - x.mean()
    with np.errstate(invalid="ignore"):
        slopes = (log10_mean_square / 2) @ x / (x @ x)
        return Power(*interval(np.where(np.isfinite(log10_mean_square).all(axis=1), slopes, np.nan)))


def word_of(power: float) -> str:
    """The word for a power of width; "" where there is none."""
    if np.isnan(power):
        return ""
    if power > threshold("grows"):
        return "grows"
    return "shrinks" if power < -threshold("shrinks") else "stable"


def sure(power: Power) -> bool:
    """Whether both ends of the interval have one word."""
    return bool(np.isfinite(power.low)) and word_of(power.low) == word_of(power.high)


def as_text(power: float) -> str:
    """`width^0.52`."""
    return f"width^{round(power, 2) + 0.0:.2g}" if abs(power) < 1 else f"width^{power:.2f}"
