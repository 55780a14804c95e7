"""figures/phase_tanh: measured against predicted gradient factors over the plane of weight and bias variance.

Poole et al. 2016, figure 1, and Schoenholz et al. 2017: the factor is chi_1, and 1 on the critical line, which passes
(1, 0) and, by two independent quadratures, (1.4242053, 0.01) and (1.7609546, 0.05).
"""

import numpy as np
from gallery import check, save

import varprobe as vp
from varprobe.plots.phase import phase_figure
from varprobe.theory.phase_diagram import phase_diagram
from varprobe.verdict.phase_measured import compare

WIDTH, DEPTH = 256, 50

for sigma_b2, sigma_w2 in {0.0: 1.0, 0.01: 1.424205290488565, 0.05: 1.7609546396067006}.items():
    point = vp.theory.critical("tanh", sigma_b2=sigma_b2).points[0]
    check(f"critical sigma_w^2 at sigma_b^2 = {sigma_b2}", point.sigma_w2, sigma_w2, 1e-7)
diagram = phase_diagram("tanh", width=WIDTH, count=32)
weights, biases = diagram.grid.sigma_w2, diagram.grid.sigma_b2
ds = vp.sweep(act="tanh", sigma_w2=weights, sigma_b2=biases, depth=DEPTH, width=WIDTH, seeds=1)
compared = compare(ds, weights, biases)
# one draw: what the slope scatters by is at most the standard deviation of its two ends, 4.9 of them for 1024 networks
error = 4.9 * 2**0.5 * ds.theory_gradient_std.values[:, 0, 1].max() * np.log(10) / (DEPTH - 1)
drift = np.nanmax(np.abs(ds.theory_gradient_drift.values[:, 0, 1])) * np.log(10) / (DEPTH - 1)
check("largest deviation of 1024 factors from chi_1", float(np.nanmax(np.abs(compared.deviation))), 0.0, error + drift)
print(f"median deviation {compared.median:.3%}")
save(phase_figure(diagram, compared), "phase_tanh")
