"""figures/glorot2010: activations, back-propagated gradients and weight gradients of five tanh layers of 1000 units.

Glorot & Bengio 2010, figures 6 to 8: standard initialization U(+-1/sqrt(n)) above, normalized below. Section 4.2.1: the
standard one loses a variance factor n Var[W] = 1/3 per layer (eq. 15, 16), its weight gradients stay alike (eq. 14).
"""

import jax
import numpy as np
from gallery import check, check_draws, ladder, note, page, title

import varprobe as vp

INITS = {"torch_default": "standard", "glorot_uniform": "normalized"}
LAYERS, SEEDS = np.arange(1, 6), 8

ds = vp.sweep(depth=5, width=1000, act="tanh,linear", init=list(INITS), batch=64, seeds=SEEDS, histogram=True)
for one in (ds.isel(config=i) for i in range(4)):
    act, name = str(one.act.values), INITS[str(one.init.values)]
    q, slopes = [1.0], []  # eq. 5 and 6 beyond the linear regime: E phi^2 and E phi'^2 of the very preactivations
    for _ in LAYERS:
        moments = vp.theory.moments(act, q=q[-1] * (1 / 3 if name == "standard" else 1))
        q.append(moments.mean_square)
        slopes.append(np.log10(moments.derivative_mean_square * (1 / 3 if name == "standard" else 1)))
    shape = one.activation_log10_mean_square.values[:, 1:], np.diff(one.gradient_log10_mean_square.values[:, 1:])
    drift = one.theory_activation_drift.values[0, 1:], np.diff(one.theory_gradient_drift.values[0, 1:])
    check_draws(f"log10 activation variance, {act}, {name} (eq. 5)", shape[0], np.log10(q[1:]) + drift[0])
    check_draws(f"log10 gradient factor, {act}, {name} (eq. 6)", -shape[1], slopes[:-1] - drift[1])
    if act == "identity":
        wgrad = one.weight_gradient_log10_mean_square.values[:, 1:]
        # linear layers shift ln mean square by -1 / width each
        ratio, slack = wgrad[:, :4] - wgrad[:, 4:], 5 / 1000 / np.log(10)
        check_draws(f"log10 weight gradients over the last, linear, {name} (eq. 14)", ratio, 0.0, slack)

with page("glorot2010", 2, 3, height=3.4, sharex="col", sharey="col") as axes:
    for i, name in enumerate(INITS.values()):
        one = ds.isel(config=i)
        net = vp.build(one, seed=0)
        singular = np.linalg.svd(np.asarray(net.params[2]["w"], float), compute_uv=False).mean()
        # section 4.2.2: "average singular value ... around 0.8" normalized, "0.5" standard: one digit is printed
        check(f"mean singular value, {name}", singular, {"standard": 0.5, "normalized": 0.8}[name], 0.05)
        grads = jax.grad(lambda p, net=net: (net.apply(p, net.x) * net.cotangent).sum())(net.params)
        for layer, color in zip(LAYERS, ladder(5), strict=True):
            for ax, quantity in zip(axes[i], ("activation", "gradient"), strict=False):
                rms = 10 ** float(one[f"{quantity}_log10_mean_square"].mean("seed")[layer] / 2)
                density = one[f"{quantity}_density"].mean("seed")[layer]
                ax.plot(one.bin * rms, density / rms, color=color, linewidth=1)
            heights, edges = np.histogram(np.asarray(grads[layer - 1]["w"]), 101, (-12, 12), density=True)
            axes[i, 2].plot((edges[1:] + edges[:-1]) / 2, heights, color=color, linewidth=1)
            note(axes[0, 2], 9.5, 2.2 * 0.35**layer, f"layer {layer}", color, ha="right")
        axes[i, 0].set_ylabel(f"{name}\ndensity")
    names = "activation $h$", r"gradient $\partial L/\partial z$", r"weight gradient $\partial L/\partial W$"
    for ax, text, limit in zip(axes[0], names, (1, 2, 10), strict=True):
        ax.set(xlim=(-limit, limit), yscale="log", ylim=(1e-3, 20 if limit < 9 else 2))
        title(ax, text)
