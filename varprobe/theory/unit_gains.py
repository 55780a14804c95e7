"""The gain at which an activation has mean square 1 (for relu He et al. 2015, for selu Klambauer et al. 2017)."""

import numpy as np
from scipy.optimize import brentq

from varprobe.spec.argument_types import checks_types
from varprobe.theory.elementwise import ActivationLike, activation
from varprobe.theory.fixed_points import curve
from varprobe.theory.laws import law

__all__ = ["unit_gain"]


@checks_types
def unit_gain(act: ActivationLike) -> float | None:
    """The least gain g with E phi(g z)^2 = 1, z ~ N(0, 1): weights of variance g^2 / fan_in keep E h^2 = 1.

    sqrt(2) for relu, 1 for selu; None for activations that stay below 1, as tanh.

    Args:
        act: a name, a call form or a callable.

    Raises:
        InvalidArgumentError: the activation has no finite averages.
    """
    phi = activation(act)
    log_q, found = curve(phi)
    with np.errstate(divide="ignore"):
        above = np.log(found.mean_square) > 0
    turn = np.flatnonzero(above[1:] != above[:-1])
    if not turn.size:
        return None
    low, high = log_q[max(turn[0] - 1, 0)], log_q[min(turn[0] + 2, log_q.size - 1)]
    return float(np.exp(brentq(lambda x: law(phi, x).log_ms, low, high, xtol=1e-15, rtol=1e-15) / 2))
