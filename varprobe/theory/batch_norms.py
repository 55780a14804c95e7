"""Batch normalization in an infinitely wide stack, exact in the number B of samples (Yang et al. 2019, 1902.08129).

A unit's preactivations are Gaussian over the batch and about their mean of covariance lambda G, G = I - 11'/B. What
normalizes them, v = lambda chi2_{B-1} / B, is independent of the direction u, uniform on a sphere, so that phi sees a
uniform direction whatever came before, and the gradient's covariance over the batch becomes a multiple of G: with
D = phi'(sqrt(B) u), E[1/v] E tr[(G - uu') D G D (G - uu')] / (B - 1) per layer.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import barycentric_interpolate
from scipy.special import gammaln

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number, whole
from varprobe.theory.elementwise import ActivationLike, activation, evaluate
from varprobe.theory.sources import DEGREE, nodes, weights
from varprobe.theory.spheres import sphere_averages

__all__ = ["BatchNorm", "Normalized", "batch_norm", "normalized_batches"]

Nets = Float[np.ndarray, " nets"]
ALIKE = 1e-13
"""Distance of a cosine from 1 that is rounding alone."""
FEWEST = 4
"""Samples: with fewer E[1/v] is infinite, and so is the mean square of the gradient."""
SHARES = ((1 - np.cos(np.linspace(0, np.pi, 13))) / 2) ** 2
"""Values of v / (v + eps) between which averages are interpolated, in its root; the last is 1."""
LOWEST = -500.0
"""ln(lambda / eps) below which a batch is what it is there."""
RADII = 1200
"""Points of the integral over ln chi2."""


class BatchNorm(NamedTuple):
    """One layer phi(batch norm(W h)) of a deep stack of them; all numbers are the same in every layer but the first.

    act: the activation's canonical form. batch: B. activation_ms: E phi^2. activation_cosine: between two samples.
    gradient_factor: of the gradient's mean square, layer to layer toward the input, without eps. variance_share: of
    sigma_w2 E phi^2, what batch norm sees as variance, 1 - activation_cosine.
    """

    act: str
    batch: int
    activation_ms: float
    activation_cosine: float
    gradient_factor: float
    variance_share: float


@checks_types
def batch_norm(act: ActivationLike, batch: int = 64, eps: float = 0.0, sigma_w2: float = 1.0) -> BatchNorm:
    """What a layer phi(batch norm(W h)) does to a signal and its gradient, far from the input.

    The factor is that of the mean. Of a net of width n it is an average over n units of 1/v, which for fewer than six
    samples has an infinite variance: measured values then scatter below it.

    Args:
        act: a name, a call form or a callable.
        batch: samples that are normalized together, at least 4; as it grows relu's factor tends to pi / (pi - 1).
        eps: what is added to the variance; it matters beside sigma_w2 E phi^2 only for few samples.
        sigma_w2: fan_in Var(W), which without `eps` has no effect.

    Raises:
        InvalidArgumentError: a value is out of range, or phi is constant.
    """
    phi = activation(act)
    batch = whole("batch", batch, FEWEST)
    eps, log_w = number("eps", eps, 0.0), float(np.log(number("sigma_w2", sigma_w2, 0.0, above=True)))
    found, log_spread = normalized_batches(phi, batch, np.zeros(1), 0.0), np.zeros(1)
    for _ in range(1 if eps == 0 else 50):
        if not found.cosine[0] < 1 - ALIKE:
            raise InvalidArgumentError(f"{phi.name} is constant over a normalized batch", "act")
        log_spread = log_w + found.log_ms + np.log1p(-found.cosine)
        found = normalized_batches(phi, batch, log_spread, eps)
    return BatchNorm(
        act=phi.name,
        batch=batch,
        activation_ms=float(np.exp(found.log_ms[0])),
        activation_cosine=float(found.cosine[0]),
        gradient_factor=float(np.exp(log_w + found.log_back[0])),
        variance_share=float(1 - found.cosine[0]),
    )


class Normalized(NamedTuple):
    """phi of a normalized batch, natural logs, arrays of shape (nets,).

    log_ms, cosine, mean_over_rms: of phi. log_back: a gradient of covariance G over the batch at phi becomes
    exp(log_back) G at the preactivation. log_back_common: so does one of covariance 11'/B, with this factor.
    """

    log_ms: Nets
    cosine: Nets
    mean_over_rms: Nets
    log_back: Nets
    log_back_common: Nets


def normalized_batches(act: Activation, batch: int, log_spread: Nets, eps: float) -> Normalized:
    """`Normalized` where preactivations have the covariance exp(log_spread) G about the mean of the batch."""
    if batch < FEWEST:
        raise InvalidArgumentError(
            f"batch norm of {batch} samples: the gradient has no mean square; at least {FEWEST}", "batch"
        )
    if (log_spread == -np.inf).any():
        raise InvalidArgumentError("batch norm of samples that are all alike", "norm")
    if eps == 0:
        found = np.repeat(np.array(unit_spread(act, batch))[:, None], log_spread.size, axis=1)
    else:
        level = np.maximum(log_spread - np.log(eps), LOWEST)
        found, cells = np.empty((5, level.size)), np.floor(level).astype(int)
        for cell in np.unique(cells):
            here = cells == cell
            share = weights(nodes(cell, cell + 1), level[here])
            values = table(act, batch, int(cell))
            found[:, here] = sum(values[:, k, None] * share[k] for k in range(DEGREE))
    log_ms, cosine, mean_over_rms, back, common = found
    with np.errstate(divide="ignore"):
        log_back, log_common = (np.log(np.maximum(part, 0.0)) - log_spread for part in (back, common))
    return Normalized(log_ms, cosine, mean_over_rms, log_back, log_common)


@lru_cache(maxsize=1024)
def table(act: Activation, batch: int, cell: int) -> np.ndarray:
    """`unit_spread` at the nodes of ln(lambda / eps) from `cell` to `cell + 1`, shape (fields, nodes)."""
    return np.array([unit_spread(act, batch, float(np.exp(-level))) for level in nodes(cell, cell + 1)]).T


@lru_cache(maxsize=64)
def unit_spread(act: Activation, batch: int, eps: float = 0.0) -> tuple[float, ...]:
    """(ln E phi^2, cosine, mean over RMS, factors of the gradient) where lambda = 1."""
    if eps == 0:
        share, inverse, odds = np.ones(1), np.array([batch / (batch - 3)]), np.ones(1)
        averages = np.array(sphere_averages(act, batch))[:, None]
    else:
        log_v, odds = radii(batch)
        share, inverse = 1 / (1 + eps * np.exp(-log_v)), 1 / (np.exp(log_v) + eps)
        points, values, powers = interpolated(act, batch)
        averages = barycentric_interpolate(points, values, np.sqrt(share)).T * share ** powers[:, None]
    mean, square, product, slopes, slope_pairs, bent, bent_pairs = averages
    along = (1 - (1 - share) ** 2) / share
    back = ((1 - 1 / batch) * slopes + slope_pairs / batch - along * (bent - bent_pairs) / batch) * inverse
    whole_back = (slopes - along * bent / (batch - 1)) * inverse
    ms = float(odds @ square)
    if not ms > 0:
        return -np.inf, 1.0, 0.0, float(odds @ back), float(odds @ (whole_back - back))
    return (
        float(np.log(ms)),
        float(odds @ product) / ms,
        float(odds @ mean) / float(np.sqrt(ms)),
        float(odds @ back),
        float(odds @ (whole_back - back)),
    )


@lru_cache(maxsize=64)
def interpolated(act: Activation, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(roots of SHARES, `SphereAverages` there, each divided by share to a power, those powers)."""
    shares = np.maximum(SHARES, 1e-8)
    half = 0.5 if evaluate(act, np.zeros(1))[0][0] == 0 else 0.0
    powers = np.array([half, 2 * half, 2 * half, 0, 0, 1, 1])
    values = np.array([sphere_averages(act, batch, float(share)) for share in shares])
    return np.sqrt(shares), values / shares[:, None] ** powers, powers


@lru_cache(maxsize=64)
def radii(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """(ln v, probability) with v distributed as chi2_{B-1} / B; the integrand is smooth in ln v."""
    d = batch - 1
    y = np.log(d) + np.linspace(-1 - 120 / d, 1 + 6 / np.sqrt(d), RADII)
    log_density = d / 2 * y - np.exp(y) / 2 - d / 2 * np.log(2) - gammaln(d / 2)
    return y - np.log(batch), np.exp(log_density) * (y[1] - y[0])
