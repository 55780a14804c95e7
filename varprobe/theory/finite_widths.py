"""How far one draw of a finite net strays from mean-field theory: the drift and variance of its log mean squares.

Given h_{l-1} the preactivations of a layer are independent Gaussians, so each layer multiplies the mean square by an
average over n units. For one input and a phi of degree 1 these factors are independent and their laws known: chi2_n / n
for a linear layer and (2 / n) chi2_K, K ~ Binomial(n, 1/2) given K > 0, for relu, forward and backward (Hanin & Nica
2020, arXiv 1812.05994). Else to first order in 1/n the factor's log has variance Var(mean_b phi_b^2) / (n ms^2) and
mean minus half of that, and what came before goes through the mean-square map and its curvature.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, polygamma, psi

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.nets.initializers import Initializer
from varprobe.spec.argument_types import checks_types
from varprobe.spec.arguments import word
from varprobe.theory.checks import MOST_LAYERS, number, numbers, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.expectations import gain
from varprobe.theory.sigmas import given, resolved_initializer, variance_of
from varprobe.theory.sources import Source
from varprobe.theory.trajectories import Forward, Inputs, Nets, pass_forward

__all__ = ["FiniteWidth", "chi2_log", "finite_width", "relu_log", "finite_width_spread"]

Layers = Float[np.ndarray, " depth"]
Table = Float[np.ndarray, "nets depth"]
LN10 = float(np.log(10))
STEP = 0.05
"""In ln q, for derivatives of a law."""
LARGEST_SHIFT = 0.02
"""Of a mean in one layer by the second order of the mean-square map, for the first order in 1 / n to be trusted."""


@dataclass(frozen=True, eq=False)
class FiniteWidth:
    """What the width adds to the infinite-width curve, for layers 1 to depth.

    Attributes:
        act: the activation's canonical form.
        quantity: "activation" or "gradient".
        kind: "exact", or "first order" in 1 / width.
        layer: 1 to depth.
        drift: mean over draws of ln(mean square) minus the infinite-width value.
        variance: variance over draws of ln(mean square).
        drift_log10, std_log10: the same in decades.
    """

    act: str
    quantity: str
    kind: str
    layer: np.ndarray
    drift: Layers
    variance: Layers

    @property
    def drift_log10(self) -> Layers:
        """`drift` in decades."""
        return self.drift / LN10

    @property
    def std_log10(self) -> Layers:
        """The standard deviation over draws in decades."""
        return np.sqrt(self.variance) / LN10

    def __repr__(self) -> str:
        end = -1 if self.quantity == "activation" else 0
        return (
            f"FiniteWidth({self.act}, {self.quantity}, {self.kind}: at layer {self.layer[end]} ln mean square drifts "
            f"by {self.drift[end]:.4g} with variance {self.variance[end]:.4g})"
        )


def chi2_log(n: float | np.ndarray) -> tuple[Any, Any]:
    """(mean, variance) of ln(chi2_n / n): psi(n/2) + ln(2/n) and psi_1(n/2)."""
    half = np.asarray(n) / 2
    return psi(half) - np.log(half), polygamma(1, half)


def relu_log(n: int) -> tuple[float, float]:
    """(mean, variance) of ln((2/n) chi2_K), K ~ Binomial(n, 1/2) given K > 0: one He-initialized relu layer."""
    spread = 20 * np.sqrt(n)
    k = np.arange(max(1, int(n / 2 - spread)), min(n, int(n / 2 + spread)) + 1, dtype=np.float64)
    weights = np.exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) - n * np.log(2))
    weights /= weights.sum()
    means = psi(k / 2) + np.log(4 / n)
    mean = float(weights @ means)
    return mean, float(weights @ (polygamma(1, k / 2) + (means - mean) ** 2))


@checks_types
def finite_width(
    act: ActivationLike,
    init: str | Initializer | None = None,
    width: int | Sequence[int] = 512,
    depth: int = 50,
    batch: int = 1,
    quantity: str = "activation",
    sigma_w2: float | None = None,
    sigma_b2: float = 0.0,
    q0: float = 1.0,
    c0: float = 0.0,
) -> FiniteWidth:
    """Drift and variance of the log mean square over draws of the weights (and of the cotangent).

    Args:
        act: a name, a call form or a callable.
        init: an initializer with mean 0 (the law of its entries matters only where it is orthogonal, which varies
            less); by default Gaussian entries.
        width: one width, or (n_0, ..., n_depth).
        depth: the number of weight layers.
        batch: inputs whose mean square is taken together; their cosine is `c0`.
        quantity: "activation", or "gradient" of a N(0, 1) cotangent.
        sigma_w2: fan_in Var(W), where no `init` gives it; by default what preserves the mean square at q = 1.
        sigma_b2: Var(b).
        q0: mean square of an input's entries.
        c0: cosine of two inputs.

    Raises:
        InvalidArgumentError: a value is out of range, or the initializer has a mean, or entries of no known variance.
    """
    phi = activation(act)
    depth, batch = whole("depth", depth, 1, MOST_LAYERS), whole("batch", batch, 1)
    q0, c0 = number("q0", q0, 0.0, above=True), number("c0", c0, -1.0, 1.0)
    word("quantity", quantity, ("activation", "gradient"), "quantity")
    widths = numbers("width", width, 1.0)
    if not np.ndim(width):
        widths = np.full(depth + 1, widths[0])
    if widths.size != depth + 1:
        raise InvalidArgumentError(f"{widths.size} widths for depth {depth}; it takes one or n_0 to n_{depth}", "width")
    if (widths != np.round(widths)).any():
        raise InvalidArgumentError(f"{width!r} is not whole", "width")
    initializer = None if init is None else resolved_initializer(given(init), phi, sigma_b2)
    if initializer and sigma_w2 is not None:
        raise InvalidArgumentError(f"give init or sigma_w2, not both: {initializer.name} has its own", "sigma_w2")
    if initializer:
        weights = [variance_of(initializer, widths, layer) for layer in range(1, depth + 1)]
    else:
        weights = [gain(phi).sigma_w2 if sigma_w2 is None else number("sigma_w2", sigma_w2, 0.0, above=True)] * depth
    zeros = np.zeros((1, depth))
    with np.errstate(divide="ignore"):
        nets = Nets(np.log([weights]), np.log(zeros + number("sigma_b2", sigma_b2, 0.0)), zeros, zeros)
    inputs = Inputs(np.log([q0]), np.array([c0]), np.zeros(1), np.zeros(1))
    source = Source(phi)
    path = pass_forward(source, nets, widths[None], inputs)
    law = initializer.law[0] if initializer else "normal"
    kind, found = finite_width_spread(source, path, nets, widths[None], inputs, batch, (quantity,), law)
    drift, variance = found[quantity]
    return FiniteWidth(phi.name, quantity, kind, np.arange(1, depth + 1), drift[0], variance[0])


def finite_width_spread(
    source: Source,
    path: Forward,
    nets: Nets,
    widths: np.ndarray,
    inputs: Inputs,
    batch: int,
    quantities: Sequence[str],
    law: str,
) -> tuple[str, dict[str, tuple[Table, Table]]]:
    """(kind, quantity -> drift and variance of ln(mean square)) for the paths of several nets.

    `law` is that of all their weights; either all of them have biases or none.
    """
    exact = one_layer(source.act) if law == "normal" and batch == 1 and np.isneginf(nets.log_b).all() else None
    if exact:
        laws = {n: exact(int(n)) for n in np.unique(widths[:, 1:])}
        steps = np.array([[laws[n] for n in profile] for profile in widths[:, 1:]])
        return "exact", {quantity: summed(quantity, steps[..., 0], steps[..., 1]) for quantity in quantities}
    orthogonal = law == "orthogonal"
    before = np.concatenate([inputs.log_ms[:, None], path.laws.log_ms[:, :-1]], axis=1)
    with np.errstate(invalid="ignore"):
        share = np.nan_to_num(np.exp(nets.log_w + before - path.log_q))
    fresh = activation_steps(source, path, share, inputs.cosine, batch, orthogonal, widths) / widths[:, 1:]
    signal = carried(source, path, share, fresh)
    found = {"activation": (signal.mean, signal.variance)}
    if "gradient" in quantities:
        own = gradient_steps(source, path, batch, orthogonal, widths) / widths[:, 1:]
        drift, variance = summed("gradient", -own / 2, own)
        found["gradient"] = drift + signal.slope_mean, variance + signal.slope_variance
    return "first order", found


class Carried(NamedTuple):
    """What the fluctuations of a signal come to, arrays of shape (nets, depth).

    mean, variance: of ln(mean square of the activation). slope_mean, slope_variance: of the sum, from layer L down, of
    what they add to ln E phi'^2.
    """

    mean: Table
    variance: Table
    slope_mean: Table
    slope_variance: Table


def carried(source: Source, path: Forward, share: Table, fresh: Table) -> Carried:
    """Send fresh fluctuations of these variances through the mean-square map, to first order in 1 / n.

    A fluctuation of ln q of variance v shifts the mean of ln E phi^2 by v / 2 times its second derivative. Where that
    shift is large the expansion is worth nothing, and NaN from there on.
    """
    low, high = (source.law((path.log_q + h).ravel(), path.ratio.ravel()) for h in (-STEP, STEP))
    shape = path.log_q.shape

    def change(field: str, order: int) -> Table:
        """A derivative of a field of the law in ln q."""
        down, here, up = (
            getattr(low, field).reshape(shape),
            getattr(path.laws, field),
            getattr(high, field).reshape(shape),
        )
        with np.errstate(invalid="ignore"):
            found = (up - down) / (2 * STEP) if order == 1 else (up - 2 * here + down) / STEP**2
        return np.where(np.isfinite(found), found, 0.0)

    bend, slope, slope_bend = change("response", 1), change("log_derivative_ms", 1), change("log_derivative_ms", 2)
    mean, variance, mean_q, variance_q = (np.zeros(shape) for _ in range(4))
    m = v = np.zeros(len(fresh))
    for at in range(shape[1]):
        s, r = share[:, at], path.laws.response[:, at]
        mean_q[:, at], variance_q[:, at] = s * m + s * (1 - s) * v / 2, s**2 * v
        shift = bend[:, at] * variance_q[:, at] / 2
        m = r * mean_q[:, at] + np.where(np.abs(shift) < LARGEST_SHIFT, shift, np.nan) - fresh[:, at] / 2
        v = r**2 * variance_q[:, at] + fresh[:, at]
        mean[:, at], variance[:, at] = m, np.where(np.isnan(m), np.nan, v)
    slope_mean, slope_variance = np.zeros(shape), np.zeros(shape)
    total = weight = passed = np.zeros(len(fresh))
    for at in reversed(range(shape[1])):
        if at + 1 < shape[1]:
            passed = passed + (weight * share[:, at + 1]) ** 2 * fresh[:, at]
            weight = slope[:, at] + share[:, at + 1] * path.laws.response[:, at] * weight
        else:
            weight = slope[:, at]
        total = total + slope[:, at] * mean_q[:, at] + slope_bend[:, at] * variance_q[:, at] / 2
        slope_mean[:, at], slope_variance[:, at] = total, passed + weight**2 * variance_q[:, at]
    return Carried(mean, variance, slope_mean, slope_variance)


def one_layer(act: Activation) -> Callable[[int], tuple[float, float]] | None:
    """The exact law of one layer's factor, from the activation's measured slopes: linear (or |x|) and relu."""
    found = behavior(act)
    if not (found.homogeneous and found.near):
        return None
    left, right = (abs(slope) for slope in found.near)
    if left == right:
        return chi2_log
    return relu_log if min(left, right) == 0 else None


def summed(quantity: str, drift: Table, variance: Table) -> tuple[Table, Table]:
    """Sum over the layers that the signal has passed: from the input, for the gradient from the top."""
    if quantity == "gradient":
        return drift[:, ::-1].cumsum(axis=1)[:, ::-1], variance[:, ::-1].cumsum(axis=1)[:, ::-1]
    return drift.cumsum(axis=1), variance.cumsum(axis=1)


def activation_steps(
    source: Source, path: Forward, share: Table, cosine: np.ndarray, batch: int, orthogonal: bool, widths: np.ndarray
) -> Table:
    """n times the variance that each layer adds to ln(mean_b ms); `cosine` is that of two inputs.

    The cosine of two samples strays from the infinite-width one: `spread`, the mean square of that, starts as that of
    random inputs and grows by that of random vectors at every layer. Orthogonal weights keep every h_b . h_b' (a share
    fan_out / fan_in of it where they contract), so that the part of phi^2 that is quadratic in z varies less.
    """
    kept = np.minimum(1.0, widths[:, 1:] / widths[:, :-1])
    laws, c = path.laws, path.c
    found = (laws.fourth - 1) / batch
    if batch > 1:
        spread = (1 - cosine**2) ** 2 / widths[:, 0]
        with np.errstate(over="ignore", invalid="ignore"):
            steepness = np.nan_to_num(np.exp(laws.log_derivative_ms + path.log_q - laws.log_ms), posinf=0.0)
        for at in range(c.shape[1]):
            spread = share[:, at] ** 2 * spread
            finite_width_spread = np.minimum(np.sqrt(c[:, at] ** 2 + spread), 1.0)
            pair = source.similarity(path.log_q[:, at], finite_width_spread, np.zeros(len(c)))
            found[:, at] += (1 - 1 / batch) * (pair.square * laws.fourth[:, at] - 1)
            if orthogonal:
                found[:, at] -= 2 * kept[:, at] * laws.response[:, at] ** 2 * (1 - 1 / batch) * finite_width_spread**2
            added = 0.0 if orthogonal else (1 - np.nan_to_num(pair.phi) ** 2) ** 2 / widths[:, at + 1]
            spread = np.minimum((steepness[:, at] * pair.derivative) ** 2 * spread + added, 1.0)
    if orthogonal:
        found -= 2 * kept * laws.response**2 / batch
    return np.maximum(np.nan_to_num(found), 0.0)


def gradient_steps(source: Source, path: Forward, batch: int, orthogonal: bool, widths: np.ndarray) -> Table:
    """n times the variance that each layer adds to ln(mean_b E delta_b^2); cotangents independent between inputs.

    delta = phi'(z) g with g Gaussian. What ties two inputs' g^2 in a unit together is their covariance there, given the
    layer above: its mean square x2 starts at 0, as cotangents are drawn one by one, and grows by about 1 / n a layer.
    That phi and phi' of one unit depend on each other is left out.
    """
    fourths = path.laws.derivative_fourth
    kept = np.minimum(1.0, widths[:, 1:-1] / widths[:, 2:])  # by the transposed weights
    found = (3 * fourths - 1) / batch
    top, x2 = fourths.shape[1] - 1, np.zeros(len(widths))
    for at in range(top, -1, -1):
        if batch > 1:
            pair = source.similarity(path.log_q[:, at], path.c[:, at], np.zeros(len(x2)))
            both = pair.derivative_square * fourths[:, at]
            found[:, at] += (1 - 1 / batch) * (both * (1 + 2 * x2) - 1)
            if orthogonal and at < top:
                found[:, at] -= 2 * kept[:, at] * (1 - 1 / batch) * x2
            x2 = np.minimum(1.0, pair.derivative**2 * x2 + both / widths[:, at + 1])
        if orthogonal and at < top:
            found[:, at] -= 2 * kept[:, at] / batch
    return np.maximum(found, 0.0)
