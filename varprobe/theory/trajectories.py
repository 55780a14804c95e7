"""A signal and its gradient through an infinitely wide stack, layer by layer.

Poole et al. (2016) and Schoenholz et al. (2017): forward q_l = sigma_w2 E phi(z_{l-1})^2 + sigma_b2 and, for two
inputs, the correlation of z; backward E delta_l^2 = sigma_w2 (fan_out / fan_in) E phi'(z_l)^2 E delta_{l+1}^2 from
E delta_L^2 = E phi'(z_L)^2, the cotangent being N(0, 1). All are carried as natural logs and given as log10, so that
no depth or variance is out of range.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import MOST_LAYERS, number, numbers, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.laws import Law
from varprobe.theory.sources import Source

__all__ = ["Forward", "Inputs", "Nets", "Trajectory", "pass_backward", "pass_forward", "trajectory"]

Layers = Float[np.ndarray, " depth"]
Table = Float[np.ndarray, "nets depth"]
LN10 = float(np.log(10))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Predictions for layers 1 to depth, float64 arrays of shape (depth,).

    Attributes:
        act: the activation's canonical form.
        layer: 1 to depth.
        preactivation_log10_mean_square: log10 of q_l = E z_l^2.
        preactivation_log10_var: log10 of Var z_l; the same unless the weights have a mean.
        preactivation_mean_over_rms: E z_l / sqrt(q_l); 0 unless the weights have a mean.
        preactivation_correlation: E[z z'] / q between two inputs (with mean_w: of what is not the shared mean).
        activation_log10_mean_square: log10 of E phi(z_l)^2.
        activation_log10_var: log10 of Var phi(z_l).
        activation_mean_over_rms: E phi / sqrt(E phi^2).
        activation_correlation: cosine E[phi phi'] / E phi^2 between two inputs.
        gradient_log10_mean_square: log10 of E delta_l^2 for a N(0, 1) cotangent.
        weight_gradient_log10_mean_square: log10 of E (dLoss/dW_l)^2 for one input, E h_{l-1}^2 E delta_l^2.
        input_gradient_log10_mean_square: log10 of E (dLoss/dh_0)^2, the gradient at layer 0; a number.
    """

    act: str
    layer: np.ndarray
    preactivation_log10_mean_square: Layers
    preactivation_log10_var: Layers
    preactivation_mean_over_rms: Layers
    preactivation_correlation: Layers
    activation_log10_mean_square: Layers
    activation_log10_var: Layers
    activation_mean_over_rms: Layers
    activation_correlation: Layers
    gradient_log10_mean_square: Layers
    weight_gradient_log10_mean_square: Layers
    input_gradient_log10_mean_square: float

    def __repr__(self) -> str:
        names = [f"{name}_log10_mean_square" for name in ("preactivation", "activation", "gradient")]
        ends = ", ".join(f"{name} {getattr(self, name)[0]:.4g} to {getattr(self, name)[-1]:.4g}" for name in names)
        return f"Trajectory({self.act}, layers 1 to {self.layer.size}: {ends})"


@checks_types
def trajectory(
    act: ActivationLike,
    sigma_w2: float | Sequence[float],
    sigma_b2: float | Sequence[float] = 0.0,
    depth: int = 50,
    q0: float = 1.0,
    c0: float = 0.0,
    mean_w: float | Sequence[float] = 0.0,
    fan_in: int | None = None,
    widths: Sequence[int] | None = None,
) -> Trajectory:
    """The mean-field prediction for every layer of a plain stack.

    Args:
        act: a name, a call form or a callable.
        sigma_w2: fan_in Var(W), one number or one a layer.
        sigma_b2: Var(b), one number or one a layer.
        depth: the number of weight layers.
        q0: mean square of an input's entries.
        c0: correlation (cosine) of two inputs, -1 to 1.
        mean_w: mean of the weights, one number or one a layer; it needs `fan_in` or `widths`. It adds mean_w sum(h) to
            every unit of a layer: the mean fan_in mean_w E h, and to Var z what sum(h) varies between inputs, which
            is common to the units and reaches the next layer as (E phi')^2 times itself.
        fan_in: width of every layer and of the input.
        widths: (n_0, ..., n_depth) where they differ; the gradient is multiplied by fan_out / fan_in.

    Raises:
        InvalidArgumentError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi = activation(act)
    depth = whole("depth", depth, 1, MOST_LAYERS)
    weights, biases = per_layer("sigma_w2", sigma_w2, depth, 0.0), per_layer("sigma_b2", sigma_b2, depth, 0.0)
    means = per_layer("mean_w", mean_w, depth)
    log_input, cosine = float(np.log(number("q0", q0, 0.0, above=True))), number("c0", c0, -1.0, 1.0)
    if means.any() and fan_in is None and widths is None:
        raise InvalidArgumentError("weights with a mean need the fan_in (or widths)", "fan_in")
    profile = np.full(depth + 1, 1.0 if fan_in is None else whole("fan_in", fan_in, 1))
    if widths is not None:
        profile = numbers("widths", widths, 1.0)
        if profile.size != depth + 1:
            raise InvalidArgumentError(f"{profile.size} widths for depth {depth}; it takes n_0 to n_{depth}", "widths")
    with np.errstate(divide="ignore"):
        nets = Nets(np.log(weights)[None], np.log(biases)[None], means[None], np.zeros((1, depth)))
    inputs = Inputs(np.array([log_input]), np.array([cosine]), np.zeros(1), np.zeros(1))
    forward = pass_forward(Source(phi), nets, profile[None], inputs)
    gradients, arriving = gradients_of(forward.laws, nets, profile[None])
    gradient = gradients[0]
    log_h = forward.laws.log_ms[0]
    return Trajectory(
        act=phi.name,
        layer=np.arange(1, depth + 1),
        preactivation_log10_mean_square=forward.log_q[0] / LN10,
        preactivation_log10_var=forward.log_v[0] / LN10,
        preactivation_mean_over_rms=forward.ratio[0],
        preactivation_correlation=forward.c[0],
        activation_log10_mean_square=log_h / LN10,
        activation_log10_var=forward.laws.log_var[0] / LN10,
        activation_mean_over_rms=forward.laws.mean_over_rms[0],
        activation_correlation=forward.cosine[0],
        gradient_log10_mean_square=gradient / LN10,
        weight_gradient_log10_mean_square=(np.concatenate([[log_input], log_h[:-1]]) + gradient) / LN10,
        input_gradient_log10_mean_square=float(arriving[0] / LN10),
    )


class Nets(NamedTuple):
    """Weights and biases, arrays of shape (nets, depth): ln of sigma_w2 = fan_in Var(W) and of Var(b), and means."""

    log_w: Table
    log_b: Table
    mean_w: Table
    mean_b: Table


class Inputs(NamedTuple):
    """Of the input, shape (nets,): ln of its mean square, the cosine between two samples, and mean over RMS.

    common: share of the mean square by which the means of samples differ, beyond what independent features would.
    """

    log_ms: np.ndarray
    cosine: np.ndarray
    mean_over_rms: np.ndarray
    common: np.ndarray


class Forward(NamedTuple):
    """What `pass_forward` finds, arrays of shape (nets, depth), natural logs; `cosine` is of activations."""

    log_q: Table
    log_v: Table
    ratio: Table
    c: Table
    cosine: Table
    laws: Law


def pass_forward(source: Source, nets: Nets, widths: np.ndarray, inputs: Inputs) -> Forward:
    """q, its variance and mean, the correlations and the laws, layer by layer, for all nets of an activation.

    widths is (nets, depth + 1), the input's first.
    """
    rows: list[tuple[np.ndarray, ...]] = []
    laws: list[Law] = []
    log_h, cosine, mean_over_rms, common = inputs
    with np.errstate(divide="ignore", invalid="ignore"):
        log_common = log_h + np.log(common)
        layers = zip(nets.log_w.T, nets.log_b.T, nets.mean_w.T, nets.mean_b.T, widths.T[:-1], strict=True)
        for log_sw, log_sb, mu, offset, n in layers:
            squared = mean_over_rms**2
            summed = np.log(n) + 2 * np.log(np.abs(mu)) + log_h  # ln of fan_in mean_w^2 E h^2
            coherent = np.where(log_common > -np.inf, log_common - log_h, -np.inf)
            coherent = np.minimum(coherent, np.log1p(-squared))  # share of E h^2 that all units have alike, by input
            own = np.log1p(-squared - np.exp(coherent))
            log_common = summed + np.logaddexp(np.log(n) + coherent, np.nan_to_num(own, nan=-np.inf))
            log_v = np.logaddexp(np.logaddexp(log_sw + log_h, log_common), log_sb)
            shared = summed + np.log(n * squared)
            log_offset = 2 * np.log(np.abs(offset))
            largest = np.maximum(np.maximum(log_v, shared), log_offset)
            largest = np.where(largest == -np.inf, 0.0, largest)
            mean = np.sign(mu * mean_over_rms) * np.exp((shared - largest) / 2)
            mean += np.sign(offset) * np.exp((log_offset - largest) / 2)
            log_q = np.logaddexp(log_v, largest + 2 * np.log(np.abs(mean)))
            ratio = np.where(log_q > -np.inf, mean * np.exp((largest - log_q) / 2), 0.0)
            aligned = np.nan_to_num(cosine, nan=1.0)
            c = np.exp(log_sw + log_h - log_v) * aligned + np.exp(log_sb - log_v)
            alike = np.divide(aligned - squared, 1 - squared, out=np.ones_like(squared), where=squared < 1)
            c += np.where(mu != 0, np.exp(log_common - log_v) * alike, 0.0)
            c = np.where(log_v == -np.inf, 1.0, np.clip(c, -1, 1))
            found = source.law(log_q, ratio)
            alive = found.log_ms > -np.inf
            cosine = np.full_like(c, np.nan)
            cosine[alive] = source.similarity(log_q[alive], c[alive], ratio[alive]).phi
            log_h, mean_over_rms = found.log_ms, found.mean_over_rms
            log_common += found.log_derivative_ms + 2 * np.log(np.abs(found.derivative_mean_over_rms))
            rows.append((log_q, log_v, ratio, c, cosine))
            laws.append(found)
    log_q, log_v, ratio, c, cosine = (np.stack(column, axis=1) for column in zip(*rows, strict=True))
    met = Law(*(np.stack(field, axis=1) for field in zip(*laws, strict=True)))
    return Forward(log_q, log_v, ratio, c, cosine, met)


def pass_backward(laws: Law, nets: Nets, widths: np.ndarray) -> Table:
    """ln E delta_l^2 for layers 1 to depth."""
    return gradients_of(laws, nets, widths)[0]


def gradients_of(laws: Law, nets: Nets, widths: np.ndarray) -> tuple[Table, np.ndarray]:
    """(ln E delta_l^2 for layers 1 to depth, ln E (dLoss/dh_0)^2 of each net).

    `coherence` is E (sum_i delta_i)^2 / (n E delta^2), 1 at first.
    """
    found = np.zeros_like(nets.log_w)
    log_arriving, shared = np.zeros(len(found)), np.zeros(len(found))
    with np.errstate(divide="ignore", invalid="ignore"):
        for at in reversed(range(nets.log_w.shape[1])):
            found[:, at] = log_arriving + laws.log_derivative_ms[:, at]
            squared = laws.derivative_mean_over_rms[:, at] ** 2
            n, n_before = widths[:, at + 1], widths[:, at]
            coherence = shared * (n * squared + 1 - squared) + 1 - shared
            common = 2 * np.log(np.abs(nets.mean_w[:, at])) + np.log(n * coherence)
            both = np.logaddexp(nets.log_w[:, at] + np.log(n / n_before), common)
            log_arriving = found[:, at] + both
            shared = np.where(common > -np.inf, np.exp(common - both), 0.0)
    return found, log_arriving
