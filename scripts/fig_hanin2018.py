"""figures/hanin2018: how much gradients of ReLU networks differ from draw to draw is set by the sum of 1 / width alone.

Hanin 2018, theorem 1: squared entries of the Jacobian have a mean without depth in it, and a variance exponential in
beta = sum 1 / n_l; the logarithm of a norm is normal, mean -5 beta / 2, variance 5 beta (Hanin & Nica 2020).
Wide or narrow, deep or shallow: at equal beta gradients scatter alike.
"""

import numpy as np
from gallery import check, dots, ladder, line, note, page, title
from scipy.special import polygamma
from scipy.stats import binom

import varprobe as vp

WIDTHS, DEPTHS, SEEDS = (16, 32, 128), (4, 8, 16, 32), 400


def layer(n: int) -> tuple[float, float]:
    """Mean and variance of ln((2/n) chi2_K), K ~ Binomial(n, 1/2) not 0: exact for one ReLU layer of He's variance."""
    k = np.arange(1, n + 1)
    share = binom.pmf(k, n, 0.5) / (1 - 0.5**n)
    mean = polygamma(0, k / 2) + np.log(2) + np.log(2 / n)
    return share @ mean, share @ (polygamma(1, k / 2) + mean**2) - (share @ mean) ** 2


ds = vp.sweep(act="relu", init="normal(std=sqrt(2/fan_in))", width=list(WIDTHS), depth=DEPTHS[-1], batch=1, seeds=SEEDS)
logs = {quantity: np.log(10) * ds[f"{quantity}_log10_mean_square"].values for quantity in ("activation", "gradient")}
with page("hanin2018", 1, 2, height=2.4) as (variances, means):
    for i, (width, color, marker) in enumerate(zip(WIDTHS, ladder(len(WIDTHS)), "os^", strict=True)):
        for depth in DEPTHS:
            forward = logs["activation"][i, :, depth] - logs["activation"][i, :, 0]
            backward = logs["gradient"][i, :, -depth]
            forward, backward = (y[np.isfinite(y)] for y in (forward, backward))  # 2^-n a layer are dead: no logarithm
            (mean, variance), beta = (depth * value for value in layer(width)), depth / width
            expected, error = mean, 4 * np.sqrt(variance / SEEDS)
            check(f"n = {width}, L = {depth}: mean of ln |h_L|^2 / |x|^2", forward.mean(), expected, error)
            # a sample variance has the relative error sqrt((2 + kurtosis) / N); 4 of them, of a nearly normal logarithm
            error = 4 * variance * np.sqrt(3 / SEEDS)
            check(f"n = {width}, L = {depth}: its variance", forward.var(ddof=1), variance, error)
            check(f"n = {width}, L = {depth}: the gradient's", backward.var(ddof=1), variance, error)
            dots(variances, beta, backward.var(ddof=1), color, marker, 3.5)
            dots(means, beta, -forward.mean(), color, marker, 3.5)
        note(variances, 0.04, 14 / 1.8 ** WIDTHS.index(width), f"width {width}", color)
    grid = np.geomspace(0.025, 2.5, 10)
    line(variances, grid, 5 * grid, "0.4", zorder=0)
    line(means, grid, 2.5 * grid, "0.4", zorder=0)
    note(variances, 0.5, 1.4, r"$5\beta$", "0.3")
    note(means, 0.5, 0.7, r"$\frac{5}{2}\beta$", "0.3")
    variances.set(xlabel=r"$\beta=\sum_\ell 1/n_\ell$", ylabel="variance over draws", xscale="log", yscale="log")
    means.set(xlabel=r"$\beta=\sum_\ell 1/n_\ell$", ylabel="minus the mean", xscale="log", yscale="log")
    title(variances, r"$\ln\|\partial L/\partial z_1\|^2$")
    title(means, r"$\ln\|h_L\|^2$")
