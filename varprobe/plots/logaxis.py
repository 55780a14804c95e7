"""A linear axis of log10 values that reads like a log axis, from 10^-80 to 10^120.

matplotlib's own log scale holds the values themselves, and 10^400 is no float. Here the data stay log10 and
only the ticks are written as powers.
"""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, Locator

__all__ = [
    "ExponentFormatter",
    "ExponentLocator",
    "LayerLocator",
    "MinorExponentLocator",
    "as_power",
    "exact_power",
    "exponent_axis",
]

STEPS = (1, 2, 5)
MOST_TICKS = 7


def as_power(log10_value: float) -> str:
    """The value in math text: 10^97, or 3 x 10^-2 where the exponent is below 10 and rounding would hide much."""
    exponent = math.floor(log10_value)
    mantissa = round(10 ** (log10_value - exponent))
    if mantissa == 10:
        mantissa, exponent = 1, exponent + 1
    if mantissa == 1:
        return rf"$10^{{{exponent}}}$"
    if abs(log10_value) >= 10:
        return rf"$10^{{{round(log10_value)}}}$"
    return rf"${mantissa}\times10^{{{exponent}}}$"


def exact_power(log10_value: float, _: int = 0) -> str:
    """The tick 10^x in math text, where x need not be whole."""
    return f"$10^{{{round(log10_value) if abs(log10_value - round(log10_value)) < 1e-9 else f'{log10_value:.4g}'}}}$"


def exponent_step(span: float, most: int) -> int:
    """The smallest step of 1, 2 or 5 times a power of ten that puts at most `most` ticks on `span` decades."""
    power = 1
    while True:
        for step in STEPS:
            if span <= step * power * most:
                return step * power
        power *= 10


class ExponentLocator(Locator):
    """Ticks at whole exponents."""

    def __call__(self) -> Sequence[float]:
        """The ticks of the axis as it is."""
        assert self.axis is not None
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """The exponents between vmin and vmax."""
        step = self.step(vmin, vmax)
        return [float(step * i) for i in range(math.ceil(vmin / step - 1e-9), math.floor(vmax / step + 1e-9) + 1)]

    def step(self, vmin: float, vmax: float) -> int:
        """Decades from tick to tick, by the room there is."""
        room = self.axis.get_tick_space() if self.axis is not None else MOST_TICKS
        return exponent_step(abs(vmax - vmin), max(1, min(MOST_TICKS, room)))


class MinorExponentLocator(ExponentLocator):
    """Ticks at 2 to 9 times a power where every power has a major tick and they are few, else at powers between."""

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Positions of the minor ticks, in log10."""
        major = self.step(vmin, vmax)
        power = 10 ** int(math.log10(major))
        if major == 1:
            if vmax - vmin > 4.5:
                return []
            exponents = np.arange(math.floor(vmin), math.ceil(vmax))
            ticks = (exponents[:, None] + np.log10(np.arange(2, 10))).ravel()
        else:
            step = {1: power // 2, 2: power, 5: power}[major // power]
            ticks = step * np.arange(math.ceil(vmin / step), math.floor(vmax / step) + 1, dtype=float)
            ticks = ticks[ticks % major != 0]
        return ticks[(ticks >= vmin) & (ticks <= vmax)].tolist()


class ExponentFormatter(Formatter):
    """Writes a log10 value as a power of ten."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The text of a tick."""
        return as_power(x)


class LayerLocator(Locator):
    """Ticks at whole layers, the first one among them: every layer of a short net, round numbers of a deep one."""

    def __init__(self, first: int, last: int) -> None:
        self.first, self.last = first, last

    def __call__(self) -> Sequence[float]:
        """The ticks of the axis as it is."""
        return self.tick_values(self.first, self.last)

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """The layers, whatever the view."""
        room = self.axis.get_tick_space() if self.axis is not None else MOST_TICKS
        step = exponent_step(self.last - self.first, max(2, min(MOST_TICKS - 2, room)))
        round_ones = range(0, self.last + 1, step)
        return [float(self.first), *(float(layer) for layer in round_ones if layer - self.first >= step / 2)]


def exponent_axis(ax: Axes) -> None:
    """Make the y axis of `ax`, which holds log10 values, read as powers of ten."""
    ax.yaxis.set_major_locator(ExponentLocator())
    ax.yaxis.set_minor_locator(MinorExponentLocator())
    ax.yaxis.set_major_formatter(ExponentFormatter())
