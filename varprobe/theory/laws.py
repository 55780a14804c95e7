"""What a Gaussian becomes in an activation, in natural logs, for a mean square q of any magnitude.

Between q = 2^-100 and 2^100 averages are closed forms or integrals; beyond it phi is a power of |x| on each side to
float64's precision, and so are its averages: their logs go on as straight lines whose slopes are measured at the end.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.theory.closed import closed_form
from varprobe.theory.gaussian import HIGH, LOW, Averages, Pair, averages, pair, shifted
from varprobe.theory.oscillating import averages_far_out, last_integrated

__all__ = ["Law", "as_law", "averages_of", "law", "pair_of", "similarity"]

LOG_LOW, LOG_HIGH = float(np.log(LOW)), float(np.log(HIGH))
INNER_LOW, INNER_HIGH = LOG_LOW + 6, LOG_HIGH - 6
"""The two points that give a slope are an end and a point this far inside."""


class Law(NamedTuple):
    """At one Gaussian u of mean square q and mean ratio * sqrt(q), or at several: then each is an array.

    log_ms: ln E phi^2. log_var: ln Var phi. mean_over_rms: E phi / sqrt(E phi^2). log_derivative_ms: ln E phi'^2.
    derivative_mean_over_rms: E phi' / sqrt(E phi'^2). response: d ln E phi^2 / d ln q. fourth, derivative_fourth:
    E phi^4 / (E phi^2)^2, and the same of phi'.
    """

    log_ms: Any
    log_var: Any
    mean_over_rms: Any
    log_derivative_ms: Any
    derivative_mean_over_rms: Any
    response: Any
    fourth: Any
    derivative_fourth: Any


def averages_of(act: Activation, q: np.ndarray) -> Averages:
    """`Averages` of N(0, q) by closed form or quadrature; q > 0 of any shape, within [LOW, HIGH] for quadrature."""
    form = closed_form(act)
    if form:
        return form.averages(np.asarray(q, np.float64))
    try:
        return averages(act, q)
    except InvalidArgumentError:
        return averages_far_out(act, np.asarray(q, np.float64))


def pair_of(act: Activation, q: float, c: float, mean: float = 0.0) -> Pair:
    """`Pair` by closed form or quadrature."""
    form = closed_form(act)
    if form and form.pair and mean == 0:
        return form.pair(q, c)
    return pair(act, q, c, mean)


def law(act: Activation, log_q: float, ratio: float = 0.0) -> Law:
    """The law of `act` at ln q = `log_q`, -inf included; `ratio` = mean / rms in [-1, 1].

    Raises:
        InvalidArgumentError: phi is no power law beyond the range of quadrature, or has no finite averages.
    """
    if log_q == -np.inf:
        return at_zero(act)
    if LOG_LOW <= log_q <= LOG_HIGH:
        return integrated(act, log_q, ratio)
    end, inner = (LOG_LOW, INNER_LOW) if log_q < LOG_LOW else (LOG_HIGH, INNER_HIGH)
    at, before = integrated(act, end, ratio), integrated(act, inner, ratio)
    middle = integrated(act, (end + inner) / 2, ratio)
    line = {}
    for field in ("log_ms", "log_var", "log_derivative_ms"):
        last, half, first = (getattr(law, field) for law in (at, middle, before))
        slope = (last - first) / (end - inner) if np.isfinite(last) else 0.0
        if np.isfinite(last) and abs((last + first) / 2 - half) > 1e-9 * max(1.0, abs(half)):
            raise InvalidArgumentError(
                f"{act.name} is no power of |x| {'below' if log_q < 0 else 'beyond'} q = {np.exp(end):.1e}, "
                "where the signal leads",
                "act",
            )
        steps = round(4 * slope) / 4
        line[field] = last + (steps if abs(slope - steps) < 1e-9 else slope) * (log_q - end)
    return at._replace(**line)


@lru_cache(maxsize=4096)
def integrated(act: Activation, log_q: float, ratio: float) -> Law:
    """The law within the range of quadrature."""
    q = float(np.exp(log_q))
    spread = q * (1 - ratio) * (1 + ratio)
    if ratio == 0:
        found = Averages(*(values[0] for values in averages_of(act, np.asarray([q]))))
    elif spread < 1e-30 * q:
        found = shifted(act, np.sign(ratio) * np.sqrt(q), 1e-30 * q)
    else:
        found = shifted(act, ratio * np.sqrt(q), spread)
    return Law(*(float(value) for value in as_law(found, q)))


def as_law(found: Averages, q: Any) -> Law:
    """The law of averages at q, numbers or arrays."""
    ms, dms = found.mean_square, found.derivative_mean_square
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return Law(
            log_ms=np.log(ms),
            log_var=np.log(found.variance),
            mean_over_rms=np.where(ms > 0, np.clip(found.mean / np.sqrt(ms), -1, 1), 0.0),
            log_derivative_ms=np.log(dms),
            derivative_mean_over_rms=np.where(dms > 0, np.clip(found.derivative_mean / np.sqrt(dms), -1, 1), 0.0),
            response=np.where(ms > 0, np.sqrt(q) * found.z_phi_dphi / ms, 0.0),
            fourth=np.where(ms > 0, found.fourth / ms**2, 1.0),
            derivative_fourth=np.where(dms > 0, found.derivative_fourth / dms**2, 1.0),
        )


def at_zero(act: Activation) -> Law:
    """The law where every preactivation is exactly 0: the limit of a Gaussian that narrows, and phi(0)."""
    end = integrated(act, LOG_LOW, 0.0)
    before = integrated(act, INNER_LOW, 0.0)
    constant = abs(end.log_ms - before.log_ms) < 1e-9
    fades = end.log_derivative_ms < before.log_derivative_ms - 1e-9
    return end._replace(
        log_var=-np.inf,
        log_ms=end.log_ms if constant else -np.inf,
        log_derivative_ms=-np.inf if fades else end.log_derivative_ms,
    )


@lru_cache(maxsize=4096)
def similarity(act: Activation, log_q: float, c: float, ratio: float = 0.0) -> Pair:
    """`Pair` over two Gaussians, each average divided by its value at c = 1 (NaN where that is 0).

    It does not change beyond the range of quadrature; for a line plus a bounded oscillation it is that at the last q
    which can be integrated, right to about the inverse of that q. c is the correlation about the mean.
    """
    log_q = float(np.clip(log_q, LOG_LOW, LOG_HIGH))
    whole = integrated(act, log_q, ratio)
    q = float(np.exp(log_q))
    try:
        found = pair_of(act, q * max((1 - ratio) * (1 + ratio), 1e-30), c, ratio * float(np.sqrt(q)))
    except InvalidArgumentError:
        top = last_integrated(act)
        if top is None or q <= top:
            raise
        return similarity(act, float(np.log(top)), c, ratio)
    ms, dms = np.exp(whole.log_ms), np.exp(whole.log_derivative_ms)
    sizes = (ms, dms, ms**2 * whole.fourth, dms**2 * whole.derivative_fourth)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Pair(*(float(np.clip(np.divide(v, size), -1, 1)) for v, size in zip(found, sizes, strict=True)))
