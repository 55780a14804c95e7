"""Steps of training in a figure: a scale on which 0 comes before 1, 10, 100, ..., and a color for every step."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from varprobe.plots.ladder import Ladder
from varprobe.plots.logaxis import exact_power, exponent_step
from varprobe.plots.style import LABEL_SIZE, Look, ladder_map, ordered_looks, sized

__all__ = ["chosen_steps", "draw_step_bar", "step_axis", "step_looks"]

MOST_CURVES = 12
"""Steps that are drawn in a panel, the first and the last among them."""
MOST_TICKS = 6
APART = 2.5
"""Of two ticks, the greater over the less."""


def chosen_steps(steps: Sequence[int]) -> list[int]:
    """Those of the recorded steps that are drawn, evenly among them."""
    count = len(steps)
    places = np.linspace(0, count - 1, min(count, MOST_CURVES)).round().astype(int)
    return [int(steps[place]) for place in places]


def step_looks(steps: Sequence[int]) -> list[Look]:
    """A color for each step, from dark to light as training goes on."""
    norm = Ladder("step", tuple(steps)).norm
    return ordered_looks([float(norm(step)) for step in steps])


def step_axis(ax: Axes, last: int) -> None:
    """Make the x axis one of steps from 0 to `last`."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    ax.set_xlim(-0.2, max(1, last) * 1.06)
    ax.xaxis.set_major_locator(FixedLocator(ticks_to(last)))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(named))
    ax.set_xlabel("step")


def ticks_to(last: int) -> list[float]:
    """0 and the powers of ten up to the last step, or every second, fifth, ... of them; of few steps 1, 2, 5, 10."""
    if last < 20:
        return [float(step) for step in (0, 1, 2, 5, 10) if step <= last]
    decades = int(np.log10(last))
    return [0.0, *(10.0**k for k in range(0, decades + 1, exponent_step(decades, MOST_TICKS - 2)))]


def bar_ticks(last: int) -> list[float]:
    """Those of the axis and the last step, where there is room for its name."""
    ticks = ticks_to(last)
    return [*ticks, float(last)] if last > APART * ticks[-1] else ticks


def named(step: float, _: int) -> str:
    """A step as a number, or as a power of ten."""
    return f"{step:.0f}" if step < 10**4 else exact_power(np.log10(step))


def draw_step_bar(figure: Figure, panels: Sequence[Axes], steps: Sequence[int]) -> None:
    """The colors of the steps, beside the panels."""
    norm = Ladder("step", tuple(steps)).norm
    bar = figure.colorbar(ScalarMappable(norm, ladder_map()), ax=list(panels), aspect=30, pad=0.02, fraction=0.05)
    even = type(norm) is Normalize
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, integer=True) if even else FixedLocator(bar_ticks(steps[-1])))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(named))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.outline.set_linewidth(sized(0.5))  # type: ignore[operator]
    bar.ax.tick_params(length=2.0, width=sized(0.5), pad=1.5, labelsize=sized(LABEL_SIZE))
    bar.set_label("step", fontsize=sized(LABEL_SIZE))
