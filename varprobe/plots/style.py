"""The look of a published figure: where it will stand, a color-blind-safe palette, dashes that survive greyscale.

Colors are Okabe and Ito's without yellow, which is too pale for a line on white. Colors and dashes step
together and their counts share no factor, so 28 curves differ before a pair repeats. Fonts ship with
matplotlib, so a figure has the same bytes on every machine with the same matplotlib.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from shutil import which
from typing import Any

import matplotlib as mpl
from matplotlib import style as mpl_style
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_hex, to_rgb

from varprobe.errors import InvalidArgumentError, lookup

__all__ = [
    "AXIS_SIZE",
    "LABEL_SIZE",
    "LEAST_SIZE",
    "LINE_WIDTH",
    "NOTE_SIZE",
    "STYLES",
    "Look",
    "Style",
    "dark",
    "grey",
    "ground",
    "ink",
    "ladder_map",
    "looks",
    "ordered_looks",
    "paper",
    "settings",
    "sheet",
    "sized",
    "style",
    "ticks",
    "tidy",
    "usetex",
]

AXIS_SIZE = 8.0
"""Points of axis labels in the style `paper`; every other size below is relative to it."""
LABEL_SIZE = 7.0
NOTE_SIZE = 6.5
LEAST_SIZE = 6.0
"""Points below which a text is not readable in print."""
LINE_WIDTH = 1.1
TEXT_WIDTH = 5.5
"""Inches of a figure that fills the text of the style `paper`."""


@dataclass(frozen=True)
class Style:
    """Where a figure will stand.

    Attributes:
        widths: inches of one column and of the whole text.
        size: points of axis labels.
        serif: Times-like letters, as the text has; else those of a screen.
        dark: light on dark.
        columns: how many columns the figure spans, 1 or 2.
        usetex: texts are set by LaTeX.
        tall: inches that a page leaves.
    """

    widths: tuple[float, float] = (TEXT_WIDTH, TEXT_WIDTH)
    size: float = AXIS_SIZE
    serif: bool = True
    dark: bool = False
    columns: int = 1
    usetex: bool = False
    tall: float = 9.0

    @property
    def width(self) -> float:
        """Inches of a figure that fills its columns."""
        return self.widths[self.columns - 1]


STYLES = {
    "paper": Style(),
    "neurips": Style(size=9.0),  # neurips_2024.sty: text 5.5 in, 10 pt
    "iclr": Style(size=9.0),  # iclr2024_conference.sty: text 5.5 in, 10 pt
    "icml": Style((3.25, 6.75)),  # icml2024.sty: columns of 3.25 in, 0.25 in apart, 10 pt, captions 9 pt
    "aps": Style((3.375, 7.0)),  # REVTeX 4.2: columns of 246 pt, text 510 pt, letters of at least 2 mm
    "ieee": Style((3.5, 7.16)),  # IEEE: columns of 3.5 in, text 7.16 in, letters of 8 to 10 pt
    "slides": Style((10.0, 12.0), 18.0, serif=False, tall=7.0),  # upon a page of 13.33 x 7.5 in
    "dark": Style((10.0, 12.0), 18.0, serif=False, dark=True, tall=7.0),
}
"""The styles by name; two widths are one column's and the text's."""
chosen: ContextVar[Style] = ContextVar("varprobe_style", default=STYLES["paper"])


@contextmanager
def style(name: str, *, columns: int = 1, usetex: bool = False) -> Iterator[Style]:
    """Draw the figures made inside in a style: true column widths, sizes and letters of where they will stand.

    Save them inside, too: with `usetex` the letters are chosen when a figure is drawn for its file.

        with varprobe.style("icml"):
            ax = varprobe.plot_variance(ds)
            ax.figure.savefig("fig.pdf")

    Args:
        name: paper, neurips, iclr, icml, aps, ieee, slides or dark.
        columns: 2 for a figure across both columns (icml, aps, ieee), or all of a slide.
        usetex: have LaTeX set the texts, where it is installed; else matplotlib does, in letters like Times.

    Raises:
        InvalidArgumentError: another name or number of columns, or no LaTeX here.
    """
    found = lookup(STYLES, name, "style")
    if type(columns) is not int or columns not in (1, 2):
        raise InvalidArgumentError(f"{columns!r} is not 1 or 2", "columns")
    if columns == 2 and found.widths[0] == found.widths[1]:
        raise InvalidArgumentError(f"{name} has one column", "columns")
    if usetex and not (which("latex") and which("dvipng")):
        raise InvalidArgumentError(
            "latex and dvipng are not installed here; without it matplotlib sets the texts", "usetex"
        )
    token = chosen.set(replace(found, columns=columns, usetex=usetex))
    try:
        yield chosen.get()
    except RuntimeError as error:  # of matplotlib, with LaTeX's whole log
        if not usetex or "latex" not in str(error).lower():
            raise
        raise InvalidArgumentError(
            "LaTeX cannot set a text of this figure; does it know all of the letters?", "usetex"
        ) from error
    finally:
        chosen.reset(token)


def sized(points: float) -> float:
    """A size of the style `paper` (letters, lines), in proportion to the letters of the style that is chosen."""
    return points * chosen.get().size / AXIS_SIZE


def sheet(width: float, height: float) -> tuple[float, float]:
    """Inches of a figure that is so large in the style `paper`: its columns filled if the text is there, else less."""
    most = chosen.get().width
    return most if width >= TEXT_WIDTH else min(sized(width), most), min(sized(height), chosen.get().tall)


def dark() -> bool:
    """Whether figures are light on dark."""
    return chosen.get().dark


def usetex() -> bool:
    """Whether LaTeX sets the texts."""
    return chosen.get().usetex


def ink() -> str:
    """The color of text and of axes."""
    return "#f2f2f2" if dark() else "black"


def ground() -> str:
    """The color behind the figure."""
    return "#14171c" if dark() else "white"


def grey(level: float) -> str:
    """A grey between ink (0) and ground (1)."""
    low, high = to_rgb(ink()), to_rgb(ground())
    return to_hex(tuple(a + level * (b - a) for a, b in zip(low, high, strict=True)))  # type: ignore[arg-type]


def settings() -> dict[str, Any]:
    """The settings of matplotlib that make the style."""
    now = chosen.get()
    return {
        "font.family": ["serif"] if now.usetex else ["STIXGeneral", "DejaVu Sans"] if now.serif else ["DejaVu Sans"],
        "font.serif": ["Times"],
        "mathtext.fontset": "stix" if now.serif else "dejavusans",
        "font.size": now.size,
        "axes.labelsize": now.size,
        "axes.titlesize": now.size,
        "axes.linewidth": sized(0.6),
        "axes.labelpad": 2.5,
        "xtick.labelsize": sized(LABEL_SIZE),
        "ytick.labelsize": sized(LABEL_SIZE),
        "figure.dpi": 150.0,
        "figure.facecolor": ground(),
        "axes.facecolor": ground(),
        "text.color": ink(),
        "axes.labelcolor": ink(),
        "axes.edgecolor": ink(),
        "xtick.color": ink(),
        "ytick.color": ink(),
        "text.usetex": now.usetex,
        "text.latex.preamble": r"\usepackage{amsmath}\usepackage{amssymb}",
        "axes.grid": False,
    }


def paper() -> AbstractContextManager[None]:
    """A context with matplotlib's own defaults and the settings of the style, whatever the caller's are."""
    return mpl_style.context(["default", settings()])


PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
DASHES: tuple[tuple[float, ...], ...] = ((), (4.5, 1.4), (1.2, 1.1), (5.0, 1.2, 1.2, 1.2))


@dataclass(frozen=True)
class Look:
    """How one curve is drawn: its color, its dashes in line widths (empty: solid), and a color fit for its text."""

    color: str
    dashes: tuple[float, ...] = ()

    @property
    def ink(self) -> str:
        """The color as text may have it (WCAG 2, AA)."""
        return self.with_contrast(4.5)

    def with_contrast(self, least: float) -> str:
        """The color, moved toward black or white until it has this contrast to its ground, in [1, 21]."""
        rgb, toward = to_rgb(self.color), float(dark())
        while contrast(rgb, to_rgb(ground())) < least:
            rgb = (0.95 * rgb[0] + 0.05 * toward, 0.95 * rgb[1] + 0.05 * toward, 0.95 * rgb[2] + 0.05 * toward)
        return to_hex(rgb)

    @property
    def theory(self) -> str:
        """The color of what theory predicts, to be seen upon the curve: nearer to the ink, and of the ink a grey."""
        if self.color == to_hex(ink()):
            return grey(0.55)
        own, towards = to_rgb(self.color), to_rgb(ink())
        return to_hex(tuple(0.55 * a + 0.45 * b for a, b in zip(own, towards, strict=True)))  # type: ignore[arg-type]

    @property
    def linestyle(self) -> Any:
        """The dashes as matplotlib takes them."""
        return (0.0, self.dashes) if self.dashes else "-"


def luminance(rgb: Sequence[float]) -> float:
    """Relative luminance of an sRGB color, in [0, 1] (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: Sequence[float], b: Sequence[float]) -> float:
    """The contrast ratio of two sRGB colors, in [1, 21] (WCAG 2)."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def looks(count: int) -> list[Look]:
    """Looks for `count` curves that have no order; black is the color of the ink."""
    colors = [to_hex(ink()) if color == "#000000" else color for color in PALETTE]
    return [Look(colors[i % len(colors)], DASHES[i % len(DASHES)]) for i in range(count)]


def ladder_map() -> Colormap:
    """Viridis without the end that is like the ground: even in lightness, so its order survives greyscale."""
    if dark():
        return ListedColormap(mpl.colormaps["viridis"](range(60, 256)), name="viridis_pale")
    return ListedColormap(mpl.colormaps["viridis"](range(225)), name="viridis_dark")


def ordered_looks(positions: Sequence[float]) -> list[Look]:
    """Looks for curves with an order, from their positions in [0, 1] on it."""
    colors = ladder_map()
    return [Look(to_hex(colors(position))) for position in positions]


def ticks(ax: Axes) -> None:
    """Ticks in sizes that hold when the figure is drawn later, under other settings."""
    ax.tick_params("x", labelsize=mpl.rcParams["xtick.labelsize"])
    ax.tick_params("y", labelsize=mpl.rcParams["ytick.labelsize"])
    ax.tick_params(which="major", length=2.5, width=sized(0.6), pad=2.0)
    ax.tick_params(which="minor", length=1.5, width=sized(0.4))


def tidy(ax: Axes) -> None:
    """Ticks, grid and spines of a panel whose curves run open-ended to the labels beside it."""
    ticks(ax)
    ax.grid(axis="y", color=grey(0.92), linewidth=0.5)
    ax.set_axisbelow(True)
    ax.spines["top"].set_visible(False)
