"""How far one draw of a finite net strays from mean-field theory: the drift and variance of its log mean squares.

Given h_{l-1} the preactivations of a layer are independent Gaussians, so each layer multiplies the mean square by an
average over n units. For one input and a phi of degree 1 these factors are independent and their laws known: chi2_n / n
for a linear layer and (2 / n) chi2_K, K ~ Binomial(n, 1/2) given K > 0, for relu, forward and backward (Hanin & Nica
2020, arXiv 1812.05994). Else to first order in 1/n the factor's log has variance Var(mean_b phi_b^2) / (n ms^2) and
mean minus half of that, and what came before is multiplied by the response d ln E phi^2 / d ln q.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import gammaln, polygamma, psi

from varprobe.activations import Activation, behavior
from varprobe.errors import RequestError
from varprobe.initializers import Initializer
from varprobe.names import did_you_mean
from varprobe.theory.checks import number, numbers, whole
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.expectations import gain
from varprobe.theory.laws import similarity
from varprobe.theory.sigmas import given, settled, variance_of
from varprobe.theory.trajectories import Trajectory, trajectory

__all__ = ["FiniteWidth", "chi2_log", "finite_width", "relu_log"]

Layers = Float[np.ndarray, " depth"]
LN10 = float(np.log(10))


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
        RequestError: a value is out of range, or the initializer has a mean, or entries of no known variance.
    """
    phi = activation(act)
    depth, batch = whole("depth", depth, 1), whole("batch", batch, 1)
    q0, c0 = number("q0", q0, 0.0), number("c0", c0, -1.0, 1.0)
    if quantity not in ("activation", "gradient"):
        known = ("activation", "gradient")
        raise RequestError(f"unknown quantity {quantity!r}{did_you_mean(str(quantity), known)}", "quantity")
    widths = numbers("width", width, 1.0)
    if not np.ndim(width):
        widths = np.full(depth + 1, widths[0])
    if widths.size != depth + 1:
        raise RequestError(f"{widths.size} widths for depth {depth}; it takes one or n_0 to n_{depth}", "width")
    if (widths != np.round(widths)).any():
        raise RequestError(f"{width!r} is not whole", "width")
    initializer = None if init is None else settled(given(init), phi, sigma_b2)
    if initializer and sigma_w2 is not None:
        raise RequestError(f"give init or sigma_w2, not both: {initializer.name} has its own", "sigma_w2")
    kind = initializer.law[0] if initializer else "normal"
    if initializer:
        weights = [variance_of(initializer, widths, layer) for layer in range(1, depth + 1)]
    else:
        weights = [gain(phi).sigma_w2 if sigma_w2 is None else number("sigma_w2", sigma_w2, 0.0, above=True)] * depth
    exact = one_layer(phi) if kind == "normal" and batch == 1 and sigma_b2 == 0 else None
    if exact:
        steps = np.array([exact(int(n)) for n in widths[1:]])
        return summed(phi, quantity, "exact", steps[:, 0], steps[:, 1], np.ones(depth))
    path = trajectory(phi, weights, sigma_b2, depth, q0, c0, widths=widths.tolist())
    if quantity == "gradient":
        added = gradient_steps(phi, path, batch, kind == "orthogonal", widths) / widths[1:]
        return summed(phi, quantity, "first order", -added / 2, added, np.ones(depth))
    added = activation_steps(phi, path, batch, kind == "orthogonal") / widths[1:]
    before = np.concatenate([[np.log10(q0)], path.activation_log10_ms[:-1]])
    share = np.array(weights) * 10 ** (before - path.preactivation_log10_ms)
    response = np.array([found.response for found in path.laws]) * share
    return summed(phi, quantity, "first order", -added / 2, added, response)


def one_layer(act: Activation) -> Callable[[int], tuple[float, float]] | None:
    """The exact law of one layer's factor, from the activation's measured slopes: linear (or |x|) and relu."""
    found = behavior(act)
    if not (found.homogeneous and found.near):
        return None
    left, right = (abs(slope) for slope in found.near)
    if left == right:
        return chi2_log
    return relu_log if min(left, right) == 0 else None


def summed(
    act: Activation, quantity: str, kind: str, drift: np.ndarray, variance: np.ndarray, response: np.ndarray
) -> FiniteWidth:
    """Sum over the layers that the signal has passed: from the input, for the gradient from the top."""
    backward = quantity == "gradient"
    totals = np.zeros((drift.size, 2))
    mean = square = 0.0
    for at in range(drift.size)[:: -1 if backward else 1]:
        mean = response[at] * mean + drift[at]
        square = response[at] ** 2 * square + variance[at]
        totals[at] = mean, square
    return FiniteWidth(act.name, quantity, kind, np.arange(1, drift.size + 1), totals[:, 0], totals[:, 1])


def activation_steps(act: Activation, path: Trajectory, batch: int, orthogonal: bool) -> np.ndarray:
    """n times the variance that each layer adds to ln(mean_b ms).

    Orthogonal weights keep every h_b . h_b', so that the part of phi^2 that is quadratic in z does not vary.
    """
    found = np.empty(len(path.laws))
    for at, (law, log10_q, c) in enumerate(
        zip(path.laws, path.preactivation_log10_ms, path.preactivation_correlation, strict=True)
    ):
        two = similarity(act, log10_q * LN10, c).square * law.fourth - 1 if batch > 1 else 0.0
        found[at] = (law.fourth - 1) / batch + (1 - 1 / batch) * two
        if orthogonal:
            found[at] -= 2 * law.response**2 * (1 / batch + (1 - 1 / batch) * c**2)
    return np.maximum(found, 0.0)


def gradient_steps(act: Activation, path: Trajectory, batch: int, orthogonal: bool, widths: np.ndarray) -> np.ndarray:
    """n times the variance that each layer adds to ln(mean_b E delta_b^2); cotangents independent between inputs.

    delta = phi'(z) g with g Gaussian. The cosine x of the gradients of two inputs has mean 0; its mean square, which
    starts at 1 / n and grows by about 1 / n a layer as the inputs align, is kept: it ties the inputs' g^2 together.
    The forward signal's own fluctuations, which move phi' where phi is not of degree 1, are left out.
    """
    found = np.empty(len(path.laws))
    top, x2 = len(path.laws) - 1, 1 / widths[-1]
    for at in range(top, -1, -1):
        fourth = path.laws[at].derivative_fourth
        found[at] = (3 * fourth - 1) / batch
        if batch > 1:
            pair = similarity(act, path.preactivation_log10_ms[at] * LN10, path.preactivation_correlation[at])
            both = pair.derivative_square * fourth
            found[at] += (1 - 1 / batch) * (both * (1 + 2 * x2) - 1)
            if orthogonal and at < top:
                found[at] -= 2 * (1 - 1 / batch) * x2
            x2 = min(1.0, pair.derivative**2 * x2 + both / widths[at + 1])
        if orthogonal and at < top:
            found[at] -= 2 / batch
    return np.maximum(found, 0.0)
