"""Which (sigma_w2, sigma_b2) to start an activation from at a given depth and width: candidates, and the choice.

Candidates are the critical points without biases, the gain that preserves the mean square at q = 1, the critical line
with biases, and the least change that any gain leaves. Each is followed from an input of mean square 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtri

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.theory.critical_lines import critical
from varprobe.theory.elementwise import evaluate
from varprobe.theory.expectations import gain, moments
from varprobe.theory.fixed_points import curve
from varprobe.theory.walks import walk

__all__ = ["PREFERENCE", "SATURATED", "Choice", "choose", "saturated_share"]

PREFERENCE = {"critical": 0.0, "gain": 0.1, "biases": 0.3, "least": 1.0}
"""Decades by which each kind must be better than those before it to be taken: the critical point without biases stands
where it is nearly as good, random biases (which make inputs alike) are for a factor of 2, and a point of no distinction
for a factor of 10."""
AWAY = 0.05
"""Decades for every factor of 2 between 1 and the fixed point that biases hold: of equals, the one near 1 is taken."""
LINE_Q = np.geomspace(0.25, 64, 33)
SATURATED = 0.25
"""Share of units with |phi'| < 0.01 and phi != 0, phi bounded, from which a point is called saturated."""
DIGITS = 8
"""Significant digits of the variances, which are what every snippet says."""


@dataclass(frozen=True)
class Choice:
    """A point to start from.

    kind: "critical", "biases" (critical with sigma_b2 > 0), "gain" or "least". q: its fixed point, at which chi_1 and
    chi_q are; for "gain" q = 1, for "least" where the signal is in the last layer. worst: decades of RMS, from
    `walks.Walk`; spread: of one draw.
    """

    kind: str
    sigma_w2: float
    sigma_b2: float
    q: float
    chi_1: float
    chi_q: float
    worst: float
    spread: float

    @property
    def cost(self) -> float:
        """What is compared."""
        away = AWAY * abs(np.log2(self.q)) if self.kind == "biases" else 0.0
        return float(self.worst + self.spread + PREFERENCE[self.kind] + away)


def choose(act: Activation, depth: int, width: int) -> tuple[Choice, Choice | None]:
    """The candidate of the least `cost`; where it needs biases, the one that changes least without them.

    Raises:
        InvalidArgumentError: the activation is constant, or has no finite averages.
    """
    found: list[Choice] = []
    beyond = None
    for candidate in candidates(act):
        try:
            found.append(judged(act, *candidate, depth, width))
        except InvalidArgumentError as error:  # it leads to where the activation has no averages
            beyond = error
    if not any(choice.kind != "biases" for choice in found):
        assert beyond is not None  # the gain is always a candidate
        raise beyond
    best = min(found, key=lambda choice: choice.cost)
    if best.kind == "biases" or best.cost > PREFERENCE["least"]:
        limit = min(choice.worst for choice in found if choice.kind != "biases")
        found.append(judged(act, "least", least(act, depth, width, limit), 0.0, None, depth, width))
        best = min(found, key=lambda choice: choice.cost)
    plain = min((choice for choice in found if choice.kind != "biases"), key=lambda choice: choice.worst)
    return best, plain if best.kind == "biases" else None


def candidates(act: Activation) -> Iterator[tuple[str, float, float, float]]:
    """(kind, sigma_w2, sigma_b2, q) of what is tried first."""
    whole = gain(act)  # refuses what is constant
    for point in critical(act, sigma_b2=0.0).points:
        yield "critical", point.sigma_w2, 0.0, point.q
    yield "gain", whole.sigma_w2, 0.0, 1.0
    line = LINE_Q[np.log(LINE_Q) <= curve(act)[0][-1]]
    for point in critical(act, q=line.tolist()).points if line.size else []:
        if point.sigma_b2 > 0:
            yield "biases", point.sigma_w2, point.sigma_b2, point.q


def judged(
    act: Activation, kind: str, sigma_w2: float, sigma_b2: float, q: float | None, depth: int, width: int
) -> Choice:
    """A candidate, its variances rounded as they will be written, with what becomes of a signal."""
    sigma_w2, sigma_b2 = (float(f"{value:.{DIGITS}g}") for value in (sigma_w2, sigma_b2))
    path = walk(act, sigma_w2, sigma_b2, depth, width)
    at = float(np.exp(np.clip(path.log_q[-1], -60, 60))) if q is None else q
    near = max(at, 2.0**-90)
    here = moments(act, near)
    chi_1, chi_q = sigma_w2 * here.derivative_mean_square, sigma_w2 * here.z_phi_dphi / np.sqrt(near)
    return Choice(kind, sigma_w2, sigma_b2, at, float(chi_1), float(chi_q), path.worst, path.spread)


def least(act: Activation, depth: int, width: int, limit: float) -> float:
    """The sigma_w2 without biases whose worst change is least; no path is followed far beyond `limit` decades."""

    def cost(log_w: float) -> float:
        try:
            path = walk(act, float(np.exp(log_w)), 0.0, depth, width, limit)
        except InvalidArgumentError:
            return np.inf
        return path.worst + (depth - path.forward.size)

    middle, step = float(np.log(gain(act).sigma_w2)), 0.1
    grid = middle + np.arange(-20, 21) * step
    start = float(grid[int(np.argmin([cost(x) for x in grid]))])
    found = minimize_scalar(cost, bounds=(start - step, start + step), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x if found.fun <= cost(start) else start))


def saturated_share(act: Activation, q: float) -> float:
    """Share of N(0, q) at which |phi'| < 0.01 and phi != 0; 0 for phi that is not bounded."""
    if not behavior(act).bounded:
        return 0.0
    phi, slope = evaluate(act, np.sqrt(q) * ndtri((np.arange(4096) + 0.5) / 4096))
    return float(np.mean((np.abs(slope) < 0.01) & (phi != 0)))
