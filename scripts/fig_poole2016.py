"""figures/poole2016: the maps of lengths and of correlations of tanh networks, and where they settle.

Poole et al. 2016, eq. 3 and 5, figures 1 and 2: tanh with sigma_b = 0.3 and sigma_w = 1.3, 2.5 and 4; fixed points q*
and c*, the latter 1 until chi_1 passes 1. Points are measured, from one layer to the next.
"""

import numpy as np
from gallery import COLORS, check_draws, dots, line, note, page

import varprobe as vp

SIGMAS, BIAS, WIDTH, SEEDS = (1.3, 2.5, 4.0), 0.09, 512, 8
COSINES = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
STARTS = [0.5, 2.0, 5.0, 9.0, 13.0]  # Var of the first layer's W h

options = {"act": "tanh", "sigma_w2": [s**2 for s in SIGMAS], "sigma_b2": BIAS, "width": WIDTH, "seeds": SEEDS}
stars = [vp.theory.fixed_point("tanh", sigma_w2=s**2, sigma_b2=BIAS) for s in SIGMAS]
firsts = [f"normal(var={q:.10g}/fan_in)" for q in [s.q_star - BIAS for s in stars] + STARTS]
ds = vp.sweep(depth=20, init_first=firsts, correlation=COSINES, forward_only=True, **options)

with page("poole2016", 1, 2, height=2.7) as (left, right):
    for ax, most in ((left, 15), (right, 1)):
        line(ax, [0, most], [0, most], "0.6", linestyle=(0, (1, 1.5)))
    q, c = np.linspace(0.05, 15, 80), np.linspace(0, 1, 60)
    for i, (sigma, fixed, color) in enumerate(zip(SIGMAS, stars, COLORS, strict=False)):
        V = np.vectorize(lambda x, s=sigma: s**2 * vp.theory.moments("tanh", q=x).mean_square + BIAS)
        phi = np.vectorize(lambda x, p=fixed: vp.theory.correlation_map("tanh", c=x, q=p.q_star).phi)
        C = lambda x, s=sigma, p=fixed, phi=phi: (s**2 * phi(x) + BIAS) / p.q_star  # noqa: E731
        rows = ds.isel(config=slice(i, None, len(SIGMAS)))
        first, second = (10 ** rows.preactivation_log10_mean_square.values[3:, :, layer].T for layer in (1, 2))
        # first order in 1 / width: the seeds hold what q_1 and q_2 scatter by; the bend of the map shifts the mean
        check_draws(f"q map, sigma_w = {sigma} (eq. 3)", second - V(first), 0.0, 2 * sigma**2 / WIDTH)
        one = rows.isel(config=i)  # the row that starts at q*
        # from cosines of h to correlations of z = W h + b, given W's variance
        z = {}
        for theory in ("", "theory_"):
            wide = sigma**2 * 10 ** one[f"{theory}activation_log10_mean_square"].values[:, :, None]
            z[theory] = (wide * one[f"{theory}pair_correlation"].values + BIAS) / (wide + BIAS)
        start = ((fixed.q_star - BIAS) * COSINES + BIAS) / fixed.q_star
        check_draws(f"c map, sigma_w = {sigma} (eq. 5)", z[""][:, 1], C(start), 2 / WIDTH)
        left_over = z["theory_"][0, -1] - fixed.c_star  # what 20 layers do not reach
        check_draws(f"c*, sigma_w = {sigma} (figure 2)", z[""][:, -1], fixed.c_star, np.abs(left_over) + 2 / WIDTH)
        for ax, x, y, curve, star in (
            (left, first.mean(0), second.mean(0), (q, V(q)), fixed.q_star),
            (right, start, z[""][:, 1].mean(0), (c, C(c)), fixed.c_star),
        ):
            line(ax, *curve, color)
            dots(ax, x, y, color, size=3)
            dots(ax, star, star, color, "*", 8, markeredgecolor="black", markeredgewidth=0.5, clip_on=False)
        note(left, 15.2, float(V(15.0)), rf"$\sigma_w={sigma:g}$", color)
    left.set(xlabel=r"$q_\ell$", ylabel=r"$q_{\ell+1}$", xlim=(0, 15), ylim=(0, 15))
    right.set(xlabel=r"$c_\ell$", ylabel=r"$c_{\ell+1}$", xlim=(0, 1), ylim=(0, 1.02))
