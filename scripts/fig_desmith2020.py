"""figures/desmith2020: batch norm makes deep residual blocks close to the identity, and SkipInit does so outright.

De & Smith 2020, section 3: without a norm the stream's variance doubles each block, half of it from the branch. With
batch norm it is l + 1 and the branch 1, whose share is 1 / (l + 1), as if branches were scaled by 1 / sqrt(l). SkipInit
(section 4) scales them by alpha = 0; 1 / sqrt(L) keeps all below e.
"""

import numpy as np
from gallery import COLORS, check_draws, dots, line, note, page, title

import varprobe as vp

DEPTH, WIDTH, BATCH, SEEDS = 40, 256, 64, 6
NETS = {  # arch, norm, init, and the variance after block l
    "no norm": ("residual(order=pre)", "none", "he_normal", lambda n: 2.0**n),
    "batch norm": ("residual(order=pre)", "batch", "he_normal", lambda n: 1.0 + n),
    "1/sqrt(L)": (
        "residual(order=pre,branch_scale=1/sqrt(depth))",
        "none",
        "he_normal",
        lambda n: (1 + 1 / DEPTH) ** n,
    ),
    "SkipInit": ("residual(order=pre)", "none", "skipinit", lambda n: 1.0 + 0 * n),
}

with page("desmith2020", 1, 3, height=2.2) as (stream, share, gradient):
    layers = np.arange(1, DEPTH + 1)
    for i, (name, (arch, norm, init, law)) in enumerate(NETS.items()):
        ds = vp.sweep(arch=arch, norm=norm, init=init, depth=DEPTH, width=WIDTH, batch=BATCH, seeds=SEEDS).isel(
            config=0
        )
        logs = ds.stream_log10_mean_square.values
        grown = logs[:, 1:] - logs[:, :1]
        # per block two matrices, of which each shifts ln by at most 5 / (2 width), in the branch's share of the stream
        part = np.cumsum(1 - law(layers - 1) / law(layers))
        slack = 5 * part / WIDTH / np.log(10) + 1e-6  # and what float32 rounds
        check_draws(f"log10 variance of the stream, {name}", grown, np.log10(law(layers)), slack)
        back = ds.gradient_log10_mean_square.values[:, 1:]
        if norm == "none":  # homogeneous: what the stream gains forward the gradient gains backward
            check_draws(f"log10 mean square of the gradient, {name}", back, np.log10(law(DEPTH - layers)), slack.max())
        ratio = 1 - 10.0 ** (logs[:, :-1] - logs[:, 1:])
        line(stream, layers, law(layers), COLORS[i])
        dots(stream, layers[::2], 10 ** grown.mean(0)[::2], COLORS[i])
        dots(gradient, layers[::2], 10 ** back.mean(0)[::2], COLORS[i])
        if init != "skipinit":
            line(share, layers, 1 - law(layers - 1) / law(layers), COLORS[i])
            dots(share, layers, ratio.mean(0), COLORS[i])
    names = ("variance of the stream", "share of the branch", "mean square of the gradient")
    for ax, text in zip((stream, share, gradient), names, strict=True):
        ax.set(xlabel=r"block $\ell$", yscale="log", ylim=(0.1, 1e8))
        title(ax, text)
    share.set(ylim=(0.01, 1.2), xscale="log")
    note(stream, 17, 3e6, r"no norm, $2^\ell$", COLORS[0], ha="right")
    note(stream, 25, 150, r"batch norm, $1+\ell$", COLORS[1], ha="center")
    note(stream, 25, 6, r"branches$/\sqrt{L}$", COLORS[2], ha="center")
    note(share, 1.2, 0.7, "no norm, 1/2", COLORS[0])
    note(share, 3.6, 0.3, r"batch norm, $1/(\ell+1)$", COLORS[1])
    note(share, 1.2, 0.017, r"branches$/\sqrt{L}$", COLORS[2])
    note(gradient, 39, 0.35, "SkipInit, 1", COLORS[3], ha="right")
