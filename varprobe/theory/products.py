"""Singular values of the input-output Jacobian at infinite width, by free probability (Pennington et al. 2017).

With D^2 = phi'(z)^2 and W Gaussian the S-transform of J J' is a product over layers, which gives its first two moments
for any activation. Where phi' is 0 or one slope it gives the largest squared singular value too: the inverse of the
moment generating function, z(m) = (1 + m) / m (sigma_w2 slope^2 (p + m))^L, has its minimum over m > 0 there, p being
the share of units with a slope. For a product of Gaussian matrices that is (L + 1)^(L + 1) / L^L.
"""

from typing import NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import MOST_LAYERS, number, whole
from varprobe.theory.elementwise import ActivationLike, activation, evaluate
from varprobe.theory.expectations import mean_square
from varprobe.theory.laws import averages_of

__all__ = ["SingularValues", "repeated", "singular_values"]

LN10 = float(np.log(10))
REACH, POINTS = 8.0, 4002
"""Slopes are looked up to so many standard deviations of z, at so many points: an even number, so that 0 is none."""


class SingularValues(NamedTuple):
    """Of the squared singular values s^2 of the Jacobian of `depth` layers phi(W h).

    mean_log10: log10 of their mean. relative_variance: their variance over their squared mean. largest_log10: log10 of
    the largest; NaN for activations that have no closed form.
    """

    act: str
    depth: int
    mean_log10: float
    relative_variance: float
    largest_log10: float


@checks_types
def singular_values(
    depth: int,
    act: ActivationLike = "identity",
    sigma_w2: float | None = None,
    q: float = 1.0,
    orthogonal: bool = False,
) -> SingularValues:
    """The squared singular values of a product of `depth` square layers; the mean is 1 where gradients keep their size.

    Each Gaussian layer adds E phi'^4 / (E phi'^2)^2 to the relative variance, each orthogonal one 1 less: L and 0 for
    linear layers, 2 L and L for relu.

    Args:
        depth: the number of layers L.
        act: a name, a call form or a callable.
        sigma_w2: fan_in Var(W); by default what preserves the gradient, 1 / E phi'^2.
        q: mean square of the preactivations of all layers.
        orthogonal: whether the matrices are orthogonal times sqrt(sigma_w2) instead of Gaussian.

    Raises:
        InvalidArgumentError: a value is out of range, or phi is constant.
    """
    phi, depth, q = activation(act), whole("depth", depth, 1, MOST_LAYERS), mean_square(q)
    found = averages_of(phi, np.array([q]))
    first, second = float(found.derivative_mean_square[0]), float(found.derivative_fourth[0])
    if first == 0:
        raise InvalidArgumentError(f"{phi.name} is constant over N(0, {q:g})", "act")
    log_w = -np.log(first) if sigma_w2 is None else np.log(number("sigma_w2", sigma_w2, 0.0, above=True))
    mean = depth * (log_w + np.log(first))
    return SingularValues(
        phi.name,
        depth,
        float(mean / LN10),
        depth * (second / first**2 - (1 if orthogonal else 0)),
        float(largest(phi, depth, log_w, orthogonal, q) / LN10),
    )


def largest(act: Activation, depth: int, log_w: float, orthogonal: bool, q: float) -> float:
    """ln of the largest squared singular value; NaN unless phi' is 0 or of one magnitude."""
    found = slope_and_share(act, q)
    if found is None:
        return float("nan")
    slope, p = found
    level = depth * (log_w + 2 * np.log(slope))
    if not orthogonal:
        m = 2 * p / (depth - 1 + np.sqrt((depth - 1) ** 2 + 4 * depth * p))
        return float(level + np.log1p(1 / m) + depth * np.log(p + m))
    if depth * (1 - p) <= 1:
        return float(level)
    m = p / (depth * (1 - p) - 1)
    return float(level + np.log1p(1 / m) + depth * np.log((p + m) / (1 + m)))


def slope_and_share(act: Activation, q: float) -> tuple[float, float] | None:
    """(the magnitude of phi' where it is not 0, the share of units there), or None if phi' has other values.

    relu, hard_tanh and relu6 have slope 1 on half of the units, on |z| < 1, and on 0 < z < 6. The slopes are looked up
    on a grid that holds no kink of these; the share is E phi'^2 / slope^2, which is exact.
    """
    z = np.sqrt(q) * np.linspace(-REACH, REACH, POINTS)
    slopes = np.abs(evaluate(act, z)[1])
    slope = float(slopes.max())
    if not (slope > 0 and np.all((slopes < 1e-12 * slope) | (np.abs(slopes / slope - 1) < 1e-12))):
        return None
    share = float(averages_of(act, np.array([q])).derivative_mean_square[0]) / slope**2
    return slope, min(share, 1.0)


@checks_types
def repeated(steps: int, sigma_w2: float) -> float:
    """log10 of E |W^t v|^2 / |v|^2 for ONE square Gaussian matrix used in all t steps, as in a linear recurrent net.

    sigma_w2^t to leading order in steps / width, as for fresh matrices; the spectral radius is sqrt(sigma_w2).

    Raises:
        InvalidArgumentError: a value is out of range.
    """
    return whole("steps", steps, 0) * float(np.log10(number("sigma_w2", sigma_w2, 0.0, above=True)))
