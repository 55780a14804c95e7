"""What a program is read as, before anything is computed: kinds and names of sites, and what the inputs are."""

from collections.abc import Callable
from functools import partial
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.layout import Layout
from varprobe.model.probed import plan_of

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (4, 6))
W = jnp.eye(6)


def layout(function: Callable[..., Any], *arguments: Any) -> Layout:
    return plan_of(subject_of(function, arguments, None)).layout


def kinds(function: Callable[..., Any], *arguments: Any) -> list[tuple[str, str]]:
    return [(row.site, row.kind) for row in layout(function, *arguments).rows]


def net(p: dict[str, Any], x: Any) -> Any:
    """Two layers, by whatever names."""
    a, b = p.values()
    return jnp.tanh(x @ a["w"] + a["b"]) @ b["w"] + b["b"]


def two(*names: str) -> dict[str, Any]:
    return {name: {"b": jnp.zeros(6), "w": W} for name in names}


def adversarial(g: Any, d: Any, z: Any) -> Any:
    return jnp.mean(net(d, net(g, z)))


def test_another_network_among_the_arguments_holds_frozen_parameters() -> None:
    found = layout(adversarial, two("g1", "g2"), two("d1", "d2"), X)
    assert [(row.site, row.kind) for row in found.rows] == [(n, "linear") for n in ("g1", "g2", "d1", "d2")]
    assert [row.kernel[0] for row in found.rows] == [1, 3, -1, -1]
    assert found.leaves == ("g1/b", "g1/w", "g2/b", "g2/w")
    assert dict(found.about)["batch"] == 4
    same = layout(adversarial, two("one", "two"), two("one", "two"), X)
    assert [row.site for row in same.rows] == ["one", "two", "d/one", "d/two"]


def test_a_batch_that_holds_a_matrix_is_data() -> None:
    def graph(p: Any, batch: Any) -> Any:
        return jnp.mean(batch["adjacency"] @ jnp.tanh(batch["x"] @ p["w"]))

    found = kinds(graph, {"w": W}, {"adjacency": jnp.eye(4), "x": X})
    assert found == [("w", "linear"), ("mixed", "mixing")]


def test_the_input_is_what_enters_the_first_product() -> None:
    def loss(p: Any, running: Any, x: Any) -> Any:
        return jnp.mean((x @ p["w"] - running["mean"]) ** 2)

    running = {"mean": jnp.zeros(6), "var": jnp.ones(6)}
    ds = vp.probe(loss, {"w": W}, running, 10 * X)
    assert ds["batch"].item() == 4
    expected = np.log10(np.mean(np.square(np.asarray(10 * X, np.float64))))
    np.testing.assert_allclose(ds["activation_log10_mean_square"].values[0, 0, 0], expected, atol=1e-6)


def test_a_sum_that_is_no_residual() -> None:
    def tokens(p: Any, x: Any) -> Any:
        return jnp.mean(jax.nn.logsumexp((x @ p["w"]).reshape(2, 2, 6), -1))

    def rotated(p: Any, x: Any, positions: Any) -> Any:
        a, b = jnp.split(x @ p["w"], 2, axis=-1)
        cos, sin = jnp.cos(positions[:, None] * 1.0), jnp.sin(positions[:, None] * 1.0)
        return jnp.mean(jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1) ** 3)

    def averaged(p: Any, mean: Any, x: Any) -> Any:
        z = x @ p["w"]
        new = 0.9 * mean + 0.1 * z.mean(0, keepdims=True)
        return jnp.mean((z - new) ** 3)

    assert kinds(tokens, {"w": W}, X) == [("w", "linear")]
    assert kinds(rotated, {"w": W}, X, jnp.arange(4)) == [("w", "linear")]
    assert kinds(averaged, {"w": W}, jnp.zeros((1, 6)), X) == [("w", "linear")]


def test_sums_and_residuals() -> None:
    def stream(p: Any, x: Any) -> Any:
        h = x @ p["in"]["w"]
        return jnp.sum(h + jnp.tanh(h) @ p["out"]["w"])

    def gates(p: Any, x: Any) -> Any:
        return jnp.sum(jnp.tanh(x @ p["x"]["w"] + (2 * x) @ p["h"]["w"]))

    one = {"in": {"w": W}, "out": {"w": W}}
    assert kinds(stream, one, X) == [("in", "linear"), ("out", "linear"), ("residual", "residual")]
    assert kinds(gates, {"h": {"w": W}, "x": {"w": W}}, X)[2] == ("sum", "sum")


def test_norms_and_roots_that_are_none() -> None:
    def normed(statistic: Callable[..., Any], p: Any, x: Any) -> Any:
        z = x @ p["w"]
        return jnp.sum(z / jnp.sqrt(statistic(z) + 1e-5))

    def noisy(p: Any, t: Any, x: Any) -> Any:
        return jnp.sum((x * jnp.sqrt(t) + x) @ p["w"])

    mean_square = partial(normed, lambda z: jnp.mean(z * z, -1, keepdims=True))
    own_scale = partial(normed, lambda z: z * z)
    assert kinds(mean_square, {"w": W}, X) == [("w", "linear"), ("norm", "norm")]
    assert kinds(own_scale, {"w": W}, X) == [("w", "linear")]
    assert kinds(noisy, {"w": W}, jnp.ones((4, 1)), X) == [("w", "linear")]


def test_matrices_side_by_side_are_named_together() -> None:
    def cell(p: Any, x: Any) -> Any:
        return jnp.sum(jnp.tanh(x @ jnp.concatenate([p["cell"]["hi"]["w"], p["cell"]["hf"]["w"]], 1)))

    assert kinds(cell, {"cell": {"hf": {"w": W}, "hi": {"w": W}}}, X) == [("cell/hf+hi", "linear")]


def test_scopes_name_what_has_no_parameters() -> None:
    def scoped(p: Any, x: Any) -> Any:
        with jax.named_scope("mixer"):
            return jnp.sum((x @ p["blocks"]["w"]) @ jnp.ones((6, 6)))

    assert [name for name, _ in kinds(scoped, {"blocks": {"w": W}}, X)] == ["blocks", "mixer/constant"]


@pytest.mark.parametrize("random", [True, False])
def test_haiku_with_and_without_its_key(random: bool) -> None:
    transformed = hk.transform(lambda x: hk.Linear(3)(x))
    params = transformed.init(jax.random.key(0), X)
    model = transformed if random else hk.without_apply_rng(transformed)
    assert kinds(model, params, X) == [("linear", "linear")]


def test_a_first_state_of_zeros_is_no_verdict() -> None:
    def recurrent(p: Any, x: Any) -> Any:
        def step(carry: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], None]:
            h, c = carry
            i, f = jnp.split(x @ p["x"] + h @ p["h"], 2, axis=-1)
            c = jax.nn.sigmoid(f) * c + jnp.tanh(i)
            return (jnp.tanh(c), c), None

        zero = jnp.zeros((4, 6))
        return jnp.mean(jax.lax.scan(step, (zero, zero), x)[0][0] ** 2)

    keys = jax.random.split(jax.random.key(2), 3)
    p = {name: jax.random.normal(key, (6, 12)) * 0.4 for name, key in zip("hx", keys, strict=False)}
    ds = vp.probe(recurrent, p, jax.random.normal(keys[2], (5, 4, 6)))
    assert np.isneginf(ds["preactivation_log10_mean_square"].values[0, 0][ds["site"].values == "h"][0])
    found = {row["family"]: row for row in vp.diagnose(ds).rows[0]["families"]}
    assert found["h"]["forward"] in ("stable", "growing")
    assert found["h"]["activation_factor"] is not None


def test_a_chain_passes_over_queries_and_keys() -> None:
    def attention(p: Any, x: Any) -> Any:
        a = p["attention"]
        q, k, v = (x @ a[name]["w"] for name in "qkv")
        return jnp.sum((jax.nn.softmax(q @ k.T) @ v) @ a["out"]["w"] @ p["head"]["w"])

    weights = {"attention": {name: {"w": W} for name in ("k", "out", "q", "v")}, "head": {"w": W}}
    ds = vp.probe(attention, weights, X)
    (family,) = vp.diagnose(ds).rows[0]["families"]
    assert (family["family"], family["sites"], family["fitted"]) == ("linear", 2, False)


def test_steps_that_were_not_taken_are_no_part_of_a_family() -> None:
    """Of eight iterations the last three do nothing: the factors are those of five."""

    def taken(w: Any, x: Any) -> Any:
        body = lambda h, i: (jax.lax.cond(i < 5, lambda h: jnp.tanh(h @ w), lambda h: h, h), None)  # noqa: E731
        return jnp.square(jax.lax.scan(body, x, jnp.arange(8))[0]).mean()

    def plain(w: Any, x: Any) -> Any:
        return jnp.square(jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, length=5)[0]).mean()

    w, x = 1.3 * jax.random.normal(KEY, (32, 32)) / 32**0.5, jax.random.normal(jax.random.key(1), (32, 32))
    (some,), (five,) = (vp.diagnose(vp.probe(f, w, x)).rows for f in (taken, plain))
    assert some["healthy"] and some["families"][0]["sites"] == 5
    for name in ("activation_factor", "gradient_factor"):
        assert some[name] == pytest.approx(five[name], rel=1e-4)


def test_convolutions_are_not_compared_with_what_is_made_of_their_mean() -> None:
    """The gradient at each of 1024 positions is 1/1024 of that of their mean."""

    def loss(p: Any, x: Any) -> Any:
        for w in p["convs"]:
            x = jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.relu(x)
        return jnp.square(x.mean((1, 2)) @ p["head"]).sum()

    keys = jax.random.split(jax.random.key(0), 4)
    convs = [jax.random.normal(k, (3, 3, 4, 4)) * (2 / 36) ** 0.5 for k in keys[:2]]
    p = {"convs": convs, "head": jax.random.normal(keys[2], (4, 10)) / 2}
    (row,) = vp.diagnose(vp.probe(loss, p, jax.random.normal(keys[3], (2, 32, 32, 4)))).rows
    assert row["healthy"] and row["forward"] == row["backward"] == "stable"
    assert row["families"][0]["sites"] == 2
