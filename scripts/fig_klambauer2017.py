"""figures/klambauer2017: SELU networks pull mean and variance to 0 and 1, whatever their input's variance.

Klambauer et al. 2017, theorem 1 and equation 5: with Var W = 1 / n the fixed point (0, 1) attracts, with the Jacobian
((0, 0.088834), (0, 0.782648)) there. ReLU with He's weights keeps what it is given.
"""

import numpy as np
from gallery import check, check_draws, ladder, note, page, title

import varprobe as vp

STARTS, DEPTH, WIDTH, SEEDS = (0.05, 0.25, 1.0, 4.0, 16.0), 30, 512, 8
SLOPE = 0.782648  # of the variance map at 1

moments = vp.theory.moments("selu")
check("E selu(z), z ~ N(0, 1)", moments.mean, 0.0, 1e-10)
check("Var selu(z)", moments.variance, 1.0, 1e-10)
check("slope of the variance map (eq. 5)", moments.z_phi_dphi, SLOPE, 5e-7)
firsts = [f"normal(var={q:g}/fan_in)" for q in STARTS]
nets = {
    act: vp.sweep(act=act, init=init, init_first=firsts, depth=DEPTH, width=WIDTH, seeds=SEEDS, forward_only=True)
    for act, init in (("selu", "lecun_normal"), ("relu", "he_normal"))
}

with page("klambauer2017", 1, 3, height=2.2) as axes:
    layers = np.arange(1, DEPTH + 1)
    for act, ax in zip(nets, axes[::2], strict=True):
        for i, color in enumerate(ladder(len(STARTS))):
            one = nets[act].isel(config=i)
            z, theory = (one[f"{p}preactivation_log10_mean_square"].values[:, 1:] for p in ("", "theory_"))
            ax.semilogy(layers, 10 ** theory[0], color=color, linewidth=0.9)
            ax.semilogy(layers[::2], 10 ** z.mean(0)[::2], "o", color=color, markersize=2.2)
            drift = np.append(0.0, one.theory_activation_drift.values[0, 1:-1])  # of z, through the layers before
            slack = 1 / WIDTH / np.log(10)  # of ln z^2, through the last product's own width
            check_draws(f"{act} from q = {STARTS[i]}: log10 E z^2 at every layer", z, theory[0] + drift, slack)
            if act == "selu":
                last = 10 ** z[:, -1:]
                check_draws(
                    f"selu from q = {STARTS[i]}: E z^2 at layer {DEPTH} (theorem 1)",
                    last,
                    10 ** (theory[0, -1] + drift[-1]),
                    1 / WIDTH,
                )
                mean = one.activation_mean_over_rms.values[:, 1:] * 10 ** (
                    one.activation_log10_mean_square.values[:, 1:] / 2
                )
                axes[1].plot(layers, mean.mean(0), color=color, linewidth=1)
                check_draws(f"selu from q = {STARTS[i]}: E h at layer {DEPTH}", mean[:, -1:], 0.0)
        ax.set(ylim=(0.02, 40), xlabel=r"layer $\ell$")
        title(ax, {"selu": r"SELU: $\mathrm{Var}\,z_\ell$", "relu": r"ReLU, He: $\mathrm{Var}\,z_\ell$"}[act])
    axes[1].axhline(0, color="0.5", linewidth=0.7, linestyle=(0, (1, 1.5)))
    axes[1].set(xlabel=r"layer $\ell$")
    title(axes[1], r"SELU: mean of $h_\ell$")
    for q, color in zip(STARTS, ladder(len(STARTS)), strict=True):
        note(axes[2], 15, q * 1.85, rf"$q_1={q:g}$", color, ha="center")
