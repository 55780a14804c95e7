"""figures/brock2021: signal propagation plots of pre-activation ResNets, with and without scaled branches.

Brock, De & Smith 2021 (Characterizing signal propagation), section 3: with batch norm the variance of the stream grows
by 1 a block, and a branch is 1; without a norm it doubles each block. Section 4: x + alpha f(x / beta), beta^2 being
Var x, grows by alpha^2 a block again: 1 + l alpha^2. ReLU being homogeneous, f(x / beta) is f(x) / beta.
"""

import numpy as np
from gallery import COLORS, check_draws, note, page, title

import varprobe as vp

DEPTH, WIDTH, BATCH, SEEDS, ALPHA = 24, 256, 64, 6, 0.5
NETS = {
    "batch norm": ("residual(order=pre)", "batch"),
    "no norm": ("residual(order=pre)", "none"),
    r"$\alpha=0.5$, $\beta$": (f"residual(order=pre,branch_scale={ALPHA}/sqrt(1+(layer-1)*{ALPHA**2}))", "none"),
}
GROWTH = (lambda l: 1 + l, lambda l: 2.0**l, lambda l: 1 + ALPHA**2 * l)  # noqa: E741

with page("brock2021", 1, 3, height=2.2) as (variance, branch, mean):
    layers = np.arange(1, DEPTH + 1)
    for i, ((name, (arch, norm)), law) in enumerate(zip(NETS.items(), GROWTH, strict=True)):
        ds = vp.sweep(
            arch=arch, norm=norm, act="relu", init="he_normal", depth=DEPTH, width=WIDTH, batch=BATCH, seeds=SEEDS
        ).isel(config=0)
        stream, branches = ds.stream_log10_mean_square.values[:, 1:], ds.branch_log10_mean_square.values[:, 1:]
        drift = ds.theory_activation_drift.values[0, 1:]
        # without a law of the finite width: each of a block's two matrices shifts ln by at most 5 / (2 width)
        slack = np.where(np.isnan(drift), 5 * layers / WIDTH / np.log(10), 0)
        check_draws(
            f"log10 variance of the stream, {name}", stream, np.log10(law(layers)) + np.nan_to_num(drift), slack
        )
        # the branch that is added: it shifts as the stream that it is a fixed share of
        added = (
            branches + np.log10(law(layers) - law(layers - 1)) - np.log10(law(layers - 1))
            if norm == "none"
            else branches
        )
        if norm == "batch":
            check_draws("log10 variance of a branch, batch norm", branches, 0.0, 5 / WIDTH / np.log(10))
        squared = ds.activation_correlation.values[:, 1:]  # (mean over samples)^2 of a channel, over its mean square
        for ax, values in ((variance, 10 ** stream.mean(0)), (branch, 10 ** added.mean(0)), (mean, squared.mean(0))):
            (ax.plot if ax is mean else ax.semilogy)(layers, values, "os^"[i], color=COLORS[i], markersize=2.8)
        variance.semilogy(layers, law(layers), color=COLORS[i], linewidth=0.8)
        branch.semilogy(layers, law(layers) - law(layers - 1), color=COLORS[i], linewidth=0.8)
    variance.set(ylim=(0.8, 3e3))
    branch.set(ylim=(0.1, 3e3))
    mean.set(ylim=(0, 1))
    for ax, text in (
        (variance, "variance of the stream"),
        (branch, "variance added"),
        (mean, "cosine between samples"),
    ):
        ax.set(xlabel=r"block $\ell$")
        title(ax, text)
    note(variance, 12, 700, r"no norm, $2^\ell$", COLORS[1])
    note(variance, 14, 33, r"batch norm, $1+\ell$", COLORS[0], ha="center")
    note(variance, 15, 2.2, r"scaled, $1+\alpha^2\ell$", COLORS[2], ha="center")
