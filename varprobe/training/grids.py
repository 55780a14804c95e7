"""What a trained grid is a grid of: two numbers of depth, sigma_w2 and sigma_b2 that vary, or something else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.theory import phase_grid
from varprobe.theory.sigmas import given, sigma_b2_of, variance_of

__all__ = ["MARGIN_XI", "Grid", "Reach", "grid_of", "reach_of"]

MARGIN_XI = 6
"""A signal is lost after so many correlation lengths (Schoenholz et al. 2017, section 6)."""

VERDICT = ("healthy", "forward", "backward", "flags", "notes", "optimizer")
"""Coordinates that are no settings of a stack."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Two settings that vary, and the place of every configuration: `at[j, i]` has y[j] and x[i].

    Attributes:
        names: of x and y: sigma_w2, sigma_b2 or depth; what is drawn across first.
        x, y: rising values.
        at: indices along `config`.
        fixed: the value of the one that does not vary.
    """

    names: tuple[str, str]
    x: Float[np.ndarray, " x"]
    y: Float[np.ndarray, " y"]
    at: np.ndarray
    fixed: float


def sigma_w2_in(one: xr.Dataset) -> float:
    """Of a configuration's weights."""
    width, depth = int(one["width"].item()), int(one["depth"].item())
    return variance_of(given(str(one["init"].item())), np.full(depth + 1, width), min(2, depth))


def sigma_b2_in(one: xr.Dataset) -> float:
    """Of its biases."""
    return sigma_b2_of(str(one["bias"].item()), int(one["width"].item()), int(one["depth"].item()))


AXES: dict[str, tuple[str, Callable[[xr.Dataset], float]]] = {
    "sigma_w2": ("init", sigma_w2_in),
    "sigma_b2": ("bias", sigma_b2_in),
    "depth": ("depth", lambda one: float(one["depth"].item())),
}


def grid_of(ds: xr.Dataset) -> Grid | None:
    """The grid of a dataset of one optimizer; None where something else varies, or not exactly two of the three."""
    coordinates = [str(name) for name, c in ds.coords.items() if c.dims == ("config",) and name not in VERDICT]
    vary = {name for name in coordinates if len(set(ds[name].values.tolist())) > 1}
    chosen = [name for name, (coordinate, _) in AXES.items() if coordinate in vary]
    if len(chosen) != 2 or len(vary) != 2 or not str(ds["width"].values[0]).isdigit():
        return None
    (fixed,) = set(AXES) - set(chosen)
    try:
        each = [ds.isel(config=i) for i in range(ds.sizes["config"])]
        columns = {name: np.array([AXES[name][1](one) for one in each]) for name in AXES}
    except InvalidArgumentError:
        return None
    x, y = columns[chosen[0]], columns[chosen[1]]
    xs, ys = np.unique(x), np.unique(y)
    order = np.lexsort((x, y))
    if order.size != xs.size * ys.size or (x[order] != np.tile(xs, ys.size)).any():
        return None
    return Grid((chosen[0], chosen[1]), xs, ys, order.reshape(ys.size, xs.size), float(columns[fixed][0]))


@dataclass(frozen=True, eq=False)
class Reach:
    """What infinitely wide plain stacks say of a grid: xi_c and chi_1, (y, x), on axes of its own."""

    x: Float[np.ndarray, " x"]
    y: Float[np.ndarray, " y"]
    xi_c: Float[np.ndarray, "y x"]
    chi_1: Float[np.ndarray, "y x"]


def reach_of(ds: xr.Dataset, grid: Grid, fine: int = 0) -> Reach | None:
    """The theory of a grid; None where there is none, as for other architectures or with a norm.

    At its own values, or at so many between the first and the last.
    Where depth is an axis, xi_c and chi_1 have one row, as they do not depend on it.
    """
    first: dict[str, Any] = {name: ds[name].values[0] for name in ("act", "arch", "norm")}
    if first["arch"] != "plain" or first["norm"] != "none" or (ds.get("dropout", xr.DataArray(0)) > 0).any():
        return None
    own = dict(zip(grid.names, (grid.x, grid.y), strict=True))
    axes = {name: np.linspace(v[0], v[-1], fine) if fine else v for name, v in own.items()}
    axes.pop("depth", None)
    (missing,) = set(AXES) - set(grid.names)
    axes |= {} if missing == "depth" else {missing: np.array([grid.fixed])}
    try:
        plane = phase_grid(str(first["act"]), axes["sigma_w2"], axes["sigma_b2"])
    except InvalidArgumentError:
        return None
    xi_c = np.where(plane.phase == "critical", np.inf, plane.xi_c)
    if grid.names[0] == "sigma_w2":
        return Reach(axes["sigma_w2"], axes["sigma_b2"], xi_c.T, plane.chi_1.T)
    return Reach(axes["sigma_b2"], axes["sigma_w2"], xi_c, plane.chi_1)
