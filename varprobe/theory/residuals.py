"""What an infinitely wide residual stack does to its stream, forward and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import word
from varprobe.theory.block_spreads import Spread, spread_of_stream
from varprobe.theory.blocks import Blocks, Shape, pass_blocks
from varprobe.theory.checks import MOST_LAYERS, number, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Inputs
from varprobe.theory.unit_layers import checked_norm

__all__ = ["Residual", "fitted_factor", "residual"]

Layers = Float[np.ndarray, " depth"]
Stream = Float[np.ndarray, " depth_and_1"]
LN10 = float(np.log(10))
ORDERS = ("post", "pre")


@dataclass(frozen=True, eq=False)
class Residual:
    """Predictions for a stream x_0 to x_L, float64: shape (depth + 1,) or, of what a block has, (depth,).

    Attributes:
        act: the activation's canonical form.
        layer: 0 to depth.
        stream: log10 of E x_l^2, from the input on.
        stream_var: log10 of Var x_l.
        stream_mean_over_rms: E x_l / sqrt(E x_l^2); not 0 where a branch ends in phi.
        stream_cosine: between two samples.
        branch: log10 of the mean square of branch(x_{l-1}), before it is scaled and added.
        branch_mean_over_rms: its mean over its RMS.
        preactivation: log10 of E z_l^2, z_l what the first matrix of the block gives.
        gradient: log10 of E (dLoss/dx_l)^2 for l = 1 to L and a N(0, 1) cotangent of x_L.
        preactivation_gradient: log10 of E (dLoss/dz_l)^2.
        weight_gradient: log10 of the mean square of the first matrix's gradient, summed over the batch.
        forward_factor: per block, of E x^2: 10 to the slope of `stream` over layers 1 to depth; NaN at depth 1.
        backward_factor: per block toward the input, of E (dLoss/dx)^2, in the same way.
        stream_drift, stream_std, gradient_drift, gradient_std: what a finite width adds to `stream[1:]` and `gradient`,
            to first order in 1 / width, and their standard deviations over draws, in decades; NaN without a `width` and
            for other branches than phi between two Gaussian matrices without a norm.
    """

    act: str
    layer: np.ndarray
    stream: Stream
    stream_var: Stream
    stream_mean_over_rms: Stream
    stream_cosine: Stream
    branch: Layers
    branch_mean_over_rms: Layers
    preactivation: Layers
    gradient: Layers
    preactivation_gradient: Layers
    weight_gradient: Layers
    forward_factor: float
    backward_factor: float
    stream_drift: Layers
    stream_std: Layers
    gradient_drift: Layers
    gradient_std: Layers

    def __repr__(self) -> str:
        return (
            f"Residual({self.act}, {self.layer[-1]} blocks: stream {self.stream[0]:.4g} to {self.stream[-1]:.4g}, "
            f"gradient {self.gradient[0]:.4g} to {self.gradient[-1]:.4g})"
        )


@checks_types
def residual(
    act: ActivationLike,
    depth: int = 50,
    sigma_w2: float | Sequence[float] = 2.0,
    sigma_v2: float | Sequence[float] = 1.0,
    branch_layers: int = 2,
    order: str = "post",
    branch_scale: float | Sequence[float] = 1.0,
    sigma_b2: float | Sequence[float] = 0.0,
    norm: str | None = None,
    norm_position: str = "pre",
    eps: float = 1e-5,
    group_size: int | None = None,
    batch: int = 1,
    q0: float = 1.0,
    c0: float = 0.0,
    width: int | None = None,
) -> Residual:
    """The prediction for x_l = x_{l-1} + s branch(x_{l-1}), with no activation after the sum.

    The branch is V phi(W x) or, `order` "pre", V phi(W phi(x)); of one matrix phi(W x) or W phi(x). With relu, s = 1
    and no norm both directions grow by 1 + sigma_v2 sigma_w2 / 2 a block ("pre": / 4; one matrix: 1 + sigma_w2 / 2).
    For phi(W x) the stream grows faster than the gradient, since its mean builds up.

    Args:
        act: a name, a call form or a callable.
        depth: the number of blocks.
        sigma_w2: fan_in Var of the first matrix, one number or one a block.
        sigma_v2: the same of the second.
        branch_layers: matrices in the branch, 1 or 2.
        order: "post" or "pre", whether phi comes after the (first) matrix or before it.
        branch_scale: s, one number or one a block, e.g. `depth ** -0.5`.
        sigma_b2: Var(b) of both matrices.
        norm: "batch", "layer", "group", "rms" or None, beside each phi of the branch.
        norm_position: "pre", before phi, or "post", after it.
        eps: of the norm.
        group_size: units that a group (or layer) norm takes together, None for many.
        batch: samples, at least 4 for batch norm; also those over which the weight gradient is summed.
        q0: mean square of an input's Gaussian entries.
        c0: cosine of two inputs.
        width: units, for the finite-width drift and standard deviation.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi, depth, batch = activation(act), whole("depth", depth, 1, MOST_LAYERS), whole("batch", batch, 1)
    branch_layers = whole("branch_layers", branch_layers, 1, 2)
    word("order", order, tuple(ORDERS), "order")
    shape = Shape(branch_layers, order, True, checked_norm(norm, norm_position, eps, batch, group_size), batch)
    given = {"sigma_w2": sigma_w2, "sigma_v2": sigma_v2, "sigma_b2": sigma_b2}
    variances = [per_layer(name, value, depth, 0.0)[None] for name, value in given.items()]
    scale = per_layer("branch_scale", branch_scale, depth)[None]
    inputs = Inputs(
        np.log([number("q0", q0, 0.0, above=True)]), np.array([number("c0", c0, -1.0, 1.0)]), np.zeros(1), np.zeros(1)
    )
    with np.errstate(divide="ignore"):
        log_w, log_v, log_b = map(np.log, variances)
        blocks, source = Blocks(log_w, log_b, log_v, log_b, scale), Source(phi)
        path = pass_blocks(source, blocks, shape, inputs)
        stream_var = path.stream[0] + np.log1p(-(path.mean_over_rms[0] ** 2))
    stray = Spread(*np.full((4, 1, depth), np.nan))
    if width is not None:
        stray = spread_of_stream(source, blocks, shape, path, np.array([whole("width", width, 1)]))
    return Residual(
        act=phi.name,
        layer=np.arange(depth + 1),
        stream=path.stream[0] / LN10,
        stream_var=stream_var / LN10,
        stream_mean_over_rms=path.mean_over_rms[0],
        stream_cosine=path.cosine[0],
        branch=path.branch[0] / LN10,
        branch_mean_over_rms=path.branch_mean_over_rms[0],
        preactivation=path.preactivation[0] / LN10,
        gradient=path.gradient[0] / LN10,
        preactivation_gradient=path.inner_gradient[0] / LN10,
        weight_gradient=path.weight_gradient[0] / LN10,
        forward_factor=fitted_factor(path.stream[0, 1:]),
        backward_factor=1 / fitted_factor(path.gradient[0]),
        stream_drift=stray.drift[0] / LN10,
        stream_std=np.sqrt(stray.variance[0]) / LN10,
        gradient_drift=stray.gradient_drift[0] / LN10,
        gradient_std=np.sqrt(stray.gradient_variance[0]) / LN10,
    )


def fitted_factor(logs: Layers) -> float:
    """exp of the least-squares slope; NaN where there is one layer, or one of them is not finite."""
    if logs.size < 2 or not np.isfinite(logs).all():
        return float("nan")
    layer = np.arange(logs.size) - (logs.size - 1) / 2
    with np.errstate(over="ignore"):
        return float(np.exp((layer @ logs) / (layer @ layer)))
