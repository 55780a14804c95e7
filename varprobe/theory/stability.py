"""All fixed points of the mean-square map V(q) = sigma_w2 E phi(sqrt(q) z)^2 + sigma_b2, stable or not.

A signal moves from q to V(q). It returns to a stable fixed point from both sides, to a half-stable one from one side
only, and leaves an unstable one: that is the border between signals that end in different places. At a half-stable
point V touches the line V = q, so that chi_q = 1: two fixed points meet there, and there is none if sigma_w2 changes
further (saddle-node bifurcation, Strogatz 2015, section 3.1).
"""

import numpy as np
from scipy.optimize import brentq

from varprobe.nets.activations import Activation
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.fixed_points import CRITICAL, MARGIN, FixedPoint, brent, curve, described, excess, scan, slope
from varprobe.theory.laws import as_law, law

__all__ = ["all_fixed_points", "half_stable"]

NEAR = 0.3
"""|ln(V / q)| on the scan, in steps of ln(2) / 2, within which V may touch the line between two points."""


@checks_types
def all_fixed_points(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0) -> tuple[FixedPoint, ...]:
    """Every fixed point of the mean square, q ascending; `stability` says which of them signals move to.

    Where every q is a fixed point, as for relu with sigma_w2 = 2, the one at q = 1 stands for all and is "neutral".

    Args:
        act: a name, a call form or a callable.
        sigma_w2: fan_in Var(W), above 0.
        sigma_b2: Var(b), at least 0.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages.
    """
    phi = activation(act)
    sigma_w2, sigma_b2 = number("sigma_w2", sigma_w2, 0.0, above=True), number("sigma_b2", sigma_b2, 0.0)
    with np.errstate(divide="ignore"):
        log_sw, log_sb = float(np.log(sigma_w2)), float(np.log(sigma_b2))
    log_q, gap = scan(phi, log_sw, log_sb)
    if (np.abs(gap) <= MARGIN).all():
        return (described(phi, sigma_w2, sigma_b2, 1.0, "every q is a fixed point"),)
    found = crossings(phi, log_sw, log_sb, log_q, gap) + touching(phi, log_sw, log_sb, log_q, gap)
    points = [described(phi, sigma_w2, sigma_b2, float(np.exp(root)), "") for root in sorted(found)]
    if sigma_b2 == 0 and law(phi, -np.inf).log_ms == -np.inf:
        points.insert(0, described(phi, sigma_w2, sigma_b2, 0.0, ""))
    return tuple(points)


@checks_types
def half_stable(act: ActivationLike, sigma_b2: float = 0.0) -> tuple[FixedPoint, ...]:
    """The half-stable fixed points, each with the sigma_w2 at which two fixed points meet; q ascending.

    They are the extrema over q of sigma_w2 = (q - sigma_b2) / E phi(sqrt(q) z)^2, which makes q a fixed point. For
    relu_squared: q = 2 sigma_b2 with sigma_w2 = 1 / (6 sigma_b2).

    Args:
        act: a name, a call form or a callable.
        sigma_b2: Var(b), at least 0.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages.
    """
    phi, sigma_b2 = activation(act), number("sigma_b2", sigma_b2, 0.0)
    log_q, found = curve(phi)
    q = np.exp(log_q)
    inside = q > sigma_b2
    log_q, q = log_q[inside], q[inside]
    response = as_law(found, np.exp(curve(phi)[0])).response[inside]

    def growth(log_q: float) -> float:
        """d ln sigma_w2 / d ln q."""
        return float(-1 / np.expm1(np.log(sigma_b2) - log_q) if sigma_b2 else 1.0) - float(law(phi, log_q).response)

    rates = q / (q - sigma_b2) - response
    points = []
    for low, high in turns(rates, 100 * MARGIN):
        at = float(brentq(growth, log_q[low], log_q[high], xtol=1e-15, rtol=1e-14))
        sigma_w2 = float((np.exp(at) - sigma_b2) / np.exp(law(phi, at).log_ms))
        points.append(described(phi, sigma_w2, sigma_b2, float(np.exp(at)), "two fixed points meet here"))
    return tuple(points)


def turns(values: np.ndarray, margin: float) -> list[tuple[int, int]]:
    """Pairs of neighbors of opposite sign; values within `margin` of 0 have none and are passed over."""
    signed = np.flatnonzero(np.abs(values) > margin)
    change = np.flatnonzero(np.sign(values[signed[:-1]]) * np.sign(values[signed[1:]]) < 0)
    return [(int(signed[i]), int(signed[i + 1])) for i in change]


def crossings(act: Activation, log_sw: float, log_sb: float, log_q: np.ndarray, gap: np.ndarray) -> list[float]:
    """ln q at which V crosses the line V = q."""
    return [brent(act, log_sw, log_sb, float(log_q[low]), float(log_q[high])) for low, high in turns(gap, MARGIN)]


def touching(act: Activation, log_sw: float, log_sb: float, log_q: np.ndarray, gap: np.ndarray) -> list[float]:
    """ln q at which V touches the line between two points of the scan, or crosses it twice there."""
    found = []
    size = np.abs(gap)
    for i in np.flatnonzero((size[1:-1] <= np.minimum(size[:-2], size[2:])) & (size[1:-1] < NEAR)) + 1:
        low, high = float(log_q[i - 1]), float(log_q[i + 1])
        ends = [slope(act, log_sw, log_sb, x) for x in (low, high)]
        if min(size[i - 1 : i + 2]) <= MARGIN or np.ptp(np.sign(gap[i - 1 : i + 2])) or ends[0] * ends[1] >= 0:
            continue
        at = float(brentq(lambda x: slope(act, log_sw, log_sb, x), low, high, xtol=1e-15, rtol=1e-14))
        nearest = excess(act, log_sw, log_sb, at)
        if abs(nearest) <= CRITICAL:
            found.append(at)
        elif nearest * gap[i] < 0:
            found += [brent(act, log_sw, log_sb, *sorted((at, end))) for end in (low, high)]
    return found
