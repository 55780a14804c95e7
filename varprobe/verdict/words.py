"""The word for what a signal does from end to end, and how sure it is."""

import math

import numpy as np
from jaxtyping import Float

from varprobe.verdict.rates import Rate, rate
from varprobe.verdict.thresholds import threshold

__all__ = ["certain", "factor_fields", "word"]


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
