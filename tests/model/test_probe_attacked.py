"""Programs that once broke the probe: each compared with values and gradients computed by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.layout import Layout
from varprobe.model.probed import plan_of
from varprobe.model.uses import holds

WIDTH = 6
X = jax.random.normal(jax.random.key(1), (5, WIDTH))


def weights(*names: str) -> dict[str, Any]:
    """Square matrices of these names."""
    keys = jax.random.split(jax.random.key(0), len(names))
    return {n: jax.random.normal(k, (WIDTH, WIDTH)) / WIDTH**0.5 for n, k in zip(names, keys, strict=True)}


def layout(function: Any, *arguments: Any) -> Layout:
    return plan_of(subject_of(function, arguments, None)).layout


def kinds(function: Any, *arguments: Any) -> list[tuple[str, str]]:
    return [(row.site, row.kind) for row in layout(function, *arguments).rows]


def row_of(ds: xr.Dataset, site: str) -> dict[str, float]:
    """The numbers of one site, by variable."""
    at = ds["site"].values.tolist().index(site)
    return {str(name): float(ds[name].values[0, 0, at]) for name in ds if ds[name].dims[-1] == "layer"}


def log10_mean_square(values: Any) -> float:
    return float(np.log10(np.square(np.asarray(values, np.float64)).mean()))


def lstm(p: Any, h: Any, c: Any, x: Any) -> tuple[Any, Any]:
    """A cell with a matrix for each gate, as that of Flax."""
    i, f, g, o = (x @ p[f"i{name}"] + h @ p[f"h{name}"] for name in "ifgo")
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def test_a_cell_with_a_matrix_for_each_gate() -> None:
    """The state that a scan carries follows from products of an earlier step only."""
    p = weights(*(f"{a}{b}" for a in "ih" for b in "ifgo"))

    def loss(p: Any, xs: Any) -> Any:
        zero = jnp.zeros((5, WIDTH))
        (h, _), _ = jax.lax.scan(lambda carry, x: (lstm(p, *carry, x), None), (zero, zero), xs)
        return jnp.mean(h**2)

    found = layout(loss, p, jnp.stack([X, X]))
    assert [row.kind for row in found.rows] == ["linear", "linear", "sum"] * 8
    assert {row.site for row in found.rows if row.kind == "linear"} == set(p)


def gru(p: Any, h: Any, x: Any, at: Any) -> Any:
    """A cell; `at` adds zeros to the sum in the tanh of the candidate."""
    r, z = (jax.nn.sigmoid(x @ p[f"i{name}"] + h @ p[f"h{name}"]) for name in "rz")
    n = jnp.tanh(at(x @ p["in"] + r * (h @ p["hn"]) + p["b"]))
    return (1 - z) * n + z * h


def test_a_gated_state_in_a_sum_is_no_residual_stream() -> None:
    """The candidate of a GRU is a sum of products, with a bias and an activation, of a state that starts at zero."""
    p = weights(*(f"{a}{b}" for a in "ih" for b in "rzn")) | {"b": jnp.full(WIDTH, 0.3)}

    def loss(p: Any, x: Any, zeros: Any = None) -> tuple[Any, Any]:
        h, sums = jnp.zeros_like(x), []
        for i in range(2):
            h = gru(p, h, x, lambda v, i=i: sums.append(v) or (v if zeros is None else v + zeros[i]))
        return jnp.mean(h**2), jnp.stack(sums)

    slopes, sums = jax.jit(jax.grad(loss, argnums=2, has_aux=True))(p, X, jnp.zeros((2, *X.shape)))
    ds = vp.probe(lambda p, x: loss(p, x)[0], p, X)
    first, second = row_of(ds, "in"), row_of(ds, "sum#3")
    for row, value, slope in ((first, sums[0], slopes[0]), (second, sums[1], slopes[1])):
        assert row["preactivation_log10_mean_square"] == pytest.approx(log10_mean_square(value), abs=1e-5)
        assert row["activation_log10_mean_square"] == pytest.approx(log10_mean_square(jnp.tanh(value)), abs=1e-5)
        assert row["gradient_log10_mean_square"] == pytest.approx(log10_mean_square(slope), abs=1e-5)
    assert "residual" not in ds["kind"].values
    (at,) = np.flatnonzero(ds["note"].values == "not reached by the loss")
    assert ds["site"].values[at] == "ir"  # at the first step the gate multiplies zeros
    assert vp.diagnose(ds).rows[0]["healthy"]


def test_sums_of_branches_and_residual_streams() -> None:
    def latent(p: Any, x: Any) -> Any:
        return jnp.mean((x @ p["a"] + jnp.exp(x @ p["b"]) * jnp.ones((5, WIDTH))) ** 3)

    def parallel(p: Any, x: Any) -> Any:
        h = jnp.tanh(x @ p["a"])
        return jnp.mean((h + jnp.tanh(h @ p["b"]) + jnp.sin(h @ p["c"])) ** 3)

    assert kinds(latent, weights("a", "b"), X) == [("a", "linear"), ("b", "linear")]
    assert [kind for _, kind in kinds(parallel, weights("a", "b", "c"), X)] == [
        *("linear", "linear", "residual", "linear", "residual")
    ]


def test_squares_that_are_cast_before_they_are_summed_are_no_activation() -> None:
    """In bfloat16 a mean square is summed in float32."""

    def loss(p: Any, x: Any) -> Any:
        z = x @ p["a"]
        y = z / jnp.sqrt(jnp.mean(z**2, -1, keepdims=True) + 1e-5)
        return jnp.mean((y @ p["b"]) ** 2).astype(jnp.float32)

    half = jax.tree.map(lambda v: v.astype(jnp.bfloat16), (weights("a", "b"), X))
    ds = vp.probe(loss, *half)
    assert ds["kind"].values.tolist() == ["input", "linear", "norm", "linear"]
    assert all(np.isnan(row_of(ds, site)["activation_log10_mean_square"]) for site in "ab")
    assert row_of(ds, "a")["preactivation_log10_mean_square"] == pytest.approx(
        log10_mean_square(half[1] @ half[0]["a"]), abs=1e-2
    )


@pytest.mark.parametrize(
    "inverse",
    [lambda v: v**-0.5, lambda v: 1 / v**0.5, lambda v: jnp.reciprocal(jnp.sqrt(v))],
    ids=["power", "divided", "reciprocal"],
)
def test_roots_of_a_norm_by_powers(inverse: Any) -> None:
    def loss(p: Any, x: Any) -> Any:
        z = x @ p["a"]
        return jnp.mean(jnp.tanh(z * inverse(jnp.mean(z * z, -1, keepdims=True) + 1e-5) * p["scale"]))

    assert kinds(loss, weights("a") | {"scale": jnp.ones(WIDTH)}, X) == [("a", "linear"), ("scale", "norm")]


def test_branches_for_each_sample_keep_their_weights() -> None:
    """vmap of cond takes select_n(taken, stop_gradient(w), w) for a weight w."""
    p = weights("a", "b")

    def loss(p: Any, x: Any, zeros: Any) -> Any:
        def one(x: Any, zero: Any) -> Any:
            return jax.lax.cond(x[0] > 0, lambda: jnp.tanh(x @ p["a"] + zero), lambda: x @ p["b"])

        return jnp.mean(jax.vmap(one)(x, zeros) ** 2)

    ds = vp.probe(lambda p, x: loss(p, x, jnp.zeros_like(x)), p, X)
    assert dict(zip(ds["site"].values.tolist(), ds["fan_in"].values.tolist(), strict=True)) == {
        "input": 0, "a": WIDTH, "b": WIDTH,
    }  # fmt: skip
    slope = jax.jit(jax.grad(loss, argnums=2))(p, X, jnp.zeros_like(X))
    row, weight = row_of(ds, "a"), jax.jit(jax.grad(loss))(p, X, jnp.zeros_like(X))["a"]
    assert row["preactivation_log10_mean_square"] == pytest.approx(log10_mean_square(X @ p["a"]), abs=1e-5)
    assert row["activation_log10_mean_square"] == pytest.approx(log10_mean_square(jnp.tanh(X @ p["a"])), abs=1e-5)
    assert row["gradient_log10_mean_square"] == pytest.approx(log10_mean_square(slope), abs=1e-5)
    assert row["weight_gradient_log10_mean_square"] == pytest.approx(log10_mean_square(weight), abs=1e-5)


def test_gates_that_start_at_zero_are_no_vanishing_gradient() -> None:
    """adaLN-Zero: scale, shift and gate of each block are a product with zeros, and the last norm has a gradient."""

    def norm(x: Any) -> Any:
        return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5)

    def loss(p: Any, x: Any, c: Any) -> Any:
        for block in p["blocks"]:
            shift, scale, gate = jnp.split(c @ block["mod"], 3, -1)
            x = x + gate * (jax.nn.gelu((norm(x) * (1 + scale) + shift) @ block["up"]) @ block["down"])
        return jnp.mean(norm(x) @ p["out"] - 1) ** 2

    def blocks(modulation: Any) -> dict[str, Any]:
        return {"blocks": [weights("up", "down") | {"mod": modulation}] * 3, "out": weights("out")["out"]}

    (row,) = vp.diagnose(vp.probe(loss, blocks(jnp.zeros((WIDTH, 3 * WIDTH))), X, X[::-1])).rows
    assert row["healthy"] and row["backward"] == "stable" and "start at zero" in row["reason"]


def test_an_equation_that_gives_nothing() -> None:
    """jax.debug.print has no output."""

    def loss(p: Any, x: Any) -> Any:
        z = x @ p["a"]
        jax.debug.callback(lambda v: None, z)
        return jnp.mean(jnp.tanh(z))

    assert kinds(loss, weights("a"), X) == [("a", "linear")]


def test_a_scan_of_no_steps_has_no_rows() -> None:
    def loss(p: Any, x: Any) -> Any:
        for name, length in (("a", 0), ("b", 1)):
            x, _ = jax.lax.scan(lambda h, _, name=name: (jnp.tanh(h @ p[name]), None), x, None, length=length)
        return jnp.mean(x @ p["c"])

    ds = vp.probe(loss, weights("a", "b", "c"), X)
    assert ds["site"].values.tolist() == ["input", "b", "c"] and vp.diagnose(ds).rows[0]["healthy"]


def test_distances_from_codes_are_no_bias() -> None:
    """Vector quantization: each code is subtracted from each value, which is used as it is, too."""
    p = weights("a") | {"codes": jax.random.normal(jax.random.key(2), (3, WIDTH))}

    def loss(p: Any, x: Any, zero: Any) -> Any:
        z = x @ p["a"] + zero
        code = p["codes"][jnp.argmin(jnp.square(z[:, None] - p["codes"]).sum(-1), -1)]
        return jnp.mean(jnp.square(code - jax.lax.stop_gradient(z)) + jnp.square(z - jax.lax.stop_gradient(code)))

    row = row_of(vp.probe(lambda p, x: loss(p, x, 0.0), p, X), "a")
    slope = jax.jit(jax.grad(loss, argnums=2))(p, X, jnp.zeros_like(X))
    assert row["preactivation_log10_mean_square"] == pytest.approx(log10_mean_square(X @ p["a"]), abs=1e-5)
    assert row["gradient_log10_mean_square"] == pytest.approx(log10_mean_square(slope), abs=1e-5)


def test_casts_that_round_nothing() -> None:
    wide, half, short, byte = jnp.float32, jnp.float16, jnp.bfloat16, jnp.float8_e4m3fn
    assert all(holds(wide, dtype) for dtype in (wide, half, short, byte)) and holds(half, byte)
    assert not any(holds(dtype, wide) for dtype in (half, short, byte))
    assert not holds(half, short) and not holds(short, half) and not holds(wide, jnp.int32)
    small = jnp.eye(WIDTH).astype(byte)
    assert kinds(lambda p, x: jnp.sum(x @ p["w"].astype(wide)), {"w": small}, X) == [("w", "linear")]


def test_parameters_behind_stop_gradient_are_frozen() -> None:
    """Their gradient is zero on purpose, which is no fault of the model."""

    def loss(p: Any, x: Any) -> Any:
        backbone = jax.lax.stop_gradient(p["a"])
        return jnp.mean((jnp.tanh(x @ backbone) @ p["b"] - 1) ** 2)

    ds = vp.probe(loss, weights("a", "b"), X)
    (row,) = vp.diagnose(ds).rows
    assert row["healthy"] and not row["flags"]
    assert row_of(ds, "a")["weight_gradient_log10_mean_square"] == -np.inf
