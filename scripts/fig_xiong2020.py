"""figures/xiong2020: the gradient of the last perceptron matrix in transformers, norms before or after.

Xiong et al. 2020, theorem 1: its norm does not depend on the depth L with norms after the sums, and falls as 1/sqrt(L)
with norms before the branches (and one before the loss). As in their analysis: Q = K = 0, ReLU, Xavier, square.
Their lemma 2: between (1 + l/2) and (1 + 3l/2) is the mean square of the stream of the second kind.
"""

import numpy as np
from gallery import COLORS, check, check_draws, dots, line, note, page, title

import varprobe as vp

DEPTHS, WIDTH, TOKENS, BATCH, SEEDS = (2, 6, 18), 128, 8, 4, 8
FORM = "transformer(heads=1,tokens=8,mlp_ratio=1,norm_position={})"
rows = {}
for position in ("post", "pre"):
    ds = vp.sweep(
        arch=FORM.format(position), act="relu", init="glorot_normal", init_qk="zeros",
        depth=list(DEPTHS), width=WIDTH, batch=BATCH, seeds=SEEDS,
    )  # fmt: skip
    rows[position] = []
    for i, depth in enumerate(DEPTHS):
        stream, wgrad = (
            ds[f"{n}_log10_mean_square"].values[i, :, : depth + 1] for n in ("activation", "down_weight_gradient")
        )
        # the norm before the loss divides gradients by the RMS of the last stream; the sweep's nets end without it
        wgrad = wgrad - (stream[:, -1:] if position == "pre" else 0)
        rows[position].append(10 ** ((wgrad[:, 1:].mean(0)) / 2))
        # (dL/dW)^2 = N E h^2 E delta^2, N tokens; E h^2 = E relu^2 = 1/2; E delta^2 = 1 / variance at the last norm
        variance = np.log10(1.5) if position == "post" else ds.theory_activation_log10_mean_square.values[i, 0, depth]
        closed = np.log10(TOKENS * BATCH / 2) - variance
        # a ReLU layer shifts ln mean square by -5 / (2 width): two matrices shape h and delta
        name = f"log10 mean square of the gradient, {position}, L = {depth}"
        check_draws(name, wgrad[:, -1:], closed, 5 / WIDTH / np.log(10))
        if position == "pre":
            found, middle, half = 10 ** stream[:, -1].mean(), 1 + depth, depth / 2
            check(f"stream, pre, L = {depth} (lemma 2: {1 + half} to {1 + 3 * half})", found, middle, half)

with page("xiong2020", 1, 2, height=2.3) as (last, every):
    grid, tokens = np.linspace(2, 18, 50), TOKENS * BATCH / 2
    for i, values in enumerate(rows.values()):
        dots(last, DEPTHS, [WIDTH * v[-1] for v in values], COLORS[i], "os"[i], 4)
        dots(every, range(1, 19), WIDTH * values[-1], COLORS[i], "os"[i], 3)
    line(last, [2, 18], [WIDTH * np.sqrt(tokens / 1.5)] * 2, COLORS[0])
    band = (WIDTH * np.sqrt(tokens / (1 + k * grid)) for k in (0.5, 1.5))
    last.fill_between(grid, *band, color=COLORS[1], alpha=0.15, linewidth=0)
    note(last, 5, 500, "norm after: constant", COLORS[0], ha="center")
    note(last, 2.1, 75, "norm before: " r"$\propto 1/\sqrt{L}$," "\nwithin lemma 2 (shaded)", COLORS[1])
    note(every, 9, 320, "norm after", COLORS[0], ha="center")
    note(every, 7, 115, "norm before", COLORS[1], ha="center")
    last.set(xlabel="depth $L$", ylabel=r"$\|\partial L/\partial W_2\|_F$", xscale="log")
    every.set(xlabel=r"layer $\ell$ of 18", xticks=[1, 6, 12, 18])
    for ax, text in ((last, "last layer"), (every, "every layer")):
        ax.set(yscale="log", ylim=(50, 800))
        ax.set_yticks([50, 100, 200, 400, 800], ["50", "100", "200", "400", "800"])
        ax.minorticks_off()
        title(ax, text)
    last.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
