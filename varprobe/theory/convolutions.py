"""A signal and its gradient through infinitely many channels of a convolutional stack, position by position.

The mean-square map is that of a plain stack (fan_in = kernel^dims channels): sharing the weights ties the positions of
a sample together but does not change any mean square (Xiao et al. 2018, arXiv 1806.05393). Zero padding does: a
position near the border gets nothing from the taps beyond it, q_p = sigma_w2 mean_k E phi(z_{p+k})^2 + sigma_b2, and
the gradient, which passes the same taps the other way, loses as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import word
from varprobe.theory.checks import MOST_LAYERS, number, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.residuals import fitted_factor
from varprobe.theory.sources import Source

__all__ = ["Convolution", "Image", "Positions", "convolution", "pass_convolution"]

Layers = Float[np.ndarray, " depth"]
Table = Float[np.ndarray, "nets depth"]
Fields = Float[np.ndarray, "nets depth ..."]
LN10 = float(np.log(10))
PADDINGS = ("zero", "circular")
MOST_POSITIONS = 2**16
MOST_DIMS = 3


@dataclass(frozen=True, eq=False)
class Convolution:
    """Predictions for layers 1 to depth, float64; of shape (depth,) they are means over all positions.

    Attributes:
        act: the activation's canonical form.
        layer: 1 to depth.
        preactivation_log10_mean_square: log10 of E z_l^2.
        activation_log10_mean_square: log10 of E phi(z_l)^2.
        gradient_log10_mean_square: log10 of E (dLoss/dz_l)^2 for a N(0, 1) cotangent of every position.
        weight_gradient_log10_mean_square: log10 of the mean square of a kernel's gradient, for one sample.
        activation_positions, gradient_positions: log10 of the mean square at each position, (depth, size, ..., size).
        activation_factor, gradient_factor: per layer, 10 to the least-squares slope, the gradient's toward the input.
    """

    act: str
    layer: np.ndarray
    preactivation_log10_mean_square: Layers
    activation_log10_mean_square: Layers
    gradient_log10_mean_square: Layers
    weight_gradient_log10_mean_square: Layers
    activation_positions: np.ndarray
    gradient_positions: np.ndarray
    activation_factor: float
    gradient_factor: float

    def __repr__(self) -> str:
        return (
            f"Convolution({self.act}, layers 1 to {self.layer.size}: "
            f"activation_factor {self.activation_factor:.4g}, gradient_factor {self.gradient_factor:.4g})"
        )


@checks_types
def convolution(
    act: ActivationLike,
    depth: int = 50,
    size: int = 32,
    kernel: int = 3,
    dims: int = 2,
    padding: str = "zero",
    sigma_w2: float | Sequence[float] = 2.0,
    sigma_b2: float | Sequence[float] = 0.0,
    q0: float = 1.0,
) -> Convolution:
    """The prediction for a stack of convolutions of stride 1 whose output has the input's size.

    Args:
        act: a name, a call form or a callable.
        depth: the number of layers.
        size: positions along each axis.
        kernel: taps along each axis; of an even number one more lies after the position than before it.
        dims: the number of axes.
        padding: "zero" or "circular", which is a plain stack.
        sigma_w2: fan_in Var(W), one number or one a layer; fan_in = kernel^dims channels.
        sigma_b2: Var(b), one number or one a layer.
        q0: mean square of an input's entries, at every position.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi, depth = activation(act), whole("depth", depth, 1, MOST_LAYERS)
    padding = word("padding", padding, tuple(PADDINGS), "padding")
    image = Image(whole("size", size, 1), whole("kernel", kernel, 1), whole("dims", dims, 1), padding)
    if image.dims > MOST_DIMS:
        raise InvalidArgumentError(f"{dims} axes are more than {MOST_DIMS}", "dims")
    if image.positions > MOST_POSITIONS:
        raise InvalidArgumentError(f"{size}^{dims} positions are more than {MOST_POSITIONS}", "size")
    if image.kernel > image.size:
        raise InvalidArgumentError(f"{kernel} taps are more than {size} positions", "kernel")
    weights, biases = (per_layer(*row, depth, 0.0) for row in (("sigma_w2", sigma_w2), ("sigma_b2", sigma_b2)))
    with np.errstate(divide="ignore"):
        log_w, log_b = np.log(weights)[None], np.log(biases)[None]
    log_input = np.log([number("q0", q0, 0.0, above=True)])
    found = pass_convolution(Source(phi), log_w, log_b, np.ones((1, depth + 1)), image, log_input)
    z, h, gradient = (averaged(field)[0] for field in (found.log_q, found.log_h, found.gradient))
    return Convolution(
        act=phi.name,
        layer=np.arange(1, depth + 1),
        preactivation_log10_mean_square=z / LN10,
        activation_log10_mean_square=h / LN10,
        gradient_log10_mean_square=gradient / LN10,
        weight_gradient_log10_mean_square=found.weight_gradient[0] / LN10,
        activation_positions=found.log_h[0] / LN10,
        gradient_positions=found.gradient[0] / LN10,
        activation_factor=fitted_factor(h),
        gradient_factor=1 / fitted_factor(gradient),
    )


class Image(NamedTuple):
    """size, kernel: along each of `dims` axes. padding: "zero" or "circular"."""

    size: int
    kernel: int
    dims: int
    padding: str

    @property
    def positions(self) -> int:
        """How many there are."""
        return int(self.size**self.dims)


class Positions(NamedTuple):
    """What `pass_convolution` finds, natural logs; fields are (nets, depth, size, ..., size).

    log_q, log_h: of E z^2 and E phi(z)^2. gradient: of E (dLoss/dz)^2. weight_gradient: (nets, depth), for one sample.
    """

    log_q: Fields
    log_h: Fields
    gradient: Fields
    weight_gradient: Table


def averaged(field: Fields) -> Table:
    """ln of the mean over positions."""
    flat = field.reshape(*field.shape[:2], -1)
    return np.logaddexp.reduce(flat, axis=2) - np.log(flat.shape[2])


def pass_convolution(
    source: Source,
    log_w: Table,
    log_b: Table,
    channels: Float[np.ndarray, "nets depth_and_1"],
    image: Image,
    log_input: Float[np.ndarray, " nets"],
) -> Positions:
    """All nets of an activation and image, forward and back; the input's mean square is the same at every position.

    Raises:
        InvalidArgumentError: the activation has no finite averages on the way.
    """
    nets, depth = log_w.shape
    spatial = (image.size,) * image.dims
    column = (nets, *(1,) * image.dims)
    log_h = np.broadcast_to(log_input.reshape(column), (nets, *spatial))
    log_q, log_hs, slopes, arriving = [], [], [], []
    for at in range(depth):
        arriving.append(gathered(log_h, image, back=False))
        log_q.append(np.logaddexp(log_w[:, at].reshape(column) + arriving[-1], log_b[:, at].reshape(column)))
        law = source.law(log_q[-1].ravel(), np.zeros(log_q[-1].size))
        log_h = law.log_ms.reshape(log_q[-1].shape)
        log_hs.append(log_h)
        slopes.append(law.log_derivative_ms.reshape(log_h.shape))
    gradient, weight_gradient = np.empty((nets, depth, *spatial)), np.empty((nets, depth))
    log_g = np.zeros((nets, *spatial))
    for at in reversed(range(depth)):
        delta = log_g + slopes[at]
        gradient[:, at] = delta
        weight_gradient[:, at] = np.logaddexp.reduce((delta + arriving[at]).reshape(nets, -1), axis=1)
        scale = log_w[:, at] + np.log(channels[:, at + 1] / channels[:, at])
        log_g = scale.reshape(column) + gathered(delta, image, back=True)
    return Positions(np.stack(log_q, axis=1), np.stack(log_hs, axis=1), gradient, weight_gradient)


def gathered(logs: np.ndarray, image: Image, back: bool) -> np.ndarray:
    """ln of the mean over the taps, those beyond a border of zeros included; `back` reads them the other way."""
    axes = tuple(range(1, logs.ndim))
    top = logs.max(axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    found = np.exp(logs - top)
    before = (image.kernel - 1) // 2
    ends = (image.kernel - 1 - before, before) if back else (before, image.kernel - 1 - before)
    mode = "wrap" if image.padding == "circular" else "constant"
    for axis in axes:
        widths = [ends if axis == one else (0, 0) for one in range(logs.ndim)]
        padded = np.pad(found, widths, mode=mode)  # type: ignore[call-overload]
        found = np.lib.stride_tricks.sliding_window_view(padded, image.kernel, axis=axis).mean(-1)
    with np.errstate(divide="ignore"):
        return top + np.log(found)
