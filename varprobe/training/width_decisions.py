"""The decision on a curve of RMS against width: it keeps its size, grows, shrinks, or the widths cannot show which."""

import math
from typing import NamedTuple

import numpy as np

from varprobe.training.scaling import Power, Scaling, sure, word_of
from varprobe.verdict.thresholds import threshold

__all__ = ["Decision", "decide"]

NOTICED = 0.25
"""An exponent below this fraction of the threshold is not taken for the start of a power."""
FARTHEST = 4
"""The most steps, each as long as that between the two largest widths, to the width that may decide."""


class Decision(NamedTuple):
    """What a curve does at large widths.

    Attributes:
        word: stable, grows, shrinks or undecided.
        levels: whether it is stable because its exponent falls to 0.
        certain: whether the 95% interval over seeds agrees; False of one seed and of what is undecided.
        power: the exponent that decides, at the largest widths or of one power over all.
        width: the width that may decide; 0 of what is decided.
    """

    word: str
    levels: bool
    certain: bool
    power: Power
    width: int = 0

    @property
    def grows(self) -> bool:
        """Whether the exponent that decides is positive."""
        return self.power.mean > 0


def decide(scaling: Scaling) -> Decision:
    """Decide by the exponent at the largest widths, and by its trend.

    An exponent within the threshold is stable, unless it follows a trend to a power beyond. One beyond the threshold
    that moves back to 0 levels off if its limit is within. It is a power if the limit's interval is beyond, or if it is
    steep and the trend may be chance. Where local exponents follow no trend, one power of all widths settles what the
    largest widths leave open.
    """
    largest, limit, whole = scaling.largest, scaling.limit, scaling.overall
    word = word_of(largest.mean)
    if word == "stable":
        return undecided(scaling) if leaves(scaling) else Decision(word, False, sure(largest), largest)
    returns = largest.mean * (largest.mean - limit.mean) > 0
    if returns and not only(limit, word) and (scaling.bends or not steep(largest)):
        if scaling.bends and word_of(limit.mean) == "stable":
            return Decision("stable", True, sure(limit), largest)
        if scaling.bends or not only(whole, "stable"):
            return undecided(scaling)
        return Decision("stable", False, sure(whole), whole)
    if only(largest, word):
        return Decision(word, False, sure(largest), largest)
    if scaling.bends or not (sure(whole) or word_of(whole.mean) == "stable"):
        return undecided(scaling)
    return Decision(word_of(whole.mean), False, sure(whole), whole)


def only(power: Power, word: str) -> bool:
    """Whether all of the interval has this word; of one seed, whether its value has."""
    ends = (power.low, power.high) if np.isfinite(power.low) else (power.mean,)
    return all(word_of(end) == word for end in ends)


def steep(power: Power) -> bool:
    """Whether the interval is beyond twice the threshold: a curve that levels off is seldom so steep."""
    return bool(power.low > 2 * threshold("grows") or power.high < -2 * threshold("shrinks"))


def leaves(scaling: Scaling) -> bool:
    """Whether a small exponent follows a trend to beyond the threshold: in its limit, or some widths from here."""
    largest, limit = scaling.largest, scaling.limit
    outward = largest.mean * (limit.mean - largest.mean) > 0
    starts = abs(largest.mean) > NOTICED * threshold("grows") and largest.low * largest.high > 0
    beyond = word_of(limit.mean) != "stable" and limit.low * limit.high > 0
    return bool(scaling.bends and outward and starts and (beyond or steps_to_threshold(scaling) <= FARTHEST))


def undecided(scaling: Scaling) -> Decision:
    """The decision that wider networks are needed."""
    count = max(math.ceil(min(steps_to_threshold(scaling), FARTHEST)), 1)
    width = scaling.widths[-1] * (scaling.widths[-1] / scaling.widths[-2]) ** count
    return Decision("undecided", False, False, scaling.largest, round(width))


def steps_to_threshold(scaling: Scaling) -> float:
    """Steps, each as long as the last between widths, until the trend of the exponents meets the threshold.

    The trend is a straight line in the logarithm of the width. 1 if there are two widths.
    """
    if len(scaling.local) < 2:
        return 1.0
    n = np.log(np.asarray(scaling.widths, float))
    exponents = [power.mean for power in scaling.local]
    trend = float(np.polyfit((n[1:] + n[:-1]) / 2, exponents, 1)[0])
    missing = abs(abs(scaling.largest.mean) - threshold("grows"))
    return missing / abs(trend * (n[-1] - n[-2])) if trend else math.inf
