"""figures/trainability: tanh networks learn as deep as a signal reaches, with plain gradient descent and with Adam.

Schoenholz et al. 2017, figure 5: with 6 xi_c, the depth at which inputs have become one, over the accuracy of trained
networks. No network beyond it may learn; and the deepest that do are where the verdict before training is best.
"""

import numpy as np
from gallery import check, page, title

import varprobe as vp

BIAS, OPTIMIZERS = 0.05, {"sgd(lr=0.01)": "gradient descent", "adam(lr=0.001)": "Adam"}
options = {"act": "tanh", "sigma_w2": "1:4:13", "sigma_b2": BIAS, "depth": "10:100:10", "width": 64, "steps": 400}
ds = vp.trainability(optimizer=",".join(OPTIMIZERS), **options)
scales = {w: vp.theory.fixed_point("tanh", sigma_w2=w, sigma_b2=BIAS).xi_c for w in np.linspace(1, 4, 13)}
with page("trainability", 1, 2, height=2.9) as axes:
    for ax, (optimizer, text) in zip(axes, OPTIMIZERS.items(), strict=True):
        one = vp.select(ds, optimizer=optimizer)
        weights = [float(init.partition("scale=")[2].partition(",")[0]) for init in one.init.values]
        beyond = one.depth.values > 6 * np.array([abs(scales[w]) for w in weights])
        check(
            f"of {beyond.sum()} networks beyond 6 xi_c those that learn, {text}", one.trained.values[beyond].sum(), 0, 0
        )
        found = vp.verdict_accuracy(one)
        print(f"{found.found} of {found.unhealthy} that were said not to train did not, and {found.failed} in all")
        vp.plot_trainability(one, ax=ax)
        legend = ax.get_legend()
        legend.remove()
        title(ax, text)
    texts = [text.get_text() for text in legend.texts]
    ax.figure.legend(legend.legend_handles, texts, loc="outside upper center", ncols=4, frameon=False)
