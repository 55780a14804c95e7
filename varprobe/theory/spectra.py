"""Singular values of products of large random matrices: the Jacobian of a deep network at infinite width.

For J = (D_L W_L) ... (D_1 W_1), W with independent entries of variance sigma_w2 / n and D diagonal with a share p of
ones and the rest zeros (linear: p = 1; ReLU: p = 1/2), free probability gives x = lambda / sigma_w2^L of the
eigenvalues lambda of J J^T from x = (1 + z) / z (z + p)^L (Pennington, Schoenholz & Ganguli 2017). With z + p =
r exp(i t) the condition that x is real is quadratic in r, and the density of ln x is r sin(t) / pi. t rises from 0 at
the largest singular value to pi / L at the smallest (linear: pi / (L + 1)).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.theory.checks import MOST_LAYERS, number, whole

__all__ = ["Spectrum", "jacobian_spectrum"]

LN10 = float(np.log(10))


class Spectrum(NamedTuple):
    """log10_s: log10 of singular values, rising. density: of log10 s, per decade; zero: the share that is exactly zero.

    The density integrates to 1 - zero.
    """

    log10_s: Float[np.ndarray, " points"]
    density: Float[np.ndarray, " points"]
    zero: float


def jacobian_spectrum(depth: int, sigma_w2: float, active: float = 1.0, points: int = 2001) -> Spectrum:
    """The singular values of dh_L/dh_0 of an infinitely wide stack of equal layers with independent weights.

    Args:
        depth: L.
        sigma_w2: fan_in Var(W).
        active: share p of units with phi' = 1, the others having phi' = 0: 1 linear, 1/2 ReLU.
        points: of the curve, from the smallest singular values on, which reach down to 0, to the largest.

    Raises:
        InvalidArgumentError: a value is out of range.
    """
    depth, points = whole("depth", depth, 1, MOST_LAYERS), whole("points", points, 2)
    log_w = float(np.log(number("sigma_w2", sigma_w2, 0.0, above=True)))
    p = number("active", active, 0.0, 1.0, above=True)
    share = 1 / (1 + np.exp(np.linspace(-14, 14, points)))  # even in the log of the distance to either end
    if p == 1:
        t = share * np.pi / (depth + 1)
        r = np.sin((depth + 1) * t) / np.sin(depth * t)
    else:
        t = share * np.pi / depth
        b, c = (1 - 2 * p) * np.cos(t) - np.sin(t) / np.tan(depth * t), -p * (1 - p)
        root = np.sqrt(b * b - 4 * c)
        r = np.where(b > 0, -2 * c / (root + np.abs(b)), (root - b) / 2)
    w = r * np.exp(1j * t)
    log_x = depth * np.log(r) + np.log(np.abs(w + 1 - p)) - np.log(np.abs(w - p)) + depth * log_w
    density = r * np.sin(t) / np.pi
    return Spectrum(log_x / 2 / LN10, 2 * LN10 * density, 1 - p)
