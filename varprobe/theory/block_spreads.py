"""How far the stream of a residual stack strays at a finite width, to first order in 1 / n.

Blocks x + s V phi(W x) of Gaussian matrices. With K = E phi^2, f = s^2 sv2 K / E x_l^2 the share of the branch in the
new stream, and [B] an average over all pairs of samples, a block adds to n times the variance of ln(mean_b |x_l|^2)

    4 f (1 - f) [cos(x, x') cos(h, h')] + f^2 (2 [cos(h, h')^2] + [E phi(z)^2 phi(z')^2 / K^2 - 1])

from x . V h, |V h|^2 and |h|^2, and half of that is taken from the mean. What came before passes with the slope
of the mean-square map in ln q. Back it is the same with the gradient's terms.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.theory.blocks import Blocks, Path, Shape
from varprobe.theory.sources import Source

__all__ = ["Spread", "spread_of_stream"]

Table = Float[np.ndarray, "nets depth"]
STEP = 0.05
"""In ln q, for derivatives of the maps."""


class Spread(NamedTuple):
    """Drift and variance over draws of ln(mean square), of the stream (layers 1 to L) and of its gradient."""

    drift: Table
    variance: Table
    gradient_drift: Table
    gradient_variance: Table


def spread_of_stream(
    source: Source,
    blocks: Blocks,
    shape: Shape,
    path: Path,
    width: Float[np.ndarray, " nets"],
    gaussian_input: bool = True,
) -> Spread:
    """`Spread` of nets of these widths; NaN unless the branch is V phi(W x) without a norm.

    The input's own entries are drawn anew where `gaussian_input`, else its mean square is the same in every draw.
    """
    size = blocks.log_w.shape
    if shape.norm or (shape.branch_layers, shape.order) != (2, "post") or not shape.skip:
        return Spread(*np.full((4, *size), np.nan))
    forward, back = Maps(source, blocks, path, "log_ms"), Maps(source, blocks, path, "log_derivative_ms")
    fresh, fresh_back = (part / width[:, None] for part in steps(source, blocks, shape, path))
    drift, variance = np.empty(size), np.empty(size)
    v = 2 * (1 + (shape.batch - 1) * path.cosine[:, 0] ** 2) / shape.batch / width * gaussian_input
    m = -v / 2
    for at in range(size[1]):
        m = forward.slope[:, at] * m + forward.bend[:, at] * v / 2 - fresh[:, at] / 2
        v = forward.slope[:, at] ** 2 * v + fresh[:, at]
        drift[:, at], variance[:, at] = m, v
    # ln(gradient at x_l) sums over the blocks above l, whose input is x_l for the first
    own_mean, own_variance = np.zeros(size), np.zeros(size)
    passed = weight = np.zeros(size[0])
    own = 2 / (shape.batch * width)  # of the cotangent
    mean = -own / 2
    for at in reversed(range(size[1])):
        m, v = drift[:, at], variance[:, at]
        if at + 1 < size[1]:
            up = at + 1
            mean = mean + back.slope[:, up] * m + back.bend[:, up] * v / 2 - fresh_back[:, up] / 2
            passed = passed + weight**2 * fresh[:, up]
            weight = back.slope[:, up] + forward.slope[:, up] * weight
            own = own + fresh_back[:, up]
        own_mean[:, at], own_variance[:, at] = mean, own + passed + weight**2 * v
    return Spread(drift, variance, own_mean, own_variance)


class Maps:
    """ln(1 + s^2 ...) of a block as a function of ln E x^2: its first and second derivative, arrays (nets, depth).

    field: "log_ms" for the stream's own mean square, "log_derivative_ms" for the gradient's factor.
    """

    def __init__(self, source: Source, blocks: Blocks, path: Path, field: str) -> None:
        values = []
        with np.errstate(divide="ignore", invalid="ignore"):
            log_s2 = 2 * np.log(np.abs(blocks.scale))
            for h in (-STEP, 0.0, STEP):
                log_x = path.stream[:, :-1] + h
                log_q = np.logaddexp(blocks.log_w + log_x, blocks.log_b)
                law = getattr(source.law(log_q.ravel(), np.zeros(log_q.size)), field).reshape(log_q.shape)
                if field == "log_ms":
                    branch = np.logaddexp(blocks.log_v + law, blocks.log_a)
                    values.append(np.logaddexp(log_x, log_s2 + branch))
                else:
                    values.append(np.logaddexp(0.0, log_s2 + blocks.log_v + blocks.log_w + law))
        self.slope = (values[2] - values[0]) / (2 * STEP)
        self.bend = (values[2] - 2 * values[1] + values[0]) / STEP**2


def steps(source: Source, blocks: Blocks, shape: Shape, path: Path) -> tuple[Table, Table]:
    """n times the variance that each block adds to ln of the stream and, passing back, of its gradient."""
    size, batch = blocks.log_w.shape, shape.batch
    log_q = np.logaddexp(blocks.log_w + path.stream[:, :-1], blocks.log_b)
    law = source.law(log_q.ravel(), np.zeros(log_q.size))
    cosine_x = path.cosine[:, :-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        weight, shared = np.exp(blocks.log_w + path.stream[:, :-1] - log_q), np.exp(blocks.log_b - log_q)
        cosine_z = np.clip(weight * cosine_x + shared, -1, 1)
        pair = source.similarity(log_q.ravel(), cosine_z.ravel(), np.zeros(log_q.size))
        fourth, derivative_fourth, cosine_h, square, derivative_square = (
            np.reshape(part, size)
            for part in (law.fourth, law.derivative_fourth, pair.phi, pair.square, pair.derivative_square)
        )
        log_s2 = 2 * np.log(np.abs(blocks.scale))
        share = np.exp(log_s2 + blocks.log_v + np.reshape(law.log_ms, size) - path.stream[:, 1:])
        chi = log_s2 + blocks.log_v + blocks.log_w + np.reshape(law.log_derivative_ms, size)
        back_share = np.exp(chi - np.logaddexp(0.0, chi))

    def pairs(own: Any, other: Any) -> Any:
        """The average over all pairs of samples."""
        return own / batch + (1 - 1 / batch) * other

    rest = np.exp(path.stream[:, :-1] - path.stream[:, 1:])
    forward = 4 * share * rest * pairs(1.0, cosine_x * cosine_h) + share**2 * (
        2 * pairs(1.0, cosine_h**2) + pairs(fourth - 1, square * fourth - 1)
    )
    # cotangents of different samples are independent: only what phi' has in common ties them
    backward = 4 * back_share * (1 - back_share) * pairs(1.0, 0.0) + back_share**2 * (
        2 * pairs(1.0, 0.0) + pairs(3 * derivative_fourth - 1, derivative_square * derivative_fourth - 1)
    )
    return np.maximum(forward, 0.0), np.maximum(backward, 0.0)
