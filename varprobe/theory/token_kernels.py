"""E phi(z) phi(z') and E phi'(z) phi'(z') for all pairs of tokens at once.

Piecewise linear activations: the arc-cosine kernels (Cho & Saul 2009). Others: with Hermite coefficients a_k of
phi(sqrt(q) z) the average at correlation c is the sum of a_k a_k' c^k (Mehler), and what the series leaves out is put
at its last order.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.theory.elementwise import evaluate
from varprobe.theory.gaussian import HIGH, LOW, NEAR_STEPS, STEPS, exponent_of
from varprobe.theory.laws import LOG_LOW
from varprobe.theory.panels import panels, spread
from varprobe.theory.sources import DEGREE, nodes, weights

__all__ = ["Kernels", "slopes_of", "token_kernels"]

ORDERS = 96
"""Terms of a Hermite series."""

Tokens = Float[np.ndarray, " tokens"]
Square = Float[np.ndarray, "tokens tokens"]


class Kernels(NamedTuple):
    """E phi phi and E phi' phi' for each pair of tokens."""

    phi: Square
    derivative: Square


def token_kernels(act: Activation, q: Tokens, c: Square) -> Kernels:
    """The averages where preactivations have mean squares q and correlations c, 1 on the diagonal.

    Raises:
        InvalidArgumentError: phi has no finite averages there.
    """
    slopes = slopes_of(act)
    if slopes:
        return piecewise_linear(*slopes, q, c)
    with np.errstate(divide="ignore"):
        log_q = np.log(q)
    series = all_coefficients(act, np.maximum(log_q, LOG_LOW))
    series[:, 0, 1:] *= np.exp(np.minimum(log_q - LOG_LOW, 0.0) / 2)[:, None]  # below, phi - phi(0) is linear
    return Kernels(*(summed(series[:, i], c) for i in range(2)))


@lru_cache(maxsize=256)
def slopes_of(act: Activation) -> tuple[float, float] | None:
    """The slopes on both sides of a piecewise linear activation."""
    found = behavior(act)
    return found.near if found.homogeneous else None


def piecewise_linear(left: float, right: float, q: Tokens, c: Square) -> Kernels:
    """phi(x) = right x above 0, left x below: left x + (right - left) relu(x)."""
    angle = 2 * np.arctan2(np.sqrt(np.maximum(1 - c, 0)), np.sqrt(np.maximum(1 + c, 0)))
    step = (np.pi - angle) / (2 * np.pi)
    ramp = (np.sqrt(np.maximum((1 - c) * (1 + c), 0)) + (np.pi - angle) * c) / (2 * np.pi)
    linear, bent = left * right, (right - left) ** 2
    scale = np.sqrt(q)[:, None] * np.sqrt(q)
    return Kernels(scale * (linear * c + bent * ramp), linear + bent * step)


def summed(series: Float[np.ndarray, "tokens orders"], c: Square) -> Square:
    """Horner's rule over the orders; the last column is the root of what the series leaves out."""
    total = series[:, -1][:, None] * series[:, -1]
    for k in range(ORDERS - 1, -1, -1):
        total = total * c + series[:, k][:, None] * series[:, k]
    return total


def all_coefficients(act: Activation, log_q: Tokens) -> Float[np.ndarray, "tokens 2 orders_and_1"]:
    """`coefficients` of every token, interpolated between Chebyshev nodes where there are many values of q."""
    levels, places = np.unique(log_q, return_inverse=True)
    if levels.size <= DEGREE:
        return np.array([coefficients(act, float(level)) for level in levels])[places]
    found = np.empty((levels.size, 2, ORDERS + 1))
    cells = np.floor(levels).astype(int)
    for cell in np.unique(cells):
        here, at = cells == cell, nodes(cell, cell + 1)
        table = np.array([coefficients(act, float(level)) for level in at])
        found[here] = np.einsum("nt,nio->tio", weights(at, levels[here]), table)
    return found[places]


@lru_cache(maxsize=4096)
def coefficients(act: Activation, log_q: float) -> Float[np.ndarray, "2 orders_and_1"]:
    """Hermite coefficients of phi(sqrt(q) z) and phi'(sqrt(q) z), and the root of the square that is left."""
    s = float(np.exp(log_q / 2))
    if not LOW * (1 - 1e-9) <= s * s <= HIGH:
        raise InvalidArgumentError(f"{act.name} has no averages at q = {s * s:.3g}, where the signal leads", "act")
    inside = np.linspace(-NEAR_STEPS[-1], NEAR_STEPS[-1], 41)
    cuts = panels(act, exponent_of(STEPS[-1] * s)).edges / s
    edges = np.unique(np.concatenate([-STEPS, STEPS, inside, cuts[np.abs(cuts) < STEPS[-1]]]))
    z, measure = (part.ravel() for part in spread(edges[:-1], edges[1:]))
    phi, slope = evaluate(act, s * z)
    with np.errstate(under="ignore"):
        root = np.sqrt(measure) * np.exp(-(z**2) / 4) / (2 * np.pi) ** 0.25
    bad = ~(np.isfinite(phi) & np.isfinite(slope))
    if (bad & (np.abs(z) < NEAR_STEPS[-1])).any():
        raise InvalidArgumentError(f"{act.name} is not finite where q = {s * s:.4g} leads", "act")
    values = np.where(bad, 0.0, np.stack([phi, slope]) * root)
    orders = [root, z * root]
    for k in range(1, ORDERS - 1):
        orders.append((z * orders[k] - np.sqrt(k) * orders[k - 1]) / np.sqrt(k + 1))
    found = values @ np.array(orders).T
    rest = np.sqrt(np.maximum(np.square(values).sum(1) - np.square(found).sum(1), 0.0))
    return np.concatenate([found, rest[:, None]], axis=1)
