"""Recurrent nets: every number against jax.grad in double precision, and exact far outside a float's range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.engine.random_bits import keys_of
from varprobe.errors import InvalidArgumentError
from varprobe.nets.norms import resolve_norm, standardized
from varprobe.spec.calls import parse_calls
from varprobe.sweeps.assemble import dataset
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

DEPTH, WIDTH, INPUT, BATCH = 4, 6, 5, 3
sigmoid = jax.nn.sigmoid


def measured(**arguments):
    return run(read_request(**{"depth": DEPTH, "width": WIDTH, "batch": BATCH, "act": "tanh"} | arguments))


def maps(p, h, x, gate=""):
    """(h W + b, x U + b) with the matrices of a gate; 0 where there is none."""
    tail = f"_{gate}" if gate else ""
    bias = lambda name: p.get(name, 0)  # noqa: E731
    entering = 0 if x is None else jnp.matmul(x, p[f"u{tail}"], precision="highest") + bias(f"b_u{tail}")
    return jnp.matmul(h, p[f"w{tail}"], precision="highest") + bias(f"b_w{tail}" if gate else "b"), entering


def rnn(norm, keep, p, states, x, eps, mask):
    z = sum(maps(p, states["h"], x)) + eps["preactivation"]
    z = standardized(norm, z[None], norm.eps)[0] if norm else z
    h = jnp.where(mask, jnp.tanh(z) / keep, 0)
    return {"h": h + eps["activation"]}, {"preactivation": z}


def lstm(forget_bias, p, states, x, eps, mask):
    i, f, o = (sum(maps(p, states["h"], x, gate)) for gate in ("input", "forget", "output"))
    z = sum(maps(p, states["h"], x)) + eps["preactivation"]
    c = sigmoid(f + forget_bias) * states["c"] + sigmoid(i) * jnp.tanh(z) + eps["cell"]
    h = sigmoid(o) * jnp.tanh(c) + eps["activation"]
    return {"h": h, "c": c}, {"forget": sigmoid(f + forget_bias)}


def gru(p, states, x, eps, mask):
    """torch.nn.GRUCell's formula."""
    h = states["h"]
    r, u = (sigmoid(sum(maps(p, h, x, gate))) for gate in ("reset", "update"))
    inner, entering = maps(p, h, x)
    n = jnp.tanh(entering + r * inner + eps["preactivation"])
    return {"h": (1 - u) * n + u * h + eps["activation"]}, {"update": u}


def brute_force(nets, cell, states, sites, keep=1.0):
    """Of each (network, seed): (summed gradients of the matrices, of the sites, h of each step, further arrays)."""
    zero = np.zeros((BATCH, WIDTH))

    @jax.jit
    def differentiated(params, x, cotangent, masks):
        inputs = x.swapaxes(0, 1) if x.ndim == 3 else [None] * DEPTH

        def loss(p, eps):
            at = dict.fromkeys(states, zero) | ({"h": x} if x.ndim == 2 else {})
            every, more = [], []
            for t in range(DEPTH):
                at, further = cell(p, at, inputs[t], {k: v[t] for k, v in eps.items()}, masks[t])
                every.append(at)
                more.append(further)
            out = at["h"]
            if len(params) == 2:
                out = jnp.matmul(out, params[1]["w"], precision="highest")
            return (cotangent * out).sum(), (every, more, out)

        return jax.grad(loss, (0, 1), has_aux=True)(
            params[0], {site: jnp.zeros((DEPTH, *zero.shape)) for site in sites}
        )

    for net, seed in nets:
        key = keys_of(0, seed)["dropout"]
        keys = [jax.random.fold_in(jax.random.fold_in(key, t), 0) for t in range(1, DEPTH + 1)]
        masks = [jax.random.uniform(k, zero.shape, jnp.float32) < np.float32(keep) for k in keys]
        found = differentiated(net.params, net.x, net.cotangent, masks)
        (of_p, of_eps), (every, more, out) = jax.tree.map(np.asarray, found)
        np.testing.assert_allclose(jax.jit(net.apply)(net.params, net.x), out, rtol=1e-12)
        yield of_p, of_eps, every, more


def agrees(ds, name, arrays, statistics=("log10_mean_square", "log10_var", "mean_over_rms", "log10_absmax")):
    """The statistics of layers 1 to L are those of the arrays."""
    arrays = [np.asarray(a) for a in arrays]
    ms = np.array([np.mean(a**2) for a in arrays])
    exact = {
        "log10_mean_square": np.log10(ms),
        "log10_var": np.log10([np.var(a) for a in arrays]),
        "mean_over_rms": [np.mean(a) for a in arrays] / np.sqrt(ms),
        "log10_absmax": np.log10([np.abs(a).max() for a in arrays]),
    }
    for statistic in statistics:
        np.testing.assert_allclose(ds[f"{name}_{statistic}"][1:], exact[statistic], atol=1e-9, err_msg=name)


def check(ds, cell, states=("h",), sites=("preactivation", "activation"), per_step=False, keep=1.0):
    """Every configuration and seed against brute force; returns the last one's arrays."""
    at = [(i, seed) for i in range(ds.sizes["config"]) for seed in range(ds.sizes["seed"])]
    nets = [(vp.build(ds.isel(config=i), seed), seed) for i, seed in at]
    every_net = brute_force(nets, cell, states, sites, keep)
    for (i, seed), (net, _), (of_p, *rest) in zip(at, nets, every_net, strict=True):
        one, (of_eps, every, _) = ds.isel(config=i, seed=seed), rest
        for site in sites:
            agrees(one, "gradient" if site == "activation" else f"{site}_gradient", of_eps[site])
        for name, state in (("activation", "h"), ("cell", "c")):
            if state in states:
                agrees(one, name, [step[state] for step in every])
        for name, matrix in net.params[0].items():
            if name[0] == "b":
                continue
            prefix = "" if name == "w" else f"{name}_"
            agrees(one, f"{prefix}weight", [matrix] * DEPTH, ["log10_mean_square"])
            if not per_step:
                agrees(one, f"{prefix}weight_gradient", [of_p[name]] * DEPTH)
    return net, one, *rest


def test_rnn_with_norm_and_dropout(x64):
    """Also IRNN's identity, and entries with a mean."""
    norm = "layer(eps=0.01)"
    ds = measured(
        arch="rnn", init="identity,normal(mean=0.1,std=0.3)", bias="normal(std=0.3)", input_width=INPUT, seeds=2,
        norm=norm, dropout=0.3, dtype="float64",
    )  # fmt: skip
    found = resolve_norm(parse_calls(norm)[0])[1]
    net, *_ = check(ds, lambda *a: rnn(found, 0.7, *a), keep=0.7)
    assert net.x.shape == (BATCH, DEPTH, INPUT)
    assert len(net.params) == 1


def test_rnn_of_a_first_state_step_by_step_below_a_read_out(x64):
    ds = measured(arch="rnn(inputs=first,per_step=true)", init="normal(std=0.5)", seeds=1, loss="mse", dtype="float64")
    net, one, of_eps, every, _ = check(ds, lambda *a: rnn(None, 1, *a), per_step=True)
    assert set(net.params[0]) == {"w", "b"}
    before = [net.x, *(at["h"] for at in every)]
    parts = [h.T @ delta for h, delta in zip(before, of_eps["preactivation"], strict=False)]
    agrees(one, "weight_gradient", parts)
    assert one.activation_log10_mean_square[0] == pytest.approx(np.log10(np.mean(net.x**2)), abs=1e-6)


def test_lstm(x64):
    ds = measured(
        arch="lstm(forget_bias=-0.5)", init="normal(std=0.5)", bias="normal(std=0.3)", seeds=1, input_width=INPUT,
        dtype="float64",
    )  # fmt: skip
    cell = lambda *a: lstm(-0.5, *a)  # noqa: E731
    _, one, _, _, more = check(ds, cell, ("h", "c"), ("preactivation", "activation", "cell"))
    np.testing.assert_allclose(one.forget_gate_mean[1:], [np.mean(m["forget"]) for m in more], atol=1e-12)


def test_gru(x64):
    ds = measured(
        arch="gru", init="normal(std=0.5)", init_first="glorot_uniform", bias="normal(std=0.3)", seeds=1,
        input_width=INPUT, dtype="float64",
    )  # fmt: skip
    _, one, _, _, more = check(ds, gru)
    np.testing.assert_allclose(one.update_gate_mean[1:], [np.mean(m["update"]) for m in more], atol=1e-12)


def test_gates_have_a_bias_each_and_the_candidate_of_a_gru_two():
    """One on either side of its reset gate, as in torch and Keras."""
    gates = {"rnn": [""], "lstm": ["", "_input", "_forget", "_output"], "gru": ["", "_reset", "_update"]}
    for name, tails in gates.items():
        slots = read_request(arch=name, depth=2, width=8).configs[0].arch.slots(3, 5)
        assert {s.name: (s.fan_in, s.fan_out) for s in slots} == {f"w{t}": (5, 5) for t in tails} | {
            f"u{t}": (3, 5) for t in tails
        }
        assert {s.name for s in slots if s.bias} == {f"w{t}" for t in tails} | ({"u"} if name == "gru" else set())


@pytest.mark.exhaustive
def test_two_thousand_steps_of_one_unit_are_exact():
    """h_t = +-s h_{t-1} + u x_t: 3^2000 is 1e954. Rounding: 2000 steps of 2^-24, and a sum of as many terms."""
    depth, scales = 2000, (3.0, 0.5)
    inits = [f"orthogonal(scale={s:g})" for s in scales]
    ds = measured(arch="rnn", act="identity", depth=depth, width=1, batch=2, init=inits, seeds=1)
    for i, s in enumerate(scales):
        with jax.enable_x64(True):
            net = vp.build({"arch": "rnn", "act": "identity", "depth": depth, "width": 1, "batch": 2, "init": inits[i]})
            x, c = (np.asarray(a, np.float64)[:, ..., 0] for a in (net.x, net.cotangent))
            w, u = (float(net.params[0][k][0, 0]) for k in "wu")
        back = np.arange(depth)[::-1]
        log = back * np.log10(s)  # of |dh_L/dh_t|
        np.testing.assert_allclose(
            ds.gradient_log10_mean_square.values[i, 0, 1:], np.log10(np.mean(c**2)) + 2 * log, atol=1e-3
        )
        # dLoss/du = sum_t,b c x_t w^(L-t), dLoss/dw = sum_t,b c h_(t-1) w^(L-t), in units of w^(L-1)
        unit = max(log)
        weights = np.sign(w) ** back * 10.0 ** (log - unit)
        of_u = (c[:, None] * x * weights).sum()
        assert ds.u_weight_gradient_log10_mean_square.values[i, 0, 1] == pytest.approx(
            2 * (np.log10(abs(of_u)) + unit), abs=1e-3
        )
        if s > 1:
            # h_t = u sum_k<=t w^(t-k) x_k: c h_(t-1) w^(L-t) = u w^(L-1) c sum_k<t w^-k x_k
            prefix = np.cumsum(x * w ** -np.arange(1.0, depth + 1), axis=1)[:, :-1]
            of_w = u * (c[:, None] * prefix).sum()
            expected = 2 * (np.log10(abs(of_w)) + (depth - 1) * np.log10(s))
            assert ds.weight_gradient_log10_mean_square.values[i, 0, 1] == pytest.approx(expected, abs=2e-3)


@pytest.mark.exhaustive
def test_an_orthogonal_linear_net_keeps_the_gradient_and_a_gaussian_one_at_radius_0_9_does_not():
    """Gelfand: the gradient's factor per step tends to the spectral radius, whatever the norm."""
    ds = measured(
        arch="rnn(inputs=first)", act="identity", depth=1000, width=32, batch=2, seeds=1,
        init="orthogonal,normal(std=0.9/sqrt(fan_in))",
    )  # fmt: skip
    change = (ds.gradient_log10_mean_square[:, 0, 1] - ds.gradient_log10_mean_square[:, 0, -1]).values
    net = vp.build(ds.isel(config=1), 0)
    radius = np.abs(np.linalg.eigvals(np.asarray(net.params[0]["w"], np.float64))).max()
    assert change[0] == pytest.approx(0, abs=1e-3)
    assert change[1] / (2 * 999) == pytest.approx(np.log10(radius), abs=2e-3)  # ln(condition) / 999 per step
    assert change[1] < -20


def test_rows_of_a_file_are_cut_into_steps_or_fed_whole():
    rows = np.arange(40.0).reshape(5, 8) / 40
    with jax.enable_x64(True):
        cut = vp.build({"arch": "rnn", "depth": 4, "width": 3, "batch": 5, "init": "he_normal", "data": rows})
        whole = vp.build({"arch": "rnn", "depth": 3, "width": 3, "batch": 5, "init": "he_normal", "data": rows})
    assert cut.x.shape == (5, 4, 2)
    assert whole.x.shape == (5, 3, 8)
    np.testing.assert_array_equal(whole.x[:, 0], whole.x[:, 2])
    np.testing.assert_array_equal(np.sort(cut.x.reshape(5, 8)[:, 0]), rows[:, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "option", "part"),
    [
        ({"arch": "rnn", "width": "8-6-6"}, "arch", "one width at all steps"),
        ({"arch": "rnn", "init": "normal(std=1/layer)"}, "arch", "depends on the layer"),
        ({"arch": "lstm", "norm": "layer"}, "arch", "norm"),
        ({"arch": "gru", "norm": "rms"}, "arch", "norm"),
        ({"arch": "rnn(inputs=first)", "init_first": "he_normal"}, "arch", "no input matrix"),
        ({"arch": "rnn", "init_last": "he_normal"}, "init_last", "read-out"),
        ({"arch": "rnn(inputs=last)"}, "arch", "inputs"),
        ({"arch": "lstm(forget_bias=x)"}, "arch", "forget_bias"),
        ({"arch": "rnn(forget_bias=1)"}, "arch", "forget_bias"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, option, part):
    with pytest.raises(InvalidArgumentError, match=part) as caught:
        read_request(**{"depth": 3, "width": 4, "init": "he_normal"} | arguments)
    assert caught.value.option == option


def test_every_variable_is_named():
    ds: xr.Dataset = dataset(read_request(arch="lstm", depth=2, width=3, init="he_normal"), [])
    for name in (
        "cell_log10_mean_square",
        "cell_gradient_log10_var",
        "u_forget_weight_gradient_log10_mean_square",
        "forget_gate_mean",
    ):
        assert ds[name].attrs["long_name"]
