"""Averages at large q of an activation that is a line plus a bounded oscillation, such as x + sin(x)^2.

Over a wide Gaussian the oscillation is too fast to be integrated. It averages out there: with s = sqrt(q), E phi,
E phi^2 and E phi^4 are polynomials in s of degree 1, 2 and 4, and averages of phi' are constant, up to terms that fall
exponentially in q. Their coefficients are fitted at smaller q, and the fit is checked.
"""

from functools import lru_cache

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.theory.gaussian import Averages, averages

__all__ = ["averages_far_out", "last_integrated"]

DEGREES = (1, 2, 2, 0, 0, 4, 0, 1)
"""Of the polynomials, in the order of `Averages`."""
TOPS = 2.0 ** np.array([30, 20, 14, 10, 6, 3])
"""The largest q, of which the first that can be integrated ends the range of the fit."""
FITTED = np.linspace(0.7, 1, 12)
"""Points of the fit, in units of the largest s."""
TOLERANCE = 1e-9
"""Largest error of the fit, relative to the size of an average."""


def averages_far_out(act: Activation, q: np.ndarray) -> Averages:
    """`gaussian.averages`, continued to q that cannot be integrated.

    Raises:
        InvalidArgumentError: the averages are not the polynomials of a line plus a bounded oscillation, or q that is in
            reach cannot be integrated either.
    """
    found = coefficients(act)
    if found is None:
        return averages(act, q)  # which says why it cannot be integrated
    top, polynomials = found
    far = q > top
    x = np.sqrt(q[far] / top)
    columns = [np.empty_like(q) for _ in polynomials]
    near = averages(act, q[~far]) if not far.all() else None
    for i, (column, polynomial) in enumerate(zip(columns, polynomials, strict=True)):
        column[far] = np.polynomial.polynomial.polyval(x, polynomial)
        if near is not None:
            column[~far] = near[i]
    return Averages(*columns)


def last_integrated(act: Activation) -> float | None:
    """The q from which on averages are continued; None if they are not."""
    found = coefficients(act)
    return found and found[0]


@lru_cache(maxsize=64)
def coefficients(act: Activation) -> tuple[float, list[np.ndarray]] | None:
    """(largest q that can be integrated, polynomials in sqrt(q) over its root); None if the fit does not hold."""
    for top in TOPS:
        try:
            found = averages(act, top * FITTED**2)
            break
        except InvalidArgumentError:
            continue
    else:
        return None
    root, slope = np.sqrt(found.mean_square), np.sqrt(found.derivative_mean_square)
    sizes = found._replace(mean=root, variance=found.mean_square, derivative_mean=slope, z_phi_dphi=root * slope)
    polynomials = []
    for values, size, degree in zip(found, sizes, DEGREES, strict=True):
        polynomial = np.polynomial.polynomial.polyfit(FITTED, values, degree)
        error = np.abs(np.polynomial.polynomial.polyval(FITTED, polynomial) - values)
        if not (error <= TOLERANCE * size).all():
            return None
        polynomials.append(polynomial)
    return float(top), polynomials
