"""The plane of a phase diagram: the values that a user names, or those that show the activation's critical line."""

from typing import Any

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.spec.arguments import numbers
from varprobe.spec.expressions import number_text
from varprobe.theory import CriticalLine

__all__ = ["LARGEST", "MOST", "axes_for", "axis", "is_logarithmic"]

Values = Float[np.ndarray, " values"]
MOST = 100
"""Values of one axis."""
LARGEST = 1e6
ROUND = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])
RATIO = 25
"""Initializers (1 and 2) and the start of the line farther apart than this are shown on a logarithmic axis."""


def axis(option: str, value: Any) -> Values:
    """The ascending values that an option names, at least two.

    Raises:
        InvalidArgumentError: a value is out of range, or there are too few or too many for an image.
    """
    found = np.unique(numbers(option, value, 0, int(LARGEST), integer=False))
    if option == "sigma_w2" and found[0] == 0:
        raise InvalidArgumentError(f"0 is out of range (allowed: numbers above 0, to {number_text(LARGEST)})", option)
    if found.size < 2:
        raise InvalidArgumentError(
            f"{value!r} is one value, and an axis takes a range such as 0.1:4:50 (varprobe theory is for one point)",
            option,
        )
    if found.size > MOST:
        raise InvalidArgumentError(f"{found.size} values are too many for an axis (at most {MOST})", option)
    return found


def axes_for(line: CriticalLine, count: int = 50) -> tuple[Values, Values]:
    """(sigma_w2, sigma_b2), `count` values each, with the start of the line and the initializers at 1 and 2 inside."""
    if not line.q.size:
        return evenly(4.0, count), np.linspace(0.0, 1.0, count)
    starts = line.sigma_b2.min() == 0
    start = float(line.sigma_w2[line.sigma_b2.argmin() if starts else np.abs(np.log(line.q)).argmin()])
    bias = wanted_bias(line, start)
    seen = line.sigma_w2[line.sigma_b2 <= bias].max(initial=start)
    if max(start, 2.0) > RATIO * min(start, 1.0):
        return np.geomspace(min(start, 1.0) / 4, max(start, 2.0) * 4, count), np.linspace(0.0, bias, count)
    top = rounded(max(4.0, 1.25 * min(seen, max(4.0, 3 * start))))
    return evenly(top, count), np.linspace(0.0, bias, count)


def wanted_bias(line: CriticalLine, start: float) -> float:
    """The largest sigma_b2: 1, or as far as the line needs to move by a seventh of its start; 20 at most."""
    moved = line.sigma_b2[np.abs(line.sigma_w2 / start - 1) > 1 / 7]
    return rounded(float(np.clip(moved.min(initial=np.inf), 1.0, 20.0))) if moved.size else 1.0


def evenly(top: float, count: int) -> Values:
    """`count` even steps from 0, which is left out, to `top`."""
    return top * np.arange(1, count + 1) / count


def rounded(value: float) -> float:
    """The next round number."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * ROUND[np.searchsorted(ROUND, value / power * (1 - 1e-9))])


def is_logarithmic(values: Values) -> bool:
    """Whether the values keep one ratio rather than one distance."""
    if values.size < 3 or values[0] <= 0:
        return False
    ratios, steps = np.diff(np.log(values)), np.diff(values)
    return bool(np.ptp(ratios) < 1e-6 * ratios.mean() < np.ptp(steps) / values[-1])
