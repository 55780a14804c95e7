"""The weight variance to aim at: where theory has signal and gradient get through a stack of this depth.

The textbook values come first, the critical point (chi_1 = 1) and what preserves E z^2 = 1. Where they do not carry
a signal this far, as with GELU, whose fixed point repels, the best of all variances is taken.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from varprobe.errors import InvalidArgumentError
from varprobe.verdict.thresholds import threshold

__all__ = ["Target", "bias_variance", "target"]

Values = Float[np.ndarray, " values"]
TRIED = np.geomspace(0.03, 3000, 401)
TWICE = 2.0
"""A critical point is preferred to what preserves E z^2 unless it changes the signal by more than so many times."""

FINER = np.geomspace(0.96, 1.04, 81)
"""Around the best of those tried."""


class Target(NamedTuple):
    """sigma_w2: fan_in Var(W). change: |log10| of the RMS ratio that theory expects, the worse of signal and gradient.

    critical: whether chi_1 = 1 there.
    """

    sigma_w2: float
    change: float
    critical: bool


@lru_cache(maxsize=256)
def bias_variance(bias: str, width: int, depth: int) -> float | None:
    """Var(b) of an initializer by name, None where theory does not know it."""
    from varprobe.theory.sigmas import sigma_b2_of

    try:
        return sigma_b2_of(bias, width, depth)
    except InvalidArgumentError:
        return None


@lru_cache(maxsize=4096)
def target(act: str, sigma_b2: float, depth: int, start: float) -> Target | None:
    """The weight variance for an activation by name; None where theory does not know it.

    Args:
        act: canonical call form.
        sigma_b2: Var(b).
        depth: number of layers.
        start: log10 of the input's mean square.
    """
    laws = laws_of(act)
    if laws is None:
        return None
    critical, preserving, law = laws
    known = [*critical(sigma_b2), preserving]
    changes = changes_of(law, np.array(known), sigma_b2, depth, start)
    changes[:-1] /= TWICE
    best = int(changes.argmin())
    change = float(changes[best] * (TWICE if best < len(known) - 1 else 1))
    if change <= math.log10(threshold("stable")):
        return Target(known[best], change, known[best] in known[:-1])
    tried = TRIED
    for _ in range(2):
        changes = changes_of(law, tried, sigma_b2, depth, start)
        sigma_w2 = float(tried[changes.argmin()])
        tried = sigma_w2 * FINER
    return Target(sigma_w2, float(changes.min()), False)


Law = Callable[[Values], tuple[Values, Values]]


@lru_cache(maxsize=64)
def laws_of(act: str) -> tuple[Callable[[float], list[float]], float, Law] | None:
    """(sigma_w2 that is critical, by sigma_b2; sigma_w2 that preserves E z^2 = 1; law) of an activation by name.

    The law maps ln q to (ln(E phi^2 / q), ln E phi'^2), interpolated. Code that a dataset names is not loaded for it.
    """
    from varprobe.spec.calls import parse_calls
    from varprobe.spec.user_code import is_reference, was_loaded
    from varprobe.theory import critical, gain
    from varprobe.theory.elementwise import activation
    from varprobe.theory.fixed_points import curve

    try:
        calls = parse_calls(act)
    except InvalidArgumentError:  # the label of a function
        return None
    if len(calls) != 1 or (is_reference(calls[0].name) and not was_loaded(calls[0].name)):
        return None
    try:
        phi = activation(calls[0])
        log_q, averages = curve(phi)
        at_zero = [p.sigma_w2 for p in critical(phi, sigma_b2=0.0).points if p.stable]
        line, preserving = critical(phi), gain(phi).sigma_w2
    except InvalidArgumentError:
        return None

    def critical_points(sigma_b2: float) -> list[float]:
        if sigma_b2 == 0:
            return at_zero
        off = line.sigma_b2 - sigma_b2
        crossed = np.flatnonzero((off[:-1] * off[1:] <= 0) & line.stable[:-1] & line.stable[1:])
        share = off[crossed] / (off[crossed] - off[crossed + 1])
        return list(line.sigma_w2[crossed] + share * (line.sigma_w2[crossed + 1] - line.sigma_w2[crossed]))

    with np.errstate(divide="ignore"):
        logs = np.log([averages.mean_square, averages.derivative_mean_square]) - [log_q, np.zeros_like(log_q)]
    known = np.isfinite(logs).all(axis=0)
    if known.sum() < 2:
        return None
    spline = CubicSpline(log_q[known], logs[:, known], axis=1)
    low, high = log_q[known][[0, -1]]
    return critical_points, preserving, lambda at: tuple(spline(np.clip(at, low, high)))


def changes_of(law: Law, sigma_w2: Values, sigma_b2: float, depth: int, start: float) -> Values:
    """The worse |log10| RMS ratio of signal and gradient between layers 1 and L, for each weight variance."""
    log_w, h = np.log(sigma_w2), np.full(sigma_w2.shape, start * math.log(10))
    log_b = math.log(sigma_b2) if sigma_b2 else -math.inf
    gradient, first = np.zeros_like(h), h
    for layer in range(1, depth + 1):
        q = np.logaddexp(log_w + h, log_b)
        growth, slope = law(q)
        h = q + growth
        if layer == 1:
            first = h
        gradient += slope if layer < depth else 0.0  # delta_1 / delta_L: E phi'^2 of layers 1 to L - 1
    gradient += (depth - 1) * log_w
    return np.maximum(np.abs(h - first), np.abs(gradient)) / (2 * math.log(10))
