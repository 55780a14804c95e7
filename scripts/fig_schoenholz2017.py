"""figures/schoenholz2017: the depth scales of tanh networks with sigma_b^2 = 0.05, and their divergence.

Schoenholz et al. 2017: xi_q and xi_c (section 3, figure 2) and the gradient's 1 / ln chi_1 (section 4, figure 4). The
last two are without bound where chi_1 = 1. Measured from the distance of two signals in the same nets.
"""

import numpy as np
from gallery import COLORS, check, check_draws, dots, line, note, page

import varprobe as vp

BIAS, CRITICAL = 0.05, 1.7609546396067  # where chi_1 = 1, as two independent quadratures give it
POINTS = np.array([0.6, 1.0, 1.4, 2.1, 2.5, 3.0, 3.5, 4.0])
STARTS = 0.05 * 2.0 ** np.arange(7)  # mean squares of the first layer, of which two beside the fixed point are taken


def rates(measured: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, float]:
    """Slope of ln |distance| per draw and of theory's, on layers where that is 0.3 to 0.02 of what it is at layer 2."""
    share = np.abs(expected[2:] / expected[2])
    kept = 2 + np.flatnonzero((share < 0.3) & (share > 0.02))[:20]
    fits = [np.polyfit(kept, np.log(np.abs(y[kept])), 1)[0] for y in (*measured, expected)]
    return np.array(fits[:-1]), fits[-1]


check("sigma_w^2, chi_1 = 1 (figure 1)", vp.theory.critical("tanh", sigma_b2=BIAS).points[0].sigma_w2, CRITICAL, 1e-9)
options = {"act": "tanh", "sigma_w2": POINTS, "sigma_b2": BIAS, "width": 512, "seeds": 12}
ds = vp.sweep(depth=50, correlation=[0.0, 0.9], **options)
firsts = [f"normal(var={s:g}/fan_in)" for s in STARTS]
two = vp.sweep(depth=12, init_first=firsts, forward_only=True, **options)
length = {"c": [], "q": [], "gradient": []}
for i, sigma_w2 in enumerate(POINTS):
    fixed = vp.theory.fixed_point("tanh", sigma_w2=sigma_w2, sigma_b2=BIAS)
    beside = STARTS[STARTS < 0.75 * fixed.q_star].max(), STARTS[STARTS > 1.3 * fixed.q_star].min()
    pair = [int(np.flatnonzero(STARTS == start)[0]) * len(POINTS) + i for start in beside]
    c = [np.diff(ds[f"{p}pair_correlation"].values[i])[..., 0] for p in ("", "theory_")]
    q = [np.diff(10 ** two[f"{p}preactivation_log10_mean_square"].values[pair], axis=0)[0] for p in ("", "theory_")]
    for name, chi, apart in (("c", fixed.chi_c_star, c), ("q", fixed.chi_q, q)):
        found, window = rates(apart[0], apart[1][0])  # where theory's trajectory bends away from 1 / xi, so may this
        check_draws(f"-1/xi_{name} at sigma_w2 = {sigma_w2}", found, np.log(chi), window - np.log(chi))
        length[name].append(-1 / found.mean())
    measured, drift = ds.gradient_log10_mean_square.values[i], ds.theory_gradient_drift.values[i, :1]
    found, drift = (np.polyfit(ds.layer[15:], y[:, 15:].T, 1)[0] * -np.log(10) for y in (measured, drift))
    check_draws(f"ln chi_1 at sigma_w2 = {sigma_w2}", found, np.log(fixed.chi_1) + drift)
    length["gradient"].append(1 / abs(found.mean()))

grid = np.r_[np.linspace(0.4, 1.757, 60), np.linspace(1.765, 4.2, 80)]
points = [vp.theory.fixed_point("tanh", sigma_w2=w, sigma_b2=BIAS) for w in grid]
scales = np.abs([(p.xi_c, p.xi_gradient, p.xi_q) for p in points]).T
with page("schoenholz2017", 1, 1, height=2.6) as (ax,):
    for i, (name, fill) in enumerate((("c", "full"), ("gradient", "none"), ("q", "full"))):
        line(ax, grid, scales[i], COLORS[i], zorder=4 - i)
        dots(ax, POINTS, length[name], COLORS[i], "os^"[i], size=3.6, fillstyle=fill)
    ax.axvline(CRITICAL, color="0.5", linewidth=0.7, linestyle=(0, (1, 1.5)))
    note(ax, CRITICAL + 0.05, 550, r"$\chi_1=1$", "0.35")
    note(ax, 2.6, 17, r"correlation, $\xi_c$", COLORS[0])
    note(ax, 2.35, 5.2, r"gradient, $1/|\ln\chi_1|$", COLORS[1], ha="center")
    note(ax, 1.85, 0.75, r"mean square, $\xi_q$", COLORS[2])
    note(ax, 0.6, 40, "ordered:\nthe two are one", "0.35")
    ax.set(yscale="log", ylim=(0.5, 1000), xlim=(0.4, 4.2), ylabel="layers", xlabel=r"$\sigma_w^2$, $\sigma_b^2=0.05$")
