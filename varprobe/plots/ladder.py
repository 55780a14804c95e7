"""Ladders: values that differ in one number, such as the points of a sigma_w^2 axis, have an order and a short name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm, Normalize, SymLogNorm

__all__ = ["Ladder", "find_ladder"]

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.])")


@dataclass(frozen=True)
class Ladder:
    """The number in each value, in the order of the values, and what the number is, as text for a label."""

    symbol: str
    numbers: tuple[float, ...]

    @property
    def norm(self) -> Normalize:
        """Number to [0, 1]: by its logarithm where the steps are even in that, or the range is wide.

        0 may come before such steps, as before those of training.
        """
        rungs = np.unique(self.numbers)
        if rungs[0] == 0 and len(rungs) > 3 and rungs[-1] > 3 * np.median(rungs[1:]):
            return SymLogNorm(rungs[1], linscale=0.4, vmin=0, vmax=rungs[-1])
        if rungs[0] <= 0:
            return Normalize(rungs[0], rungs[-1])
        ratios, steps = rungs[1:] / rungs[:-1], np.diff(rungs)
        geometric = len(rungs) > 2 and np.ptp(ratios) < 0.02 * ratios.mean() and np.ptp(steps) > 0.02 * steps.mean()
        wide = rungs[-1] / rungs[0] > 300
        return (LogNorm if geometric or wide else Normalize)(rungs[0], rungs[-1])

    def text(self, number: float) -> str:
        """The short name of one rung."""
        return f"{self.symbol} = {number:.4g}" if self.symbol else f"{number:.4g}"


def find_ladder(coordinate: str, values: Sequence[object]) -> Ladder | None:
    """The ladder that these values of a coordinate form, or None: numbers, or strings that differ in one number."""
    if all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values):
        return Ladder(coordinate, tuple(float(v) for v in values))  # type: ignore[arg-type]
    texts = [str(v) for v in values]
    if len(set(texts)) < 2 or len({NUMBER.sub("#", t) for t in texts}) != 1:
        return None
    numbers = np.array([[float(n) for n in NUMBER.findall(t)] for t in texts])
    different = np.flatnonzero(np.ptp(numbers, axis=0))
    if len(different) != 1:
        return None
    place = int(different[0])
    match = list(NUMBER.finditer(texts[0]))[place]
    return Ladder(symbol(coordinate, texts[0], match.start()), tuple(numbers[:, place]))


def symbol(coordinate: str, text: str, start: int) -> str:
    """What the number at `start` in a call form is: sigma_w^2 or sigma_b^2 where it is one, else its keyword."""
    keyword = re.search(r"(\w+)=$", text[:start])
    name = keyword.group(1) if keyword else ""
    if text.startswith("variance_scaling(") and name == "scale" and "fan_in" in text:
        return r"$\sigma_w^2$"
    if coordinate == "bias" and name == "var":
        return r"$\sigma_b^2$"
    return name or coordinate
