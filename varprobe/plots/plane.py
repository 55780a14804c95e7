"""The phase diagram of a run that swept weight and bias variance: measured factors beside predicted ones."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError
from varprobe.plots.ladder import find_ladder
from varprobe.plots.phase import phase_figure
from varprobe.storage.dataset import require_layers
from varprobe.theory.phase_diagram import phase_diagram
from varprobe.verdict.phase_measured import compare

__all__ = ["run_phase_figure"]

WHAT = "a phase diagram needs a run over a plane: --sigma-w2 LO:HI:N --sigma-b2 LO:HI:N, one activation, one depth"


def run_phase_figure(ds: xr.Dataset, *, size: tuple[float, float] | None = None) -> Figure:
    """Measured beside predicted factors of the gradient over the plane that a run swept.

    Raises:
        InvalidArgumentError: the run is over something else, or its grid has gaps.
    """
    require_layers(ds)
    weights, biases = rungs(ds, "init", "scale"), rungs(ds, "bias", "var")
    single = all(len(set(ds[name].values.tolist())) == 1 for name in ("act", "depth", "width", "arch", "norm"))
    if weights is None or biases is None or not single or str(ds["arch"].values[0]) != "plain":
        raise InvalidArgumentError(WHAT, "kind")
    order = np.lexsort((weights, biases))
    axes = np.unique(weights), np.unique(biases)
    if min(axes[0].size, axes[1].size) < 2 or order.size != axes[0].size * axes[1].size:
        raise InvalidArgumentError(
            f"{WHAT}; this one is no whole grid of {axes[0].size} x {axes[1].size} points", "kind"
        )
    if "theory_gradient_log10_mean_square" not in ds or np.isnan(ds["gradient_log10_mean_square"].values).all():
        raise InvalidArgumentError("a phase diagram needs gradients, and theory's prediction of them", "kind")
    width = str(ds["width"].values[0])
    if not width.isdigit():
        raise InvalidArgumentError(f"a phase diagram needs one width, not the profile {width}", "kind")
    diagram = phase_diagram(str(ds["act"].values[0]), *axes, int(width))
    return phase_figure(diagram, compare(ds.isel(config=order), *axes), size=size)


def rungs(ds: xr.Dataset, name: str, keyword: str) -> np.ndarray | None:
    """The variance that each configuration names, None where they differ in more than one number."""
    values = [str(v) for v in ds[name].values]
    ladder = find_ladder(name, values) if all(f"{keyword}=" in v for v in values) else None
    return None if ladder is None else np.array(ladder.numbers)
