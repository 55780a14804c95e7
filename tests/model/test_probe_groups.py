"""Sites that are compared follow one another; what the loss does not use, or what starts at zero, is told as such."""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.families import families_of, numbered
from varprobe.model.layout import Layout
from varprobe.model.probed import plan_of

WIDTH = 8
RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(4, WIDTH)), jnp.float32)
W = [jnp.asarray(RANDOM.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5, jnp.float32) for _ in range(5)]


def layout(loss: Any, *arguments: Any) -> Layout:
    """What is known before anything is computed; it compiles nothing."""
    return plan_of(subject_of(loss, arguments, None)).layout


def through(weights: Any, h: Any) -> Any:
    for w in weights:
        h = jnp.tanh(h @ w)
    return h


def actor_and_critic(p: Any, x: Any) -> Any:
    return sum(through(net, x).mean() for net in p["nets"])


def two_passes(p: Any, x: Any) -> Any:
    return jnp.square(through(p["w"], x) - through(p["w"], -x)).mean()


def one_pass_after_another(p: Any, x: Any) -> Any:
    return through(p["w"], through(p["w"], x)).mean()


def slope(p: Any, x: Any) -> Any:
    return jnp.square(jax.grad(lambda x: (through(p["w"], x) @ p["out"]).sum())(x)).sum()


def slope_along(p: Any, x: Any) -> Any:
    return jnp.square(jax.jvp(lambda x: through(p["w"], x), (x,), (x,))[1]).sum()


def attention(p: Any, x: Any) -> Any:
    for block in p["blocks"]:
        q, k, v = (x @ w for w in block["qkv"])
        x = x + jax.nn.softmax(q @ k.T) @ v @ block["out"]
    return x.sum()


def over_samples(p: Any, x: Any) -> Any:
    return jax.lax.map(lambda x: through(p["w"], x), x).sum()


def over_time(p: Any, x: Any) -> Any:
    return jax.lax.scan(lambda h, x: (jnp.tanh(h @ p["w"][0] + x @ p["w"][1]), None), x[0], x)[0].sum()


STACK = {"w": W[:3], "out": W[3]}
BLOCKS = {"blocks": [{"qkv": W[:3], "out": W[3]}] * 3}
GROUPS: dict[str, tuple[Callable[..., Any], Any, dict[str, list[str]]]] = {
    "networks beside each other": (
        actor_and_critic,
        {"nets": [W[:3], W[1:4], W[2:5]]},
        {f"nets/{i}/*": [f"nets/{i}/{j}" for j in range(3)] for i in range(3)},
    ),
    "two passes": (two_passes, STACK, {"w/*": ["w/0", "w/1", "w/2"], "w/*#2": ["w/0#2", "w/1#2", "w/2#2"]}),
    "one pass after another": (
        one_pass_after_another,
        STACK,
        {"w/*": ["w/0", "w/1", "w/2", "w/0#2", "w/1#2", "w/2#2"]},
    ),
    "a gradient in the loss": (slope, STACK, {"w/*": ["w/0", "w/1", "w/2"], "w/*.T": ["w/2.T", "w/1.T", "w/0.T"]}),
    "a derivative along a vector": (
        slope_along,
        STACK,
        {"w/*": ["w/0", "w/1", "w/2"], "w/*#2": ["w/0#2", "w/1#2", "w/2#2"]},
    ),
    "samples of a map": (over_samples, STACK, {"w/*": ["w/0", "w/1", "w/2"]}),
    "steps of a scan": (over_time, STACK, {"w/0": ["w/0"] * 4}),
}


@pytest.mark.parametrize(("loss", "p", "groups"), GROUPS.values(), ids=GROUPS)
def test_the_sites_of_a_group_follow_one_another(loss: Any, p: Any, groups: dict[str, list[str]]) -> None:
    ds = vp.probe(loss, p, X)
    found = {f.name: [str(ds.site.values[i]) for i in f.layers] for f in families_of(ds) if f.kind == "linear"}
    assert found == groups


def test_queries_keys_and_values_of_a_list_are_compared_with_those_of_other_blocks() -> None:
    ds = vp.probe(attention, BLOCKS, X)
    found = {f.name: len(f.layers) for f in families_of(ds) if f.kind == "linear"}
    assert found == {f"blocks/*/qkv/{i}": 3 for i in range(3)} | {"blocks/*/out": 3}


def test_a_dataset_says_what_a_site_follows_from() -> None:
    ds = vp.probe(attention, {"blocks": BLOCKS["blocks"][:1]}, X)
    assert json.loads(ds.attrs["follows"]) == {
        "blocks/0/qkv/0": [],
        "blocks/0/qkv/1": [],
        "blocks/0/qkv/2": [],
        "blocks/0/qkv/logits": ["blocks/0/qkv/0", "blocks/0/qkv/1"],
        "blocks/0/qkv/probabilities": ["blocks/0/qkv/logits"],
        "blocks/0/qkv/mixed": ["blocks/0/qkv/2", "blocks/0/qkv/probabilities"],
        "blocks/0/out": ["blocks/0/qkv/mixed"],
        "blocks/0/residual": ["blocks/0/out"],
    }


def affine(x: Any, p: Any, axis: int, first: bool) -> Any:
    """A norm as x i + (b - m i), its scale in i from the first or not."""
    m, v = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    i = jax.lax.rsqrt(v + 1e-3)
    if first:
        i = i * p["scale"]
        return x * i + (p["shift"] - m * i)
    return (x * i + -m * i) * p["scale"] + p["shift"]


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("first", [True, False])
def test_an_affine_norm_is_one_site(axis: int, first: bool) -> None:
    def loss(p: Any, x: Any) -> Any:
        return (affine(affine(x, p, axis, first) @ p["w"], p, axis, first) @ p["w"]).sum()

    p = {"scale": 2 * jnp.ones(WIDTH), "shift": jnp.ones(WIDTH), "w": W[0]}
    found = layout(loss, p, X)
    assert [(row.site, row.kind) for row in found.rows] == [
        ("scale+shift", "norm"),
        ("w", "linear"),
        ("scale+shift#2", "norm"),
        ("w#2", "linear"),
    ]
    if axis == -1:  # the value is that behind the shift, checked by hand
        ds = vp.probe(loss, p, X)
        x = np.asarray(X, np.float64)
        y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3) * 2 + 1
        assert ds.activation_log10_mean_square.values[0, 0, 1] == pytest.approx(np.log10(np.square(y).mean()), abs=1e-5)


def test_no_sum_of_a_recurrence_or_of_neighbors_is_a_residual() -> None:
    def step(left: Any, right: Any) -> Any:
        return left[0] * right[0], right[0] * left[1] + right[1]

    def fixed(p: Any, x: Any) -> Any:
        a = jnp.broadcast_to(jax.nn.sigmoid(p["scale"]), x.shape)
        return (jax.lax.associative_scan(step, (a, x @ p["w"]))[1] @ p["v"]).sum()

    def gated(p: Any, x: Any) -> Any:
        return (jax.lax.associative_scan(step, (jnp.tanh(x @ p["v"]), x @ p["w"]))[1] @ p["v"]).sum()

    def interpolated(p: Any, x: Any) -> Any:
        z, h, c = jnp.tanh(x @ p["w"]), x @ p["v"], jnp.tanh(x @ p["u"])
        return ((z * h + (1 - z) * c) @ p["v"]).sum()

    def neighbors(p: Any, x: Any) -> Any:
        h = x @ p["w"]
        return ((h * p["scale"] + jnp.pad(h, ((1, 0), (0, 0)))[:-1] * (1 - p["scale"])) @ p["v"]).sum()

    def rotated(p: Any, x: Any) -> Any:
        q, half = x @ p["w"], WIDTH // 2
        return ((q * 0.6 + jnp.concatenate([-q[:, half:], q[:, :half]], -1) * 0.8) @ p["v"]).sum()

    p = dict(zip("uvw", W, strict=False)) | {"scale": jnp.ones(WIDTH)}
    for loss in (fixed, gated, interpolated, neighbors, rotated):
        assert {row.kind for row in layout(loss, p, X).rows} == {"linear"}, loss


def scanned_beside(p: Any, x: Any) -> Any:
    """The products with `aside` are values that a scan gives and nothing uses."""

    def body(h: Any, w: Any) -> Any:
        return (h := jnp.tanh(h @ w)), h @ p["aside"]

    h, beside = jax.lax.scan(body, x, jnp.stack(p["w"]))
    return h.sum(), beside


@pytest.mark.parametrize(
    "loss",
    [
        scanned_beside,
        lambda p, x: ((h := through(p["w"], x)).sum(), h @ p["aside"]),
        lambda p, x: jnp.square((h := through(p["w"], x)) - jax.lax.stop_gradient(h @ p["aside"])).sum(),
        lambda p, x: ((h := through(p["w"], x)) * (h @ p["aside"] > 0)).sum(),
    ],
    ids=["a scan", "an output beside", "no gradient", "a comparison"],
)
def test_what_the_loss_does_not_reach_is_told(loss: Callable[..., Any]) -> None:
    ds = vp.probe(loss, {"w": W[:3], "aside": W[4]}, X)
    told = dict(zip(ds.site.values.tolist(), ds.note.values.tolist(), strict=True))
    assert told.pop("aside") == "not reached by the loss"
    assert set(told.values()) == {""}
    aside = ds.isel(layer=ds.site.values == "aside")
    assert np.isnan(aside.gradient_log10_mean_square).all() and np.isfinite(aside.preactivation_log10_mean_square).all()
    assert all("aside" not in ds.site.values[list(family.layers)] for family in families_of(ds))
    (row,) = vp.diagnose(ds).rows
    if row["flags"]:
        assert row["reason"] == "aside: its weights get no gradient through >, whose slope is zero."
    assert row["flags"] == ["no_gradient"] or row["reason"].endswith("aside is not reached by the loss.")


def test_what_was_not_computed_is_told() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jax.lax.cond(x.sum() > 1e9, lambda x: x @ p["a"], lambda x: x @ p["b"], x).sum()

    ds = vp.probe(loss, dict(zip("ab", W, strict=False)), X)
    assert dict(zip(ds.site.values.tolist(), ds.note.values.tolist(), strict=True)) == {
        "input": "",
        "a": "not computed",
        "b": "",
    }


def adapted(p: Any, x: Any) -> Any:
    for w, a, b in zip(p["w"], p["a"], p["b"], strict=True):
        x = jnp.tanh(x @ w + x @ a @ b)
    return x.sum()


def behind_one(p: Any, x: Any) -> Any:
    return (jnp.tanh(h := x @ p["w"][0]) + h @ p["a"][0] @ p["b"][0]).sum()


def below_a_head(p: Any, x: Any) -> Any:
    return jnp.square(through(p["w"], x) @ p["b"][0] - 1).sum()


@pytest.mark.parametrize("loss", [adapted, behind_one, below_a_head])
def test_a_parameter_that_starts_at_zero_is_no_vanishing_signal(loss: Callable[..., Any]) -> None:
    p = {"w": W[:3], "a": W[1:4], "b": [jnp.zeros((WIDTH, WIDTH))] * 3}
    (row,) = vp.diagnose(vp.probe(loss, p, X)).rows
    assert row["healthy"] and row["flags"] == []
    who = "3 parameters, such as b/0, start" if loss is adapted else "b/0 starts"
    assert f"{who} at zero: in this step no signal and no gradient gets through there." in row["reason"]
    if loss is below_a_head:
        assert "The signal keeps its scale." in row["reason"]


def test_zeros_of_a_network_are_not_blamed_on_a_parameter_beside_it() -> None:
    """All units are dead; that an adapter of another branch starts at zero does not hide it."""

    def loss(p: Any, x: Any) -> Any:
        h = jax.nn.relu(x @ p["w"] - 1e3)
        return (jax.nn.relu(h @ p["v"] - 1e3) @ p["u"]).sum() + (x @ p["zero"]).sum()

    p = dict(zip("uvw", W, strict=False)) | {"zero": jnp.zeros((WIDTH, WIDTH))}
    (row,) = vp.diagnose(vp.probe(loss, p, X)).rows
    assert not row["healthy"] and row["flags"][0] == "dead"


def test_products_of_whole_numbers_and_constants_are_counted() -> None:
    whole = jnp.ones((WIDTH, WIDTH), jnp.int8)

    def quantized(p: Any, x: Any) -> Any:
        z = jax.lax.dot(jnp.round(x * 10).astype(jnp.int8), whole, preferred_element_type=jnp.int32)
        return (jnp.tanh(z * 0.1) @ p).sum()

    def closed(p: Any, x: Any) -> Any:
        return (jnp.tanh(x @ W[1]) @ p).sum()

    found = layout(quantized, W[0], X)
    assert found.coverage.startswith("1 of 2 matrix products probed; 1 opaque: whole numbers at test_probe_groups.py:")
    found = layout(closed, W[0], X)
    assert found.coverage == "2 of 2 matrix products probed"
    assert [row.site for row in found.rows] == ["constant", "params"]


def test_layers_of_all_positions_are_not_compared_with_those_of_their_mean() -> None:
    """The gradient at each of 1024 positions is 1/1024 of that of their mean."""

    def loss(p: Any, x: Any) -> Any:
        return through(p["w"][2:4], through(p["w"][:2], x).mean(1)).sum()

    ds = vp.probe(loss, {"w": W[:2] + W[2:4]}, jnp.asarray(RANDOM.normal(size=(2, 1024, WIDTH)), jnp.float32))
    assert ds["rows"].values.tolist() == [0, 2048, 2048, 2, 2]
    (row,) = vp.diagnose(ds).rows
    assert [(f["family"], f["sites"]) for f in row["families"]] == [("linear", 2), ("linear#2", 2)]
    assert row["healthy"] and row["backward"] == "stable"


def test_no_gradient_at_all_is_no_all_clear() -> None:
    """Both matrices of every adapter are zero, so that neither has a gradient."""

    def loss(p: Any, x: Any) -> Any:
        for w, a, b in zip(W, p["a"], p["b"], strict=True):
            x = jax.nn.relu(x @ w + (x @ a) @ b)
        return jnp.square(x).mean()

    (row,) = vp.diagnose(vp.probe(loss, {name: [jnp.zeros((WIDTH, WIDTH))] * 5 for name in "ab"}, X)).rows
    assert not row["healthy"] and row["flags"] == ["no_gradient"]
    assert row["reason"].startswith("The gradient of every parameter is exactly zero")


def test_weights_without_a_gradient_are_named() -> None:
    """The second branch is multiplied by zeros of the data; an adapter whose second matrix is zero explains its own."""

    def loss(p: Any, x: Any, y: Any) -> Any:
        return (through(p["w"], x) + x @ p["a"] @ p["b"]).sum() + (y * through(p["v"], x).sum(-1)).sum()

    p = {"w": W[:3], "v": W[1:4], "a": W[0], "b": jnp.zeros((WIDTH, WIDTH))}
    (row,) = vp.diagnose(vp.probe(loss, p, X, jnp.zeros(4))).rows
    assert not row["healthy"] and row["flags"] == ["no_gradient"]
    assert row["reason"].startswith("v/0: the gradient of its weights is exactly zero.")


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_a_loss_far_above_chance_is_no_all_clear(scale: float) -> None:
    """Logits of normalized units and weights of N(0, scale^2 / fan_in) have a standard deviation of `scale`."""

    def loss(p: Any, x: Any, y: Any) -> Any:
        x = through(p["h"], x)
        x = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True))
        return -jnp.take_along_axis(jax.nn.log_softmax(x @ p["head"]), y[:, None], 1).mean()

    head = jnp.asarray(RANDOM.normal(size=(WIDTH, 1000)) * scale / WIDTH**0.5, jnp.float32)
    ds = vp.probe(loss, {"h": W[:3], "head": head}, X, jnp.arange(4))
    (row,) = vp.diagnose(ds).rows
    assert json.loads(ds.attrs["logits"]) == [["head", 1000]]
    assert ds["loss_value"].item() == pytest.approx(float(loss({"h": W[:3], "head": head}, X, jnp.arange(4))), rel=1e-6)
    assert row["flags"] == (["large_logits"] if scale > 3 else [])
    if scale > 3:
        spread = float(10 ** (ds["preactivation_log10_var"].values[0, 0, -1] / 2))
        assert spread == pytest.approx(8, rel=0.1)
        (found,) = row["findings"]
        assert found["value"] == pytest.approx(spread) and found["near"] == 1 and found["site"] == "head"
        start = float(f"{ds['loss_value'].item():.3g}")
        assert f"head: the loss takes logits of standard deviation {spread:.3g} (inputs of RMS 1" in row[
            "reason"
        ].replace("0.99", "1")
        assert f"the loss is {start:g}, and with 1 it is near chance, ln 1000 = 6.9." in row["reason"] and row[
            "advice"
        ].startswith("Divide the weights")


def test_a_first_state_of_zeros_adds_nothing_to_a_cell_that_is_written_out() -> None:
    """At the first step the states are zeros: no bias, no residual, and no dead units behind them."""

    def gru(p: Any, x: Any) -> Any:
        h = jnp.zeros_like(x)
        for _ in range(2):
            z, r = jax.nn.sigmoid(x @ p["z"] + h @ p["uz"]), jax.nn.sigmoid(x @ p["r"] + h @ p["ur"])
            h = z * h + (1 - z) * jnp.tanh(x @ p["c"] + r * (h @ p["uc"]))
        return h.sum()

    ds = vp.probe(gru, dict(zip(("z", "r", "c", "uz", "ur", "uc"), [*W, W[0]], strict=True)), X)
    second = ["linear", "linear", "sum"]
    assert ds.kind.values.tolist() == ["input", "linear", "linear", "linear", *second * 3]
    assert ds.site.values.tolist()[1:6] == ["z", "r", "c", "z#2", "uz"]
    assert vp.diagnose(ds).rows[0]["flags"] == []
    values = ds.preactivation_log10_mean_square.values[0, 0, 1:4]
    expected = [np.log10(np.square(np.asarray(X, np.float64) @ np.asarray(w, np.float64)).mean()) for w in W[:3]]
    np.testing.assert_allclose(values, expected, atol=1e-5)


def test_a_square_in_half_precision_is_no_activation() -> None:
    def loss(w: Any, x: Any) -> Any:
        return jnp.mean((x.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)) ** 2)

    assert np.isnan(vp.probe(loss, W[0], X).activation_log10_mean_square.values[0, 0, 1])


@pytest.mark.parametrize("power", [-0.5, 0.5])
def test_a_norm_by_a_power_is_one(power: float) -> None:
    def loss(p: Any, x: Any) -> Any:
        z = x @ p["w"]
        size = (jnp.square(z).mean(-1, keepdims=True) + 1e-5) ** power
        return ((z * size if power < 0 else z / size) * p["g"]).sum()

    assert [(row.site, row.kind) for row in layout(loss, {"w": W[0], "g": jnp.ones(WIDTH)}, X).rows][1] == ("g", "norm")


def test_weights_that_are_selected_or_looked_up_stay_weights() -> None:
    def branches(p: Any, x: Any) -> Any:
        def one(x: Any) -> Any:
            return jax.lax.cond(x.sum() > 0, lambda x: jnp.tanh(x @ p["a"]), lambda x: jnp.tanh(x @ p["b"]), x)

        return jax.vmap(one)(x).sum()

    def experts(p: Any, x: Any) -> Any:
        return jnp.einsum("bi,bio->bo", x, p["w"][jnp.argmax(x @ p["router"], -1)]).sum()

    found = layout(branches, {"a": W[0], "b": W[1]}, X)
    assert [(row.site, row.kind, row.fan_in) for row in found.rows] == [(n, "linear", WIDTH) for n in "ba"]
    found = layout(experts, {"w": jnp.stack(W), "router": W[0][:, :5]}, X)
    assert [(row.site, row.kind) for row in found.rows] == [("router", "linear"), ("w", "linear")]


def test_a_branch_whose_gate_starts_at_zero_does_not_vanish() -> None:
    """Scale, shift and gate of each block are a product of the condition with zeros, as in a diffusion transformer."""

    def loss(p: Any, x: Any, c: Any) -> Any:
        for w, mod in zip(p["w"], p["mod"], strict=True):
            scale, shift, gate = jnp.split(jax.nn.silu(c) @ mod, 3, -1)
            normed = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)
            x = x + gate * jnp.tanh((normed * (1 + scale) + shift) @ w)
        return jnp.square(x @ p["out"]).sum()

    p = {"w": W[:4], "mod": [jnp.zeros((WIDTH, 3 * WIDTH))] * 4, "out": W[4]}
    (row,) = vp.diagnose(vp.probe(loss, p, X, X[::-1], data="c")).rows
    assert row["healthy"], row["reason"]
    assert "4 parameters, such as mod/0, start at zero" in row["reason"]


def test_the_log_of_probabilities_is_a_cross_entropy_too() -> None:
    def loss(p: Any, x: Any) -> Any:
        return -jnp.log(jax.nn.softmax(jnp.tanh(x @ p["h"]) @ p["head"]) + 1e-8)[:, 0].mean()

    ds = vp.probe(loss, {"h": W[0], "head": 20 * W[1]}, X)
    assert json.loads(ds.attrs["logits"]) == [["head", WIDTH]]
    assert vp.diagnose(ds).rows[0]["flags"] == ["large_logits"]


def test_the_first_of_numbered_modules_has_the_number_0_where_the_others_have_theirs() -> None:
    names = ["net/dense", "net/dense_1", "net/norm", "mlp/~/linear", "mlp/~/linear_1", "mlp_1/~/linear"]
    assert numbered(names) == [
        "net/dense_0", "net/dense_1", "net/norm", "mlp/~/linear_0", "mlp/~/linear_1", "mlp_1/~/linear",
    ]  # fmt: skip


def test_a_mark_has_the_gradient_of_what_it_marks() -> None:
    def loss(p: Any, x: Any) -> Any:
        return jnp.square(vp.mark("here", jnp.tanh(x @ p["w"])) @ p["v"]).mean()

    p = {"w": W[0], "v": W[1]}
    slope = jax.grad(lambda zero: jnp.square((jnp.tanh(X @ W[0]) + zero) @ W[1]).mean())(jnp.zeros_like(X))
    ds = vp.probe(loss, p, X)
    (at,) = np.flatnonzero(ds.site.values == "here")
    assert ds.note.values[at] == ""
    expected = np.log10(np.square(np.asarray(slope, np.float64)).mean())
    assert ds.gradient_log10_mean_square.values[0, 0, at] == pytest.approx(expected, abs=1e-5)


def convolved(p: Any, x: Any) -> Any:
    for w in p["convs"]:
        x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + p["b"])
    return x.mean((1, 2)) @ p["head"]


@pytest.mark.parametrize(("scale", "bias", "flag"), [(1.0, -1e3, "dead"), (0.0, 0.0, "no_gradient")])
def test_a_convolutional_network_through_which_nothing_gets_is_unhealthy(scale: float, bias: float, flag: str) -> None:
    """All units are dead; or all kernels are zero, so that only biases have a gradient."""
    kernel = jnp.asarray(scale * RANDOM.normal(size=(3, 3, 2, 2)), jnp.float32)
    p = {"convs": [kernel] * 2, "b": jnp.full(2, bias), "head": scale * W[0][:2]}
    x = jnp.asarray(RANDOM.normal(size=(2, 4, 4, 2)), jnp.float32)
    ds = vp.probe(lambda p, x: jnp.square(convolved(p, x) + p["c"]).sum(), p | {"c": jnp.ones(WIDTH)}, x)
    (row,) = vp.diagnose(ds).rows
    assert not row["healthy"] and row["flags"][0] == flag


def test_a_head_of_another_width_is_in_no_family() -> None:
    """Its gradient is larger by the share of units that it has less."""

    def loss(p: Any, x: Any) -> Any:
        return (through(p[:4], x) @ p[4]).sum()

    (family,) = families_of(vp.probe(loss, [*W[:4], W[4][:, :1]], X))
    assert family.layers == (1, 2, 3, 4)


def test_a_number_that_is_none_sets_no_other_flag() -> None:
    p = dict(zip(("q", "k", "v", "out"), [W[0].at[0, 0].set(jnp.nan), *W[1:4]], strict=True))

    def loss(p: Any, x: Any) -> Any:
        return (jax.nn.softmax((x @ p["q"]) @ (x @ p["k"]).T) @ (x @ p["v"]) @ p["out"]).sum()

    assert vp.diagnose(vp.probe(loss, p, X)).rows[0]["flags"] == ["non_finite"]
