"""figures/he2015: signal and gradient of 30-layer ReLU networks, and the gradient of VGG with std 0.01.

He et al. 2015, section 2.2: a factor n Var[w] / 2 per layer, forward (eq. 9) and backward (eq. 13); their networks of
figures 2 and 3 have 22 and 30 layers, where Xavier's initialization loses 2^-11 and 2^-15 of the RMS.
"""

import numpy as np
from gallery import COLORS, check, check_draws, note, page, title

import varprobe as vp

DEPTH = 30
FILTERS = (64, 64, 128, 128, 256, 256, 512, 512, 512, 512)  # conv1 to conv10 as in the paper's product
PRINTED, DIGITS = (
    np.log10(1.7e4),
    np.log10(1.75 / 1.7),
)  # section 2.2: "1/(5.9 x 4.2^2 x 2.9^2 x 2.1^4) = 1/(1.7 x 10^4)"

ds = vp.sweep(depth=DEPTH, act="relu", init=["he_normal", "glorot_normal"], width=512, seeds=8)
vgg = vp.sweep(arch="conv(kernel=3,size=4)", width="-".join(map(str, FILTERS)), init="normal(std=0.01)", seeds=8)

with page("he2015", 1, 3, height=2.1) as (forward, backward, deep):
    layers = np.arange(1, DEPTH + 1)
    passed = {"activation": layers, "gradient": DEPTH - layers}
    start = {"activation": 0.0, "gradient": np.log10(0.5)}  # delta_L = c phi'(z_L), and c ~ N(0, 1)
    for i, (name, factor) in enumerate({"He": 1.0, "Xavier": 0.5}.items()):
        for ax, quantity in ((forward, "activation"), (backward, "gradient")):
            values = ds[f"{quantity}_log10_mean_square"].values[i, :, 1:]
            closed = start[quantity] + passed[quantity] * np.log10(factor)
            drift = ds[f"theory_{quantity}_drift"].values[i, 0, 1:]
            check_draws(f"log10 mean square, {quantity}, {name} (eq. 9, 13)", values, closed + drift)
            ax.semilogy(layers, 10 ** (closed / 2), color=COLORS[i], linewidth=0.8)
            ax.semilogy(layers, 10 ** (values.mean(0) / 2), "o", color=COLORS[i], markersize=2.2)
    for depth in (22, 30):  # what the signal has lost there: 2^-11 and 2^-15
        lost = ds.activation_log10_mean_square.values[1, :, depth] / 2
        drift, error = (float(ds[f"theory_activation_{k}"][1, 0, depth]) / 2 for k in ("drift", "std"))
        check(f"log10 RMS, Xavier, layer {depth}", lost.mean(), -depth / 2 * np.log10(2) + drift, 5 * error / 8**0.5)
        forward.plot(depth, 2.0 ** (-depth / 2), "o", color=COLORS[1], markersize=6, fillstyle="none")
        note(forward, depth - 1.2, 0.55 * 2.0 ** (-depth / 2), rf"$2^{{-{depth // 2}}}$", COLORS[1], ha="right")
    for ax, text in ((forward, r"RMS of $h_\ell$"), (backward, r"RMS of $\partial L/\partial z_\ell$")):
        ax.set(ylim=(5e-6, 8), xlabel=r"layer $\ell$")
        title(ax, text)
        note(ax, 15, 2.2, r"He, $\sigma_w^2=2$", COLORS[0], ha="center")
    note(forward, 2, 6e-4, "Xavier,\n$2^{-\\ell/2}$", COLORS[1])
    note(backward, 17, 3e-4, "Xavier,\n$2^{-(L-\\ell+1)/2}$", COLORS[1])

    values = (vgg.gradient_log10_mean_square.values[0, :, 1:] - vgg.gradient_log10_mean_square.values[0, :, -1:]) / 2
    exact = np.append([0.5 * np.log10(4.5e-4 * np.array(FILTERS[n:])).sum() for n in range(1, 10)], 0)
    check("log10 of conv10's gradient over conv2's input, the paper's product", -exact[0], PRINTED, DIGITS)
    # drift: at most that of dense layers, -5/(2n) in ln mean square (positions average it)
    drift = [1.25 * np.sum(1 / np.array(FILTERS[n:])) / np.log(10) for n in range(1, 10)]
    check_draws("log10 RMS of VGG's gradients over conv10's (section 2.2)", values[:, :-1], exact[:-1], drift)
    deep.semilogy(range(1, 11), 10**exact, color=COLORS[2], linewidth=0.8)
    deep.semilogy(range(1, 11), 10 ** values.mean(0), "o", color=COLORS[2], markersize=2.6)
    note(deep, 1.9, 6e-5, r"$1/(1.7\times10^4)$", COLORS[2])
    deep.set(ylim=(2e-5, 2), xlabel=r"layer $\ell$ of VGG, std 0.01", xticks=[1, 4, 7, 10])
    title(deep, r"$\partial L/\partial z_\ell$ over $\partial L/\partial z_{10}$")
