"""figures/small_regression: the small regression of introductory texts, which hardly tells initializers apart.

One hidden layer of 10 ReLU units learns y = 2 x + noise (Adam, 50 epochs) from 15 initializers, the gradient clipped
or not. With zeros no weight ever has a gradient, and the read-out's bias learns the mean: the loss is Var y. With
constants all units stay equal, as one; but a line needs no more, and so all others end at the noise. Only ones take
longer, and clipping, which their large first gradients meet, shortens that.
"""

import numpy as np
from gallery import COLORS, check, check_draws, line, note, page, title
from scipy.stats import t as student

import varprobe as vp

ROWS, BATCH, EPOCHS, SEEDS, NOISE, RATE, UNITS = 256, 32, 50, 10, 0.3, 0.01, 10
EACH, SAME = ROWS // BATCH, ("ones", "constant(value=0.5)")
COURSES = {"zeros": (20, 1.9), "ones": (14, 0.78), "normal(std=0.01)": (12, 0.077), "he_normal": (9.7, 0.15)}
rng = np.random.default_rng(0)
x = rng.uniform(-1, 1, (ROWS, 1))
y = 2 * x[:, 0] + NOISE * rng.normal(size=ROWS)
least = np.mean((y - np.polyval(np.polyfit(x[:, 0], y, 1), x[:, 0])) ** 2)
check("MSE of the best line", least, NOISE**2, 3.3 * NOISE**2 * np.sqrt(2 / ROWS))  # 3.3 standard errors: 1 in 1000
worth = NOISE**2 * (3 * UNITS + 1) / ROWS  # what the parameters may add or take, to first order: the noise / rows each

net = {"depth": 1, "width": UNITS, "act": "relu", "data": x, "labels": y, "loss": "mse", "batch": BATCH, "seeds": SEEDS}
ways = {"steps": EPOCHS * EACH, "at": [EPOCHS * EACH], "optimizer": f"adam(lr={RATE}),adam(lr={RATE},clip=1)"} | net
ds = [vp.track(**ways), vp.track(init=["zeros", *SAME], **ways)]
found = {str(d.init.values[i]): d.isel(config=[i, i + 1]) for d in ds for i in range(0, d.sizes["config"], 2)}
found["keras_random_uniform, orthogonal"] = vp.track(init_first="keras_random_uniform", init="orthogonal", **ways)
later = vp.track(init="ones", **net, optimizer=f"adam(lr={RATE})", steps=5 * EPOCHS * EACH, at=[0]).final_loss.values
check_draws("MSE, ones, after five times as many steps", later[0], least, worth)
order = sorted(found, key=lambda name: found[name].final_loss.values.mean())
with page("small_regression", 1, 2, height=3.1, width_ratios=[1.1, 1]) as (ends, course):
    for place, name in enumerate(order):
        for clipped, loss in enumerate(found[name].final_loss.values):
            text = f"MSE, {name}{', clipped' * clipped}"
            if name == "zeros":  # a bias that Adam moves by lr strays by lr std / (2 sqrt(batch)) in the mean square
                check_draws(text, loss, y.var(), RATE * y.std() / 2 / np.sqrt(BATCH))
            elif name != "ones" or clipped:
                check_draws(text, loss, least, worth)
            reach = student.isf(0.025, SEEDS - 1) * loss.std(ddof=1) / np.sqrt(SEEDS)
            mark = {"fmt": "os"[clipped], "color": COLORS[clipped], "markersize": 2.6, "elinewidth": 0.8}
            ends.errorbar(loss.mean(), place + 0.3 * clipped - 0.15, xerr=reach, **mark)
        if name in SAME:
            check(f"share of equal units, {name}", found[name].equal_unit_fraction.values[..., 1].min(), 1, 0)
    ends.axvline(least, color="0.6", linewidth=0.7, zorder=0)
    note(ends, least + 1e-4, len(order) - 1, "the best line", "0.45")
    for name, text in (("zeros", r"Var $y$ = 1.49 $\rightarrow$"), ("ones", r"0.40 $\rightarrow$")):
        note(ends, 0.0983, order.index(name) - 0.18, text, COLORS[0], ha="right")
    ends.set(xlim=(0.0898, 0.0985), xticks=[0.09, 0.094, 0.098], yticks=range(15), yticklabels=order, xlabel="MSE")
    for color, name in zip(COLORS[2:], COURSES, strict=False):
        for clipped in range(1 + (name == "ones")):
            losses = found[name].batch_loss.values[clipped, :, :-1].mean(0).reshape(EPOCHS, EACH).mean(1)
            line(course, np.arange(1, EPOCHS + 1), losses, color, linestyle="-:"[clipped])
        note(course, *COURSES[name], name, color)
    note(course, 20.5, 0.3, "ones, clipped", COLORS[3])
    course.set(yscale="log", xlim=(0, EPOCHS), ylim=(0.065, 12), xlabel="epoch", ylabel="MSE")
    title(ends, "after 50 epochs; squares: clipped")
    title(course, "on the way")
