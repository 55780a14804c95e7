"""Moments of one activation under a Gaussian, the correlation map, and the gains that preserve a mean square."""

from typing import NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.gaussian import HIGH, LOW
from varprobe.theory.laws import averages_of, pair_of

__all__ = ["Correlation", "Gain", "Moments", "correlation_map", "gain", "moments"]


class Moments(NamedTuple):
    """Averages over u = sqrt(q) z, z ~ N(0, 1).

    mean: E phi(u). mean_square: E phi(u)^2. variance: Var phi(u). derivative_mean: E phi'(u). derivative_mean_square:
    E phi'(u)^2. z_phi_dphi: E[z phi(u) phi'(u)], which is sqrt(q) d/dq E phi(u)^2. fourth: E phi(u)^4.
    derivative_fourth: E phi'(u)^4.
    """

    mean: float
    mean_square: float
    variance: float
    derivative_mean: float
    derivative_mean_square: float
    z_phi_dphi: float
    fourth: float
    derivative_fourth: float


class Correlation(NamedTuple):
    """The correlation map at one c.

    phi: E[phi(u1) phi(u2)]. derivative: E[phi'(u1) phi'(u2)], 1/q times the slope of phi in c. cosine: phi / E phi^2.
    """

    phi: float
    derivative: float
    cosine: float


class Gain(NamedTuple):
    """What the standard deviation of W (times sqrt(fan_in)) must be at q = 1 for a size to be preserved.

    second_moment: 1 / sqrt(E phi^2), so that E z^2 = q again. variance: 1 / sqrt(Var phi). backward:
    1 / sqrt(E phi'^2), so that the gradient keeps its mean square. sigma_w2: second_moment squared.
    """

    second_moment: float
    variance: float
    backward: float
    sigma_w2: float


def mean_square(q: float) -> float:
    """A mean square that averages can be taken at."""
    return number("q", q, LOW, HIGH)


@checks_types
def moments(act: ActivationLike, q: float = 1.0) -> Moments:
    """The moments of an activation of N(0, q), to 1e-10 or better relative to the largest of their kind.

    Raises:
        InvalidArgumentError: q is not from 2^-100 to 2^100, or phi is not finite, grows too fast or oscillates too fast
            there.
    """
    found = averages_of(activation(act), np.array([mean_square(q)]))
    return Moments(**{name: float(getattr(found, name)[0]) for name in Moments._fields})


@checks_types
def correlation_map(act: ActivationLike, c: float, q: float = 1.0) -> Correlation:
    """Averages over two Gaussians of variance q and correlation c (Poole et al. 2016, eq. 5).

    Raises:
        InvalidArgumentError: c is not from -1 to 1, or what `moments` refuses.
    """
    phi, q, c = activation(act), mean_square(q), number("c", c, -1.0, 1.0)
    found, whole = pair_of(phi, q, c), float(averages_of(phi, np.array([q])).mean_square[0])
    return Correlation(found.phi, found.derivative, found.phi / whole if whole else float("nan"))


@checks_types
def gain(act: ActivationLike, q: float = 1.0) -> Gain:
    """The gains of an activation: He et al. (2015) for relu is sqrt(2).

    Args:
        act: a name, a call form or a callable.
        q: the mean square of the preactivations; E phi^2 / q and Var phi / q are inverted.

    Raises:
        InvalidArgumentError: what `moments` refuses, or an activation that is constant.
    """
    found = moments(act, q)
    if not (found.variance > 0 and found.derivative_mean_square > 0):
        raise InvalidArgumentError(
            f"{activation(act).name} is constant over N(0, {q:g}): no gain preserves anything", "act"
        )
    return Gain(
        second_moment=float(np.sqrt(q / found.mean_square)),
        variance=float(np.sqrt(q / found.variance)),
        backward=float(1 / np.sqrt(found.derivative_mean_square)),
        sigma_w2=float(q / found.mean_square),
    )
