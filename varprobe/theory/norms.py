"""What an infinitely wide plain stack with a norm in every layer does to a signal and its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from varprobe.spec.argument_types import checks_types
from varprobe.theory.blocks import Blocks, Shape, pass_blocks
from varprobe.theory.checks import MOST_LAYERS, number, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.residuals import fitted_factor
from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Inputs
from varprobe.theory.unit_layers import checked_norm

__all__ = ["NormalizedStack", "normalized"]

Layers = Float[np.ndarray, " depth"]
LN10 = float(np.log(10))


@dataclass(frozen=True, eq=False)
class NormalizedStack:
    """Predictions for layers 1 to depth, float64 arrays of shape (depth,); z before the norm, h after norm and phi.

    Attributes:
        act: the activation's canonical form.
        layer: 1 to depth.
        preactivation_log10_mean_square: log10 of E z_l^2.
        activation_log10_mean_square: log10 of E h_l^2.
        activation_mean_over_rms: E h / sqrt(E h^2).
        activation_correlation: cosine of h between two samples.
        gradient_log10_mean_square: log10 of E (dLoss/dz_l)^2 for a N(0, 1) cotangent of h_L.
        weight_gradient_log10_mean_square: log10 of E (dLoss/dW_l)^2, summed over the batch.
        activation_factor, gradient_factor: per layer, of the mean squares, the gradient's toward the input: 10 to the
            least-squares slope; NaN at depth 1.
    """

    act: str
    layer: np.ndarray
    preactivation_log10_mean_square: Layers
    activation_log10_mean_square: Layers
    activation_mean_over_rms: Layers
    activation_correlation: Layers
    gradient_log10_mean_square: Layers
    weight_gradient_log10_mean_square: Layers
    activation_factor: float
    gradient_factor: float

    def __repr__(self) -> str:
        return (
            f"NormalizedStack({self.act}, layers 1 to {self.layer.size}: "
            f"activation_factor {self.activation_factor:.4g}, gradient_factor {self.gradient_factor:.4g})"
        )


@checks_types
def normalized(
    act: ActivationLike,
    norm: str | None = "layer",
    norm_position: str = "pre",
    sigma_w2: float | Sequence[float] = 2.0,
    sigma_b2: float | Sequence[float] = 0.0,
    depth: int = 50,
    batch: int = 64,
    eps: float = 1e-5,
    group_size: int | None = None,
    q0: float = 1.0,
    c0: float = 0.0,
) -> NormalizedStack:
    """The prediction for h_l = phi(norm(h_{l-1} W_l + b_l)) or, `norm_position` "post", norm(phi(h_{l-1} W_l + b_l)).

    Layer, group and rms norm of many units divide by a number and leave the gradient E phi'^2 / E phi^2 a layer (layer
    and group norm after phi: / Var phi). Batch norm is exact in the number of samples.

    Args:
        act: a name, a call form or a callable.
        norm: "batch", "layer", "group", "rms" or None.
        norm_position: "pre", before phi, or "post", after it.
        sigma_w2: fan_in Var(W), one number or one a layer.
        sigma_b2: Var(b), one number or one a layer.
        depth: the number of weight layers.
        batch: samples, at least 4 for batch norm; also those over which the weight gradient is summed.
        eps: of the norm.
        group_size: units that a group (or layer) norm takes together, None for many.
        q0: mean square of an input's entries.
        c0: cosine of two inputs.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi, depth, batch = activation(act), whole("depth", depth, 1, MOST_LAYERS), whole("batch", batch, 1)
    shape = Shape(1, "post", False, checked_norm(norm, norm_position, eps, batch, group_size), batch)
    weights, biases = (per_layer(*row, depth, 0.0) for row in (("sigma_w2", sigma_w2), ("sigma_b2", sigma_b2)))
    inputs = Inputs(
        np.log([number("q0", q0, 0.0, above=True)]), np.array([number("c0", c0, -1.0, 1.0)]), np.zeros(1), np.zeros(1)
    )
    with np.errstate(divide="ignore"):
        log_w, log_b, none = np.log(weights)[None], np.log(biases)[None], np.full((1, depth), -np.inf)
    path = pass_blocks(Source(phi), Blocks(log_w, log_b, none, none, np.ones((1, depth))), shape, inputs)
    return NormalizedStack(
        act=phi.name,
        layer=np.arange(1, depth + 1),
        preactivation_log10_mean_square=path.preactivation[0] / LN10,
        activation_log10_mean_square=path.stream[0, 1:] / LN10,
        activation_mean_over_rms=path.mean_over_rms[0, 1:],
        activation_correlation=path.cosine[0, 1:],
        gradient_log10_mean_square=path.inner_gradient[0] / LN10,
        weight_gradient_log10_mean_square=path.weight_gradient[0] / LN10,
        activation_factor=fitted_factor(path.stream[0, 1:]),
        gradient_factor=1 / fitted_factor(path.inner_gradient[0]),
    )
