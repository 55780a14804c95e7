"""The kinds of figures that a run has, by name: what each shows, and the one function that draws it for a file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from varprobe.errors import lookup
from varprobe.runs.kinds import resolve
from varprobe.storage.kinds import LAYERED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["KINDS", "Kind", "figure_kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        text: what it shows, in a line.
        home: module and function that draw it, as `varprobe.plots.NAME:FUNCTION`.
        options: the keywords that the function takes beside `size`.
        of: kinds of datasets (`varprobe.storage.kinds`) that have it.
        runs: how many runs it is of.
        steps: whether it is of steps of training; to others, each step of a training is a configuration.
    """

    text: str
    home: str
    options: tuple[str, ...]
    of: tuple[str, ...] = LAYERED
    runs: int = 1
    steps: bool = False

    @property
    def draw(self) -> "Callable[..., Figure]":
        """The function: datasets and keywords to a figure."""
        return resolve(f"plots.{self.home}")

    def refused(self, given: dict[str, Any]) -> str | None:
        """The first keyword given that this kind does not have; None where it has all."""
        return next((name for name in given if name not in self.options), None)


STACKS, SWEEPS = ("sweep", "track"), ("sweep",)
CURVES = ("quantities", "labels", "full_range", "theory")
KINDS = {
    "variance": Kind("variance against layer", "variance:variance_figure", (*CURVES, "formats")),
    "training": Kind(
        "steps of training", "training:training_figure", ("quantities", "labels"), ("track", "track_model"), steps=True
    ),
    "model": Kind("sites of a model in order", "sites:model_figure", (), ("probe", "track_model")),
    "panels": Kind("a panel for each pair of settings", "panels:panels_figure", CURVES, STACKS),
    "heatmap": Kind("variance as color, layer by configuration", "heatmap:heatmap_figure", ("quantities", "labels")),
    "phase": Kind("a plane, of --sigma-w2 and --sigma-b2 ranges", "plane:run_phase_figure", (), SWEEPS),
    "correlation": Kind(
        "cosines of pairs of inputs, of --correlation", "correlation:correlation_figure", ("labels",), SWEEPS
    ),
    "spectrum": Kind("singular values, of --jacobian", "spectrum:spectrum_figure", ("labels",), SWEEPS),
    "histogram": Kind(
        "distributions by layer, of --histogram", "histogram:histogram_figure", ("quantities", "labels"), SWEEPS
    ),
    "match": Kind("measured against predicted factors", "match:match_figure", (), STACKS),
    "width": Kind("spread of draws against width, of several --width", "widths:widths_figure", ("labels",), STACKS),
    "trainability": Kind(
        "who learned, of varprobe trainability", "trainability:trainability_figure", (), ("trainability",)
    ),
    "coord-check": Kind(
        "size of values and changes against width",
        "coordinates:coordinates_figure",
        ("labels",),
        ("coord_check",),
        steps=True,
    ),
    "before-after": Kind("two runs, one above the other", "change:change_figure", (*CURVES, "formats"), runs=2),
}
"""Name -> kind, in the order of the help."""


def figure_kind(name: str) -> Kind:
    """The kind of that name.

    Raises:
        InvalidArgumentError: there is none, with the nearest.
    """
    return lookup(KINDS, name, "kind", "varprobe plot --help")
