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
from varprobe.theory.sigmas import given, variance_of
from varprobe.theory.sources import Exact
from varprobe.theory.trajectories import Forward, Inputs, Nets, pass_forward

__all__ = ["FiniteWidth", "chi2_log", "finite_width", "relu_log", "strayed"]

Layers = Float[np.ndarray, " depth"]
Table = Float[np.ndarray, "nets depth"]
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
    initializer = None if init is None else given(init)
    if initializer and sigma_w2 is not None:
        raise RequestError(f"give init or sigma_w2, not both: {initializer.name} has its own", "sigma_w2")
    kind = initializer.law[0] if initializer else "normal"
    if initializer:
        weights = [variance_of(initializer, widths, layer) for layer in range(1, depth + 1)]
    else:
        weights = [gain(phi).sigma_w2 if sigma_w2 is None else number("sigma_w2", sigma_w2, 0.0, above=True)] * depth
    zeros = np.zeros((1, depth))
    nets = Nets(np.array([weights]), zeros + number("sigma_b2", sigma_b2, 0.0), zeros, zeros)
    inputs = Inputs(np.log([number("q0", q0, 0.0, above=True)]), np.array([c0]), np.zeros(1))
    source = Exact(phi)
    path = pass_forward(source, nets, widths[None], inputs)
    law = initializer.law[0] if initializer else "normal"
    kind, drift, variance = strayed(source, path, nets, widths[None], inputs, batch, quantity, law)
    return FiniteWidth(phi.name, quantity, kind, np.arange(1, depth + 1), drift[0], variance[0])


def strayed(
    source: Exact, path: Forward, nets: Nets, widths: np.ndarray, inputs: Inputs, batch: int, quantity: str, law: str
) -> tuple[str, Table, Table]:
    """(kind, drift, variance) of ln(mean square) for the paths of several nets; `law` is that of all their weights."""
    exact = one_layer(source.act) if law == "normal" and batch == 1 and not nets.sigma_b2.any() else None
    if exact:
        laws = {n: exact(int(n)) for n in np.unique(widths[:, 1:])}
        steps = np.array([[laws[n] for n in profile] for profile in widths[:, 1:]])
        return "exact", *summed(quantity, steps[..., 0], steps[..., 1], np.ones(nets.sigma_w2.shape))
    orthogonal = law == "orthogonal"
    if quantity == "gradient":
        added = gradient_steps(source, path, batch, orthogonal, widths) / widths[:, 1:]
        return "first order", *summed(quantity, -added / 2, added, np.ones(nets.sigma_w2.shape))
    added = activation_steps(source, path, batch, orthogonal) / widths[:, 1:]
    before = np.concatenate([inputs.log_ms[:, None], path.laws.log_ms[:, :-1]], axis=1)
    with np.errstate(invalid="ignore"):
        response = path.laws.response * nets.sigma_w2 * np.nan_to_num(np.exp(before - path.log_q))
    return "first order", *summed(quantity, -added / 2, added, response)


def one_layer(act: Activation) -> Callable[[int], tuple[float, float]] | None:
    """The exact law of one layer's factor, from the activation's measured slopes: linear (or |x|) and relu."""
    found = behavior(act)
    if not (found.homogeneous and found.near):
        return None
    left, right = (abs(slope) for slope in found.near)
    if left == right:
        return chi2_log
    return relu_log if min(left, right) == 0 else None


def summed(quantity: str, drift: Table, variance: Table, response: Table) -> tuple[Table, Table]:
    """Sum over the layers that the signal has passed: from the input, for the gradient from the top."""
    means, squares = np.zeros_like(drift), np.zeros_like(variance)
    mean = square = np.zeros(len(drift))
    for at in range(drift.shape[1])[:: -1 if quantity == "gradient" else 1]:
        mean = response[:, at] * mean + drift[:, at]
        square = response[:, at] ** 2 * square + variance[:, at]
        means[:, at], squares[:, at] = mean, square
    return means, squares


def activation_steps(source: Exact, path: Forward, batch: int, orthogonal: bool) -> Table:
    """n times the variance that each layer adds to ln(mean_b ms).

    Orthogonal weights keep every h_b . h_b', so that the part of phi^2 that is quadratic in z does not vary.
    """
    laws, c = path.laws, path.c
    found = (laws.fourth - 1) / batch
    if batch > 1:
        for at in range(c.shape[1]):
            two = source.similarity(path.log_q[:, at], c[:, at], np.zeros(len(c))).square * laws.fourth[:, at] - 1
            found[:, at] += (1 - 1 / batch) * two
    if orthogonal:
        found -= 2 * laws.response**2 * (1 / batch + (1 - 1 / batch) * c**2)
    return np.maximum(found, 0.0)


def gradient_steps(source: Exact, path: Forward, batch: int, orthogonal: bool, widths: np.ndarray) -> Table:
    """n times the variance that each layer adds to ln(mean_b E delta_b^2); cotangents independent between inputs.

    delta = phi'(z) g with g Gaussian. The cosine x of the gradients of two inputs has mean 0; its mean square, which
    starts at 1 / n and grows by about 1 / n a layer as the inputs align, is kept: it ties the inputs' g^2 together.
    The forward signal's own fluctuations, which move phi' where phi is not of degree 1, are left out.
    """
    fourths = path.laws.derivative_fourth
    found = (3 * fourths - 1) / batch
    top, x2 = fourths.shape[1] - 1, 1 / widths[:, -1]
    for at in range(top, -1, -1):
        if batch > 1:
            pair = source.similarity(path.log_q[:, at], path.c[:, at], np.zeros(len(x2)))
            both = pair.derivative_square * fourths[:, at]
            found[:, at] += (1 - 1 / batch) * (both * (1 + 2 * x2) - 1)
            if orthogonal and at < top:
                found[:, at] -= 2 * (1 - 1 / batch) * x2
            x2 = np.minimum(1.0, pair.derivative**2 * x2 + both / widths[:, at + 1])
        if orthogonal and at < top:
            found[:, at] -= 2 / batch
    return np.maximum(found, 0.0)
