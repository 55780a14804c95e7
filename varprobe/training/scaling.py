"""How the size of something goes with width: the power of width that fits it, and the word for that."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.rates import interval
from varprobe.verdicts import threshold

__all__ = ["Power", "power_of", "sure", "told", "word_of"]


class Power(NamedTuple):
    """RMS ~ width^mean; low, high: its 95% interval over seeds, NaN of one. NaN where an RMS is 0 or not finite."""

    mean: float
    low: float
    high: float

    def fields(self, name: str) -> dict[str, Any]:
        """What --json says of it; None where there is none."""
        mean, *ends = (float(value) if np.isfinite(value) else None for value in self)
        return {f"{name}_exponent": mean, f"{name}_exponent_ci95": ends}


def power_of(log10_ms: Float[np.ndarray, "seeds widths"], widths: Sequence[int]) -> Power:
    """The least-squares slope of log RMS against log width, per seed, averaged."""
    x = np.log10(np.asarray(widths, float))
    x = x - x.mean()
    with np.errstate(invalid="ignore"):
        slopes = (log10_ms / 2) @ x / (x @ x)
        return Power(*interval(np.where(np.isfinite(log10_ms).all(axis=1), slopes, np.nan)))


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


def told(power: float) -> str:
    """`width^0.52`."""
    return f"width^{round(power, 2) + 0.0:.2g}" if abs(power) < 1 else f"width^{power:.2f}"
