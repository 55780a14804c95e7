"""How the angle between two inputs changes in one layer of infinite width without biases.

cos(angle) = E[phi phi] / E phi^2 (Poole et al. 2016; for relu Cho & Saul 2009). The drift of the logarithm is that of
Jakub & Nica (2023, depth degeneracy), at infinite width.
"""

from typing import NamedTuple

import numpy as np

from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import number
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.expectations import mean_square
from varprobe.theory.laws import averages_of, pair_of

__all__ = ["AngleDrift", "angle_drift"]


class AngleDrift(NamedTuple):
    """What a layer does to the angle theta between two inputs, in radians.

    angle: the angle between their activations. drift: angle - theta. log_drift: the change of ln sin(theta)^2 per
    layer; for relu at a small angle -2 theta / (3 pi).
    """

    angle: float
    drift: float
    log_drift: float


@checks_types
def angle_drift(act: ActivationLike, theta: float, q: float = 1.0) -> AngleDrift:
    """The angle between the activations phi(W h) and phi(W h') of two inputs at an angle.

    Args:
        act: a name, a call form or a callable.
        theta: the angle between h and h', in radians, above 0 and at most pi.
        q: the mean square of the preactivations of both.

    Raises:
        InvalidArgumentError: a value is out of range, or what `moments` refuses.
    """
    phi, q = activation(act), mean_square(q)
    theta = number("theta", theta, 0.0, float(np.pi), above=True)
    squares = float(averages_of(phi, np.array([q])).mean_square[0])
    cosine = pair_of(phi, q, float(np.cos(theta))).phi / squares if squares else float("nan")
    angle = float(np.arccos(np.clip(cosine, -1, 1)))
    with np.errstate(divide="ignore"):
        log_drift = float(2 * (np.log(np.sin(angle)) - np.log(np.sin(theta))))
    return AngleDrift(angle, angle - theta, log_drift)
