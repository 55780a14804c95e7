"""figures/mistaken: what becomes of a signal where an initializer's variance is taken for its standard deviation.

The common formulas: He et al. 2015, eq. 10, Var W = 2 / n; Glorot & Bengio 2010, eq. 16; LeCun et al. 1998.
Set as a std they give fan_in Var W = 4 / n and 1 / n, a uniform limit without its root 12 / n: each ReLU layer
multiplies the mean square by half of that (He, eq. 9), exactly so in the mean over draws.
"""

import numpy as np
from gallery import COLORS, check, check_draws, dots, line, note, page

import varprobe as vp

WIDTH, DEPTH, SEEDS, HALF = 512, 20, 8, 2.0**-24  # the smallest float16 above zero
FORMULAS = {  # what is said of it, and fan_in Var W as it is
    "normal(var=sqrt(2/fan_in))": (r"He: variance $\sqrt{2/n}$", np.sqrt(2 * WIDTH)),
    "normal(std=sqrt(2/fan_in))": (r"He, right: std $\sqrt{2/n}$", 2.0),
    "uniform(limit=6/fan_in)": (r"He, uniform: limit $6/n$", 12 / WIDTH),
    "normal(std=2/fan_in)": (r"He: std $2/n$", 4 / WIDTH),
    "normal(std=1/fan_in)": ("LeCun, Glorot: std $1/n$", 1 / WIDTH),
    "normal(std=2/(fan_in+fan_out))": ("", 1 / WIDTH),
}

ds = vp.sweep(act="relu", init=list(FORMULAS), width=WIDTH, depth=DEPTH, seeds=SEEDS)
rows = vp.diagnose(ds).rows
with page("mistaken", 1, 1, height=2.7) as (ax,):
    layers = np.arange(1, DEPTH + 1)
    for i, (text, sigma_w2) in enumerate(FORMULAS.values()):
        values, drift = ds.activation_log10_mean_square.values[i, :, 1:], ds.theory_activation_drift.values[i, 0, 1:]
        slope = np.log10(sigma_w2 / 2)
        steps = np.diff(values, axis=1) - np.diff(drift)
        check_draws(f"{ds.init.values[i]}: log10 factor of the mean square per layer", steps.mean(1), slope)
        check_draws(f"{ds.init.values[i]}: log10 mean square at every layer", values, slope * layers + drift)
        # the layer at which the RMS is less than float16's smallest number, or more than its largest
        wanted = {True: np.log10(HALF), False: np.log10(65504)}[slope < 0] * 2 / slope if slope else np.inf
        gone = np.flatnonzero((values.mean(0) < 2 * np.log10(HALF)) | (values.mean(0) > 2 * np.log10(65504)))
        if gone.size:
            error = 5 * float(ds.theory_activation_std[i, 0, gone[0] + 1]) / np.sqrt(SEEDS) / abs(slope)
            check(f"{ds.init.values[i]}: layers until float16 has nothing of it", gone[0] + 1, wanted, 1 + error)
        if text:
            kept = 2 * 11.5 / max(abs(slope), 0.1)
            line(ax, [0, min(DEPTH, kept)], [0, slope / 2 * min(DEPTH, kept)], COLORS[i])
            dots(ax, layers[layers < kept], values.mean(0)[layers < kept] / 2, COLORS[i])
            factor = f"{10 ** (slope / 2):.2g}"
            note(ax, DEPTH + 0.5, 9.5 - 4.5 * i, f"{text}\nRMS $\\times$ {factor} a layer", COLORS[i])
    ax.axhspan(np.log10(HALF), np.log10(65504), color="0.94", zorder=0, linewidth=0)
    note(ax, DEPTH - 0.3, np.log10(65504) - 0.7, "all that float16 holds", "0.35", ha="right")
    ax.set(xlim=(0, DEPTH), ylim=(-12, 12), xlabel=r"layer $\ell$", ylabel=r"RMS of the signal")
    ax.set_yticks([-10, -5, 0, 5, 10], [rf"$10^{{{k}}}$" for k in (-10, -5, 0, 5, 10)])
