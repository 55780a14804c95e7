"""The line in the (sigma_w2, sigma_b2) plane on which chi_1 = 1 (Schoenholz et al. 2017; Hayou et al. 2019).

It is parametrized by its own fixed point q: sigma_w2 = 1 / E phi'(sqrt(q) z)^2 makes chi_1 = 1, and
sigma_b2 = q - sigma_w2 E phi(sqrt(q) z)^2 makes q a fixed point, where that is not negative.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number, numbers
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.fixed_points import CRITICAL, curve
from varprobe.theory.gaussian import HIGH, LOW
from varprobe.theory.laws import averages_of

__all__ = ["CriticalLine", "CriticalPoint", "critical"]

Points = Float[np.ndarray, " points"]
ROUNDING = 1e-12
"""|sigma_b2| / q below this is 0: it is the difference of two numbers near q."""
DEFAULT_Q = np.geomspace(1e-4, 1e4, 161)


@dataclass(frozen=True)
class CriticalPoint:
    """One point with chi_1 = 1; `stable`: the mean square stays at q (chi_q <= 1)."""

    q: float
    sigma_w2: float
    sigma_b2: float
    chi_q: float
    stable: bool


@dataclass(frozen=True, eq=False)
class CriticalLine:
    """The points found, arrays of one shape that are empty where there is none; `why` then says why, or what is odd.

    Attributes:
        act: the activation's canonical form.
        q, sigma_w2, sigma_b2, chi_q: see `CriticalPoint`; q ascends.
        stable: chi_q <= 1; at q = 0, whether signals come to it.
        why: a sentence, or "".
    """

    act: str
    q: Points
    sigma_w2: Points
    sigma_b2: Points
    chi_q: Points
    stable: Bool[np.ndarray, " points"]
    why: str = ""

    @property
    def points(self) -> list[CriticalPoint]:
        """The points one by one."""
        columns = zip(self.q, self.sigma_w2, self.sigma_b2, self.chi_q, self.stable, strict=True)
        return [
            CriticalPoint(float(q), float(w), float(b), float(chi), bool(stable)) for q, w, b, chi, stable in columns
        ]

    @property
    def point(self) -> CriticalPoint | None:
        """The first stable point, else the first; None where there is none."""
        return next((p for p in self.points if p.stable), next(iter(self.points), None))

    def __repr__(self) -> str:
        why = f"; {self.why}" if self.why else ""
        return f"CriticalLine({self.act}, {self.q.size} points, {int(self.stable.sum())} stable{why})"


@checks_types
def critical(
    act: ActivationLike, q: float | Sequence[float] | None = None, sigma_b2: float | None = None
) -> CriticalLine:
    """The critical line of an activation, or its points at given q or at a given sigma_b2.

    Args:
        act: a name, a call form or a callable.
        q: one fixed point or several; by default 161 from 1e-4 to 1e4 where `sigma_b2` is not given either.
        sigma_b2: all points with this bias variance.

    Raises:
        InvalidArgumentError: both are given, a value is out of range, or phi has no finite averages there.
    """
    phi = activation(act)
    if q is not None and sigma_b2 is not None:
        raise InvalidArgumentError("give q or sigma_b2, not both: either names points of the line", "q")
    if sigma_b2 is not None:
        return at_bias(phi, number("sigma_b2", sigma_b2, 0.0))
    given = DEFAULT_Q if q is None else numbers("q", q, 0.0, above=True)
    for value in given:
        number("q", float(value), LOW, HIGH)
    return kept(phi, np.sort(given))


def on_line(act: Activation, q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(sigma_w2, sigma_b2, chi_q) where chi_1 = 1 at q, sigma_b2 of any sign."""
    found = averages_of(act, q)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        sigma_w2 = 1 / found.derivative_mean_square
        sigma_b2 = q - sigma_w2 * found.mean_square
        chi_q = sigma_w2 * found.z_phi_dphi / np.sqrt(q)
    return sigma_w2, np.where(np.abs(sigma_b2) < ROUNDING * q, 0.0, sigma_b2), chi_q


def kept(act: Activation, q: np.ndarray, why: str = "") -> CriticalLine:
    """The points at q that exist."""
    sigma_w2, sigma_b2, chi_q = on_line(act, q)
    exists = np.isfinite(sigma_b2) & (sigma_b2 >= 0)
    if not exists.any():
        why = (
            f"chi_1 = 1 would need a negative sigma_b2 at {f'q = {q[0]:g}' if q.size == 1 else 'every q tried'}: "
            f"{act.name} keeps too little of the gradient for the size of its output"
        )
    q, sigma_w2, sigma_b2, chi_q = (values[exists] for values in (q, sigma_w2, sigma_b2, chi_q))
    return CriticalLine(act.name, q, sigma_w2, sigma_b2, chi_q, chi_q <= 1 + CRITICAL, why)


def at_bias(act: Activation, target: float) -> CriticalLine:
    """All critical points with sigma_b2 = target, by root finding along q."""
    log_q, scan = curve(act)
    q = np.exp(log_q)
    offset = on_line(act, q)[1] - target
    at_end = bool(abs(offset[0]) <= 1e-9 * q[0]) and target == 0
    if at_end and (np.abs(offset) <= ROUNDING * q).all():
        return kept(act, np.ones(1), "every q is on the line at this point")

    def gap(log_q: float) -> float:
        return float(on_line(act, np.exp(np.array([log_q])))[1][0]) - target

    low = np.flatnonzero((np.sign(offset[:-1]) * np.sign(offset[1:]) < 0) & np.isfinite(offset[:-1] + offset[1:]))
    roots = [brentq(gap, np.log(q[i]), np.log(q[i + 1]), xtol=1e-15, rtol=1e-14) for i in low]
    points = np.exp(np.array(roots))
    points = points[target >= 1e-9 * points] if target else points  # further out its digits are lost in q
    if points.size:
        sigma_w2, sigma_b2, chi_q = on_line(act, points)
    else:
        sigma_w2, sigma_b2, chi_q = np.zeros((3, 0))
    sigma_b2 = np.full_like(points, target)
    why = "" if points.size else f"{act.name} has no critical point with sigma_b2 = {target:g}"
    stable = chi_q <= 1 + CRITICAL
    if at_end:  # the end of the line, where the fixed point is 0
        end_w2, _, end_q = on_line(act, q[:1])
        growth = np.log(end_w2 * scan.mean_square) - log_q
        departs = growth[np.abs(growth) > CRITICAL]
        repels = bool(departs.size and departs[0] > 0)
        points, sigma_w2 = np.append(0.0, points), np.append(end_w2, sigma_w2)
        sigma_b2, chi_q = np.append(0.0, sigma_b2), np.append(end_q, chi_q)
        stable = np.append(not repels, stable)
        what = "a signal grows away from it" if repels else "the signal fades there, more slowly than exponentially"
        why = f"q = 0 is the end of the line: {what}"
    return CriticalLine(act.name, points, sigma_w2, sigma_b2, chi_q, stable, why)
