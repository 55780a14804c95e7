"""What a probe finds, against gradients by brute force: those with respect to zeros added at each site."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.model import running
from varprobe.model.agreement import ChangedError, require_agreement
from varprobe.model.stats import numbers, seen

WIDTH, BATCH, DEPTH = 6, 5, 3
KEY = jax.random.key(7)
X = jax.random.normal(jax.random.key(1), (BATCH, WIDTH))
Net = Callable[..., tuple[Any, dict[str, Any]]]


def parameters() -> dict[str, Any]:
    """Layers stacked along the first axis, and a read-out."""
    a, b, c = jax.random.split(KEY, 3)
    return {
        "layers": {
            "w": jax.random.normal(a, (DEPTH, WIDTH, WIDTH)) * 0.6,
            "b": jax.random.normal(b, (DEPTH, WIDTH)) * 0.1,
        },
        "out": {"w": jax.random.normal(c, (WIDTH, 2))},
    }


def layer(p: Any, x: Any, zeros: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """x + phi(x W + b), with zeros added at its sites where there are some; and the values there."""

    def at(name: str, value: Any) -> Any:
        return value + zeros[name] if zeros else value

    product = at("product", x @ p["w"])
    z = at("z", product + p["b"])
    h = at("h", jnp.tanh(z))
    y = at("y", x + h)
    return y, {"product": product, "z": z, "h": h, "y": y}


@jax.custom_vjp
def twice(x: Any) -> Any:
    """Opaque."""
    return 2 * x


twice.defvjp(lambda x: (2 * x, None), lambda _, c: (2 * c,))


def unrolled(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    found = []
    for i in range(DEPTH):
        at = jax.tree.map(lambda v, i=i: v[i], (p["layers"], zeros))
        x, values = layer(at[0], x, at[1])
        found.append(values)
    return x @ p["out"]["w"], jax.tree.map(lambda *v: jnp.stack(v), *found)


def scanned(p: Any, x: Any, zeros: Any, wrap: Callable[..., Any] = lambda f: f) -> tuple[Any, Any]:
    step = wrap(lambda x, at: layer(at[0], x, at[1]))
    x, found = jax.lax.scan(step, x, (p["layers"], zeros))
    return x @ p["out"]["w"], found


def jitted(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    return jax.jit(partial(scanned, wrap=jax.jit))(p, x, zeros)


def rematerialized(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    return jax.checkpoint(partial(scanned, wrap=jax.checkpoint))(p, x, zeros)


def backwards(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    x, found = jax.lax.scan(lambda x, at: layer(at[0], x, at[1]), x, (p["layers"], zeros), reverse=True)
    return x @ p["out"]["w"], found


def vmapped(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    return jax.vmap(partial(scanned, p), in_axes=(0, 1), out_axes=(0, 1))(x, zeros)


def opaque_beside(p: Any, x: Any, zeros: Any) -> tuple[Any, Any]:
    return scanned(p, twice(x), zeros)


NETS = [unrolled, scanned, jitted, rematerialized, backwards, vmapped, opaque_beside]


@cache
def brute(net: Net) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """(values, gradients) at the sites, each (DEPTH, BATCH, WIDTH), and the gradient of the weights."""
    zeros = {name: jnp.zeros((DEPTH, BATCH, WIDTH)) for name in ("product", "z", "h", "y")}

    def loss(zeros: Any, p: Any) -> tuple[Any, Any]:
        out, values = net(p, X, zeros)
        return jnp.sum(jnp.sin(out)), values

    (gradients, slopes), values = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(zeros, parameters())
    return values, gradients, slopes["layers"]["w"]


def log10_mean_square(values: Any) -> np.ndarray:
    """By layer."""
    return np.log10(np.square(np.asarray(values, np.float64)).mean(axis=(1, 2)))


def rows(ds: xr.Dataset, kind: str, variable: str) -> np.ndarray:
    """The rows of the layers, in the order of the parameters."""
    chosen = ds.isel(config=0, seed=0, layer=np.flatnonzero((ds.kind == kind) & (ds.site != "out")))
    return chosen[variable].values


@pytest.mark.parametrize(
    "net",
    [pytest.param(n, marks=pytest.mark.exhaustive if n in (unrolled, jitted, opaque_beside) else ()) for n in NETS],
)
def test_values_and_gradients(net: Net) -> None:
    p = parameters()
    ds = vp.probe(lambda p, x: jnp.sum(jnp.sin(net(p, x, None)[0])), p, X)
    assert ds.attrs["coverage"].startswith(f"{2 if net is not unrolled else 4} of {2 if net is not unrolled else 4}")
    values, gradients, slopes = brute(net if net in (backwards, opaque_beside) else scanned)
    order = slice(None, None, -1) if net is backwards else slice(None)
    for variable, expected in (
        ("preactivation_log10_mean_square", values["z"]),
        ("product_log10_mean_square", values["product"]),
        ("activation_log10_mean_square", values["h"]),
        ("gradient_log10_mean_square", gradients["z"]),
        ("activation_gradient_log10_mean_square", gradients["h"]),
    ):
        np.testing.assert_allclose(rows(ds, "linear", variable), log10_mean_square(expected)[order], atol=1e-5)
    np.testing.assert_allclose(
        rows(ds, "residual", "activation_log10_mean_square"), log10_mean_square(values["y"])[order], atol=1e-5
    )
    np.testing.assert_allclose(
        rows(ds, "residual", "gradient_log10_mean_square"), log10_mean_square(gradients["y"])[order], atol=1e-5
    )
    if net is unrolled:  # what slices of one array are, is not told layer by layer
        return
    np.testing.assert_allclose(
        rows(ds, "linear", "weight_gradient_log10_mean_square"), log10_mean_square(slopes)[order], atol=1e-5
    )
    np.testing.assert_allclose(
        rows(ds, "linear", "weight_log10_mean_square"), log10_mean_square(p["layers"]["w"])[order], atol=1e-5
    )


def test_a_branch_of_a_cond() -> None:
    """The branch that is taken has numbers, the other none."""
    p = parameters()

    def loss(p: Any, x: Any, sign: Any) -> Any:
        return jnp.sum(jax.lax.cond(sign > 0, lambda x: jnp.tanh(x @ p["out"]["w"]), lambda x: x @ p["out"]["w"], x))

    ds = vp.probe(loss, p, X, jnp.float32(1)).isel(config=0, seed=0)
    assert ds.site.values.tolist() == ["input", "out", "out#2"] and ds.attrs["tied"] == '[["out", "out#2"]]'
    expected = np.log10(np.square(np.asarray(X, np.float64) @ np.asarray(p["out"]["w"], np.float64)).mean())
    np.testing.assert_allclose(ds.preactivation_log10_mean_square, [np.nan, np.nan, expected], atol=1e-5)


def test_tied_weights_and_embeddings() -> None:
    """One row a use, one gradient of the parameter, told."""
    table = jax.random.normal(KEY, (9, WIDTH))
    tokens = jnp.arange(BATCH) % 9

    def loss(p: Any, tokens: Any) -> Any:
        return jnp.sum(jnp.cos(p["table"][tokens] @ p["table"].T))

    ds = vp.probe(loss, {"table": table}, tokens).isel(config=0, seed=0)
    assert ds.site.values.tolist()[1:] == ["table", "table#2"] and ds.kind.values.tolist()[1:] == [
        "embedding",
        "linear",
    ]
    slope = np.asarray(jax.jit(jax.grad(loss))({"table": table}, tokens)["table"], np.float64)
    expected = np.log10(np.square(slope).mean())
    np.testing.assert_allclose(ds.weight_gradient_log10_mean_square[1:], [expected] * 2, atol=1e-5)
    np.testing.assert_allclose(ds.parameter_gradient_log10_mean_square, [expected], atol=1e-5)


def attention(p: Any, x: Any, zeros: Any = None) -> tuple[Any, dict[str, Any]]:
    q, k, v = (x @ p[name] for name in "qkv")
    logits = q @ k.T / np.sqrt(WIDTH)
    logits = logits + zeros["logits"] if zeros else logits
    weights = jax.nn.softmax(logits)
    weights = weights + zeros["probabilities"] if zeros else weights
    return (weights @ v) @ p["out"], {"logits": logits, "probabilities": weights}


def test_attention() -> None:
    p = {
        name: jax.random.normal(k, (WIDTH, WIDTH))
        for name, k in zip(["q", "k", "v", "out"], jax.random.split(KEY, 4), strict=True)
    }
    ds = vp.probe(lambda p, x: jnp.sum(jnp.sin(attention(p, x)[0])), p, X).isel(config=0, seed=0)
    assert ds.site.values.tolist() == ["input", "q", "k", "v", "logits", "probabilities", "mixed", "out"]
    assert ds.attrs["coverage"] == "6 of 6 matrix products probed"
    zeros = {name: jnp.zeros((BATCH, BATCH)) for name in ("logits", "probabilities")}

    def loss(zeros: Any) -> tuple[Any, Any]:
        out, values = attention(p, X, zeros)
        return jnp.sum(jnp.sin(out)), values

    slopes, values = jax.jit(jax.grad(loss, has_aux=True))(zeros)
    for name in zeros:
        row = ds.isel(layer=ds.site.values.tolist().index(name))
        for variable, expected in (("activation_log10_mean_square", values), ("gradient_log10_mean_square", slopes)):
            squares = np.square(np.asarray(expected[name], np.float64)).mean()
            assert float(row[variable]) == pytest.approx(np.log10(squares), abs=1e-5)


def test_layer_norm_and_what_follows_it() -> None:
    """After its scale and shift; the mean square of a norm before them is 1."""
    p = {"norm": {"scale": jnp.full(WIDTH, 3.0), "bias": jnp.zeros(WIDTH)}, "w": jax.random.normal(KEY, (WIDTH, WIDTH))}

    def loss(p: Any, x: Any) -> Any:
        x = x @ p["w"]
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-9) * p["norm"]["scale"] + p["norm"]["bias"]
        return jnp.sum(jax.nn.relu(x))

    ds = vp.probe(loss, p, jax.random.normal(KEY, (BATCH, WIDTH))).isel(config=0, seed=0)
    assert ds.site.values.tolist() == ["input", "w", "norm"] and ds.kind.values.tolist() == ["input", "linear", "norm"]
    assert float(ds.preactivation_log10_mean_square[2]) == pytest.approx(2 * np.log10(3), abs=1e-5)
    assert float(ds.activation_zero_fraction[2]) == pytest.approx(0.5, abs=0.2)


def test_magnitudes_beyond_the_squares_of_floats() -> None:
    """1e-30 squared is no float32, and neither is 1e30."""
    for size in (1e-30, 1e30):
        p, x = {"w": jnp.full((4, 4), size)}, jnp.ones((3, 4))
        ds = vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x).isel(config=0, seed=0, layer=1)
        assert float(ds.preactivation_log10_mean_square) == pytest.approx(2 * np.log10(4 * size), abs=1e-5)
        assert float(ds.weight_log10_mean_square) == pytest.approx(2 * np.log10(size), abs=1e-5)


def test_pieces_of_a_large_array_are_one_array() -> None:
    """Pieces with means and magnitudes of their own, one of nothing but zeros, in float64 by NumPy."""
    x = np.random.default_rng(0).normal(size=(2, 64, 1024)).astype(np.float32)
    x[0, :32] = 0
    x[0, :, :100] = 0
    x[1, :32] = 1e-3 * x[1, :32] + 5
    x[1, 40, :512] = np.inf
    for entry, there in ((0, x[0]), (1, x[1])):
        found = jax.tree.map(lambda v, entry=entry: float(v[entry]), seen(np.asarray(numbers(jnp.asarray(x), 1))))
        assert found.overflow == np.mean(np.isinf(there)) and found.zero == np.mean(there == 0)
        assert found.dead == np.mean((there == 0).all(0))
    finite = np.where(np.isinf(x), 3, x).astype(float)
    found = seen(np.asarray(numbers(jnp.asarray(finite, jnp.float32), 1)))
    for power, moment, wanted in (
        (1, found.mean, finite.mean((1, 2))),
        (2, found.ms, np.square(finite).mean((1, 2))),
        (2, found.var, finite.var((1, 2))),
        (1, found.absmax, np.abs(finite).max((1, 2))),
    ):
        np.testing.assert_allclose(moment * 2.0 ** (power * found.e), wanted, rtol=1e-5, atol=1e-5)


def test_shares_that_a_format_cannot_hold() -> None:
    p = {"w": jnp.diag(jnp.array([1, 1e-5, 1e5, 0], jnp.float16))}
    x = jnp.ones((2, 4), jnp.float16)
    ds = vp.probe(lambda p, x: jnp.sum((x @ p["w"]).astype(jnp.float32)), p, x).isel(config=0, seed=0, layer=1)
    assert float(ds.overflow_fraction) == 0.25 and float(ds.underflow_fraction) == 0.25


def test_updates_lost_to_rounding() -> None:
    """In bfloat16 1 - 1e-3 is 1, and 0 - 1e-3 is not 0."""
    p, x = {"w": jnp.array([[1.0, 0.0], [1.0, 0.0]], jnp.bfloat16)}, jnp.ones((1, 2), jnp.bfloat16)
    ds = vp.probe(lambda p, x: jnp.sum((x @ p["w"]).astype(jnp.float32)), p, x, step_size=1e-3)
    assert float(ds.parameter_lost_update_fraction[0, 0, 0]) == 0.5


def test_marks_and_products_without_parameters() -> None:
    fixed = jax.random.normal(KEY, (WIDTH, WIDTH))

    def loss(p: Any, x: Any) -> Any:
        x = vp.mark("after", jnp.sin(x @ p["w"]))
        return jnp.sum(x @ fixed)

    p, x = {"w": fixed}, jnp.ones((BATCH, WIDTH))
    ds = vp.probe(loss, p, x).isel(config=0, seed=0)
    assert ds.site.values.tolist() == ["input", "w", "after", "constant"]
    assert ds.attrs["coverage"] == "2 of 2 matrix products probed"
    assert float(loss(p, x)) == pytest.approx(float(jnp.sum(jnp.sin(x @ fixed) @ fixed)))


def test_a_probe_that_changes_something_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "tap", lambda x, *_: x * 1.001)
    with pytest.raises(AssertionError, match="the probe changes the loss"):
        vp.probe(lambda p, x: jnp.sum(x @ p["w"]), {"w": jnp.ones((3, 3))}, jnp.ones((2, 3)))


def test_the_change_may_be_what_rounding_otherwise_does() -> None:
    """0.5 is less than ten times 0.1, and more than ten times 0.01."""

    def found(entry: float) -> tuple[Any, Any]:
        return np.float32(1), {"w": np.array([1, entry], np.float32)}

    require_agreement(found(2), found(2.5), lambda: found(2.1))
    with pytest.raises(ChangedError, match="the probe changes the gradient of w"):
        require_agreement(found(2), found(2.5), lambda: found(2.01))


@pytest.mark.exhaustive
def test_chaos_is_not_mistaken_for_a_change() -> None:
    """A net that amplifies rounding by many orders keeps its probe."""
    p = {"w": jax.random.normal(KEY, (64, 64)) * 0.5}

    def loss(p: Any, x: Any) -> Any:
        for _ in range(40):
            x = jnp.tanh(x @ p["w"])
        return jnp.sum(x)

    assert vp.probe(loss, p, jax.random.normal(KEY, (8, 64))).sizes["layer"] == 41


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda p, x: vp.probe(lambda p, x: x @ p["w"], p, x), "loss: the function returns float32[2, 3] and no scalar"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x), {}, x), "<lambda> has no parameters"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x), {"w": jnp.arange(3)}, x), "<lambda> has no parameters"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x * p["w"][0]), p, x), "<lambda> has no matrix product of a signal"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]) if x.sum() > 0 else 0.0, p, x), "<lambda> is not traceable by jax: test_probe_sites.py:"),
        (lambda p, x: vp.probe(lambda p, x: x @ p["w"], p, x, loss="mes"), "loss: unknown loss 'mes'; did you mean 'mse'?"),
        (lambda p, x: vp.probe(lambda p, x: x @ p["w"], p, x, loss="mse"), "loss: mse needs a target"),
        (lambda p, x: vp.probe(lambda p, x: x @ p["w"], p, x, loss=3), "loss: 3 is no loss"),
        (lambda p, x: vp.probe(lambda p: 0.0), "a function needs parameters"),
        (lambda p, x: vp.probe(3, p, x), "int is no function and no model"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, seeds=2), "seeds: every seed is the same without init="),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, seeds=0), "seeds: 0 is out of range (allowed: whole"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, step_size=-1), "step_size: -1 is out of range"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, init=3), "init: 3 is no function of a key"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, init=lambda key: {"v": x}), "init: init returns parameters of another structure"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x, init=lambda key: {"w": jnp.ones((3, 4))}), "init: init gives float32[3, 4] for w"),
        (lambda p, x: vp.probe(lambda p, x: (jnp.sum(x @ p["w"]), "aux"), p, x), "the function returns str beside the scalar"),
        (lambda p, x: vp.probe(lambda p, x: jnp.sum(x @ p["w"]), p, x[:0]), "x is empty, [0, 3]"),
        (lambda p, x: vp.instrument(lambda p, x: 0.0, step_size="a"), "step_size: 'a' is out of range"),
        (lambda p, x: vp.mark("m", [x]), "x: [Array("),
        (lambda p, x: vp.mark("", x), "name: '' is no name of a site"),
        (lambda p, x: vp.instrument(3), "loss_fn: int is no function"),
        (lambda p, x: vp.Recorder(every=0), "every: 0 is out of range"),
    ],
)  # fmt: skip
def test_bad_input(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as error:
        call({"w": jnp.eye(3)}, jnp.ones((2, 3)))
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.exhaustive
def test_formats_without_arithmetic_of_their_own() -> None:
    """Complex numbers by magnitude, 8 bits as float32, and what is empty as not computed."""
    x = jax.random.normal(KEY, (5, WIDTH))
    w = jax.random.normal(KEY, (WIDTH, 4), jnp.complex64)
    ds = vp.probe(lambda p, x: jnp.sum(jnp.abs(x @ p)), w, x)
    assert ds["site"].values.tolist() == ["input", "params"]
    expected = np.log10(np.mean(np.abs(np.asarray(x) @ np.asarray(w)) ** 2))
    np.testing.assert_allclose(ds["preactivation_log10_mean_square"].values[0, 0, 1], expected, atol=1e-5)
    np.testing.assert_allclose(10 ** ds["gradient_log10_mean_square"].values[0, 0, 1], 1.0, rtol=1e-5)

    small = jax.random.normal(KEY, (WIDTH, 4)).astype(jnp.float8_e4m3fn)
    ds = vp.probe(
        lambda p, x: jnp.sum((x @ p["w"].astype(jnp.float32)) ** 2), {"w": small, "none": jnp.ones((3, 0))}, x
    )
    expected = np.log10(np.mean(np.asarray(small, np.float64) ** 2))
    values = dict(zip(ds["parameter"].values, ds["parameter_log10_mean_square"].values[0, 0], strict=True))
    np.testing.assert_allclose(values["w"], expected, atol=1e-5)
    assert np.isnan(values["none"])


def test_a_model_that_refuses_its_batch_says_so_itself() -> None:
    with pytest.raises(TypeError, match="contracting dimensions") as error:
        vp.probe(lambda p, x: jnp.sum(x @ p["w"]), {"w": jnp.eye(3)}, jnp.ones((2, 4)))
    files = [str(entry.path) for entry in error.traceback]
    assert sum("varprobe/model" in file for file in files) == 1  # the call of probe itself


Y = X[:, :1] > 0
MASKED: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "a value is taken where all are finite": (
        lambda p, x, y: (jnp.tanh(jnp.where(jnp.isfinite(z := x @ p["a"]).all(), z, 0.0)) @ p["b"]).sum(),
        {"a": jnp.tanh},
    ),
    "a gate of one product shuts another": (
        lambda p, x, y: (jnp.where(x @ p["a"] > 0, x @ p["c"], 0.0) @ p["b"]).sum(),
        {},
    ),
    "a gate is multiplied": (lambda p, x, y: (((x @ p["a"] > 0) * (x @ p["c"])) @ p["b"]).sum(), {}),
    "a metric compares": (
        lambda p, x, y: ((z := jnp.tanh(x @ p["a"]) @ p["b"]).sum(), ((z > 0) == y).mean()),
        {"a": jnp.tanh},
    ),
    "a function is one of its own sign": (
        lambda p, x, y: (jnp.where((z := x @ p["a"]) > 0, z, 0.1 * z) @ p["b"]).sum(),
        {"a": partial(jax.nn.leaky_relu, negative_slope=0.1)},
    ),
    "it is multiplied by its own sign": (
        lambda p, x, y: (((z := x @ p["a"]) * (z > 0)) @ p["b"]).sum(),
        {"a": jax.nn.relu},
    ),
    "a number is subtracted": (lambda p, x, y: ((x @ p["a"] - 0.3) @ p["b"]).sum(), {}),
}


@pytest.mark.parametrize(("loss", "activations"), MASKED.values(), ids=MASKED)
def test_comparisons_and_differences_are_no_activations(
    loss: Callable[..., Any], activations: dict[str, Callable[..., Any]]
) -> None:
    p = {name: jax.random.normal(jax.random.key(i), (WIDTH, WIDTH)) for i, name in enumerate("abc")}
    ds = vp.probe(loss, p, X, Y).isel(config=0, seed=0)
    found = dict(zip(ds.site.values.tolist(), ds.activation_log10_mean_square.values, strict=True))
    assert {name for name in found if np.isfinite(found[name])} == {"input", *activations}
    for name, phi in activations.items():
        assert found[name] == pytest.approx(float(jnp.log10(jnp.square(phi(X @ p[name])).mean())), abs=1e-5)


def rms_normed(x: Any, p: dict[str, Any]) -> Any:
    return x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True)) * p["scale"] + p["shift"]


ENDS: dict[str, tuple[Callable[..., Any], dict[str, Callable[..., Any]]]] = {
    "squares in the loss": (
        lambda p, x: jnp.square(jnp.tanh(jnp.tanh(x @ p["a"]) @ p["b"])).mean(),
        {"a": lambda p: jnp.tanh(X @ p["a"]), "b": lambda p: jnp.tanh(jnp.tanh(X @ p["a"]) @ p["b"])},
    ),
    "cubes in the loss": (
        lambda p, x: (jax.nn.silu(x @ p["a"]) ** 3).mean(),
        {"a": lambda p: jax.nn.silu(X @ p["a"])},
    ),
    "a distance from a target": (
        lambda p, x: jnp.square(jnp.tanh(x @ p["a"]) @ p["b"] - 1).mean(),
        {"a": lambda p: jnp.tanh(X @ p["a"])},
    ),
    "squares that go on": (
        lambda p, x: (jnp.square(x @ p["a"]) @ p["b"]).sum(),
        {"a": lambda p: jnp.square(X @ p["a"])},
    ),
    "two sums of one product": (
        lambda p, x: (jnp.tanh((q := x @ p["a"]) + p["u"]) @ p["b"]).sum() + (jnp.sin(q + p["v"]) @ p["b"]).sum(),
        {},
    ),
}


@pytest.mark.parametrize(("loss", "activations"), ENDS.values(), ids=ENDS)
def test_an_activation_ends_where_the_loss_begins(
    loss: Callable[..., Any], activations: dict[str, Callable[..., Any]]
) -> None:
    p = {name: jax.random.normal(jax.random.key(i), (WIDTH, WIDTH)) for i, name in enumerate("ab")}
    p |= {"u": jnp.ones(WIDTH), "v": -2 * jnp.ones(WIDTH)}
    ds = vp.probe(loss, p, X).isel(config=0, seed=0)
    found = dict(zip(ds.site.values.tolist(), ds.activation_log10_mean_square.values, strict=True))
    before = dict(zip(ds.site.values.tolist(), ds.preactivation_log10_mean_square.values, strict=True))
    for name, value in activations.items():
        assert found[name] == pytest.approx(float(jnp.log10(jnp.square(value(p)).mean())), abs=1e-5), name
    if activations:
        assert {name for name in found if np.isfinite(found[name])} == {"input", *activations}
    assert before["a"] == pytest.approx(float(jnp.log10(jnp.square(X @ p["a"]).mean())), abs=1e-5)


def test_a_norm_ends_before_what_else_is_made_of_it() -> None:
    """u = norm(x) goes into a product and, scaled by another parameter, around it: its site is u alone."""

    def loss(p: Any, x: Any) -> Any:
        u = rms_normed(x, p)
        return jnp.mean(jnp.square(jnp.tanh(u @ p["w"]) + u * p["skip"]))

    p = {"w": jax.random.normal(KEY, (WIDTH, WIDTH)), "scale": 2 * jnp.ones(WIDTH), "shift": jnp.zeros(WIDTH)}
    ds = vp.probe(loss, p | {"skip": 5 * jnp.ones(WIDTH)}, X).isel(config=0, seed=0)
    assert ds.kind.values.tolist() == ["input", "norm", "linear", "sum"]
    assert ds.activation_log10_mean_square.values[1] == pytest.approx(math.log10(4), abs=1e-5)


LAST: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "a cotangent": (lambda z, y: (jnp.tanh(z) * (y + 0.5)).sum(), jnp.tanh),
    "a target": (lambda z, y: jnp.square(jax.nn.sigmoid(z) - y).mean(), jax.nn.sigmoid),
    "a scale": (lambda z, y: (3 * jnp.tanh(z) - 1).mean(), jnp.tanh),
    "softplus": (lambda z, y: jax.nn.softplus(-z).mean(), None),
    "binary cross entropy": (lambda z, y: -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)).mean(), None),
    "exponential": (lambda z, y: (jnp.exp(z) - y * z).mean(), None),
    "Huber": (lambda z, y: jnp.where(jnp.abs(z - y) < 1, 0.5 * (z - y) ** 2, jnp.abs(z - y) - 0.5).mean(), None),
    "hinge": (lambda z, y: jnp.maximum(1 - y * z, 0).mean(), None),
}


@pytest.mark.parametrize(("loss", "phi"), LAST.values(), ids=LAST)
def test_the_last_activation_is_no_part_of_the_loss(loss: Callable[..., Any], phi: Callable[..., Any] | None) -> None:
    w = jax.random.normal(KEY, (WIDTH, WIDTH))
    ds = vp.probe(lambda p, x, y: loss(x @ p, y), w, X, jnp.ones((len(X), WIDTH)))
    assert ds.kind.values.tolist() == ["input", "linear"]
    expected = np.nan if phi is None else float(jnp.log10(jnp.square(phi(X @ w)).mean()))
    assert ds.activation_log10_mean_square.values[0, 0, 1] == pytest.approx(expected, abs=1e-5, nan_ok=True)
