"""A model's sites in the order of execution, from top to bottom: the signal at the left, its gradient at the right."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from varprobe.errors import InvalidArgumentError, lookup
from varprobe.model.families import families_of, labels_of
from varprobe.plots.logaxis import exact_power
from varprobe.plots.pages import dress, key, on_axes, page
from varprobe.plots.style import LEAST_SIZE, LINE_WIDTH, Look, grey, ink, looks, sized
from varprobe.plots.texts import literal, shown
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_configs
from varprobe.storage.kinds import require_kind

__all__ = ["model_figure", "plot_model"]

DIRECTIONS = {"forward": ("preactivation", "activation"), "backward": ("gradient",)}
"""What is drawn of a site: the signal as it leaves, and the gradient of its preactivation."""
TITLES = {"forward": r"signal variance  $\mathrm{Var}[h]$", "backward": r"gradient variance  $\mathrm{Var}[\delta]$"}
MOST_FAMILIES = 7
"""Families with a color of their own; sites of others are in the color of the text."""
MOST_NAMES = 60
"""Sites that are named; of more, every second, third, ... is."""
LINE = 0.125
"""Inches that a site takes while there are few."""
LONGEST = 34
"""Letters of a name; the middle of a longer one is left out."""
MARKS = {
    "linear": "o",
    "conv": "s",
    "residual": "D",
    "norm": "^",
    "logits": "v",
    "probabilities": "<",
    "embedding": "p",
}


@checks_types
def plot_model(ds: xr.Dataset, direction: str = "forward", ax: Axes | None = None) -> Axes:
    """Draw the variance at every site of a model, one below the other as they are executed; families have a color.

    Bars are one standard deviation over seeds to each side. A vertical line is the first site of a family.

    Args:
        ds: a dataset of `varprobe.probe`, one step.
        direction: forward (the signal that leaves a site) or backward (the gradient of its preactivation).
        ax: the axes to draw in, by default a new figure's.

    Raises:
        InvalidArgumentError: it is no model, has several steps, or has nothing in this direction.
    """
    lookup(DIRECTIONS, direction, "direction")
    one = model_of(ds)
    if not np.isfinite(levels(one, direction)).all(axis=0).any():
        raise InvalidArgumentError("nothing is finite here; a forward-only run has no gradients", "ds")
    return on_axes(ax, (3.6, height_of(one)), lambda ax: draw(ax, one, direction, named=True))


def model_figure(ds: xr.Dataset, *, size: tuple[float, float] | None = None) -> Figure:
    """`plot_model` of both directions side by side, for a file.

    Raises:
        InvalidArgumentError: as `plot_model`.
    """
    one = model_of(ds)
    there = [d for d in DIRECTIONS if np.isfinite(levels(one, d)).all(axis=0).any()]
    if not there:
        raise InvalidArgumentError("no site has a variance that is finite", "ds")
    with page(size, (5.5, height_of(one)), 1, len(there), sharey=True) as (figure, grid):
        for i, (ax, direction) in enumerate(zip(grid[0], there, strict=True)):
            draw(ax, one, direction, named=i == 0)
        dot, thin = sized(3), sized(0.6)
        handles = [
            Line2D([], [], color=look.color, marker="o", markersize=dot, linewidth=thin, label=shown(literal(name)))
            for name, look in colors(one).items()
        ]
        if handles:
            key(figure, handles, most=3)
    return figure


def model_of(ds: xr.Dataset) -> xr.Dataset:
    """One step of a model, without the input.

    Raises:
        InvalidArgumentError: it is a stack, or has several steps.
    """
    require_kind(ds, "probe")
    require_configs(ds)
    if ds.sizes.get("config", 1) > 1:
        raise InvalidArgumentError("a figure shows one step; choose with isel(config=[...])", "ds")
    one = ds.isel(config=0) if "config" in ds.dims else ds
    return one.isel(layer=np.flatnonzero(one["kind"].values != "input"))


def height_of(one: xr.Dataset) -> float:
    """Inches for the sites and the scale, 9 at most."""
    return float(np.clip(LINE * one.sizes["layer"] + 0.9, 1.8, 9.0))


def levels(one: xr.Dataset, direction: str) -> np.ndarray:
    """log10 variance by seed and site: of an activation where there is one, else of what the site passes on."""
    found = np.full((one.sizes["seed"], one.sizes["layer"]), np.nan)
    for quantity in DIRECTIONS[direction]:
        name = f"{quantity}_log10_var"
        if name in one:
            values = one[name].transpose("seed", "layer").values
            found = np.where(np.isnan(values), found, values)
    return found


def colors(one: xr.Dataset) -> dict[str, Look]:
    """Family -> look, of the first families."""
    names = [family.name for family in families_of(one) if family.fitted][:MOST_FAMILIES]
    return dict(zip(names, looks(len(names)), strict=True))


def draw(ax: Axes, one: xr.Dataset, direction: str, named: bool) -> None:
    """The sites of one direction."""
    values = levels(one, direction)
    finite = np.isfinite(values).all(axis=0)
    mean = np.where(finite, values.mean(axis=0), np.nan)
    spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(mean)
    places = np.arange(one.sizes["layer"])
    color, chosen = np.array([ink()] * places.size, dtype=object), colors(one)
    for family in families_of(one):
        look = chosen.get(family.name)
        if look:
            rows = np.array([place for place in family.layers if np.isfinite(mean[place])], dtype=int)
            color[rows] = look.color
            if rows.size:
                ax.plot(mean[rows], rows, color=look.color, linewidth=sized(0.6), zorder=2)
                start = mean[rows[0] if direction == "forward" else rows[-1]]
                ax.axvline(start, color=look.color, linewidth=sized(0.4), linestyle=(0, (1, 2)), zorder=1)
    kinds = one["kind"].values
    for place in places[finite]:
        ax.errorbar(
            mean[place], place, xerr=spread[place], marker=MARKS.get(str(kinds[place]), "o"), markersize=sized(3),
            color=color[place], elinewidth=sized(LINE_WIDTH), linestyle="", zorder=3, gid="site",
        )  # fmt: skip
    for place in np.flatnonzero(~finite):
        lost = values[:, place]
        if not np.isnan(lost).all():
            text = "0" if (lost == -np.inf).any() else r"not finite"
            ax.annotate(text, (0.02, place), xycoords=ax.get_yaxis_transform(), fontsize=sized(LEAST_SIZE), va="center")
    ax.set_ylim(places[-1] + 0.7, -0.7)
    every = -(-places.size // MOST_NAMES)
    ax.set_yticks(places[::every])
    if named:
        ax.set_yticklabels([shown(literal(cut(name))) for name in labels_of(one)[::every]])
    low, high = np.nanmin((mean - spread)[finite]), np.nanmax((mean + spread)[finite])
    pad = max(0.06 * (high - low), (1.0 - (high - low)) / 2, 0.05)
    ax.set_xlim(low - pad, high + pad)
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=high - low > 2))
    ax.xaxis.set_major_formatter(FuncFormatter(exact_power))
    ax.set_xlabel(TITLES[direction])
    dress(ax)
    ax.tick_params("y", labelsize=sized(LEAST_SIZE), length=0)
    for place in places[::every]:
        ax.axhline(place, color=grey(0.93), linewidth=sized(0.4), zorder=0)


def cut(name: str) -> str:
    """The name with its middle left out where it is long."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2 - 1]}\u2026{name[-(LONGEST // 2) :]}"
