"""figures/relu50.pdf and .png: the main job's figure, 50-layer ReLU networks under the eleven standard initializers."""

from pathlib import Path

import varprobe as vp
from varprobe.plots import save_figure, variance_figure

ds = vp.sweep(depth=50, act="relu")
figure = variance_figure(ds)
for suffix in ("pdf", "png"):
    save_figure(figure, Path(__file__).parents[1] / "figures" / f"relu50.{suffix}")
