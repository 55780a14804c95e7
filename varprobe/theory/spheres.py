"""Averages of an activation over a batch that was normalized: uniform on a sphere instead of Gaussian.

Normalized Gaussians of a unit over B samples are uniform on the sphere of dimension d = B - 1 of vectors of sum 0, two
samples having correlation -1 / (B - 1). Averages of a function of one sample are integrals against (1 - t^2)^((d-3)/2),
those of two samples series in Gegenbauer polynomials (Yang et al. 2019, arXiv 1902.08129, section E.1). If phi
has degree 1, only the mean square of the radius matters for products: those of two samples are the Gaussian ones.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.theory.elementwise import evaluate
from varprobe.theory.gaussian import exponent_of
from varprobe.theory.laws import pair_of
from varprobe.theory.panels import panels, spread

__all__ = ["SphereAverages", "sphere_averages"]

ORDERS = 160
"""Terms of a Gegenbauer series; with c = -1 / (B - 1) only the smallest batches need more than a few."""
STEPS = 24
"""Panels of the angle within the reach of the density, before they are cut at the activation's."""
REACH = 14.0
"""Standard deviations integrated over on each side."""


class SphereAverages(NamedTuple):
    """Over one sample x of variance `share`, and over two, x and y.

    mean: E phi(x). square, product: E phi(x)^2, E phi(x) phi(y). slope_square, slope_product: E phi'(x)^2,
    E phi'(x) phi'(y). bent_square, bent_product: E x^2 phi'(x)^2, E x phi'(x) y phi'(y).
    """

    mean: float
    square: float
    product: float
    slope_square: float
    slope_product: float
    bent_square: float
    bent_product: float


@lru_cache(maxsize=4096)
def sphere_averages(act: Activation, batch: int, share: float = 1.0) -> SphereAverages:
    """Averages over the normalized batch, x^2 having the mean `share` (1 unless eps is felt); batch >= 3.

    Raises:
        InvalidArgumentError: phi is not finite on the way.
    """
    d = batch - 1
    radius = np.sqrt(share * d)
    widest = min(np.pi / 2, REACH / np.sqrt(d))
    cuts = panels(act, exponent_of(radius)).edges / radius
    edges = np.concatenate([np.linspace(-widest, widest, STEPS + 1), np.arcsin(cuts[np.abs(cuts) < np.sin(widest)])])
    edges = np.unique(edges)
    angle, weights = (part.ravel() for part in spread(edges[:-1], edges[1:]))
    t = np.sin(angle)
    log_norm = gammaln(d / 2) - gammaln((d - 1) / 2) - np.log(np.pi) / 2
    root = np.sqrt(weights) * np.exp((log_norm + (d - 2) * np.log(np.cos(angle))) / 2)
    x = radius * t
    phi, slope = evaluate(act, x)
    if not (np.isfinite(phi) & np.isfinite(slope)).all():
        raise InvalidArgumentError(f"{act.name} is not finite at x = {x[~np.isfinite(phi * slope)][0]:.4g}", "act")
    values = np.stack([phi, slope, x * slope]) * root
    squares = np.square(values).sum(1)
    power = np.square(values @ polynomials(t, root, d).T)
    ratios = two_samples(d)
    products = power @ ratios
    if behavior(act).homogeneous:
        gaussian = pair_of(act, share, -1 / d)
        products = np.array([gaussian.phi, gaussian.derivative, gaussian.phi])
    return SphereAverages(
        float(values[0] @ root),
        *(float(v) for pair in zip(squares, products, strict=True) for v in pair),
    )


def polynomials(t: np.ndarray, root: np.ndarray, d: int) -> np.ndarray:
    """Orthonormal Gegenbauer polynomials on the sphere of dimension d times `root`, shape (ORDERS, t)."""
    k, nu = np.arange(1, ORDERS), (d - 2) / 2
    if nu == 0:
        b = np.where(k == 1, np.sqrt(0.5), 0.5)
    else:
        b = np.sqrt(k * (k + 2 * nu - 1) / (4 * (k + nu) * (k + nu - 1)))
    found = [root, t * root / b[0]]
    for at in range(1, ORDERS - 1):
        found.append((t * found[at] - b[at - 1] * found[at - 1]) / b[at])
    return np.array(found)


@lru_cache(maxsize=64)
def two_samples(d: int) -> np.ndarray:
    """C_k(c) / C_k(1) at c = -1 / d, the correlation of two samples, for k below ORDERS."""
    c, nu = -1 / d, (d - 2) / 2
    found = [1.0, c]
    for k in range(1, ORDERS - 1):
        found.append((2 * (k + nu) * c * found[k] - k * found[k - 1]) / (k + 2 * nu))
    return np.array(found)
