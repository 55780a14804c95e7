"""figures/phase_tanh.pdf and .png: measured against predicted gradient factors over the plane of weights and biases."""

from pathlib import Path

import varprobe as vp
from varprobe.phase_measured import compare
from varprobe.phases import phase_diagram
from varprobe.plots import save_figure
from varprobe.plots.phase import phase_figure

WIDTH = 256

diagram = phase_diagram("tanh", width=WIDTH, count=32)
weights, biases = diagram.grid.sigma_w2, diagram.grid.sigma_b2
ds = vp.sweep(act="tanh", sigma_w2=weights, sigma_b2=biases, depth=50, width=WIDTH, seeds=1)
compared = compare(ds, weights, biases)
print(f"median deviation {compared.median:.3%}, largest {compared.deviation[compared.largest]:+.3%}")
figure = phase_figure(diagram, compared)
for suffix in ("pdf", "png"):
    save_figure(figure, Path(__file__).parents[1] / "figures" / f"phase_tanh.{suffix}")
