"""Where predictions take the laws of an activation from, for many nets at a time.

The numbers of a net are the same in any company, to the last bit: no sum runs in an order that their count decides.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.theory.closed import closed_form
from varprobe.theory.elementwise import evaluate
from varprobe.theory.gaussian import Pair
from varprobe.theory.laws import LOG_HIGH, LOG_LOW, Law, as_law, averages_of, law, similarity

__all__ = ["Fast", "Source"]

DEGREE = 16
"""Chebyshev nodes in an interval of ln q of length 1."""
ORDERS = 128
"""Terms of a Hermite series."""
KEPT = 64
"""Layers whose series are kept."""
Z = np.linspace(-12, 12, 801)

Nets = Float[np.ndarray, " nets"]


class Source:
    """Laws without a mean from tables in ln q, to about 1e-12; the others, and pairs, by closed form or quadrature."""

    def __init__(self, act: Activation) -> None:
        self.act = act

    def law(self, log_q: Nets, ratio: Nets) -> Law:
        """`laws.law` of every net."""
        found = np.empty((len(Law._fields), log_q.size))
        cells = np.floor(np.nan_to_num(log_q, neginf=2 * LOG_LOW)).astype(int)
        exact = ratio != 0
        for cell in np.unique(cells[~exact]):
            here = cells == cell
            values = chebyshev_table(self.act, int(cell))
            if values is None:
                exact |= here
            else:
                share = weights(nodes(cell, cell + 1), log_q[here])
                found[:, here] = sum(values[:, k, None] * share[k] for k in range(DEGREE))
        for i in np.flatnonzero(exact):
            found[:, i] = law(self.act, float(log_q[i]), float(ratio[i]))
        return Law(*found)

    def similarity(self, log_q: Nets, c: Nets, ratio: Nets) -> Pair:
        """`laws.similarity` of every net."""
        found = [similarity(self.act, float(q), float(x), float(r)) for q, x, r in zip(log_q, c, ratio, strict=True)]
        return Pair(*np.array(found).reshape(-1, len(Pair._fields)).T)


class Fast(Source):
    """Pairs from Hermite series where they have no closed form: to 1e-3, or 5% where phi is a step beside the Gaussian.

    With Hermite coefficients a_k of phi(sqrt(q) z), E[phi phi] at correlation c is the sum of a_k^2 c^k (Mehler). The
    coefficients of a layer serve the signal, its finite-width terms and the gradient's.
    """

    def __init__(self, act: Activation) -> None:
        super().__init__(act)
        self.kept_power = lru_cache(maxsize=KEPT)(self.power)

    def similarity(self, log_q: Nets, c: Nets, ratio: Nets) -> Pair:
        """As `Source.similarity`."""
        form = closed_form(self.act)
        plain = (ratio == 0) & (not (form and form.pair))
        found = np.empty((len(Pair._fields), log_q.size))
        if plain.any():
            found[:, plain] = self.series(log_q[plain], c[plain])
        if not plain.all():
            found[:, ~plain] = super().similarity(log_q[~plain], c[~plain], ratio[~plain])
        return Pair(*found)

    def series(self, log_q: Nets, c: Nets) -> Float[np.ndarray, "fields nets"]:
        """Similarities of nets whose preactivations have no mean."""
        power = self.kept_power(log_q.tobytes())
        rest = np.maximum(1 - power.sum(-1), 0.0)
        return np.clip((power * c[:, None] ** np.arange(ORDERS)).sum(-1) + rest * c**ORDERS, -1, 1)

    def power(self, log_q: bytes) -> Float[np.ndarray, "fields nets orders"]:
        """Shares of the mean square in the terms of the series, of nets whose ln q these bytes hold."""
        scale = np.exp(np.clip(np.frombuffer(log_q), LOG_LOW, LOG_HIGH) / 2)
        values = np.stack(evaluate(self.act, scale[:, None] * Z))
        functions = hermite_functions()
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.nan_to_num(np.concatenate([values, values**2]), nan=0.0, posinf=0.0, neginf=0.0) * functions[0]
        values = values.reshape(len(Pair._fields), -1, Z.size)
        sizes = np.square(values).sum(-1, keepdims=True)
        power = np.square(np.stack([net @ functions.T for net in values.swapaxes(0, 1)], axis=1)) * (Z[1] - Z[0])
        return np.divide(power, sizes, out=np.zeros_like(power), where=sizes > 0)


@lru_cache(maxsize=1)
def hermite_functions() -> Float[np.ndarray, "orders z"]:
    """He_k(z) / sqrt(k!) times the square root of the Gaussian's density, on Z."""
    found = [np.exp(-(Z**2) / 4) / (2 * np.pi) ** 0.25, np.zeros_like(Z)]
    found[1] = Z * found[0]
    for k in range(1, ORDERS - 1):
        found.append((Z * found[k] - np.sqrt(k) * found[k - 1]) / np.sqrt(k + 1))
    return np.array(found)


def nodes(low: float, high: float) -> np.ndarray:
    """Chebyshev nodes of an interval."""
    return (low + high) / 2 - (high - low) / 2 * np.cos((np.arange(DEGREE) + 0.5) * np.pi / DEGREE)


def weights(nodes: np.ndarray, x: np.ndarray) -> Float[np.ndarray, "nodes points"]:
    """What turns values at Chebyshev nodes into values at x (Berrut & Trefethen 2004, eq. 4.2)."""
    barycentric = (-1.0) ** np.arange(DEGREE) * np.sin((np.arange(DEGREE) + 0.5) * np.pi / DEGREE)
    gap = x - nodes[:, None]
    met = gap == 0
    shares = barycentric[:, None] / np.where(met, 1.0, gap)
    shares = np.where(met.any(axis=0), met, shares)
    return shares / sum(shares)


@lru_cache(maxsize=1024)
def chebyshev_table(act: Activation, cell: int) -> np.ndarray | None:
    """Laws at the nodes of ln q from `cell` to `cell + 1`, shape (fields, nodes); None where they are no numbers."""
    log_q = nodes(cell, cell + 1)
    if log_q[0] < LOG_LOW or log_q[-1] > LOG_HIGH:
        return None
    try:
        found = np.array(as_law(averages_of(act, np.exp(log_q)), np.exp(log_q)))
    except InvalidArgumentError:
        return None
    return found if np.isfinite(found).all() else None
