"""A signal and its gradient through an infinitely wide stack, layer by layer.

Poole et al. (2016) and Schoenholz et al. (2017): forward q_l = sigma_w2 E phi(z_{l-1})^2 + sigma_b2 and, for two
inputs, the correlation of z; backward E delta_l^2 = sigma_w2 (fan_out / fan_in) E phi'(z_l)^2 E delta_{l+1}^2 from
E delta_L^2 = E phi'(z_L)^2, the cotangent being N(0, 1). All are carried as natural logs and given as log10, so that
no depth or variance is out of range.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from varprobe.activations import Activation
from varprobe.errors import RequestError
from varprobe.theory.checks import number, numbers, per_layer, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.laws import Law, law, similarity

__all__ = ["Trajectory", "trajectory"]

Layers = Float[np.ndarray, " depth"]
LN10 = float(np.log(10))


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Predictions for layers 1 to depth, float64 arrays of shape (depth,).

    Attributes:
        act: the activation's canonical form.
        layer: 1 to depth.
        preactivation_log10_ms: log10 of q_l = E z_l^2.
        preactivation_log10_var: log10 of Var z_l; the same unless the weights have a mean.
        preactivation_mean_over_rms: E z_l / sqrt(q_l); 0 unless the weights have a mean.
        preactivation_correlation: E[z z'] / q between two inputs (with mean_w: of what is not the shared mean).
        activation_log10_ms: log10 of E phi(z_l)^2.
        activation_log10_var: log10 of Var phi(z_l).
        activation_mean_over_rms: E phi / sqrt(E phi^2).
        activation_correlation: cosine E[phi phi'] / E phi^2 between two inputs.
        gradient_log10_ms: log10 of E delta_l^2 for a N(0, 1) cotangent.
        weight_gradient_log10_ms: log10 of E (dLoss/dW_l)^2 for one input, E h_{l-1}^2 E delta_l^2.
        laws: what was averaged at each layer.
    """

    act: str
    layer: np.ndarray
    preactivation_log10_ms: Layers
    preactivation_log10_var: Layers
    preactivation_mean_over_rms: Layers
    preactivation_correlation: Layers
    activation_log10_ms: Layers
    activation_log10_var: Layers
    activation_mean_over_rms: Layers
    activation_correlation: Layers
    gradient_log10_ms: Layers
    weight_gradient_log10_ms: Layers
    laws: tuple[Law, ...] = field(repr=False)

    def __repr__(self) -> str:
        ends = ", ".join(
            f"{name}_log10_ms {getattr(self, f'{name}_log10_ms')[0]:.4g} to {getattr(self, f'{name}_log10_ms')[-1]:.4g}"
            for name in ("preactivation", "activation", "gradient")
        )
        return f"Trajectory({self.act}, layers 1 to {self.layer.size}: {ends})"


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
            every unit of a layer: the mean fan_in mean_w E h, and to Var z fan_in mean_w^2 Var h, which is common to
            the units and differs between inputs.
        fan_in: width of every layer and of the input.
        widths: (n_0, ..., n_depth) where they differ; the gradient is multiplied by fan_out / fan_in.

    Raises:
        RequestError: a value is out of range, or the activation has no finite averages where the signal leads.
    """
    phi = activation(act)
    depth = whole("depth", depth, 1)
    weights, biases = per_layer("sigma_w2", sigma_w2, depth, 0.0), per_layer("sigma_b2", sigma_b2, depth, 0.0)
    means = per_layer("mean_w", mean_w, depth)
    log_input, cosine = float(np.log(number("q0", q0, 0.0, above=True))), number("c0", c0, -1.0, 1.0)
    if means.any() and fan_in is None and widths is None:
        raise RequestError("weights with a mean need the fan_in (or widths)", "fan_in")
    profile = np.full(depth + 1, 1.0 if fan_in is None else whole("fan_in", fan_in, 1))
    if widths is not None:
        profile = numbers("widths", widths, 1.0)
        if profile.size != depth + 1:
            raise RequestError(f"{profile.size} widths for depth {depth}; it takes n_0 to n_{depth}", "widths")
    with np.errstate(divide="ignore"):
        forward = pass_forward(phi, np.log(weights), np.log(biases), means, profile, log_input, cosine)
        gradient = pass_backward(forward["laws"], weights, means, profile)
    log_h = np.array([found.log_ms for found in forward["laws"]])
    return Trajectory(
        act=phi.name,
        layer=np.arange(1, depth + 1),
        preactivation_log10_ms=forward["log_q"] / LN10,
        preactivation_log10_var=forward["log_v"] / LN10,
        preactivation_mean_over_rms=forward["ratio"],
        preactivation_correlation=forward["c"],
        activation_log10_ms=log_h / LN10,
        activation_log10_var=np.array([found.log_var for found in forward["laws"]]) / LN10,
        activation_mean_over_rms=np.array([found.mean_over_rms for found in forward["laws"]]),
        activation_correlation=forward["cosine"],
        gradient_log10_ms=gradient / LN10,
        weight_gradient_log10_ms=(np.concatenate([[log_input], log_h[:-1]]) + gradient) / LN10,
        laws=forward["laws"],
    )


def pass_forward(
    act: Activation,
    log_w: np.ndarray,
    log_b: np.ndarray,
    means: np.ndarray,
    widths: np.ndarray,
    log_h: float,
    cosine: float,
) -> dict:
    """q, its variance and mean, the correlations and the laws, layer by layer; natural logs."""
    rows, laws = [], []
    mean_over_rms = 0.0
    for log_sw, log_sb, mu, n in zip(log_w, log_b, means, widths[:-1], strict=True):
        squared = mean_over_rms**2
        summed = np.log(n * mu**2) + log_h  # ln of fan_in mean_w^2 E h^2
        log_v = float(np.logaddexp(np.logaddexp(log_sw + log_h, summed + np.log1p(-squared)), log_sb))
        shared = float(summed + np.log(n * squared))
        log_q = float(np.logaddexp(log_v, shared))
        sign = -1.0 if mu * mean_over_rms < 0 else 1.0
        ratio = float(sign * np.exp((shared - log_q) / 2)) if log_q > -np.inf else 0.0
        if log_v == -np.inf:
            c = 1.0
        else:
            aligned = np.nan_to_num(cosine, nan=1.0)
            c = np.exp(log_sw + log_h - log_v) * aligned + np.exp(log_sb - log_v)
            c += np.exp(summed - log_v) * (aligned - squared)
        c = float(np.clip(c, -1, 1))
        found = law(act, log_q, ratio)
        cosine = similarity(act, log_q, c, ratio).phi if found.log_ms > -np.inf else np.nan
        log_h, mean_over_rms = found.log_ms, found.mean_over_rms
        rows.append((log_q, log_v, ratio, c, cosine))
        laws.append(found)
    names = ("log_q", "log_v", "ratio", "c", "cosine")
    return {**dict(zip(names, np.array(rows).T, strict=True)), "laws": tuple(laws)}


def pass_backward(laws: Sequence[Law], weights: np.ndarray, means: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """ln E delta_l^2 for layers 1 to depth; `coherence` is E (sum_i delta_i)^2 / (n E delta^2), 1 at first."""
    found = np.empty(len(laws))
    log_arriving, shared = 0.0, 0.0
    for at in range(len(laws) - 1, -1, -1):
        found[at] = log_arriving + laws[at].log_derivative_ms
        squared = laws[at].derivative_mean_over_rms ** 2
        n, n_before = widths[at + 1], widths[at]
        coherence = shared * (n * squared + 1 - squared) + 1 - shared
        own, common = weights[at] * n / n_before, means[at] ** 2 * n * coherence
        log_arriving = found[at] + np.log(own + common)
        shared = common / (own + common) if own + common > 0 else 0.0
    return found
