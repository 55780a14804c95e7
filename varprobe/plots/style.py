"""The look of a published figure: sizes in points, a color-blind-safe palette, dashes that survive greyscale.

Colors are Okabe and Ito's without yellow, which is too pale for a line on white. Colors and dashes step
together and their counts share no factor, so 28 curves differ before a pair repeats. Fonts ship with
matplotlib, so a figure has the same bytes on every machine with the same matplotlib.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_hex, to_rgb

__all__ = [
    "LABEL_SIZE",
    "LEAST_SIZE",
    "LINE_WIDTH",
    "NOTE_SIZE",
    "Look",
    "ladder_map",
    "looks",
    "ordered_looks",
    "paper",
    "tidy",
]

LABEL_SIZE = 7.0
NOTE_SIZE = 6.5
LEAST_SIZE = 6.0
"""Points below which a text is not readable in print."""
LINE_WIDTH = 1.1

PAPER: dict[str, Any] = {
    "font.family": ["STIXGeneral", "DejaVu Sans"],
    "mathtext.fontset": "stix",
    "font.size": 8.0,
    "axes.labelsize": 8.0,
    "axes.titlesize": 8.0,
    "axes.linewidth": 0.6,
    "axes.labelpad": 2.5,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "figure.dpi": 150.0,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": "black",
    "axes.labelcolor": "black",
    "axes.edgecolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
    "text.usetex": False,
    "axes.grid": False,
}


def paper() -> AbstractContextManager[None]:
    """A context with matplotlib's own defaults and the settings of a paper, whatever the caller's are."""
    return style.context(["default", PAPER])


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES: tuple[tuple[float, ...], ...] = ((), (4.5, 1.4), (1.2, 1.1), (5.0, 1.2, 1.2, 1.2))


@dataclass(frozen=True)
class Look:
    """How one curve is drawn: its color, its dashes in line widths (empty: solid), and a color fit for its text."""

    color: str
    dashes: tuple[float, ...] = ()

    @property
    def ink(self) -> str:
        """The color, darkened until text in it has a contrast of at least 4.5 to white (WCAG 2, level AA)."""
        rgb = to_rgb(self.color)
        while 1.05 / (luminance(rgb) + 0.05) < 4.5:
            rgb = (rgb[0] * 0.95, rgb[1] * 0.95, rgb[2] * 0.95)
        return to_hex(rgb)

    @property
    def theory(self) -> str:
        """The color of what theory predicts, to be seen upon the curve: darkened, and of black a grey."""
        red, green, blue = to_rgb(self.color)
        black = max(red, green, blue) < 0.1
        return "#8c8c8c" if black else to_hex((0.55 * red, 0.55 * green, 0.55 * blue))

    @property
    def linestyle(self) -> Any:
        """The dashes as matplotlib takes them."""
        return (0.0, self.dashes) if self.dashes else "-"


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB color, in [0, 1] (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def looks(count: int) -> list[Look]:
    """Looks for `count` curves that have no order."""
    return [Look(PALETTE[i % len(PALETTE)], DASHES[i % len(DASHES)]) for i in range(count)]


def ladder_map() -> Colormap:
    """Viridis without its pale end: even in lightness, so its order survives greyscale."""
    return ListedColormap(mpl.colormaps["viridis"](range(225)), name="viridis_dark")


def ordered_looks(positions: Sequence[float]) -> list[Look]:
    """Looks for curves with an order, from their positions in [0, 1] on it."""
    colors = ladder_map()
    return [Look(to_hex(colors(position))) for position in positions]


def tidy(ax: Axes) -> None:
    """Ticks, grid and spines of a panel whose curves run open-ended to the labels beside it."""
    # sizes that hold when the figure is drawn later, under other settings
    ax.tick_params("x", labelsize=mpl.rcParams["xtick.labelsize"])
    ax.tick_params("y", labelsize=mpl.rcParams["ytick.labelsize"])
    ax.tick_params(which="major", length=2.5, width=0.6, pad=2.0)
    ax.tick_params(which="minor", length=1.5, width=0.4)
    ax.grid(axis="y", color="0.92", linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines["top"].set_visible(False)
