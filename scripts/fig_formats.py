"""figures/formats: after how many ReLU layers each standard initializer leaves the range of a number format.

The RMS changes by sqrt(sigma_w^2 / 2) a layer (He et al. 2015, eq. 10 and 14; finite width adds -5/(2n) to its ln mean
square), so the depth at which it passes a limit is known. The formats' largest and smallest normal numbers are those
of IEEE 754 (float16), of bfloat16, and of OCP's 8-bit format E4M3 (1 June 2023, table 1).
"""

import numpy as np
from gallery import check, note, page

import varprobe as vp

DEPTH, WIDTH, SEEDS = 300, 256, 4
LIMITS = {"float16": (2.0**-14, 65504.0), "bfloat16": (2.0**-126, 3.39e38), "float8_e4m3": (2.0**-6, 448.0)}
NAMES = [  # with fan_in Var(W); that of a mean of 0.02 has no such closed form and is left out
    ("he_normal", 2.0), ("he_uniform", 2.0), ("glorot_normal", 1.0), ("glorot_uniform", 1.0), ("lecun_normal", 1.0),
    ("orthogonal", 1.0), ("torch_default", 1 / 3), ("normal(std=0.01)", WIDTH * 1e-4),
    ("uniform(limit=0.01)", WIDTH * 1e-4 / 3), ("uniform(limit=1)", WIDTH / 3),
]  # fmt: skip

ds = vp.sweep(depth=DEPTH, act="relu", init=[name for name, _ in NAMES], width=WIDTH, seeds=SEEDS)
rows = vp.diagnose(ds).rows
passed = np.arange(1, DEPTH + 1)  # layers that a signal has passed, from either end
table = np.full((len(NAMES), 6), np.nan)
for i, (name, sigma_w2) in enumerate(NAMES):
    slope = np.log10(sigma_w2 / 2)
    for column, (form, side) in enumerate((form, side) for form in LIMITS for side in ("activation", "gradient")):
        forward = side == "activation"
        layer = rows[i]["formats"][form][f"{side}_rms"]
        table[i, column] = np.nan if layer is None else layer if forward else DEPTH + 1 - layer
        # z has twice the mean square of h, which matters where it grows; delta_L = c phi'(z_L) half of the cotangent's
        level = slope * passed + (np.log10(2) if slope > 0 else 0) if forward else slope * (passed - 1) - np.log10(2)
        order = slice(1, None) if forward else slice(None, 0, -1)
        drift, std = (ds[f"theory_{side}_{what}"].values[i, 0, order] for what in ("drift", "std"))
        least, most = 2 * np.log10(LIMITS[form])
        outside = np.flatnonzero((level + drift < least) | (level + drift > most))
        if not outside.size or np.isnan(table[i, column]):
            check(f"{name}, {form}, {side}: whether it leaves", float(outside.size > 0), float(table[i, column] > 0), 0)
            continue
        # a layer is whole; 60 comparisons at a risk of 1 in 1000 are 4.2 standard deviations of the mean of the seeds
        error = 4.2 * std[outside[0]] / np.sqrt(SEEDS) / abs(slope)
        check(f"{name}, {form}, {side}: layers", table[i, column], passed[outside[0]], 1 + error)

with page("formats", 1, 1, height=2.9) as (ax,):
    ax.imshow(np.log10(table), cmap="viridis", vmin=0, vmax=2.6, aspect="auto")
    ax.set_facecolor("0.93")
    for (i, j), value in np.ndenumerate(table):
        text = f"> {DEPTH}" if np.isnan(value) else f"{value:.0f}"
        note(ax, j, i, text, "white" if value < 60 else "black", ha="center")
    ax.set_yticks(range(len(NAMES)), [name for name, _ in NAMES])
    ax.set_xticks(range(6), ["signal", "gradient"] * 3)
    for j, form in enumerate(LIMITS):
        note(ax, 2 * j + 0.5, -0.85, form, ha="center")
        ax.axvline(2 * j - 0.5, color="white", linewidth=4)
    ax.grid(False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(f"ReLU layers of width {WIDTH} passed when the RMS leaves the format's normal range")
