"""Fixed points of the mean-square and correlation maps (Poole et al. 2016; Schoenholz et al. 2017).

q* = sigma_w2 E phi(sqrt(q*) z)^2 + sigma_b2, chi_1 = sigma_w2 E phi'(sqrt(q*) z)^2, and
chi_q = sigma_w2 d/dq E phi(sqrt(q) z)^2 = sigma_w2 E[z phi phi'] / sqrt(q*), which holds with kinks too. Roots are
bracketed and found on ln q, so that slow and marginal cases are as good as any.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.gaussian import Averages
from varprobe.theory.laws import averages_of, law, pair_of

__all__ = [
    "CRITICAL",
    "FixedPoint",
    "MARGIN",
    "brent",
    "curve",
    "described",
    "excess",
    "fixed_point",
    "length",
    "scan",
    "slope",
]

MARGIN = 1e-12
"""An excess ln(V(q) / q) below this is no sign: averages are right to about 1e-14."""
CRITICAL = 1e-9
"""chi_1 this close to 1 is called critical."""
MARGINAL = 1e-6
"""With chi_q this close to 1 the map on both sides decides on stability."""
ASIDE = 0.05
"""How far aside, in ln q."""


@dataclass(frozen=True)
class FixedPoint:
    """Where a signal's mean square and correlation settle, and how fast; None is "there is none" or "infinite".

    Attributes:
        act: the activation's canonical form.
        sigma_w2, sigma_b2: fan_in Var(W) and Var(b).
        q_star: mean square of the preactivations.
        chi_1: per-layer factor of the gradient's mean square, and slope of the correlation map at c = 1.
        chi_q: slope of the mean-square map at q_star.
        c_star: the correlation that two inputs approach; None where q_star is 0 or None.
        chi_c_star: slope of the correlation map at c_star.
        xi_q, xi_c: depth scales in layers, -1/ln chi_q and -1/ln chi_c_star.
        xi_gradient: depth scale of the gradient, 1/ln chi_1: positive where it grows toward the input.
        phase: "ordered" (chi_1 < 1), "critical", "chaotic" (chi_1 > 1), "vanishes" or "grows without bound".
        why: a sentence where there is more to say.
        stability: "stable" if q returns to q_star from both sides, "unstable" if it leaves, "half-stable" if it returns
            from one side only, "neutral" if every q near is a fixed point; None where q_star is None.
    """

    act: str
    sigma_w2: float
    sigma_b2: float
    q_star: float | None
    chi_1: float | None
    chi_q: float | None
    c_star: float | None
    chi_c_star: float | None
    xi_q: float | None
    xi_c: float | None
    xi_gradient: float | None
    phase: str
    why: str = ""
    stability: str | None = None


def length(chi: float | None) -> float | None:
    """-1 / ln chi, the layers in which a distance that shrinks by chi falls by e; None where it does not shrink."""
    if chi is None or chi >= 1 - CRITICAL:
        return None
    return float(-1 / np.log(chi)) if chi > 0 else 0.0


@lru_cache(maxsize=64)
def curve(act: Activation) -> tuple[np.ndarray, Averages]:
    """(ln q, averages) on a scan from 2^-100 to 2^100, or to as far as the averages exist."""
    error = None
    for top in (100, 60, 30, 20, 14, 10, 6, 3, 0, -4):
        log2_q = np.arange(-100, top + 0.25, 0.5)
        try:
            return log2_q * np.log(2), averages_of(act, 2.0**log2_q)
        except InvalidArgumentError as failed:
            error = failed
    assert error is not None  # the loop ends by an error only
    raise error


def excess(act: Activation, log_sw: float, log_sb: float, log_q: float) -> float:
    """ln(V(q) / q), V the mean-square map."""
    return float(np.logaddexp(log_sw + law(act, log_q).log_ms, log_sb)) - log_q


def slope(act: Activation, log_sw: float, log_sb: float, log_q: float) -> float:
    """d ln(V(q) / q) / d ln q, which is chi_q - 1 at a fixed point."""
    at = law(act, log_q)
    return float(np.exp(log_sw + at.log_ms - np.logaddexp(log_sw + at.log_ms, log_sb)) * at.response) - 1


def scan(act: Activation, log_sw: float, log_sb: float) -> tuple[np.ndarray, np.ndarray]:
    """(ln q, ln(V(q) / q)) on the points of `curve`, and below them where a small bias has its fixed point there."""
    log_q, found = curve(act)
    if log_sb < log_q[0]:
        start = max(log_sb, -700.0) - 2
        log_q = np.concatenate([np.linspace(start, log_q[0], 64, endpoint=False), log_q]) if log_sb > -np.inf else log_q
    log_ms = np.array([law(act, x).log_ms for x in log_q[: log_q.size - found.mean.size]])
    with np.errstate(divide="ignore"):
        return log_q, np.logaddexp(log_sw + np.concatenate([log_ms, np.log(found.mean_square)]), log_sb) - log_q


@checks_types
def fixed_point(act: ActivationLike, sigma_w2: float, sigma_b2: float = 0.0, q0: float = 1.0) -> FixedPoint:
    """The fixed point that a preactivation of mean square `q0` moves to, by root finding.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages.
    """
    phi = activation(act)
    sigma_w2, sigma_b2 = number("sigma_w2", sigma_w2, 0.0), number("sigma_b2", sigma_b2, 0.0)
    log_q0 = float(np.log(number("q0", q0, 1e-20, 1e20)))
    with np.errstate(divide="ignore"):
        log_sw, log_sb = float(np.log(sigma_w2)), float(np.log(sigma_b2))
    if sigma_w2 == 0:
        return described(phi, sigma_w2, sigma_b2, sigma_b2, "the weights are 0")
    log_q, why = settle(phi, log_sw, log_sb, log_q0)
    if log_q == np.inf:
        return unbounded(phi, sigma_w2, sigma_b2)
    return described(phi, sigma_w2, sigma_b2, float(np.exp(log_q)), why)


def settle(act: Activation, log_sw: float, log_sb: float, log_q0: float) -> tuple[float, str]:
    """(ln q*, remark): the first root on the way from q0; -inf where q falls to 0, inf where it grows forever."""
    here = excess(act, log_sw, log_sb, log_q0)
    if abs(here) <= MARGIN:
        below, above = (excess(act, log_sw, log_sb, log_q0 + step) for step in (-0.1, 0.1))
        if abs(below) <= MARGIN and abs(above) <= MARGIN:
            return log_q0, "every q is a fixed point"
        if below > 0 > above:
            return brent(act, log_sw, log_sb, log_q0 - 0.1, log_q0 + 0.1), ""
        return log_q0, ""
    log_q, gap = scan(act, log_sw, log_sb)
    up = here > 0
    way = np.flatnonzero(log_q > log_q0) if up else np.flatnonzero(log_q < log_q0)[::-1]
    last = log_q0
    for at in way:
        if (gap[at] < -MARGIN) if up else (gap[at] > MARGIN):
            root = brent(act, log_sw, log_sb, *sorted((last, float(log_q[at]))))
            around = (excess(act, log_sw, log_sb, root + step) for step in (-1.0, 1.0))
            vague = max(map(abs, around)) < 100 * MARGIN
            return root, "q is nearly constant here: rounding decides where exactly it settles" if vague else ""
        if abs(gap[at]) > MARGIN:
            last = float(log_q[at])
    if not up:
        return -np.inf, "the signal falls to 0"
    if log_q[-1] < 69:
        raise InvalidArgumentError(
            f"{act.name} has no averages beyond q = {np.exp(log_q[-1]):.3g}, and no fixed point below"
        )
    return np.inf, ""


def brent(act: Activation, log_sw: float, log_sb: float, low: float, high: float) -> float:
    """The root of the excess between two points of opposite sign."""
    try:
        return float(brentq(lambda x: excess(act, log_sw, log_sb, x), low, high, xtol=1e-15, rtol=1e-15))
    except ValueError as error:  # not a number on the way
        raise InvalidArgumentError(f"{act.name} has no finite averages from q = {np.exp(low):.3g} on", "act") from error


def unbounded(act: Activation, sigma_w2: float, sigma_b2: float) -> FixedPoint:
    """No fixed point above: the factor of the gradient is what it tends to, where it does."""
    far, farther = (law(act, x).log_derivative_ms for x in (60.0, 69.0))
    chi = float(sigma_w2 * np.exp(farther)) if abs(far - farther) < 1e-6 else None
    grows = float(1 / np.log(chi)) if chi and abs(chi - 1) > CRITICAL else None
    return FixedPoint(
        act.name, sigma_w2, sigma_b2, None, chi, None, None, None, None, None, grows, "grows without bound",
        "the mean square grows from layer to layer and settles nowhere",
    )  # fmt: skip


def described(act: Activation, sigma_w2: float, sigma_b2: float, q: float, why: str) -> FixedPoint:
    """Everything else that a fixed point q has."""
    at = law(act, float(np.log(q)) if q > 1e-30 else -np.inf)
    chi_1 = float(sigma_w2 * np.exp(at.log_derivative_ms))
    if chi_1 == 0:
        chi_q = 0.0
    elif q > 1e-30:
        chi_q = float(sigma_w2 * at.response * np.exp(at.log_ms - np.log(q)))
    else:
        near = law(act, -69.0)
        chi_q = float(sigma_w2 * near.response * np.exp(near.log_ms + 69.0))
    phase = "critical" if abs(chi_1 - 1) <= CRITICAL else "ordered" if chi_1 < 1 else "chaotic"
    if q == 0 and behavior(act).homogeneous and sigma_w2 > 0:
        phase = "vanishes"
    c, chi_c = (None, chi_1) if q == 0 else correlation_root(act, sigma_w2, sigma_b2, q, chi_1)
    return FixedPoint(
        act=act.name,
        sigma_w2=sigma_w2,
        sigma_b2=sigma_b2,
        q_star=q,
        chi_1=chi_1,
        chi_q=chi_q,
        c_star=c,
        chi_c_star=chi_c,
        xi_q=length(chi_q),
        xi_c=length(chi_c),
        xi_gradient=float(1 / np.log(chi_1)) if chi_1 > 0 and phase != "critical" else None,
        phase=phase,
        why=why,
        stability=stability(act, sigma_w2, sigma_b2, q, chi_q),
    )


def stability(act: Activation, sigma_w2: float, sigma_b2: float, q: float, chi_q: float) -> str:
    """`FixedPoint.stability` of a fixed point q: by chi_q, and by the map on both sides where chi_q is 1."""
    if abs(abs(chi_q) - 1) > MARGINAL:
        return "stable" if abs(chi_q) < 1 else "unstable"
    with np.errstate(divide="ignore"):
        log_sw, log_sb = float(np.log(sigma_w2)), float(np.log(sigma_b2))
    if q > 0:
        below, above = (excess(act, log_sw, log_sb, float(np.log(q)) + step) for step in (-ASIDE, ASIDE))
    else:
        gap = scan(act, log_sw, log_sb)[1]
        departs = gap[np.abs(gap) > MARGIN]
        below, above = 0.0, float(departs[0]) if departs.size else 0.0
    if max(abs(below), abs(above)) <= MARGIN:
        return "neutral"
    if q == 0:
        return "unstable" if above > 0 else "stable"
    return "half-stable" if below * above > 0 else "stable" if above < 0 else "unstable"


def correlation_root(act: Activation, sigma_w2: float, sigma_b2: float, q: float, chi_1: float) -> tuple[float, float]:
    """(c*, slope there). The map is convex on [0, 1] and fixes 1, so below 1 it has a root only where chi_1 > 1."""
    if chi_1 <= 1 + CRITICAL:
        return 1.0, chi_1

    def gap(c: float) -> float:
        return (sigma_w2 * pair_of(act, q, c).phi + sigma_b2) / q - c

    low = gap(0.0)
    if low <= 1e-14:
        return 0.0, float(sigma_w2 * pair_of(act, q, 0.0).derivative)
    for high in 1 - 10.0 ** -np.arange(1.0, 10.0):
        if gap(high) < 0:
            c = float(brentq(gap, 0.0, high, xtol=1e-15, rtol=1e-14))
            return c, float(sigma_w2 * pair_of(act, q, c).derivative)
    return 1.0, chi_1
