"""Where predictions take the laws of an activation from, for many nets at a time: the integrals, or tables of them."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from varprobe.activations import Activation
from varprobe.errors import RequestError
from varprobe.theory.gaussian import Pair
from varprobe.theory.laws import LOG_HIGH, LOG_LOW, Law, as_law, averages_of, law, similarity

__all__ = ["MANY", "Exact", "Tabulated", "source_of"]

MANY = 48
"""From so many nets on, tables cost less than integrals."""
DEGREE = 16
"""Chebyshev nodes in an interval of ln q of length 1, and in the angle between two inputs."""
STEP = 0.5
"""Spacing in ln q of the tables of pairs, between which the law is a cubic."""
WIDEST = 1.9
"""The largest angle (in radians) that tables of pairs hold."""

Nets = Float[np.ndarray, " nets"]


class Exact:
    """Every law by closed form or quadrature."""

    def __init__(self, act: Activation) -> None:
        self.act = act

    def law(self, log_q: Nets, ratio: Nets) -> Law:
        """`laws.law` of every net."""
        found = [law(self.act, float(q), float(r)) for q, r in zip(log_q, ratio, strict=True)]
        return Law(*np.array(found).reshape(-1, len(Law._fields)).T)

    def similarity(self, log_q: Nets, c: Nets, ratio: Nets) -> Pair:
        """`laws.similarity` of every net."""
        found = [similarity(self.act, float(q), float(x), float(r)) for q, x, r in zip(log_q, c, ratio, strict=True)]
        return Pair(*np.array(found).reshape(-1, len(Pair._fields)).T)


class Tabulated(Exact):
    """Laws without a mean from tables: to about 1e-10, of pairs to about 1e-3, as finite-width terms need them."""

    def law(self, log_q: Nets, ratio: Nets) -> Law:
        """As `Exact.law`."""
        found = np.empty((len(Law._fields), log_q.size))
        cells = np.floor(np.nan_to_num(log_q, neginf=LOG_LOW)).astype(int)
        for cell in np.unique(cells):
            here = cells == cell
            values = chebyshev_table(self.act, int(cell))
            if values is None:
                found[:, here] = Exact.law(self, log_q[here], ratio[here])
                continue
            found[:, here] = values @ weights(nodes(cell, cell + 1), log_q[here])
            odd = here & ((ratio != 0) | (log_q == -np.inf))
            if odd.any():
                found[:, odd] = Exact.law(self, log_q[odd], ratio[odd])
        return Law(*found)

    def similarity(self, log_q: Nets, c: Nets, ratio: Nets) -> Pair:
        """As `Exact.similarity`."""
        angle = np.arccos(np.clip(c, -1, 1))
        place = np.clip(np.nan_to_num(log_q, neginf=LOG_LOW), LOG_LOW, LOG_HIGH) / STEP
        first = np.floor(place).astype(int) - 1
        rows = [first + k for k in range(4)]
        found = np.zeros((len(Pair._fields), log_q.size))
        inside = (ratio == 0) & (angle <= WIDEST)
        for k, row in enumerate(rows):
            others = [j for j in range(4) if j != k]
            share = np.prod([(place - rows[j]) / (k - j) for j in others], axis=0)
            for at in np.unique(row[inside]):
                here = inside & (row == at)
                values = pair_table(self.act, int(at)) @ weights(nodes(0.0, WIDEST), angle[here])
                found[:, here] += share[here] * values
        if not inside.all():
            found[:, ~inside] = Exact.similarity(self, log_q[~inside], c[~inside], ratio[~inside])
        return Pair(*np.clip(found, -1, 1))


def source_of(act: Activation, nets: int) -> Exact:
    """The cheaper of the two."""
    return Tabulated(act) if nets >= MANY else Exact(act)


def nodes(low: float, high: float) -> np.ndarray:
    """Chebyshev nodes of an interval."""
    return (low + high) / 2 - (high - low) / 2 * np.cos((np.arange(DEGREE) + 0.5) * np.pi / DEGREE)


def weights(nodes: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "nodes points"]:
    """What turns values at Chebyshev nodes into values at x (Berrut & Trefethen 2004, eq. 4.2)."""
    barycentric = (-1.0) ** np.arange(DEGREE) * np.sin((np.arange(DEGREE) + 0.5) * np.pi / DEGREE)
    gap = x - nodes[:, None]
    exact = gap == 0
    shares = barycentric[:, None] / np.where(exact, 1.0, gap)
    shares = np.where(exact.any(axis=0), exact, shares)
    return shares / shares.sum(axis=0)


@lru_cache(maxsize=1024)
def chebyshev_table(act: Activation, cell: int) -> np.ndarray | None:
    """Laws at the nodes of ln q from `cell` to `cell + 1`, shape (fields, nodes); None where they are no numbers."""
    log_q = nodes(cell, cell + 1)
    if log_q[0] < LOG_LOW or log_q[-1] > LOG_HIGH:
        return None
    try:
        found = np.array(as_law(averages_of(act, np.exp(log_q)), np.exp(log_q)))
    except RequestError:
        return None
    return found if np.isfinite(found).all() else None


@lru_cache(maxsize=1024)
def pair_table(act: Activation, row: int) -> np.ndarray:
    """Similarities at ln q = row STEP for the nodes of the angle, shape (fields, nodes)."""
    cosines = np.cos(nodes(0.0, WIDEST))
    return np.array([similarity(act, row * STEP, float(c)) for c in cosines]).T
