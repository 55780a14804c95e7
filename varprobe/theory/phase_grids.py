"""Fixed points and depth scales over a whole plane of (sigma_w2, sigma_b2) at once, for phase diagrams.

q* by safeguarded Newton steps for all points together. c* from the whole correlation map at once: in polar coordinates
two Gaussians of correlation cos(theta) are r cos(a), r cos(a - theta), so one FFT over a gives every theta.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import BarycentricInterpolator

from varprobe.nets.activations import Activation
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import numbers
from varprobe.theory.elementwise import ActivationLike, activation, evaluate
from varprobe.theory.fixed_points import CRITICAL, MARGIN, curve
from varprobe.theory.gaussian import LOW
from varprobe.theory.laws import averages_of, similarity
from varprobe.theory.panels import panels, spread
from varprobe.theory.sources import nodes as nodes_in

__all__ = ["PhaseGrid", "phase_grid"]

Plane = Float[np.ndarray, "sigma_w2 sigma_b2"]
ANGLES = 2048
THETA = np.arange(ANGLES // 4 + 1) * (2 * np.pi / ANGLES)
RADII = np.array([0, 0.5, 1, 2, 3, 4.5, 6.5, 9])


@dataclass(frozen=True, eq=False)
class PhaseGrid:
    """The fixed points of a plane; NaN where `fixed_point` has None.

    Attributes:
        act: the activation's canonical form.
        sigma_w2, sigma_b2: the axes, shapes (n,) and (m,).
        q_star, chi_1, chi_q, c_star, xi_q, xi_c, xi_gradient: shape (n, m), as in `FixedPoint`. q_star is 0 where the
            signal falls to 0 and infinite where it grows without bound. c_star and xi_c are interpolated: they
            are right to about 1e-5 for a smooth phi, 1e-3 for one with kinks.
        phase: words of shape (n, m): "ordered", "critical", "chaotic", "grows without bound".
    """

    act: str
    sigma_w2: np.ndarray
    sigma_b2: np.ndarray
    q_star: Plane
    chi_1: Plane
    chi_q: Plane
    c_star: Plane
    xi_q: Plane
    xi_c: Plane
    xi_gradient: Plane
    phase: np.ndarray

    def __repr__(self) -> str:
        return f"PhaseGrid({self.act}, {self.sigma_w2.size} x {self.sigma_b2.size} points)"


@checks_types
def phase_grid(act: ActivationLike, sigma_w2: object, sigma_b2: object) -> PhaseGrid:
    """The fixed points that a mean square of 1 moves to, for every pair of values of two axes.

    Raises:
        InvalidArgumentError: a value is not a number of at least 0 (sigma_w2: above 0), or phi has no finite averages.
    """
    phi = activation(act)
    first, second = numbers("sigma_w2", sigma_w2, 0.0, above=True), numbers("sigma_b2", sigma_b2, 0.0)
    w, b = (axis.ravel() for axis in np.meshgrid(first, second, indexing="ij"))
    log_q = mean_square_roots(phi, w, b)
    inside = np.exp(np.clip(log_q, np.log(LOW), curve(phi)[0][-1]))
    found = averages_of(phi, inside)
    chi_1 = w * found.derivative_mean_square
    chi_q = np.where(log_q == np.inf, np.nan, w * found.z_phi_dphi / np.sqrt(inside))
    q_star = np.exp(log_q)
    ordered = chi_1 <= 1 + CRITICAL
    settled = (q_star > 0) & np.isfinite(q_star)
    c_star, chi_c = np.where(settled & ordered, 1.0, np.nan), np.where(ordered, chi_1, np.nan)
    chaotic = settled & ~ordered
    if chaotic.any():
        c_star[chaotic], chi_c[chaotic] = correlation_roots(
            phi, log_q[chaotic], w[chaotic], b[chaotic], found.mean_square[chaotic], chi_1[chaotic]
        )
    phase = np.select(
        [log_q == np.inf, np.abs(chi_1 - 1) <= CRITICAL, ordered],
        ["grows without bound", "critical", "ordered"],
        "chaotic",
    )
    chi_c[log_q == np.inf] = np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {
            "q_star": q_star,
            "chi_1": chi_1,
            "chi_q": chi_q,
            "c_star": c_star,
            "xi_q": np.where(chi_q < 1 - CRITICAL, -1 / np.log(chi_q), np.nan),
            "xi_c": np.where(chi_c < 1 - CRITICAL, -1 / np.log(chi_c), np.nan),
            "xi_gradient": np.where(np.abs(chi_1 - 1) > CRITICAL, 1 / np.log(chi_1), np.nan),
            "phase": phase,
        }
    return PhaseGrid(phi.name, first, second, **{k: v.reshape(first.size, second.size) for k, v in columns.items()})


def mean_square_roots(act: Activation, w: np.ndarray, b: np.ndarray) -> np.ndarray:
    """ln q* for each pair: the first root on the way from q = 1; -inf and inf where there is none."""
    grid, found = curve(act)
    with np.errstate(divide="ignore"):
        log_m, log_w, log_b = np.log(found.mean_square), np.log(w), np.log(b)
    gap = np.logaddexp(log_w[:, None] + log_m, log_b[:, None]) - grid
    sign = np.where(np.abs(gap) <= MARGIN, 0, np.sign(gap)).astype(int)
    one = int(np.abs(grid).argmin())
    up = sign[:, one] > 0
    turned = np.where(up[:, None], (sign < 0) & (grid > 0), (sign > 0) & (grid < 0))
    first = np.where(up, turned.argmax(1), grid.size - 1 - turned[:, ::-1].argmax(1))
    high = np.where(up, grid[first], grid[np.minimum(first + 1, grid.size - 1)])
    low = np.where(up, grid[np.maximum(first - 1, 0)], grid[first])
    exists = turned.any(1)
    rows = np.arange(up.size)
    ends = [gap[rows, np.searchsorted(grid, end - 1e-9).clip(max=grid.size - 1)] for end in (low, high)]
    with np.errstate(divide="ignore", invalid="ignore"):
        start = low + (high - low) * ends[0] / (ends[0] - ends[1])
    start = np.where((start > low) & (start < high), start, (low + high) / 2)
    log_q = np.where(exists, start, np.where(up, np.inf, -np.inf))
    log_q[sign[:, one] == 0] = 0.0
    todo = np.flatnonzero(exists & (sign[:, one] != 0))
    low, high = low.copy(), high.copy()
    for _ in range(80):
        if not todo.size:
            break
        at = log_q[todo]
        values = averages_of(act, np.exp(at))
        mapped = w[todo] * values.mean_square + b[todo]
        off = np.log(mapped) - at
        low[todo], high[todo] = np.where(off > 0, at, low[todo]), np.where(off > 0, high[todo], at)
        slope = w[todo] * values.z_phi_dphi * np.exp(at / 2) / mapped - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            step = at - off / slope
        inside = (step > low[todo]) & (step < high[todo])
        halved = np.where(np.abs(off) < 1e-15, at, (low[todo] + high[todo]) / 2)
        log_q[todo] = np.where(inside, step, halved)
        todo = todo[np.abs(log_q[todo] - at) > 1e-8]  # the next step would be its square
    return log_q


def all_correlations(act: Activation, q: float) -> tuple[np.ndarray, np.ndarray]:
    """(E phi phi, E phi' phi') over their values at c = 1, for theta = arccos c on a grid from 0 to pi / 2."""
    if panels(act, 6).kinks.size:  # a sum over even angles converges slowly; the maps are smooth in theta all the same
        nodes = nodes_in(0.0, np.pi / 2)
        found = [similarity(act, float(np.log(q)), float(np.cos(node))) for node in nodes]
        values = np.array([(pair.phi, pair.derivative) for pair in found])
        smooth = BarycentricInterpolator(nodes, values)(THETA)
        return smooth[:, 0], smooth[:, 1]
    r, weights = (part.ravel() for part in spread(RADII[:-1], RADII[1:]))
    turn = np.cos((np.arange(ANGLES) + 0.5) * (2 * np.pi / ANGLES))
    sides = evaluate(act, np.sqrt(q) * r[:, None] * turn)
    maps = []
    for value in sides:
        power = np.abs(np.fft.rfft(value, axis=1)) ** 2
        correlation = np.fft.irfft((weights * r * np.exp(-(r**2) / 2)) @ power, n=ANGLES)
        maps.append(correlation[: THETA.size] / correlation[0])
    return maps[0], maps[1]


def correlation_roots(
    act: Activation, log_q: np.ndarray, w: np.ndarray, b: np.ndarray, mean_square: np.ndarray, chi_1: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(c*, slope of the correlation map there) for points with chi_1 > 1."""
    low, high = log_q.min() - 1e-3, log_q.max() + 1e-3
    nodes = nodes_in(low, high)
    tables = np.array([all_correlations(act, float(np.exp(node))) for node in nodes])
    phi, slope = np.moveaxis(BarycentricInterpolator(nodes, tables)(log_q), 1, 0)
    theta, c = THETA, np.cos(THETA)
    mapped = ((w * mean_square)[:, None] * phi + b[:, None]) / np.exp(log_q)[:, None]
    gap, chi = mapped - c, chi_1[:, None] * slope
    gap[:, 0] = 0.0
    # from c = 0 (the last column) toward c = 1: the first column that is below the diagonal
    below = gap[:, ::-1] < 1e-13
    at = np.maximum(theta.size - 1 - below.argmax(1), 0)
    rows = np.arange(at.size)
    after = np.minimum(at + 1, theta.size - 1)
    step = theta[1] - theta[0]
    d_at, d_after = (-np.sin(theta[i]) * (chi[rows, i] - 1) for i in (at, after))
    place = hermite_root(gap[rows, at], gap[rows, after], d_at * step, d_after * step)
    place = np.where(at == theta.size - 1, 0.0, place)
    chi_root = chi[rows, at] + place * (chi[rows, after] - chi[rows, at])
    return np.cos(theta[at] + place * step), np.where(at == 0, np.minimum(chi_root, 1.0), chi_root)


def hermite_root(f0: np.ndarray, f1: np.ndarray, d0: np.ndarray, d1: np.ndarray) -> np.ndarray:
    """Where in [0, 1] the cubics with these end values and slopes are 0, by bisection; f0 <= 0 < f1."""
    low, high = np.zeros_like(f0), np.ones_like(f0)
    for _ in range(50):
        t = (low + high) / 2
        value = (
            (1 + 2 * t) * (1 - t) ** 2 * f0 + t * (1 - t) ** 2 * d0 + t * t * (3 - 2 * t) * f1 + t * t * (t - 1) * d1
        )
        low, high = np.where(value <= 0, t, low), np.where(value <= 0, high, t)
    return (low + high) / 2
