"""A phase diagram: fixed points over the plane of (sigma_w2, sigma_b2), the critical line, and where initializers are.

Poole et al. (2016) and Schoenholz et al. (2017). Below chi_1 = 1 gradients vanish and inputs grow alike (ordered),
above it gradients explode and inputs grow apart (chaotic); networks train deepest near the line between.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.nets.initializers import STANDARD
from varprobe.theory import CriticalLine, FixedPoint, PhaseGrid, critical, fixed_point, phase_grid
from varprobe.theory.critical_lines import DEFAULT_Q
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.fixed_points import curve
from varprobe.theory.phase_axes import axes_for, axis
from varprobe.theory.sigmas import given, variance_of

__all__ = ["Diagram", "Point", "ends_in", "line_in", "phase_diagram"]

GROWS = "grows without bound"
LEAST_Q = 4.0
"""Averages must exist as far as this mean square, or a diagram would say nothing."""


@dataclass(frozen=True)
class Point:
    """Initializers of one variance, biases zero, and where they lead; `names` in the order of the standard set."""

    names: tuple[str, ...]
    fixed: FixedPoint

    @property
    def text(self) -> str:
        """The names, he_normal and he_uniform together as he."""
        stems = [name.removesuffix("_normal").removesuffix("_uniform") for name in self.names]
        return ", ".join(dict.fromkeys(s if stems.count(s) > 1 else n for n, s in zip(self.names, stems, strict=True)))


@dataclass(frozen=True, eq=False)
class Diagram:
    """What a phase diagram shows: the plane, its critical line with q ascending, and initializers by variance."""

    act: Activation
    grid: PhaseGrid
    line: CriticalLine
    points: tuple[Point, ...]


def phase_diagram(
    act: ActivationLike, sigma_w2: Any = None, sigma_b2: Any = None, width: int = 512, count: int = 50
) -> Diagram:
    """The diagram of an activation.

    Args:
        act: a name, a call form or a callable.
        sigma_w2: fan_in Var(W), "LO:HI:N" or numbers; by default `count` values that show the critical line.
        sigma_b2: Var(b), likewise.
        width: units of a layer, on which the variance of some initializers depends.
        count: values on an axis that is not given.

    Raises:
        InvalidArgumentError: an axis is out of range, or the activation has no finite averages.
    """
    phi = activation(act)
    axes = {name: axis(name, v) for name, v in (("sigma_w2", sigma_w2), ("sigma_b2", sigma_b2)) if v is not None}
    line = whole_line(phi)
    weights, biases = axes_for(line, count)
    weights, biases = axes.get("sigma_w2", weights), axes.get("sigma_b2", biases)
    return Diagram(phi, limited(phi, phase_grid(phi, weights, biases)), line, points_of(phi, width))


def whole_line(act: Activation) -> CriticalLine:
    """The critical line from its start at sigma_b2 = 0, where it has one, to where averages end or q = 1e4."""
    top = float(np.exp(curve(act)[0][-1]))
    if top < LEAST_Q:
        raise InvalidArgumentError(
            f"{act.name} has no finite averages beyond q = {top:g}: it has no phase diagram", "act"
        )
    line, start = critical(act, DEFAULT_Q[DEFAULT_Q <= top].tolist()), critical(act, sigma_b2=0.0)
    new = ~np.isin(start.q, line.q)
    columns = {
        name: np.concatenate([getattr(start, name)[new], getattr(line, name)])
        for name in ("q", "sigma_w2", "sigma_b2", "chi_q", "stable")
    }
    order = columns["q"].argsort()
    return CriticalLine(act.name, **{name: values[order] for name, values in columns.items()}, why=line.why)


def fixed_point_of(act: Activation, sigma_w2: float, sigma_b2: float) -> FixedPoint:
    """The fixed point; one that grows without bound where averages end before it shows what it tends to."""
    try:
        return fixed_point(act, sigma_w2, sigma_b2)
    except InvalidArgumentError as error:
        nothing = dict.fromkeys(field.name for field in fields(FixedPoint))
        known = {"act": act.name, "sigma_w2": sigma_w2, "sigma_b2": sigma_b2, "phase": GROWS, "why": error.message}
        return FixedPoint(**nothing | known)  # type: ignore[arg-type]


def limited(act: Activation, grid: PhaseGrid) -> PhaseGrid:
    """The grid with chi_1 NaN where q grows without bound and chi_1 tends to nothing, as `FixedPoint` has it."""
    grows = grid.phase == GROWS
    if not grows.any():
        return grid
    i, j = np.argwhere(grows)[0]
    if fixed_point_of(act, float(grid.sigma_w2[i]), float(grid.sigma_b2[j])).chi_1 is not None:
        return grid
    return replace(grid, chi_1=np.where(grows, np.nan, grid.chi_1))


def points_of(act: Activation, width: int) -> tuple[Point, ...]:
    """The standard initializers with mean 0, those of one variance together, ascending."""
    names: dict[float, list[str]] = {}
    for name in STANDARD:
        init = given(name)
        try:
            variance = variance_of(init, np.array([width, width]), 1)
        except InvalidArgumentError:  # it has a mean, for which this plane has no place
            continue
        same = next((v for v in names if abs(v / variance - 1) < 1e-9), variance)
        names.setdefault(same, []).append(name)
    return tuple(Point(tuple(names[v]), fixed_point_of(act, v, 0.0)) for v in sorted(names))


def line_in(diagram: Diagram) -> np.ndarray:
    """Which points of the critical line lie within the axes."""
    line, grid = diagram.line, diagram.grid
    across = (line.sigma_w2 >= grid.sigma_w2[0]) & (line.sigma_w2 <= grid.sigma_w2[-1])
    return across & (line.sigma_b2 >= grid.sigma_b2[0]) & (line.sigma_b2 <= grid.sigma_b2[-1])


def ends_in(diagram: Diagram) -> list[tuple[float, float]]:
    """Where the critical line starts and ends within the axes, as (sigma_w2, sigma_b2); [] where it is outside."""
    inside = np.flatnonzero(line_in(diagram))
    if not inside.size:
        return []
    line, grid = diagram.line, diagram.grid
    corners = np.column_stack([line.sigma_w2, line.sigma_b2])
    low, high = np.array([[grid.sigma_w2[i], grid.sigma_b2[i]] for i in (0, -1)])
    ends = []
    for at, after in ((inside[0], inside[0] - 1), (inside[-1], inside[-1] + 1)):
        end = corners[at]
        if 0 <= after < line.q.size:
            step = corners[after] - end
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(step > 0, (high - end) / step, np.where(step < 0, (low - end) / step, np.inf))
            end = end + min(1.0, share.min()) * step
        ends.append((float(end[0]), float(end[1])))
    return ends
