"""Gaussian averages that have closed forms, used where they exist and tested against the quadrature.

Piecewise linear activations and relu_squared: the arc-cosine kernels (Cho & Saul 2009, eqs. 3 to 6). erf: the arc-sine
kernel (Williams 1997, eq. 11). sin: the characteristic function of the Gaussian.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from varprobe.nets.activations import ACTIVATIONS, Activation
from varprobe.theory.gaussian import Averages, Pair

__all__ = ["ClosedForm", "arc_cosine", "arc_sine", "closed_form"]


class ClosedForm(NamedTuple):
    """averages: q (an array) to `Averages`; pair: (q, c) to `Pair`, None where it has no closed form."""

    averages: Callable[[np.ndarray], Averages]
    pair: Callable[[float, float], Pair] | None


def angle(c: float) -> float:
    """arccos c, exact near c = 1 too."""
    return float(2 * np.arctan2(np.sqrt(1 - c), np.sqrt(1 + c)))


def arc_cosine(order: int, c: float) -> float:
    """E[relu(z1)^n relu(z2)^n] for unit Gaussians of correlation c: J_n(theta) / (2 pi) of Cho & Saul, n = 0, 1, 2."""
    theta, sin = angle(c), np.sqrt((1 - c) * (1 + c))
    values = (np.pi - theta, sin + (np.pi - theta) * c, 3 * sin * c + (np.pi - theta) * (1 + 2 * c * c))
    return float(values[order] / (2 * np.pi))


def arc_sine(q: float, c: float) -> float:
    """E[erf(u1) erf(u2)] for N(0, q) of correlation c: 2/pi arcsin(2 q c / (1 + 2 q))."""
    return float(2 / np.pi * np.arcsin(2 * q * c / (1 + 2 * q)))


def piecewise_linear(slope: float) -> ClosedForm:
    """phi(x) = x for x > 0, slope x below: a x + (1 - a) relu(x)."""
    a, b, second, fourth = slope, 1 - slope, (1 + slope**2) / 2, (1 + slope**4) / 2

    def averages(q: np.ndarray) -> Averages:
        s, one = np.sqrt(q), np.ones_like(q)
        return Averages(
            mean=b * s / np.sqrt(2 * np.pi),
            mean_square=second * q,
            variance=(second - b**2 / (2 * np.pi)) * q,
            derivative_mean=one * (1 + a) / 2,
            derivative_mean_square=one * second,
            fourth=3 * fourth * q**2,
            derivative_fourth=one * fourth,
            z_phi_dphi=second * s,
        )

    def pair(q: float, c: float) -> Pair:
        squares = 1 - a**2  # phi^2 = a^2 x^2 + (1 - a^2) relu(x)^2
        return Pair(
            phi=q * (a**2 * c + a * b * c + b**2 * arc_cosine(1, c)),
            derivative=a**2 + a * b + b**2 * arc_cosine(0, c),
            square=q**2 * ((a**4 + a**2 * squares) * (1 + 2 * c * c) + squares**2 * arc_cosine(2, c)),
            derivative_square=a**4 + a**2 * squares + squares**2 * arc_cosine(0, c),
        )

    return ClosedForm(averages, pair)


def relu_squared() -> ClosedForm:
    """phi(x) = max(x, 0)^2."""

    def averages(q: np.ndarray) -> Averages:
        s = np.sqrt(q)
        return Averages(
            mean=q / 2,
            mean_square=1.5 * q**2,
            variance=1.25 * q**2,
            derivative_mean=s * np.sqrt(2 / np.pi),
            derivative_mean_square=2 * q,
            fourth=52.5 * q**4,
            derivative_fourth=24 * q**2,
            z_phi_dphi=3 * q * s,
        )

    return ClosedForm(averages, None)


def sine(omega: float) -> ClosedForm:
    """phi(x) = sin(omega x): E cos(k omega u) = exp(-k^2 omega^2 q / 2)."""

    def averages(q: np.ndarray) -> Averages:
        a = omega**2 * q
        with np.errstate(under="ignore"):
            two, eight = np.expm1(-2 * a), np.expm1(-8 * a)
            return Averages(
                mean=np.zeros_like(q),
                mean_square=-two / 2,
                variance=-two / 2,
                derivative_mean=omega * np.exp(-a / 2),
                derivative_mean_square=omega**2 * (1 + two / 2),
                fourth=np.where(a < 1e-5, 3 * a**2 - 10 * a**3, eight / 8 - two / 2),
                derivative_fourth=omega**4 * (1 + two / 2 + eight / 8),
                z_phi_dphi=omega**2 * np.sqrt(q) * np.exp(-2 * a),
            )

    def pair(q: float, c: float) -> Pair:
        a = omega**2 * q
        with np.errstate(under="ignore"):
            near, far = np.exp(-a * (1 - abs(c))), np.exp(-a * (1 + abs(c)))
            once, double = np.exp(-2 * a) / 2, (near**4 + far**4) / 8
            return Pair(
                phi=float(-np.sign(c) * near * np.expm1(-2 * a * abs(c)) / 2),
                derivative=float(omega**2 * (near + far) / 2),
                square=float(0.25 - once + double),
                derivative_square=float(omega**4 * (0.25 + once + double)),
            )

    return ClosedForm(averages, pair)


FORMS: dict[Callable, Callable[..., ClosedForm]] = {
    ACTIVATIONS["identity"].function: lambda: piecewise_linear(1.0),
    ACTIVATIONS["relu"].function: lambda: piecewise_linear(0.0),
    ACTIVATIONS["leaky_relu"].function: lambda negative_slope=0.01: piecewise_linear(negative_slope),
    ACTIVATIONS["relu_squared"].function: relu_squared,
    ACTIVATIONS["sin"].function: lambda omega=1.0: sine(omega),
}
"""By the function itself, which the caller may pass too; a function of the same values is integrated."""


def closed_form(act: Activation) -> ClosedForm | None:
    """The closed form of an activation, where it has one."""
    form = FORMS.get(act.function)
    return form(**{name: np.float64(value) for name, value in act.numeric}) if form else None
