"""One signal through a stack of equal layers, fast enough for ten thousand of them: no second input, laws interpolated.

The recursion is that of `trajectories`, the spread that of `finite_widths` for one input; laws between the points of
`fixed_points.curve` come from a quintic spline of their logs in ln q.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.interpolate import make_interp_spline

from varprobe.nets.activations import Activation
from varprobe.theory.finite_widths import one_layer
from varprobe.theory.fixed_points import curve
from varprobe.theory.laws import law

__all__ = ["Walk", "walk"]

Layers = Float[np.ndarray, " depth"]
LN10 = float(np.log(10))
SETTLED = 1e-14
"""A ln q that moves by less has arrived."""


class Walk(NamedTuple):
    """A signal at layers 1 to depth, or to the first one where `limit` is passed; all in decades of the RMS.

    forward: log10 RMS of the activation over that of layer 1. backward: log10 RMS of the gradient at layer 1 over that
    at this layer, as in a stack that ends here. forward_sd, backward_sd: one draw's standard deviation of both to first
    order in 1 / width, exact for phi of degree 1; that of gradients without what the signal's does to them. log_q: ln
    E z^2.
    """

    forward: Layers
    backward: Layers
    forward_sd: Layers
    backward_sd: Layers
    log_q: Layers

    @property
    def worst(self) -> float:
        """The largest change between any layer and the end that signal or gradient came from."""
        last = self.backward[-1]
        return float(max(np.abs(self.forward).max(), np.abs(last - self.backward).max()))

    @property
    def spread(self) -> float:
        """The larger of the two standard deviations in the last layer."""
        return float(max(self.forward_sd[-1], self.backward_sd[-1]))


def walk(
    act: Activation, sigma_w2: float, sigma_b2: float, depth: int, width: int, limit: float = np.inf, q0: float = 1.0
) -> Walk:
    """Follow an input of mean square `q0`, at most to the first layer that is more than `limit` decades off.

    Raises:
        InvalidArgumentError: the signal leads to where the activation has no averages.
    """
    with np.errstate(divide="ignore"):
        log_w, log_b, log_h = float(np.log(sigma_w2)), float(np.log(sigma_b2)), float(np.log(q0))
    steps_of, exact = laws_along(act), one_layer(act) if sigma_b2 == 0 else None
    own = exact(width)[1] if exact else 0.0
    rows: list[tuple[float, ...]] = []
    first, back, forward_var, backward_var, step_back = 0.0, 0.0, 0.0, 0.0, 0.0
    before, laws = np.nan, ()  # type: float, tuple[float, ...]
    for at in range(depth):
        share = log_w + log_h
        log_q = float(np.logaddexp(share, log_b))
        if not abs(log_q - before) <= SETTLED:
            before, laws = log_q, steps_of(log_q)
        log_ms, log_dms, response, fourth, derivative_fourth = laws
        log_h = log_ms
        first, back = (first, back + step_back) if at else (log_h, 0.0)
        step_back = log_w + log_dms
        response = 1.0 if exact else response * float(np.exp(share - log_q))
        with np.errstate(over="ignore"):
            forward_var = response**2 * forward_var + (own or (fourth - 1) / width)
        backward_var += own or (3 * derivative_fourth - 1) / width
        rows.append(((log_h - first) / 2, back / 2, forward_var, backward_var, log_q))
        if not (abs(log_h - first) < 2 * LN10 * limit and abs(back) < 2 * LN10 * limit):
            break
    forward, backward, forward_vars, backward_vars, log_qs = np.array(rows).T
    decades = 2 * LN10
    return Walk(
        forward / LN10,
        backward / LN10,
        np.sqrt(np.maximum(forward_vars, 0)) / decades,
        np.sqrt(np.maximum(backward_vars, 0)) / decades,
        log_qs,
    )


@lru_cache(maxsize=64)
def laws_along(act: Activation) -> Callable[[float], tuple[float, ...]]:
    """ln q -> (ln E phi^2, ln E phi'^2, response, fourth, derivative_fourth), as `laws.law` has them."""
    log_q, found = curve(act)
    with np.errstate(all="ignore"):
        columns = np.stack(
            [
                np.log(found.mean_square) - log_q,
                np.log(found.derivative_mean_square),
                np.exp(log_q / 2) * found.z_phi_dphi / found.mean_square,
                np.log(found.fourth / found.mean_square**2),
                np.log(found.derivative_fourth / found.derivative_mean_square**2),
            ],
            axis=1,
        )
    whole = np.isfinite(columns).all(1)
    middle = int(np.searchsorted(log_q, 0.0))
    gaps = np.flatnonzero(~whole)
    low = int(gaps[gaps < middle].max(initial=-1)) + 1
    high = int(gaps[gaps >= middle].min(initial=log_q.size))
    spline = make_interp_spline(log_q[low:high], columns[low:high], k=5) if high - low > 6 else None

    def steps(x: float) -> tuple[float, ...]:
        if spline is None or not log_q[low] <= x <= log_q[high - 1]:
            there = law(act, x)
            return there.log_ms, there.log_derivative_ms, there.response, there.fourth, there.derivative_fourth
        ratio, log_dms, response, log_fourth, log_derivative_fourth = spline(x).tolist()
        return ratio + x, log_dms, response, float(np.exp(log_fourth)), float(np.exp(log_derivative_fourth))

    return steps
