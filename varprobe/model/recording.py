"""`varprobe.Recorder`: the statistics of a training run, and the step at which something leaves its trend."""

from collections import deque
from operator import index
from typing import NamedTuple

import numpy as np
import xarray as xr

from varprobe.errors import InvalidArgumentError
from varprobe.model.layout import Layout
from varprobe.model.probed import Stats, fetched
from varprobe.model.stats import Seen
from varprobe.model.tables import dataset_of
from varprobe.spec.number_format import rounded

__all__ = ["Departure", "Recorder", "sentence"]

WINDOW = 20
"""Records before one that make its trend."""

LEAST = 4
"""Of fewer, the first is what others are compared with."""

FIRST_DECADES = 1.5
"""As far from it is a departure."""

MOST = 100.0
"""Decades; what is exactly zero is no further off."""

DECADES = 0.5
DEVIATIONS = 6
"""A value has left its trend where it is further off than either, and stays so or is not finite."""

SERIES = ("value", "gradient")


class Departure(NamedTuple):
    """Where a run first left its trend: the step, the row of the layout, which series, its size and the trend's."""

    step: int
    row: int
    series: str
    size: float
    expected: float


class Recorder:
    """Keeps what `varprobe.instrument` says of a training run.

    Attributes:
        steps: those recorded.

    Args:
        every: only steps that this divides are recorded.
        keep: of so many, the latest until something leaves its trend, everything is kept; of all others the largest
            magnitude at each site.

    Example:
        recorder = varprobe.Recorder(every=10, keep=50)
        recorder(step, stats)
        print(varprobe.diagnose(recorder))
    """

    def __init__(self, every: int = 1, keep: int = 50) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(f"{value!r} is out of range (allowed: whole numbers from 1)", name)
        self.every = every
        self.steps: list[int] = []
        self.kept: deque[tuple[int, Stats]] = deque(maxlen=keep)
        self.sizes: list[np.ndarray] = []
        self.layout: Layout | None = None
        self.found: Departure | None = None

    def __call__(self, step: int, stats: Stats) -> None:
        """Record a step; only what is recorded is copied from the device.

        Raises:
            InvalidArgumentError: the steps are no whole numbers that rise, or the statistics are none, or another
                model's.
        """
        if not isinstance(stats, Stats):
            raise InvalidArgumentError(
                f"{type(stats).__name__} is not what a function of varprobe.instrument gives", "stats"
            )
        try:
            step = index(step)
        except TypeError as error:
            raise InvalidArgumentError(f"{step!r} is no whole number", "step") from error
        if step % self.every:
            return
        if self.steps and step <= self.steps[-1]:
            raise InvalidArgumentError(f"step {step} comes after step {self.steps[-1]}; steps must rise", "step")
        if self.layout is not None and stats.layout != self.layout:
            raise InvalidArgumentError("these are the statistics of another model, or of other shapes", "stats")
        self.layout = stats.layout
        stats = fetched(stats)
        self.steps.append(step)
        self.sizes.append(sizes_of(stats))
        if self.found is None:
            self.kept.append((step, stats))
            self.found = departure_at(self.steps, self.sizes, len(self.steps) - 2)

    def dataset(self) -> xr.Dataset:
        """The steps that are kept, one configuration each, with the coordinate `step`.

        Raises:
            InvalidArgumentError: nothing was recorded.
        """
        if not self.kept:
            raise InvalidArgumentError("nothing was recorded")
        return dataset_of([[stats] for _, stats in self.kept], {"step": [step for step, _ in self.kept]})

    @property
    def departure(self) -> Departure | None:
        """The first site to leave its trend, at the first step at which one does; of the last step it may pass."""
        return self.found or departure_at(self.steps, self.sizes, len(self.steps) - 1)


def sizes_of(stats: Stats) -> np.ndarray:
    """log10 of the largest magnitude at each row, and of its gradient: (rows, 2); NaN for what was not computed."""
    found = []
    for row in stats.layout.rows:
        slots = {role: (slot, index) for role, slot, index in row.slots}
        slot, index = slots["value"]
        found.append([size(side[slot], index) for side in (stats.forward, stats.backward)])
    return np.array(found).reshape(-1, len(SERIES))


def size(found: Seen, index: tuple[int, ...]) -> float:
    """log10 of the largest magnitude; infinite where it is not a number, or some value is not finite."""
    if not found.computed[index]:
        return np.nan
    if found.overflow[index] > 0 or not np.isfinite(found.absmax[index]):
        return np.inf
    with np.errstate(divide="ignore"):
        return float(np.log10(np.float64(found.absmax[index])) + found.e[index] * np.log10(2.0))


def departure_at(steps: list[int], sizes: list[np.ndarray], t: int) -> Departure | None:
    """The departure at a record, if there is one that lasts to the next; of several the one that is furthest off.

    The trend is a line through the records before, by least squares. A gradient that falls is one that
    converges, and near zero it is noise until it is larger than in the first record.
    """
    if t < 0:
        return None
    now = sizes[t]
    lost = np.isposinf(now)
    off, expected = deviations(steps, sizes, t, t)
    left = lost | (off > 0)
    if t + 1 < len(steps) and left.any():
        left &= lost | (deviations(steps, sizes, t, t + 1)[0] > 0)
    if not left.any():
        return None
    far = np.where(left, np.where(lost, np.inf, off), -np.inf)
    row, series = np.unravel_index(int(np.argmax(far)), far.shape)
    return Departure(steps[t], int(row), SERIES[series], float(now[row, series]), float(expected[row, series]))


def deviations(steps: list[int], sizes: list[np.ndarray], before: int, at: int) -> tuple[np.ndarray, np.ndarray]:
    """(decades beyond what is allowed, the trend's value) at a record, by the records before another."""
    window = np.array(sizes[max(0, before - WINDOW) : before])
    x = np.array(steps[max(0, before - WINDOW) : before], float)
    if not len(x):
        return np.full(sizes[at].shape, -1.0), np.full(sizes[at].shape, np.nan)
    known = np.where(np.isfinite(window), window, np.nan)
    with np.errstate(invalid="ignore"):
        if len(x) < LEAST:
            expected, allowed = known[0], FIRST_DECADES
        else:
            slope, level = line(x, known)
            spread = np.median(np.abs(known - (slope * x[:, None, None] + level)), axis=0) * 1.4826
            expected, allowed = slope * steps[at] + level, np.maximum(DECADES, DEVIATIONS * spread)
        change = sizes[at] - expected
        gradient = SERIES.index("gradient")
        grown = (sizes[at] - sizes[0])[..., gradient]
        change[..., gradient] = np.maximum(np.fmin(change[..., gradient], grown), 0)
        off = np.minimum(np.abs(change), MOST) - allowed
    return np.where(np.isnan(off), -1.0, off), expected


def line(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slope, value at 0) of each series of (records, ...), by least squares; NaN where a record is not finite."""
    center = x - x.mean()
    with np.errstate(invalid="ignore"):
        slope = (center[:, None, None] * y).sum(axis=0) / (center @ center)
        level = y.mean(axis=0) - slope * x.mean()
    return slope, level


def sentence(found: Departure, label: str) -> str:
    """`step 183: blocks/17/attn/logits reached 3.1e4, first to leave its trend`."""
    what = label if found.series == "value" else f"the gradient of {label}"
    reached = "is not finite" if np.isinf(found.size) else f"reached {rounded(10**found.size)}"
    return f"step {found.step}: {what} {reached}, first to leave its trend"
