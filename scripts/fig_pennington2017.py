"""figures/pennington2017: singular values of the Jacobian of deep networks, Gaussian against orthogonal weights.

Pennington, Schoenholz & Ganguli 2017, section 2.4 and 2.5, figure 3: of linear networks all are 1 with orthogonal ones,
and spread to s^2 = (L + 1)^(L + 1) / L^L with Gaussian ones, as for ReLU with either; tanh near its critical point
keeps orthogonal ones together.
"""

import numpy as np
from gallery import check, check_draws, page, title

import varprobe as vp

DEPTH, WIDTH, SEEDS, ACTS = 8, 64, 8, {"linear": 1.0, "relu": 2.0, "tanh": 1.05}


def second_moment(relu: bool) -> float:
    """E tr (JJ')^2 / n of Gaussian layers of this very width, exactly; 1 + L or 1 + 2L as n grows."""
    a = b = 1.0  # E (tr JJ')^2 / n^2 and E tr (JJ')^2 / n
    for _ in range(DEPTH):
        product = a + 2 * b / WIDTH**2, a + (1 + 1 / WIDTH) * b  # by Wick's theorem for W J, Var W = 1 / n
        square = a + 2 * b / WIDTH  # mean square of a diagonal entry of W JJ' W'
        a, b = (product[0] + square / WIDTH, product[1] + square) if relu else product  # each unit is open with 1/2
    return b


with page("pennington2017", 1, 3, height=2.3) as axes:
    for ax, (act, sigma_w2) in zip(axes, ACTS.items(), strict=True):
        gain = f"{sigma_w2**0.5:.6g}"
        inits = [f"normal(std={gain}/sqrt(fan_in))", f"orthogonal(scale={gain})"]
        ds = vp.sweep(depth=DEPTH, width=WIDTH, act=act, init=inits, batch=4, seeds=SEEDS, jacobian=True)
        gaussian, orthogonal = 10 ** (2 * ds.jacobian_log10_singular_values.values)
        vp.plot_spectrum(ds, ax, labels=dict(zip(ds.init.values.tolist(), ("Gaussian", "orthogonal"), strict=True)))
        ax.set_ylim(0, 1.35 * ax.get_ylim()[1])  # room for the legend
        ax.set_ylabel("density per decade" if act == "linear" else "")
        title(ax, {"linear": "linear", "relu": "ReLU", "tanh": r"tanh, $\sigma_w^2=1.05$"}[act])
        if act == "tanh":
            spread = [np.log10(s).std(1).mean() for s in (gaussian, orthogonal)]
            check(
                "tanh: spread of log10 s^2, orthogonal over Gaussian (conclusion: < 1)", spread[1] / spread[0], 0.5, 0.5
            )
            continue
        relu = act == "relu"
        check_draws(f"{act}, Gaussian: mean of s^4", (gaussian**2).mean(1), second_moment(relu))
        if relu:  # infinite width; of the width 64 to first order the variance shifts by some L^2 / width
            variance = (orthogonal**2).mean(1) / orthogonal.mean(1) ** 2 - 1
            check_draws("relu, orthogonal: variance of s^2 over squared mean (L)", variance, DEPTH, DEPTH**2 / WIDTH)
        else:
            check_draws("linear, orthogonal: largest |s^2 - 1|", np.abs(orthogonal - 1).max(1), 0.0, 1e-6)
            edge = vp.theory.singular_values(DEPTH, "linear").largest_log10
            check("linear, Gaussian: largest s^2, log10 of (L+1)^(L+1)/L^L", edge, np.log10(9.0**9 / 8.0**8), 1e-6)
