"""The range of the y axis: it follows the curves that are not extreme, and the others leave it."""

from collections.abc import Sequence

import numpy as np

from varprobe.plots.curves import Curve

__all__ = ["Range", "common_ranges", "leaves", "visible_range"]

Range = tuple[float, float]

SMALL = 32.0
"""Decades from the common start that a panel always shows: within these nothing is hidden."""
LARGE = 45.0
"""Decades from the common start beyond which a curve is extreme, however many do the same."""
LEAST = 2.0
"""Decades that a panel spans at least, so that two powers of ten are marked and noise looks like noise."""
STEEP = 12.0
"""Decades that a panel spans at least where curves leave it, so that they are seen to go."""
SQUEEZE = 0.45
"""Share of its height that a panel keeps, at least, for what it shows, when it shares its range with others."""
NOTE = 9.5
"""Points of height that the note of a curve that leaves takes; there is room for two on each side."""


def visible_range(curves: Sequence[Curve], full_range: bool = False, height: float = 150.0) -> Range:
    """Bottom and top of the axis, in log10, for a panel of some height in points.

    A curve is extreme if it strays from the common start (the median of all starts) by more than three times
    what the lower half of the curves does, kept between 32 and 45 decades. Where all are extreme, none is; one that
    would all but fit is not either.
    """
    drawn = [c for c in curves if c.drawn.size]
    if not drawn:
        return -1.0, 1.0
    start = float(np.median([c.mean[c.drawn[0]] for c in drawn]))
    strays = np.array([np.abs(c.mean[c.drawn] - start).max() for c in drawn])
    window = np.clip(3 * np.sort(strays)[(len(strays) - 1) // 2], SMALL, LARGE)
    kept = strays <= window
    if full_range or not kept.any():
        kept[:] = True
    while True:
        low, high = with_room(drawn, kept, height)
        near = np.array([low <= np.nanmin(c.mean) and np.nanmax(c.mean) <= high for c in drawn])
        also = kept | (near & (strays <= LARGE))
        if (also == kept).all():
            return low, high
        kept = also


def with_room(curves: Sequence[Curve], kept: np.ndarray, height: float) -> Range:
    """The range of the kept curves, with a margin, and room to see the others go and to note where to."""
    low, high = extent([curve for curve, keep in zip(curves, kept, strict=True) if keep])
    gone = [curve for curve, keep in zip(curves, kept, strict=True) if not keep]
    above = len({round(np.nanmax(c.mean)) for c in gone if np.nanmax(c.mean) > high})
    below = len({round(np.nanmin(c.mean)) for c in gone if np.nanmin(c.mean) < low})
    span = max(high - low, STEEP if gone else LEAST)
    margin = 0.04 * span if gone else max(0.04 * span, (span - (high - low)) / 2)
    lines = np.minimum([below, above], 2)
    shares = np.minimum((NOTE * lines + 3.5 * (lines > 0)) / height, 0.24)
    rooms = span * shares / (1 - shares.sum())
    lacking = (span - (high - low)) / max(1, (lines > 0).sum()) if gone else 0.0
    rooms += lacking * (lines > 0)
    return low - margin - float(rooms[0]), high + margin + float(rooms[1])


def extent(curves: Sequence[Curve]) -> Range:
    """Smallest and largest value, bands included."""
    bands = [0.0 if c.deviation is None else np.nan_to_num(c.deviation) for c in curves]
    low = min(np.nanmin(c.mean - band) for c, band in zip(curves, bands, strict=True))
    high = max(np.nanmax(c.mean + band) for c, band in zip(curves, bands, strict=True))
    return float(low), float(high)


def common_ranges(
    panels: Sequence[Sequence[Sequence[Curve]]], full_range: bool = False, height: float = 150.0
) -> list[list[Range]]:
    """The range of each panel, given their curves by row and column.

    The first of these that leaves what each panel shows nearly half of its height: one range for all, one for
    each column, one for each row; else each panel has its own.
    """
    own = {
        (r, c): visible_range(curves, full_range, height)
        for r, row in enumerate(panels)
        for c, curves in enumerate(row)
    }
    for sharing in ({cell: 0 for cell in own}, {cell: cell[1] for cell in own}, {cell: cell[0] for cell in own}):
        ranges = {}
        for share in set(sharing.values()):
            cells = [cell for cell in own if sharing[cell] == share]
            together = [curve for r, c in cells for curve in panels[r][c]]
            ranges.update(dict.fromkeys(cells, visible_range(together, full_range, height)))
        if all(own[cell][1] - own[cell][0] >= SQUEEZE * (ranges[cell][1] - ranges[cell][0]) for cell in own):
            own = ranges
            break
    return [[own[r, c] for c in range(len(row))] for r, row in enumerate(panels)]


def leaves(curve: Curve, low: float, high: float) -> int:
    """1 if the curve ends above the range, 0 if inside, -1 if below, if it is lost to zero or was not measured."""
    if curve.lost is not None:
        return 1 if curve.lost.infinite else -1
    if curve.end is None:
        return -1
    return int(curve.end[1] > high) - int(curve.end[1] < low)
