"""Patterns of public models in plain jax: state spaces, quantized latents, U-Nets, experts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.families import families_of
from varprobe.model.probed import plan_of

WIDTH = 8
RANDOM = np.random.default_rng(0)
X = jnp.asarray(RANDOM.normal(size=(4, WIDTH)), jnp.float32)
W = [jnp.asarray(RANDOM.normal(size=(WIDTH, WIDTH)) / WIDTH**0.5, jnp.float32) for _ in range(5)]
P = dict(zip("abcde", W, strict=True)) | {"d": jnp.ones(WIDTH)}


def sites(loss: Callable[..., Any], *arguments: Any) -> list[tuple[str, str]]:
    """(name, kind) of each, before anything is computed; it compiles nothing."""
    return [(row.site, row.kind) for row in plan_of(subject_of(loss, arguments, None)).layout.rows]


def log10_mean_square(x: Any) -> float:
    return float(np.log10(np.square(np.asarray(x, np.float64)).mean()))


def level(ds: xr.Dataset, name: str, site: str) -> float:
    """One number of a site."""
    return float(ds[f"{name}_log10_mean_square"].values[0, 0, ds.site.values.tolist().index(site)])


def transposed(h: Any, p: Any) -> Any:
    return jnp.sin(h.T @ p["b"][:4]).sum() + (h.reshape(4, 2, 4).max(1) ** 3).sum()


def cast(h: Any, p: Any) -> Any:
    return (h.astype(jnp.float32).max(0) ** 2).sum() + jnp.sin(h.astype(jnp.float32) @ p["b"]).sum()


@pytest.mark.parametrize(("rest", "dtype"), [(transposed, "float32"), (cast, "float16")])
def test_an_activation_has_the_gradient_of_all_its_uses(rest: Callable[..., Any], dtype: str) -> None:
    """Be they of reshaped or cast copies."""
    ds = vp.probe(lambda p, x: rest(jnp.tanh((x @ p["a"]).astype(dtype)), p), P, X)
    h = jnp.tanh((X @ P["a"]).astype(dtype))
    assert level(ds, "activation", "a") == pytest.approx(log10_mean_square(h), abs=1e-5)
    assert level(ds, "activation_gradient", "a") == pytest.approx(log10_mean_square(jax.grad(rest)(h, P)), abs=1e-4)


def test_what_leaves_a_barrier_follows_from_its_own_operand() -> None:
    def loss(p: Any, x: Any) -> Any:
        a, b = jax.lax.optimization_barrier((x @ p["a"], x @ p["b"]))
        return (jnp.sin(a) @ p["c"]).sum() + (jnp.tanh(b) @ p["e"]).sum()

    ds = vp.probe(loss, P, X)
    assert set(ds.note.values.tolist()) == {""}
    assert level(ds, "activation", "b") == pytest.approx(log10_mean_square(np.tanh(X @ P["b"])), abs=1e-5)


def quantized(p: Any, x: Any) -> Any:
    z = x @ p["a"]
    nearest = jnp.argmin(jnp.square(z[:, None] - p["b"]).sum(-1), -1)
    q = z + jax.lax.stop_gradient(p["b"][nearest] - z)
    return (q @ p["c"]).sum()


def gumbel(p: Any, x: Any) -> Any:
    soft = jax.nn.softmax(x @ p["a"])
    hard = jax.nn.one_hot(soft.argmax(-1), WIDTH)
    return (((hard - jax.lax.stop_gradient(soft)) + soft) @ p["c"]).sum()


def beside_frozen(p: Any, x: Any) -> Any:
    """A detached state, to which a branch is added, is a residual stream."""
    h = jax.lax.stop_gradient(jnp.tanh(x @ p["a"]))
    return ((h + jnp.tanh(h @ p["b"]) @ p["c"]) @ p["e"]).sum()


@pytest.mark.parametrize(
    ("loss", "kinds"),
    [
        (quantized, ["linear", "embedding", "linear"]),
        (gumbel, ["linear", "probabilities", "linear"]),
        (beside_frozen, ["linear", "linear", "linear", "residual", "linear"]),
    ],
)
def test_a_straight_through_value_is_no_residual(loss: Callable[..., Any], kinds: list[str]) -> None:
    assert [kind for _, kind in sites(loss, P, X)] == kinds


def test_a_branch_with_an_embedding_of_time_is_of_a_residual_stream() -> None:
    def unet(p: Any, x: Any, t: Any) -> Any:
        e, h = jnp.tanh(t @ p["a"]), x @ p["b"]
        return ((h + jnp.tanh(jnp.tanh(h) @ p["c"] + (e @ p["e"])[None]) @ p["a"]) ** 3).sum()

    assert [kind for _, kind in sites(unet, P, X, X[0])] == ["linear"] * 5 + ["residual"]


def test_a_skip_times_a_parameter_is_a_sum_with_an_activation() -> None:
    def state_space(p: Any, x: Any) -> Any:
        h = x @ p["a"]
        u = jnp.tanh(h)
        h = h + jax.nn.gelu(jnp.cumsum(u @ p["b"], 0) @ p["c"] + u * p["d"]) @ p["e"]
        return (h**3).sum()

    ds = vp.probe(state_space, P, X)
    assert ds.kind.values.tolist() == ["input", "linear", "linear", "linear", "sum", "linear", "residual"]
    u = jnp.tanh(X @ P["a"])
    y = jnp.cumsum(u @ P["b"], 0) @ P["c"] + u * P["d"]
    assert level(ds, "preactivation", "sum") == pytest.approx(log10_mean_square(y), abs=1e-5)
    assert level(ds, "activation", "sum") == pytest.approx(log10_mean_square(jax.nn.gelu(y)), abs=1e-5)


def test_an_embedding_with_positions_begins_a_stream() -> None:
    def tokens(p: Any, x: Any) -> Any:
        h = p["a"][x] + p["b"][:4]
        return ((h + jnp.tanh(h @ p["c"]) @ p["e"]) ** 3).sum()

    found = [kind for _, kind in sites(tokens, P, jnp.arange(4) % 3)]
    assert found == ["embedding", "linear", "linear", "residual"]


def test_arrays_beside_modules_have_names_of_their_own() -> None:
    def experts(p: Any, x: Any) -> Any:
        for q in p["blocks"]:
            gate = jax.nn.softmax(x @ q["router"])
            x = x + gate * (jnp.tanh(x @ q["experts"]["up"]) @ q["experts"]["down"])
        return x.sum()

    block = {"router": W[0], "experts": {"up": W[1], "down": W[2]}}
    assert [name for name, _ in sites(experts, {"blocks": [block]}, X)] == [
        "blocks/0/router",
        "blocks/0/probabilities",
        "blocks/0/experts/up",
        "blocks/0/experts/down",
        "blocks/0/experts/residual",
    ]


def test_parameters_of_one_site_are_named_together() -> None:
    def oscillators(p: Any, x: Any) -> Any:
        y = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-3) * p["cell"]["scale"] + p["cell"]["bias"]
        z = (y @ (p["cell"]["re"] + 1j * p["cell"]["im"])).real
        return (z @ p["cell"]["out"]).sum()

    cell = {"scale": P["d"], "bias": P["d"], "re": W[0], "im": W[1], "out": W[2]}
    assert [name for name, _ in sites(oscillators, {"cell": cell}, X)] == ["cell/bias+scale", "cell/im+re", "cell/out"]


def autoencoder(p: Any, x: Any) -> Any:
    mean, deviation = x @ p["a"], jnp.exp(x @ p["b"])
    return ((mean + deviation * jax.random.normal(jax.random.key(0), mean.shape)) @ p["c"]).sum()


def weighted_history(p: Any, x: Any) -> Any:
    """Sums of exp(k) v and exp(k) over time, as in RWKV."""

    def step(state: Any, kv: Any) -> Any:
        k, v = kv
        above, below = state
        state = above * p["d"] + jnp.exp(k) * v, below * p["d"] + jnp.exp(k)
        return state, state[0] / (1 + state[1])

    start = jnp.zeros((2, WIDTH)), jnp.zeros((2, WIDTH))
    kv = (x @ p["a"]).reshape(2, 2, WIDTH), (x @ p["b"]).reshape(2, 2, WIDTH)
    return (jax.lax.scan(step, start, kv)[1] @ p["c"]).sum()


def curvature(p: Any, x: Any) -> Any:
    def u(x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ p["a"]) @ p["b"]).sum()

    return jnp.square(jax.grad(lambda x: jnp.square(jax.grad(u)(x)).sum())(x)).sum()


@pytest.mark.parametrize("loss", [autoencoder, weighted_history, curvature])
def test_sums_of_no_stream_are_no_sites(loss: Callable[..., Any]) -> None:
    """Noise, states of a recurrence, and gradients that meet."""
    assert {kind for _, kind in sites(loss, P, X)} == {"linear"}


def test_parameters_called_value_keep_their_name() -> None:
    def mixed(p: Any, x: Any) -> Any:
        return (jax.nn.sigmoid(x @ p["att"]["key"]) * (x @ p["att"]["value"]) @ p["out"]["kernel"]["value"]).sum()

    p = {"att": {"key": W[0], "value": W[1]}, "out": {"kernel": {"value": W[2]}}}
    assert [name for name, _ in sites(mixed, p, X)] == ["att/key", "att/value", "out"]


def test_wrappers_of_arrays_do_not_lengthen_names() -> None:
    def wrapped(p: Any, x: Any) -> Any:
        for layer in p["mlp"]:
            x = jnp.tanh(x @ layer["kernel"]["value"]["data_array"])
        return x.sum()

    p = {"mlp": [{"kernel": {"value": {"data_array": w}}} for w in W[:2]]}
    assert [name for name, _ in sites(wrapped, p, X)] == ["mlp/0", "mlp/1"]


def test_keys_with_dots_are_paths_of_modules() -> None:
    """As in state dicts of torch."""

    def blocks(p: Any, x: Any) -> Any:
        for i in range(3):
            y = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-3)
            x = jnp.tanh((y * p[f"blocks.{i}.norm.weight"] + p[f"blocks.{i}.norm.bias"]) @ p[f"blocks.{i}.fc.weight"].T)
        return x.sum()

    p = {f"blocks.{i}.norm.{name}": P["d"] for i in range(3) for name in ("weight", "bias")}
    ds = vp.probe(blocks, p | {f"blocks.{i}.fc.weight": W[i] for i in range(3)}, X)
    assert ds.site.values.tolist()[1:] == [f"blocks/{i}/{name}" for i in range(3) for name in ("norm", "fc")]
    assert [(f.name, len(f.layers)) for f in families_of(ds)] == [("blocks/*/norm", 3), ("blocks/*/fc", 3)]


def test_scores_and_values_of_retention_are_groups_apart() -> None:
    def retention(p: Any, x: Any) -> Any:
        for q in p["blocks"]:
            x = x + (jnp.tril((x @ q["q"]) @ (x @ q["k"]).T) @ (x @ q["v"])) @ q["o"]
        return x.sum()

    ds = vp.probe(retention, {"blocks": [dict(zip("qkvo", W, strict=False))] * 3}, X)
    found = {f.name: ds.site.values[list(f.layers)].tolist() for f in families_of(ds) if f.kind == "mixing"}
    assert found == {
        "blocks/*/mixed": [f"blocks/{i}/mixed" for i in range(3)],
        "blocks/*/mixed#2": [f"blocks/{i}/mixed#2" for i in range(3)],
    }


def test_a_second_use_is_in_no_group_with_iterations() -> None:
    """A state goes through a scan, and through its matrix once more."""

    def rolled(p: Any, x: Any) -> Any:
        h = jax.lax.scan(lambda h, _: (jnp.tanh(h @ p["a"]["w"]), None), x, length=3)[0]
        return (h @ p["a"]["w"]).sum()

    ds = vp.probe(rolled, {"a": {"w": W[0]}}, X)
    assert [(f.name, len(f.layers)) for f in families_of(ds)] == [("a", 3)]


def test_a_candidate_of_a_cell_with_one_matrix_for_all_gates_is_a_sum() -> None:
    """As in Haiku's GRU: the other gates, parts of the same product, are behind what is added."""

    def cell(p: Any, h: Any, x: Any) -> Any:
        q, half = p["gru"], WIDTH // 2
        gate, new = jnp.split(x @ q["a"], 2, axis=-1)
        reset = jax.nn.sigmoid(gate + h[:, :half] @ q["b"][:half, :half])
        return (jnp.tanh(new + (reset * h[:, half:]) @ q["c"][:half, :half] + q["bias"]) ** 3).sum()

    p = {"gru": P | {"bias": jnp.linspace(-1, 1, WIDTH // 2)}}
    ds = vp.probe(cell, p, 2 * X, X)
    names = ["gru/a", "gru/b", "gru/sum", "gru/c", "gru/sum#2"]
    assert ds.site.values.tolist()[1:] == names
    half = WIDTH // 2
    gate, new = jnp.split(X @ P["a"], 2, axis=-1)
    reset = jax.nn.sigmoid(gate + 2 * X[:, :half] @ P["b"][:half, :half])
    new = new + (reset * 2 * X[:, half:]) @ P["c"][:half, :half] + p["gru"]["bias"]
    assert level(ds, "preactivation", "gru/sum#2") == pytest.approx(log10_mean_square(new), abs=1e-5)
    assert level(ds, "activation", "gru/sum#2") == pytest.approx(log10_mean_square(jnp.tanh(new)), abs=1e-5)


def test_rounding_to_half_precision_inside_a_model_is_no_change_of_it() -> None:
    """Compilers keep float32 between operations in bfloat16 where there are no taps."""

    def mixed(p: Any, x: Any) -> Any:
        h = x.astype(jnp.bfloat16)
        z = x / jnp.sqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-3)
        y = jax.nn.gelu(z.astype(jnp.bfloat16) @ p["up"].astype(jnp.bfloat16)) @ p["down"].astype(jnp.bfloat16)
        kept = jax.random.bernoulli(jax.random.key(1), 0.9, y.shape)
        h = h + jnp.where(kept, y / 0.9, 0).astype(jnp.bfloat16)
        return (h.astype(jnp.float32) ** 3).mean()

    p = {"up": RANDOM.normal(size=(16, 32)) / 4, "down": RANDOM.normal(size=(32, 16)) / 6}
    p = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), p)
    ds = vp.probe(mixed, p, jnp.asarray(RANDOM.normal(size=(8, 16)), jnp.float32))
    assert ds.kind.values.tolist() == ["input", "norm", "linear", "linear", "residual"]
