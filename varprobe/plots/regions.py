"""Names of regions of a plane, each where its region has most room, or nowhere."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

__all__ = ["roomiest"]


def roomiest(
    free: Bool[np.ndarray, "columns rows"], sizes: Sequence[tuple[float, float]], clear: float = 3.0
) -> tuple[int, tuple[float, float]] | None:
    """(which size, its center) of the first box that fits into the free cells of a panel, where it is freest.

    Args:
        free: cells of one square point each, the first at the lower left.
        sizes: width and height of boxes in points, in order of preference.
        clear: points of free room around a box.
    """
    total = np.pad(free.astype(np.int64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    for which, size in enumerate(sizes):
        for extra in (40.0, 20.0, 10.0, 0.0):  # with room around it where there is some
            w, h = (int(np.ceil(s + 2 * clear + extra)) for s in size)
            if w > free.shape[0] or h > free.shape[1]:
                continue
            inside = total[w:, h:] - total[:-w, h:] - total[w:, :-h] + total[:-w, :-h]
            places = np.argwhere(inside == w * h)
            if len(places):
                middle = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()]
                return which, (float(middle[0] + w / 2), float(middle[1] + h / 2))
    return None
