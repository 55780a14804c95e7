"""Signal and gradient through infinitely wide blocks: plain layers with norms, and residual ones with or without.

A residual block is x_l = x_{l-1} + s branch(x_{l-1}). Its matrices are fresh, so that x W is Gaussian given |x|^2 and
independent of x, and the mean squares of stream and branch add; only where the branch ends in phi itself does its mean
meet that of the stream, E x_l^2 = E x^2 + 2 s E x E phi + s^2 E phi^2. Back, g_{l-1} = g_l + s J'g_l, whose two parts
are uncorrelated in every case. A phi that sees the stream itself takes it as Gaussian, which it is where the input is
and the branch ends in a matrix.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Inputs
from varprobe.theory.unit_layers import Gradient, Norm, Signal, UnitLayer, unit_layer

__all__ = ["Blocks", "Path", "Shape", "pass_blocks"]

Table = Float[np.ndarray, "nets depth"]
Nets = Float[np.ndarray, " nets"]

BRANCHES = {
    (1, "post"): ("matrix", "unit"),
    (1, "pre"): ("unit", "matrix"),
    (2, "post"): ("matrix", "unit", "matrix"),
    (2, "pre"): ("unit", "matrix", "unit", "matrix"),
}
"""By the number of matrices and the order; a unit is phi with its norm."""


class Shape(NamedTuple):
    """What nets that are predicted together share.

    branch_layers: matrices in a block, 1 or 2. order: "post", phi(x W), or "pre", phi(x) W. skip: whether the block's
    input is added. norm: beside every phi. batch: samples.
    """

    branch_layers: int
    order: str
    skip: bool
    norm: Norm | None
    batch: int


class Blocks(NamedTuple):
    """Arrays of shape (nets, depth): ln of fan_in Var(W) and of Var(b), for both matrices, and the scale s."""

    log_w: Table
    log_b: Table
    log_v: Table
    log_a: Table
    scale: Table


class Path(NamedTuple):
    """What `pass_blocks` finds, natural logs, (nets, depth) but for the stream's, which have the input first.

    stream, cosine, mean_over_rms: of x_0 to x_L. branch, branch_mean_over_rms: before it is scaled and added.
    preactivation: ln E z^2, z what the first matrix gives. gradient: ln E (dLoss/dx_l)^2 for l = 1 to L, with a N(0, 1)
    cotangent of x_L. inner_gradient: ln E (dLoss/dz)^2. weight_gradient: of the first matrix, summed over the batch.
    """

    stream: Float[np.ndarray, "nets depth_and_1"]
    cosine: Float[np.ndarray, "nets depth_and_1"]
    mean_over_rms: Float[np.ndarray, "nets depth_and_1"]
    branch: Table
    branch_mean_over_rms: Table
    preactivation: Table
    gradient: Table
    inner_gradient: Table
    weight_gradient: Table


def pass_blocks(source: Source, blocks: Blocks, shape: Shape, inputs: Inputs, forward_only: bool = False) -> Path:
    """All nets of one activation and shape, forward and back; with `forward_only` the gradients are NaN.

    Raises:
        InvalidArgumentError: phi has no finite averages where the signal leads, or a batch norm meets samples that are
            alike.
    """
    operations = BRANCHES[shape.branch_layers, shape.order]
    stream = Signal(*(np.asarray(field, np.float64) for field in inputs[:3]))
    streams, branches, entering, preactivations = [stream], [], [], []
    units: list[list[UnitLayer]] = []
    for layer in zip(*(field.T for field in blocks), strict=True):
        *matrices, scale = layer
        at, met, first = stream, list[UnitLayer](), True
        pairs = iter([matrices[:2], matrices[2:]])
        for operation in operations:
            if operation == "unit":
                met.append(unit_layer(source, shape.norm, shape.batch, at))
                at = met[-1].signal
                continue
            if first:
                entering.append(at)
            at = multiplied(at, *next(pairs))
            if first:
                preactivations.append(at.log_ms)
            first = False
        units.append(met)
        branches.append(at)
        stream = added(stream, at, scale) if shape.skip else at
        streams.append(stream)
    back = np.full((3, *blocks.log_w.shape), np.nan)
    if not forward_only:
        back[:] = pass_back(blocks, shape, entering, units)
    return Path(
        np.stack([signal.log_ms for signal in streams], axis=1),
        np.stack([signal.cosine for signal in streams], axis=1),
        np.stack([signal.mean_over_rms for signal in streams], axis=1),
        np.stack([signal.log_ms for signal in branches], axis=1),
        np.stack([signal.mean_over_rms for signal in branches], axis=1),
        np.stack(preactivations, axis=1),
        back[0],
        back[1],
        back[2],
    )


def multiplied(signal: Signal, log_w: Nets, log_b: Nets) -> Signal:
    """After a matrix and its biases."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_q = np.logaddexp(log_w + signal.log_ms, log_b)
        weight = np.where(log_q > -np.inf, np.exp(log_w + signal.log_ms - log_q), 0.0)
        shared = np.where(log_q > -np.inf, np.exp(log_b - log_q), 1.0)
        cosine = np.where(weight > 0, weight * signal.cosine, 0.0) + shared
    return Signal(log_q, np.clip(cosine, -1, 1), np.zeros_like(log_q))


def added(stream: Signal, branch: Signal, scale: Nets) -> Signal:
    """x + s branch, whose units are independent of x but for their means."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_branch = branch.log_ms + 2 * np.log(np.abs(scale))
        top = np.maximum(stream.log_ms, log_branch)
        a, b = (np.where(top > -np.inf, np.exp(part - top), 0.0) for part in (stream.log_ms, log_branch))
        means = np.sqrt(a) * stream.mean_over_rms, np.sign(scale) * np.sqrt(b) * branch.mean_over_rms
        cross = 2 * means[0] * means[1]
        whole = a + b + cross
        cosine = (a * np.nan_to_num(stream.cosine) + b * np.nan_to_num(branch.cosine) + cross) / whole
        ratio = np.clip((means[0] + means[1]) / np.sqrt(whole), -1, 1)
        alive = whole > 0
        return Signal(
            np.where(alive, top + np.log(whole), -np.inf),
            np.where(alive, np.clip(cosine, -1, 1), stream.cosine),
            np.where(alive, ratio, 0.0),
        )


def pass_back(
    blocks: Blocks, shape: Shape, entering: list[Signal], units: list[list[UnitLayer]]
) -> tuple[Table, Table, Table]:
    """(gradient, inner_gradient, weight_gradient) of `Path`."""
    batch = shape.batch
    found = tuple(np.empty(blocks.log_w.shape) for _ in range(3))
    gradient = Gradient(*np.zeros((2, len(blocks.log_w))))
    with np.errstate(divide="ignore", invalid="ignore"):
        log_s2 = 2 * np.log(np.abs(blocks.scale))
        for at in reversed(range(blocks.log_w.shape[1])):
            found[0][:, at] = gradient.log_ms(batch)
            passing = Gradient(*(part + log_s2[:, at] for part in gradient)) if shape.skip else gradient
            met, matrices = list(units[at]), [blocks.log_w[:, at], blocks.log_v[:, at]][: shape.branch_layers]
            for operation in reversed(BRANCHES[shape.branch_layers, shape.order]):
                if operation == "unit":
                    passing = met.pop().back(passing)
                    continue
                if len(matrices) == 1:
                    found[1][:, at] = passing.log_ms(batch)
                    found[2][:, at] = weight_gradient(entering[at], passing, batch)
                log_w = matrices.pop()
                passing = Gradient(*(part + log_w for part in passing))
            if shape.skip:
                passing = Gradient(*(np.logaddexp(part, new) for part, new in zip(gradient, passing, strict=True)))
            gradient = passing
    return found[0], found[1], found[2]


def weight_gradient(signal: Signal, gradient: Gradient, batch: int) -> Nets:
    """ln of the mean square of sum_b h_b delta_b: the trace of the product of their covariances over the batch."""
    cosine = np.nan_to_num(signal.cosine)
    about = np.log(np.maximum((batch - 1) * (1 - cosine), 0)) if batch > 1 else np.full_like(cosine, -np.inf)
    common = np.log(np.maximum(1 + (batch - 1) * cosine, 0))
    return signal.log_ms + np.logaddexp(about + gradient.log_alpha, common + gradient.log_beta)
