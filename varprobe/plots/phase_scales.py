"""Color scales of a phase diagram, both logarithmic: factors diverge from 1, depths rise in lightness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap, LogNorm

from varprobe.plots.style import dark, ground, ladder_map
from varprobe.theory import PhaseGrid

__all__ = ["SCALES", "Scale"]

FACTOR_TICKS = {
    2.0: (0.5, 0.7, 1, 1.4, 2),
    2.5: (0.4, 0.5, 0.7, 1, 1.4, 2, 2.5),
    5.0: (0.2, 0.3, 0.5, 1, 2, 3, 5),
    10.0: (0.1, 0.2, 0.5, 1, 2, 5, 10),
    100.0: (0.01, 0.1, 1, 10, 100),
}
"""The ticks of a scale from 1 / key to key."""
DEEPEST = (30.0, 100.0, 300.0, 1000.0, 3000.0)


@dataclass(frozen=True)
class Scale:
    """What a diagram shows of a grid, and in which colors."""

    label: str
    of: Callable[[PhaseGrid], np.ndarray]
    colors: Callable[[], Colormap]
    limits: Callable[[np.ndarray], tuple[float, float, tuple[float, ...]]]

    def norm(self, planes: Sequence[np.ndarray]) -> tuple[LogNorm, list[float]]:
        """The norm common to planes, and its ticks."""
        values = np.concatenate([np.ravel(plane) for plane in planes])
        low, high, ticks = self.limits(values[~np.isnan(values)])
        return LogNorm(low, high), [float(t) for t in ticks]

    def extend(self, planes: Sequence[np.ndarray], norm: LogNorm) -> str:
        """Which ends of the colorbar are arrows, since values lie beyond."""
        below = any((plane < norm.vmin).any() for plane in planes)
        above = any((plane > norm.vmax).any() for plane in planes)
        return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
            bool(below), bool(above)
        ]


def diverging() -> Colormap:
    """Blue below 1, red above (ColorBrewer's RdBu, safe for the color-blind), the ground at 1."""
    if dark():
        ends = ("#9fd0f5", "#2f7fc1", ground(), "#c8552b", "#f7c1a1")
        return LinearSegmentedColormap.from_list("RdBu_dark", ends, 255)
    return ListedColormap(mpl.colormaps["RdBu_r"](np.linspace(0.1, 0.9, 255)), name="RdBu_pale")


def factor_limits(values: np.ndarray) -> tuple[float, float, tuple[float, ...]]:
    """Even about 1 in the log: as far as nearly all factors above 1 reach, and most of those below, which go to 0."""
    sides = ((values[values > 1], 98), (1 / values[(values > 0) & (values < 1)], 65))
    reach = max((float(np.percentile(side, share)) for side, share in sides if side.size), default=1.0)
    high = next((limit for limit in FACTOR_TICKS if limit >= reach), 100.0)
    return 1 / high, high, FACTOR_TICKS[high]


def depth_limits(values: np.ndarray) -> tuple[float, float, tuple[float, ...]]:
    """From 1 layer to a round number of layers."""
    values = np.where(np.isfinite(values), values, DEEPEST[-1])
    reach = float(np.percentile(values, 98, method="lower")) if values.size else 1.0
    high = next((limit for limit in DEEPEST if limit >= reach), DEEPEST[-1])
    return 1.0, high, tuple(t for t in (1, 3, 10, 30, 100, 300, 1000, 3000) if t <= high)


def depths(grid: PhaseGrid) -> np.ndarray:
    """xi_c, infinite on the critical line."""
    return np.where(grid.phase == "critical", np.inf, grid.xi_c)


SCALES = {
    "chi_1": Scale(r"$\chi_1$, gradient factor per layer", lambda grid: grid.chi_1, diverging, factor_limits),
    "xi": Scale(r"$\xi_c$, correlation depth in layers", depths, ladder_map, depth_limits),
}
