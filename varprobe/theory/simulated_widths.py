"""The finite-width law of the log mean squares by Monte Carlo, for any activation and a batch of any correlation.

Given h_{l-1}, a batch of B rows, the preactivations of a layer of Gaussian weights are n independent draws of
N(0, K), K = sigma_w2 h h^T / fan_in + sigma_b2, and of orthogonal weights L U with K = L L^T and U the first B rows of
a random orthogonal matrix. Backward the matrix is used once more: what h and z say of it is kept, and the rest is
drawn. So a draw of a network takes about 2 depth * width * B random numbers and no matrix (the principle of deferred
decisions; Lu 2021, IEEE Trans. Inf. Theory 67(12), 8264), and the law is exact. No network code is used.
"""

from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.theory.elementwise import evaluate

__all__ = ["Stack", "draws_for", "has_intervals", "simulated"]

OPERATIONS = 2e7
"""Random numbers that a prediction may take: about half a second of a core."""

FEWEST, MOST = 64, 512
"""Draws of a network."""

TOGETHER = 64
"""Draws that are held at a time."""

JITTER = 1e-12
"""Of the mean diagonal of a Gram matrix, added to it."""

GROUP, COVERAGE, SHIFT = 4, 0.91, 0.4
"""Seeds of a simulated group; coverage of its 95% intervals, and mean of its t, beyond which z-scores mean nothing."""


class Stack(NamedTuple):
    """A plain stack: its activation, law of the weights, and numbers of layers 1 to L.

    Attributes:
        act: the activation.
        law: of the weights.
        sigma_w2: fan_in Var(W).
        sigma_b2: Var(b).
        widths: n_0 to n_L.
        batch: samples.
        mean_square: of the input.
        cosine: between two samples of the input.
    """

    act: Activation
    law: Literal["normal", "orthogonal"]
    sigma_w2: tuple[float, ...]
    sigma_b2: tuple[float, ...]
    widths: tuple[int, ...]
    batch: int
    mean_square: float
    cosine: float


def draws_for(stack: Stack) -> int:
    """How many draws a prediction may take; 0 if those are too few, or the law does not fit the shape."""
    if stack.law == "orthogonal" and len(set(stack.widths)) > 1:
        return 0
    if stack.law == "orthogonal" and 2 * stack.batch > stack.widths[0]:
        return 0
    found = int(OPERATIONS / (2 * stack.batch * sum(stack.widths)))
    return min(found, MOST) if found >= FEWEST else 0


def simulated(stack: Stack, draws: int) -> dict[str, np.ndarray]:
    """ln of mean squares, each (draws, depth): "activation", and "gradient" of a N(0, 1) cotangent.

    The same arguments give the same numbers. Stacks of a homogeneous activation without biases that differ in scales
    share one simulation.

    Raises:
        InvalidArgumentError: signals leave the range of float64 on the way.
    """
    if behavior(stack.act).homogeneous and not any(stack.sigma_b2):
        scales = np.log(stack.sigma_w2)
        one = remembered(stack._replace(sigma_w2=(1.0,) * scales.size, mean_square=1.0), draws)
        below, above = np.cumsum(scales) + np.log(stack.mean_square), np.cumsum(scales[::-1])[::-1] - scales
        return {"activation": one["activation"] + below, "gradient": one["gradient"] + above}
    return remembered(stack, draws)


def has_intervals(logs: np.ndarray) -> bool:
    """Whether Student's t fits slopes of log mean squares, (draws, depth), or they are too skewed for a few seeds."""
    if not np.isfinite(logs).all():
        return False
    slopes = logs[:, -1] - logs[:, 0]
    groups = slopes[: len(slopes) // GROUP * GROUP].reshape(-1, GROUP)
    t = (groups.mean(axis=1) - slopes.mean()) / (groups.std(axis=1, ddof=1) / np.sqrt(GROUP))
    inside = np.abs(t) <= stdtrit(GROUP - 1, 0.975)
    return bool(inside.mean() >= COVERAGE and abs(t.mean()) <= SHIFT)


@lru_cache(maxsize=64)
def remembered(stack: Stack, draws: int) -> dict[str, np.ndarray]:
    """`simulated`, kept: configurations of a sweep often ask for the same."""
    random = np.random.default_rng(0)
    try:
        with np.errstate(all="ignore"):
            parts = [one_part(stack, min(TOGETHER, draws - at), random) for at in range(0, draws, TOGETHER)]
    except np.linalg.LinAlgError as error:
        raise InvalidArgumentError(f"{stack.act.name} leaves the range of float64") from error
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def one_part(stack: Stack, draws: int, random: np.random.Generator) -> dict[str, np.ndarray]:
    """The same of draws that are held at a time."""
    h = first_batch(stack, draws, random)
    layers, signal = [], []
    for at in range(len(stack.sigma_w2)):
        frame, rows = forward(stack, at, h, random)
        h, slope = evaluate(stack.act, rows.z)
        layers.append((frame, rows.units, slope))
        signal.append(log_mean_square(h))
    g, gradient = random.standard_normal(h.shape), []
    for at in reversed(range(len(layers))):
        frame, units, slope = layers[at]
        delta = slope * g
        gradient.append(log_mean_square(delta))
        if at:
            g = previous(stack, at, delta, frame, units, random)
    return {"activation": np.stack(signal, axis=1), "gradient": np.stack(gradient[::-1], axis=1)}


class Rows(NamedTuple):
    """Preactivations z, and the independent rows `units` of which they are made: z = L units, and a bias."""

    z: np.ndarray
    units: np.ndarray


def first_batch(stack: Stack, draws: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian inputs of the mean square and the cosine, (draws, batch, n_0)."""
    n, c = stack.widths[0], min(max(stack.cosine, 0.0), 1.0)
    own, shared = random.standard_normal((draws, stack.batch, n)), random.standard_normal((draws, 1, n))
    return np.sqrt(stack.mean_square) * (np.sqrt(1 - c) * own + np.sqrt(c) * shared)


def forward(stack: Stack, at: int, h: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, Rows]:
    """(the orthonormal rows that the matrix has met, what it gives); Gaussian weights have the bias as a feature."""
    wide = np.sqrt(stack.sigma_w2[at] / (stack.widths[at] if stack.law == "normal" else 1)) * h
    if stack.sigma_b2[at] and stack.law == "normal":
        ones = np.full((*h.shape[:2], 1), np.sqrt(stack.sigma_b2[at]))
        wide = np.concatenate([wide, ones], axis=2)
    lower = factor(wide)
    units = random.standard_normal((*h.shape[:2], stack.widths[at + 1]))
    if stack.law == "orthogonal":
        units = solved(factor(units), units)
    z = lower @ units
    if stack.law == "orthogonal":
        z = z + np.sqrt(stack.sigma_b2[at]) * random.standard_normal((len(h), 1, z.shape[2]))
    return solved(lower, wide), Rows(z, units)


def previous(
    stack: Stack, at: int, delta: np.ndarray, frame: np.ndarray, units: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """dLoss/dh of the layer below, (draws, batch, fan_in)."""
    known = delta @ units.swapaxes(1, 2)
    rest = random.standard_normal(frame.shape)
    rest = rest - (rest @ frame.swapaxes(1, 2)) @ frame
    if stack.law == "orthogonal":
        unseen, scale = delta - known @ units, np.sqrt(stack.sigma_w2[at])
        rest = factor(unseen) @ solved(factor(rest), rest)
    else:
        rest, scale = factor(delta) @ rest, np.sqrt(stack.sigma_w2[at] / stack.widths[at])
    return scale * (known @ frame + rest)[:, :, : stack.widths[at]]


def factor(rows: np.ndarray) -> np.ndarray:
    """The Cholesky factor of the Gram matrix of rows, which may be parallel."""
    gram = rows @ rows.swapaxes(1, 2)
    size = np.trace(gram, axis1=1, axis2=2)[:, None, None] / gram.shape[-1]
    return np.linalg.cholesky(gram + (JITTER * size + np.finfo(float).tiny) * np.eye(gram.shape[-1]))


def solved(lower: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The inverse of a Cholesky factor times rows: orthonormal if it is theirs."""
    found: np.ndarray = np.linalg.solve(lower, rows)
    return found


def log_mean_square(rows: np.ndarray) -> np.ndarray:
    """ln of the mean square over batch and units, -inf of zeros."""
    found: np.ndarray = np.log(np.square(rows).mean(axis=(1, 2)))
    return found
