"""Gaussian averages of an activation by quadrature that is split at its kinks, over one variable and over a pair.

The nodes are Gauss-Legendre ones in x = mean + sqrt(q) z itself, on the panels of the activation cut further by powers
of two of sqrt(q): both a transition much narrower than the Gaussian and a Gaussian much narrower than it are resolved.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.theory.elementwise import evaluate
from varprobe.theory.panels import panels, spread

__all__ = ["HIGH", "LOW", "Averages", "Pair", "averages", "pair", "shifted"]

LOW, HIGH = 2.0**-100, 2.0**100
"""The range of q in which averages are integrated; beyond it they follow power laws to float64's precision."""
REACH = 38.0
"""Standard deviations integrated over on each side: exp(-38^2/2) is the smallest float64."""
STEPS = np.array([0.5, 1, 2, 3, 4.5, 6.5, 9, 13, 19, 27, REACH])
"""Panel edges in standard deviations, for one Gaussian."""
NEAR_STEPS = np.array([2.5, 5.0, 9.5])
"""The same where two are nested: the mass beyond is 2e-21."""


class Averages(NamedTuple):
    """Over u ~ N(mean, q): E phi, E phi^2, Var phi, E phi', E phi'^2, E phi^4, E phi'^4, E[z phi phi'].

    z = (u - mean) / sqrt(q).
    """

    mean: np.ndarray
    mean_square: np.ndarray
    variance: np.ndarray
    derivative_mean: np.ndarray
    derivative_mean_square: np.ndarray
    fourth: np.ndarray
    derivative_fourth: np.ndarray
    z_phi_dphi: np.ndarray


class Pair(NamedTuple):
    """Over two Gaussians of correlation c: E phi phi, E phi' phi', E phi^2 phi^2, E phi'^2 phi'^2."""

    phi: float
    derivative: float
    square: float
    derivative_square: float


EXPONENTS = (6, 10, 14, 20, 28, 40, 58)
"""The ranges 2^k for which panels are found, few so that they are found rarely."""


def exponent_of(reach: float) -> int:
    """The first of EXPONENTS that covers `reach`."""
    return next(k for k in EXPONENTS if reach <= 2.0**k)


@lru_cache(maxsize=64)
def table(act: Activation, low: int, high: int) -> tuple[np.ndarray, ...]:
    """(x, weight, phi, phi') on |x| < 2^high, the innermost panel ending at 2^low."""
    dyadic = 2.0 ** np.arange(low, high + 1)
    edges = np.union1d(np.concatenate([-dyadic, [0.0], dyadic]), panels(act, high).edges)
    x, weights = (part.ravel() for part in spread(edges[:-1], edges[1:]))
    return x, weights, *evaluate(act, x)


def averages(act: Activation, q: np.ndarray) -> Averages:
    """`Averages` of u ~ N(0, q) by quadrature, q an array within [LOW, HIGH]; the result has its shape.

    Raises:
        InvalidArgumentError: phi is not finite where the Gaussian has mass, or grows faster than the Gaussian falls.
    """
    q = np.asarray(q, np.float64)
    flat = q.ravel()
    parts = [group(act, flat[i : i + 256]) for i in range(0, flat.size, 256)]
    return Averages(*(np.concatenate(values).reshape(q.shape) for values in zip(*parts, strict=True)))


def group(act: Activation, q: np.ndarray) -> Averages:
    """`averages` of a few values of q."""
    s = np.sqrt(q)
    low = 8 * int(np.floor(np.log2(s.min()) / 8)) - 2
    x, weights, phi, slope = table(act, low, exponent_of(REACH * s.max()))
    covered = np.abs(x) < REACH * s.max()
    x, weights, phi, slope = x[covered], weights[covered], phi[covered], slope[covered]
    z = x / s[:, None]
    with np.errstate(under="ignore"):
        density = np.where(np.abs(z) < REACH, np.exp(-(z**2) / 2), 0.0) * weights / (s[:, None] * np.sqrt(2 * np.pi))
    bad = ~(np.isfinite(phi) & np.isfinite(slope))
    if bad.any():
        reached = bad & (np.abs(z) < REACH)
        if reached.any():
            row = int(np.flatnonzero(reached.any(axis=1))[0])
            raise not_finite(act, x[reached[row]], q[row])
        phi, slope = np.where(bad, 0.0, phi), np.where(bad, 0.0, slope)
    found = reduce(phi, slope, z, density)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        outer = np.abs(z) > 0.9 * REACH
        for values, whole in ((phi, found.mean_square), (slope, found.derivative_mean_square)):
            largest = np.abs(values).max(initial=0.0)
            if largest < 1e100:  # times exp(-34^2/2) it is nothing
                continue
            share = np.square(np.where(outer, values * np.sqrt(density), 0.0)).sum(1)
            if not (share <= 1e-12 * whole).all():
                raise too_fast(act, q[~(share <= 1e-12 * whole)][0])
    return found


def reduce(phi: np.ndarray, slope: np.ndarray, z: np.ndarray, density: np.ndarray) -> Averages:
    """Sums over the last axis of `density`; z has its shape, phi and slope have its last axis."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        features = np.stack([phi, phi**2, slope, slope**2, phi**4, slope**4, phi * slope], axis=-1)
        if np.isfinite(features).all():
            mean, square, *rest = np.moveaxis(density @ features[:, :6], -1, 0)
            derivative, derivative_square, fourth, derivative_fourth = rest
            variance = np.einsum("...i,...i->...", density, np.square(phi - np.expand_dims(mean, -1)))
            z_phi_dphi = (density * z) @ features[:, 6]
            return Averages(
                mean, square, variance, derivative, derivative_square, fourth, derivative_fourth, z_phi_dphi
            )
        root = np.sqrt(density)  # taken into phi before it is squared, which could overflow
        a, b = phi * root, slope * root
        mean = (a * root).sum(-1)
        return Averages(
            mean,
            (a * a).sum(-1),
            np.square(a - np.expand_dims(mean, -1) * root).sum(-1),
            (density * slope).sum(-1),
            (b * b).sum(-1),
            np.square(a * phi).sum(-1),
            np.square(b * slope).sum(-1),
            (a * b * z).sum(-1),
        )


def shifted(act: Activation, mean: float, q: float) -> Averages:
    """`Averages` of u ~ N(mean, q) for one pair of numbers; the magnitudes of both within the range of `averages`."""
    s = float(np.sqrt(q))
    own = np.concatenate([-STEPS[::-1], [0.0], STEPS]) * s + mean
    cuts = panels(act, exponent_of(abs(mean) + REACH * s)).edges
    edges = np.unique(np.concatenate([own, cuts[(cuts > own[0]) & (cuts < own[-1])]]))
    x, weights = (part.ravel() for part in spread(edges[:-1], edges[1:]))
    phi, slope = evaluate(act, x)
    z = (x - mean) / s
    if not (np.isfinite(phi) & np.isfinite(slope)).all():
        raise not_finite(act, x[~(np.isfinite(phi) & np.isfinite(slope))], q)
    found = reduce(phi, slope, z, np.exp(-(z**2) / 2) * weights / (s * np.sqrt(2 * np.pi)))
    if not np.isfinite(found.mean_square):
        raise too_fast(act, q)
    return found


def pair(act: Activation, q: float, c: float, mean: float = 0.0) -> Pair:
    """Averages over two N(mean, q) of correlation c, 1 - c down to rounding.

    With u_i = mean + sqrt(q |c|) t + sqrt(q (1 - |c|)) e_i (the sign of t turned in the second where c < 0) each is
    E_t[g(t) g(+-t)], g the average over e: one nested integral of a smooth function, near kinks as narrow as e is.
    """
    if abs(c) == 1:
        return aligned(act, q, c, mean)
    cuts, kinks = panels(act, exponent_of(abs(mean) + 20 * float(np.sqrt(q))))
    common, own = float(np.sqrt(q * abs(c))), float(np.sqrt(q * (1 - abs(c))))
    t = np.zeros(1)
    weights = np.ones(1)
    if common > 0:
        around = np.concatenate([-NEAR_STEPS[::-1], [0.0], NEAR_STEPS])
        places = np.concatenate([cuts, (kinks[:, None] + own * around).ravel()])
        edges = np.concatenate([around, (places - mean) / common])
        edges = np.unique(np.concatenate([edges, -edges]))  # symmetric, so that g(-t) is g read backwards
        edges = edges[np.abs(edges) <= NEAR_STEPS[-1]]
        edges = edges[np.diff(edges, prepend=-np.inf) > 1e-14]
        t, weights = (part.ravel() for part in spread(edges[:-1], edges[1:]))
        weights = weights * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    smooth = [smoothed(act, part, own, cuts) for part in np.array_split(mean + common * t, 1 + t.size // 4096)]
    g = np.concatenate(smooth, axis=1)
    other = g if c > 0 else g[:, ::-1]
    return Pair(*(float(v) for v in (g * other * weights).sum(1)))


def smoothed(act: Activation, m: np.ndarray, s: float, cuts: np.ndarray) -> np.ndarray:
    """Averages of phi, phi', phi^2 and phi'^2 over N(m_i, s^2); shape (4, m)."""
    around = np.concatenate([-NEAR_STEPS[::-1], [0.0], NEAR_STEPS])
    inner = np.concatenate(
        [
            np.broadcast_to(around, (m.size, around.size)),
            np.clip((cuts - m[:, None]) / s, around[0], around[-1]),
        ],
        axis=1,
    )
    inner.sort(axis=1)
    rows, columns = np.nonzero(np.diff(inner, axis=1) > 0)
    z, weights = spread(inner[rows, columns], inner[rows, columns + 1])
    phi, slope = evaluate(act, m[rows, None] + s * z)
    if not (np.isfinite(phi) & np.isfinite(slope)).all():
        raise not_finite(act, (m[rows, None] + s * z)[~(np.isfinite(phi) & np.isfinite(slope))], s**2)
    weights = weights * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    first = np.searchsorted(rows, np.arange(m.size))
    features = (phi, slope, phi * phi, slope * slope)
    return np.stack([np.add.reduceat((weights * f).sum(1), first) for f in features])


def aligned(act: Activation, q: float, c: float, mean: float) -> Pair:
    """`pair` at c = 1 and -1, one integral."""
    s = float(np.sqrt(q))
    cuts = panels(act, exponent_of(abs(mean) + 20 * s)).edges
    edges = (np.concatenate([cuts, 2 * mean - cuts]) - mean) / s
    steps = np.concatenate([-STEPS, [0.0], STEPS])
    edges = np.unique(np.concatenate([steps, edges[np.abs(edges) < 13], -edges[np.abs(edges) < 13]]))
    edges = edges[np.abs(edges) <= 13]
    z, weights = (part.ravel() for part in spread(edges[:-1], edges[1:]))
    weights = weights * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    (p, dp), (o, do) = (evaluate(act, mean + sign * s * z) for sign in (1, c))
    return Pair(*(float((weights * f).sum()) for f in (p * o, dp * do, (p * o) ** 2, (dp * do) ** 2)))


def not_finite(act: Activation, x: np.ndarray, q: float) -> InvalidArgumentError:
    """The error for an activation that overflows or is undefined."""
    where = x[np.abs(x).argmin()]
    return InvalidArgumentError(
        f"{act.name} is not finite at x = {where:.4g}, which q = {q:.4g} reaches (lower q)", "act"
    )


def too_fast(act: Activation, q: float) -> InvalidArgumentError:
    """The error for an average that does not exist."""
    return InvalidArgumentError(
        f"{act.name} grows faster than the Gaussian falls: no mean square at q = {q:.4g}", "act"
    )
