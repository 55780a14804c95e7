"""figures/relu50: the main job's figure, 50-layer ReLU networks under the eleven standard initializers.

He et al. 2015, eq. 9 and 13: each layer multiplies both mean squares by fan_in Var(W) / 2.
"""

import numpy as np
from gallery import check_draws, save

import varprobe as vp
from varprobe.plots import variance_figure

SIGMA_W2 = {  # of those with mean 0, at width 512
    "he_normal": 2.0, "he_uniform": 2.0, "glorot_normal": 1.0, "glorot_uniform": 1.0, "lecun_normal": 1.0,
    "orthogonal": 1.0, "torch_default": 1 / 3, "normal(std=0.01)": 0.0512, "uniform(limit=1)": 512 / 3,
}  # fmt: skip

ds = vp.sweep(depth=50, act="relu")
for name, sigma_w2 in SIGMA_W2.items():
    one = vp.select(ds, init=name).isel(config=0)
    for quantity, sign in (("activation", 1), ("gradient", -1)):
        # the slopes of the measured curves, the drift of the finite width in what is expected
        curves = one[f"{quantity}_log10_mean_square"].values[:, 1:], one[f"theory_{quantity}_drift"].values[:1, 1:]
        measured, drift = (sign * np.polyfit(np.arange(1, 51), y.T, 1)[0] for y in curves)
        check_draws(f"{name}, {quantity}: log10 factor per layer", measured, np.log10(sigma_w2 / 2) + drift)
save(variance_figure(ds), "relu50")
