"""figures/yang2019: batch norm makes gradients explode, by pi / (pi - 1) = 1.467 a layer for ReLU in large batches.

Yang et al. 2019 (A mean field theory of batch normalization), section 4 and table 1: gradients of batch-normalized
networks grow by a factor that no weight variance changes: for ReLU pi / (pi - 1) as the batch grows, for linear nets
(B - 2) / (B - 3), which tends to 1. The factor is of the mean square; of the RMS it is 1.211. Theory takes the width to
be far above batch and depth.
"""

import numpy as np
from gallery import COLORS, check, check_draws, dots, line, note, page

import varprobe as vp

BATCHES, ACTS, WIDTH = (8, 16, 32), {"relu": "ReLU", "tanh": "tanh", "identity": "linear"}, 256
LIMIT = np.pi / (np.pi - 1)

check("factor for ReLU, batch 100,000", vp.theory.batch_norm("relu", batch=100_000).gradient_factor, LIMIT, 1e-4)
for batch in BATCHES:
    linear = vp.theory.batch_norm("linear", batch=batch).gradient_factor
    check(f"factor of linear nets, batch {batch}", linear, (batch - 2) / (batch - 3), 1e-9)
ds = vp.sweep(depth=30, act=list(ACTS), norm="batch", batch=list(BATCHES), width=WIDTH, seeds=6, init="he_normal")

with page("yang2019", 1, 2, height=2.3) as (curves, factors):
    batches = np.unique(np.geomspace(6, 512, 40).astype(int))
    for i, (act, name) in enumerate(ACTS.items()):
        theory = [vp.theory.batch_norm(act, batch=int(b)).gradient_factor for b in batches]
        factors.semilogx(batches, theory, color=COLORS[i], linewidth=0.9)
        note(factors, 540, theory[-1] + 0.02, name, COLORS[i])
        for batch in BATCHES:
            one = vp.select(ds, act=act, batch=batch).isel(config=0)
            values = one.gradient_log10_mean_square.values
            slopes = -np.polyfit(one.layer[5:], values[:, 5:].T, 1)[0]  # beyond the first layers, where data are alike
            wanted = np.log10(vp.theory.batch_norm(act, batch=batch).gradient_factor)
            # first order in 1 / width: a layer's ln mean square shifts by at most -5 / (2 width)
            check_draws(f"log10 factor, {act}, batch {batch}", slopes, wanted, 2.5 / WIDTH / np.log(10))
            dots(factors, batch, 10 ** slopes.mean(), COLORS[i], size=3.5)
            if act == "relu" and batch != 16:
                line(curves, one.layer[1:], 10 ** values.mean(0)[1:], COLORS[0])
                note(curves, *((14, 1e5) if batch == 8 else (5, 800)), f"batch {batch}", COLORS[0])
    plain = (
        vp.sweep(depth=30, width=WIDTH, seeds=6, init="he_normal")
        .isel(config=0)
        .gradient_log10_mean_square.mean("seed")
    )
    curves.semilogy(plain.layer[1:], 10 ** plain[1:], color="0.4", linewidth=1, linestyle=(0, (4, 2)))
    note(curves, 2, 0.12, "He without norm", "0.35")
    factors.axhline(LIMIT, color="0.5", linewidth=0.7, linestyle=(0, (1, 1.5)))
    note(factors, 60, LIMIT - 0.02, r"$\pi/(\pi-1)$", "0.35", va="top")
    curves.set(xlabel=r"layer $\ell$", ylabel="mean square of the gradient", ylim=(0.03, 1e8), xlim=(0, 31))
    factors.set(
        xlabel="batch $B$",
        ylabel="factor per layer",
        xlim=(5.5, 1100),
        xticks=[8, 32, 128, 512],
        xticklabels=["8", "32", "128", "512"],
    )
    factors.minorticks_off()
