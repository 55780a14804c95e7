"""Where an activation is smooth: panels on each of which phi and phi' are polynomials to rounding.

Quadrature converges fast between the edges of these panels and nowhere else. They are found numerically: panels are
halved until the Legendre series of phi and phi' end within the order used; where that goes on down to rounding there
is a kink or a jump, whose place then becomes an edge itself.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.theory.elementwise import evaluate

__all__ = ["NODES", "WEIGHTS", "Panels", "panels", "spread"]

ORDER = 16
NODES, WEIGHTS = legendre.leggauss(ORDER)
TO_SERIES = legendre.legvander(NODES, ORDER - 1).T * WEIGHTS * (np.arange(ORDER)[:, None] + 0.5)
"""From values at the nodes to Legendre coefficients."""
TOLERANCE = 2e-12
"""Largest relative size of the last three coefficients of a resolved panel."""
NARROWEST = 2.0**-47
"""Width of a panel relative to its place at which halving stops: there is a kink in it."""
SURROUNDINGS = 2.0
"""Errors are relative to the largest value out to this many times as far: beside a kink phi may be rounding alone."""
MOST_PANELS = 20_000


class Panels(NamedTuple):
    """edges: ascending, shape (panels + 1,); kinks: those of them at which phi or a derivative of it is not smooth."""

    edges: np.ndarray
    kinks: np.ndarray


def spread(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of panels; shapes (..., panels) to (..., panels, ORDER)."""
    half = (right - left)[..., None] / 2
    return left[..., None] + half * (1 + NODES), half * WEIGHTS


def panels(act: Activation, exponent: int) -> Panels:
    """The panels of `act` on [-2^exponent, 2^exponent]; what is not finite there is left as it is.

    Raises:
        InvalidArgumentError: more than 20000 panels would be needed (it oscillates too fast).
    """
    found = panels_or_error(act, exponent)
    if isinstance(found, InvalidArgumentError):
        raise found.with_traceback(None)
    return found


@lru_cache(maxsize=512)
def panels_or_error(act: Activation, exponent: int) -> Panels | InvalidArgumentError:
    """`panels`, or the error that it raises: that takes long to find, too."""
    dyadic = 2.0 ** np.arange(-8, exponent + 1)
    even = np.arange(1, min(2.0**exponent, 16) * 4) / 4
    right = np.union1d(dyadic, even)
    start = np.concatenate([-right[::-1], [0.0], right])
    try:
        edges, unresolved = halve(act, start)
        if unresolved.size:
            edges, _ = halve(act, np.union1d(start, unresolved))
    except InvalidArgumentError as error:
        return error
    return join(act, edges)


def halve(act: Activation, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halve panels until each is resolved; the edges, and the places at which that never happened."""
    left, right = edges[:-1], edges[1:]
    done, places = [edges], []
    seen = [np.zeros(0)] * 3
    while left.size:
        tail, phi_size, slope_size = series_tail(act, left, right)
        reach = np.maximum(np.abs(left), np.abs(right))
        seen = [np.concatenate(both) for both in zip(seen, (reach, phi_size, slope_size), strict=True)]
        order = np.argsort(seen[0], kind="stable")
        at = np.searchsorted(seen[0][order], SURROUNDINGS * reach, side="right") - 1
        scales = [np.maximum.accumulate(sizes[order])[at] for sizes in seen[1:]]
        rough = (tail[0] > TOLERANCE * scales[0]) | (tail[1] > TOLERANCE * scales[1])
        narrow = right - left < np.maximum(NARROWEST * reach, 2.0**-70)
        places.append((left[rough & narrow] + right[rough & narrow]) / 2)
        left, right = left[rough & ~narrow], right[rough & ~narrow]
        middle = (left + right) / 2
        done.append(middle)
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        if sum(map(len, done)) > MOST_PANELS:
            raise too_rough(act, edges)
    found = np.sort(np.concatenate(places))
    apart = np.diff(found, prepend=-np.inf) > 8 * NARROWEST * np.maximum(np.abs(found), 2.0**-20)
    return np.unique(np.concatenate(done)), found[apart]


def too_rough(act: Activation, edges: np.ndarray) -> InvalidArgumentError:
    """The error for what no number of panels resolves: the end of where phi is defined, or oscillation."""
    x = spread(edges[:-1], edges[1:])[0].ravel()
    undefined = x[~np.isfinite(evaluate(act, x)[0])]
    if undefined.size:
        return InvalidArgumentError(
            f"{act.name} is not finite at x = {undefined[np.abs(undefined).argmin()]:.4g}", "act"
        )
    return InvalidArgumentError(
        f"{act.name} needs more than {MOST_PANELS} panels for |x| up to {edges[-1]:.3g}: it oscillates too fast to be "
        "integrated (lower q)",
        "act",
    )


def series_tail(
    act: Activation, left: np.ndarray, right: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """((last coefficients of phi, of phi'), largest |phi|, largest |phi'|) on panels; zeros where not finite."""
    values = evaluate(act, spread(left, right)[0])
    finite = np.isfinite(values[0]).all(-1) & np.isfinite(values[1]).all(-1)
    phi, slope = (np.where(finite[:, None], v, 0.0) for v in values)
    tails = tuple(np.abs(v @ TO_SERIES[-3:].T).max(-1) for v in (phi, slope))
    return (tails[0], tails[1]), np.abs(phi).max(-1), np.abs(slope).max(-1)


def join(act: Activation, edges: np.ndarray) -> Panels:
    """Join neighbors that one polynomial serves, and tell which of the edges that are left are kinks."""
    x = spread(edges[:-1], edges[1:])[0]
    values = np.stack(evaluate(act, x))
    reach = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
    order = np.argsort(reach, kind="stable")
    sizes = np.nan_to_num(np.abs(values).max(-1), nan=0.0, posinf=0.0)[:, order]
    farther, largest = reach[order], np.maximum.accumulate(sizes, axis=1)

    def scale(place: np.ndarray) -> np.ndarray:
        """The largest |phi| and |phi'| around 0 as far out as that; shape (2, places)."""
        at = np.searchsorted(farther, SURROUNDINGS * np.abs(place)).clip(max=farther.size - 1)
        return largest[:, at]

    parity, idle = 0, 0
    while idle < 2 and edges.size > 2:  # pairs that start at even, then at odd panels, until neither joins any
        first = np.arange(parity, edges.size - 2, 2)
        reached = np.maximum(-edges[first], edges[first + 2])
        joined, samples = one_polynomial(act, edges, values, first, scale(reached))
        values[:, first[joined]] = samples[:, joined]
        gone = first[joined] + 1
        edges, values = np.delete(edges, gone), np.delete(values, gone, axis=1)
        parity, idle = 1 - parity, 0 if gone.size else idle + 1
    inner, gap = edges[1:-1], np.minimum(np.diff(edges)[:-1], np.diff(edges)[1:]) / 64
    if not inner.size:
        return Panels(edges, inner)
    (phi_tail, slope_tail), _, _ = series_tail(act, inner - gap, inner + gap)
    phi_size, slope_size = scale(inner)
    return Panels(edges, inner[(phi_tail > TOLERANCE * phi_size) | (slope_tail > TOLERANCE * slope_size)])


def one_polynomial(
    act: Activation, edges: np.ndarray, values: np.ndarray, first: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the panels `first` and the next are one: its series ends in time and gives back the values of both.

    Also phi and phi' at the nodes of the joined panels, shape (2, pairs, ORDER).
    """
    left, middle, right = (edges[first + step] for step in range(3))
    samples = np.stack(evaluate(act, spread(left, right)[0]))
    with np.errstate(invalid="ignore", over="ignore"):
        series = samples @ TO_SERIES.T
        worst = np.abs(series[..., -3:]).max(-1)
        for part, (start, stop) in enumerate(((left, middle), (middle, right))):
            at = (2 * spread(start, stop)[0] - (left + right)[:, None]) / (right - left)[:, None]
            back = np.einsum("pno,fpo->fpn", legendre.legvander(at, ORDER - 1), series)
            worst = np.maximum(worst, np.abs(back - values[:, first + part]).max(-1))
        return (worst <= TOLERANCE * scale).all(0), samples  # NaN is not one polynomial
