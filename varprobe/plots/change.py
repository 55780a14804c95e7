"""Before and after: two runs as one dataset, in which a coordinate tells them apart."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from varprobe.errors import InvalidArgumentError
from varprobe.plots.facets import one_panel
from varprobe.plots.layers import curves_of
from varprobe.plots.variance import plot_variance, variance_figure
from varprobe.spec.argument_types import checks_types
from varprobe.storage.dataset import require_layers, with_configs
from varprobe.storage.kinds import of_sites

__all__ = ["RUNS", "both", "change_figure", "plot_before_after"]

RUNS = ("before", "after")
DIMS = {"config", "seed", "layer"}


@checks_types
def plot_before_after(
    before: xr.Dataset, after: xr.Dataset, quantity: str = "gradient", ax: Axes | None = None, **options: Any
) -> Axes:
    """Draw one quantity of two runs against the layer, as `varprobe.plot_variance` draws one run, and with its options.

    Raises:
        InvalidArgumentError: as `varprobe.plot_variance`, or a stack is compared with a model.
    """
    return plot_variance(both(before, after), quantity, ax, **options)


def change_figure(
    before: xr.Dataset,
    after: xr.Dataset,
    *,
    quantities: Sequence[str] = ("activation", "gradient"),
    size: tuple[float, float] | None = None,
    labels: Mapping[str, str] | None = None,
    full_range: bool = False,
    theory: bool = True,
    formats: bool = True,
) -> Figure:
    """The variance against depth of two runs, with the same axes: networks of the same name have the same color.

    Rows of panels are before and after; of runs with one configuration each, two curves of one row. Arguments are those
    of `variance_figure`.

    Raises:
        InvalidArgumentError: as `variance_figure`, or a stack is compared with a model.
    """
    return variance_figure(
        both(before, after), quantities=quantities, size=size, labels=labels, full_range=full_range,
        theory=theory, formats=formats,
    )  # fmt: skip


def both(before: xr.Dataset, after: xr.Dataset) -> xr.Dataset:
    """One dataset of two, padded where depths or seeds differ, with a coordinate `run`: before or after."""
    for ds in (before, after):
        require_layers(ds)
    if of_sites(before) != of_sites(after):
        raise InvalidArgumentError("one run is of stacks and the other of a model; both must be of one kind", "run")
    pair = [with_configs(curves_of(ds)) for ds in (before, after)]
    shared = [str(name) for name in pair[0].data_vars if name in pair[1] and set(pair[0][name].dims) <= DIMS]
    named = [str(name) for name in pair[0].coords if name in pair[1].coords and pair[0][name].dims == ("config",)]
    pieces = []
    for name, ds in zip(RUNS, pair, strict=True):
        coords = {k: ("config", ds[k].values) for k in named} | {"run": ("config", [name] * ds.sizes["config"])}
        data = {k: spread(ds, k) for k in shared}
        pieces.append(xr.Dataset(data, coords | {"seed": ds["seed"].values, "layer": ds["layer"].values}))
    if all(ds.sizes["config"] == 1 for ds in pieces):  # two curves, told apart by all that differs
        names = one_panel(xr.concat(pieces, "config", join="outer").drop_vars("run")).names
        told = [f"{when}: {name}" if names[0] != names[1] else when for when, name in zip(RUNS, names, strict=True)]
        differing = [k for k in named if pieces[0][k].values[0] != pieces[1][k].values[0]]
        pieces = [
            ds.drop_vars(differing).assign_coords(run=("config", [t])) for ds, t in zip(pieces, told, strict=True)
        ]
    together = xr.concat(pieces, "config", join="outer")
    return together.assign_attrs(pair[0].attrs)


def spread(ds: xr.Dataset, name: str) -> xr.DataArray:
    """A variable by configuration, seed and layer."""
    variable = ds[name].drop_vars([c for c in ds[name].coords if c not in DIMS])
    missing = {dim: ds.sizes[dim] for dim in ("config", "seed", "layer") if dim not in variable.dims}
    return variable.expand_dims(missing).transpose("config", "seed", "layer")
