"""Programs within a program that a probe enters, against plain jax and NumPy."""

import json
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse
from jax.experimental.pallas import pallas_call

import varprobe as vp
from varprobe.model.adapters import subject_of
from varprobe.model.families import families_of
from varprobe.model.layout import Layout
from varprobe.model.probed import plan_of

RNG = np.random.default_rng(0)
D = 6
X = RNG.normal(size=(5, D)).astype(np.float32)
P = {name: jnp.asarray(RNG.normal(size=(D, D)), jnp.float32) / 2 for name in "abc"}


def row(ds: Any, site: str, iteration: int = 0) -> Any:
    """One row of one seed."""
    at = (ds.site.values == site) & (ds.iteration.values == iteration)
    return ds.isel(config=0, seed=0, layer=int(np.flatnonzero(at)[0]))


def log10_mean_square(x: Any) -> float:
    return float(np.log10(np.square(np.asarray(x, np.float64)).mean()))


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-4)


def layout(function: Any, *arguments: Any) -> Layout:
    return plan_of(subject_of(function, arguments, None)).layout


def net(x: Any, a: Any, b: Any) -> Any:
    """Two layers and what is after them."""
    return jnp.tanh(jnp.tanh(x @ a) @ b) * 2


def ruled(f: Callable[..., Any], scale: float, jvp: bool = False) -> Any:
    """A function whose own rule gives its gradient, or a multiple of that."""
    if jvp:
        with_rule: Any = jax.custom_jvp(f)
        with_rule.defjvp(lambda at, by: (f(*at), scale * jax.jvp(f, at, by)[1]))
        return with_rule
    with_rule = jax.custom_vjp(f)
    with_rule.defvjp(
        lambda *given: (f(*given), given),
        lambda given, c: jax.tree.map(lambda g: scale * g, jax.vjp(f, *given)[1](c)),
    )
    return with_rule


def loss_of(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda p, x: jnp.square(f(x, p["a"], p["b"]) @ p["c"]).sum()


def gradient_of(site: str) -> Any:
    """dLoss/d(preactivation) of `net` in `loss_of`, by adding zeros there."""

    def loss(zeros: Any) -> Any:
        z: Any = X @ P["a"] + (zeros if site == "a" else 0)
        z = jnp.tanh(z) @ P["b"] + (zeros if site == "b" else 0)
        return jnp.square((jnp.tanh(z) * 2) @ P["c"]).sum()

    return jax.grad(loss)(jnp.zeros_like(X))


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
@pytest.mark.parametrize("jvp", [False, True])
def test_a_rule_that_is_the_derivative_has_gradients_inside(jvp: bool, wrap: Any) -> None:
    ds = vp.probe(loss_of(wrap(ruled(net, 1.0, jvp))), P, X)
    assert ds.site.values.tolist() == ["input", "a", "b", "c"]
    assert ds.attrs["coverage"] == "3 of 3 matrix products probed" and set(ds.note.values) == {""}
    first: Any = X @ P["a"]
    for site, value in (("a", first), ("b", jnp.tanh(first) @ P["b"])):
        assert row(ds, site).preactivation_log10_mean_square == near(log10_mean_square(value))
        assert row(ds, site).activation_log10_mean_square == near(
            log10_mean_square(jnp.tanh(value) * (2 if site == "b" else 1))
        )
        assert row(ds, site).gradient_log10_mean_square == near(log10_mean_square(gradient_of(site)))


@pytest.mark.parametrize("jvp", [False, True])
def test_a_rule_that_is_another_is_not_bypassed(jvp: bool) -> None:
    """Values inside are measured; gradients inside are not, and those outside are what the rule makes of them."""
    loss = loss_of(ruled(net, 3.0, jvp))
    ds = vp.probe(loss, P, X)
    slope = jax.grad(loss)(P, X)
    for site in "ab":
        assert np.isnan(row(ds, site).gradient_log10_mean_square)
        assert row(ds, site).note == "gradient not computed"
        assert row(ds, site).weight_gradient_log10_mean_square == near(log10_mean_square(slope[site]))
    assert row(ds, "b").preactivation_log10_mean_square == near(log10_mean_square(jnp.tanh(X @ P["a"]) @ P["b"]))
    assert (
        np.isnan(row(ds, "a").activation_gradient_log10_mean_square)
        and row(ds, "c").note == ""
        and np.isfinite(row(ds, "c").gradient_log10_mean_square)
    )
    (family,) = families_of(ds)
    assert family.layers == (1, 2, 3)


def test_a_product_that_a_rule_gives_has_the_gradient_of_the_rule() -> None:
    """dLoss/d(x a) is 3 times what comes from sum (x a b)^2, since that is what the rule of the second product says."""
    product = ruled(jnp.matmul, 3.0)
    ds = vp.probe(lambda p, x: jnp.square(product(x @ p["a"], p["b"])).sum(), P, X)
    out = X @ P["a"] @ P["b"]
    assert row(ds, "b").gradient_log10_mean_square == near(log10_mean_square(2 * out))
    assert row(ds, "a").gradient_log10_mean_square == near(log10_mean_square(3 * 2 * out @ P["b"].T))
    assert set(ds.note.values) == {""} and row(ds, "b").fan_in == D


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_rules_in_a_scan(scale: float) -> None:
    f = ruled(net, scale)

    def loss(p: Any, x: Any) -> Any:
        return jnp.square(jax.lax.scan(lambda h, _: (f(h, p["a"], p["b"]), None), x, None, length=2)[0]).sum()

    ds, second = vp.probe(loss, P, X), net(X, P["a"], P["b"])
    assert row(ds, "a", 1).preactivation_log10_mean_square == near(log10_mean_square(second @ P["a"]))
    slope = jax.grad(lambda zeros: jnp.square(jnp.tanh(jnp.tanh(second @ P["a"] + zeros) @ P["b"]) * 2).sum())
    expected = log10_mean_square(slope(jnp.zeros_like(X))) if scale == 1 else np.nan
    assert float(row(ds, "a", 1).gradient_log10_mean_square) == pytest.approx(expected, abs=1e-4, nan_ok=True)


def settled(a: Any, b: Any, x: Any) -> Any:
    """z = tanh(z a / 4 + x b), by 30 iterations."""
    step = lambda at: (at[0] + 1, jnp.tanh(at[1] @ a / 4 + x @ b))  # noqa: E731
    return jax.lax.while_loop(lambda at: at[0] < 30, step, (0, jnp.zeros_like(x)))[1]


def test_a_solver_in_a_loop_has_its_last_iteration_and_what_it_gives() -> None:
    solve = jax.custom_vjp(settled)

    def back(kept: Any, c: Any) -> Any:
        a, b, x, z = kept
        _, pull = jax.vjp(lambda a, b, x, z: jnp.tanh(z @ a / 4 + x @ b), a, b, x, z)
        total = jnp.zeros_like(c)
        for _ in range(30):
            c, total = pull(c)[3], c + total
        return pull(total)[:3]

    solve.defvjp(lambda *given: ((z := settled(*given)), (*given, z)), back)
    loss = lambda p, x: jnp.square(solve(p["a"], p["b"], x @ p["c"])).sum()  # noqa: E731
    ds, z = vp.probe(loss, P, X), settled(P["a"], P["b"], X @ P["c"])
    assert ds.site.values.tolist() == ["input", "c", "a", "b", "sum", "a+b"]
    assert row(ds, "sum").preactivation_log10_mean_square == near(
        log10_mean_square(z @ P["a"] / 4 + X @ P["c"] @ P["b"])
    )
    assert row(ds, "a").note == "last iteration, gradient not computed" and np.isnan(
        row(ds, "a").gradient_log10_mean_square
    )
    assert row(ds, "a+b").kind == "call" and row(ds, "a+b").activation_log10_mean_square == near(log10_mean_square(z))
    assert row(ds, "a+b").gradient_log10_mean_square == near(log10_mean_square(2 * z))
    assert ds.attrs["coverage"] == "3 of 3 matrix products probed"


@pytest.mark.parametrize("count", [0, 3])
def test_a_loop_without_gradient(count: int) -> None:
    def loss(p: Any, x: Any) -> Any:
        body = lambda at: (at[0] + 1, jnp.tanh(at[1] @ p["a"]))  # noqa: E731
        _, x = jax.lax.while_loop(lambda at: at[0] < count, body, (0, jax.lax.stop_gradient(x)))
        return jnp.square(jax.lax.stop_gradient(x) @ p["b"]).sum()

    ds, h = vp.probe(loss, P, X), jnp.asarray(X)
    for _ in range(count):
        value, h = h @ P["a"], jnp.tanh(h @ P["a"])
    found = row(ds, "a")
    if count:
        assert found.preactivation_log10_mean_square == near(log10_mean_square(value)) and found.note.item().startswith(
            "last iteration"
        )
    else:
        assert np.isnan(found.preactivation_log10_mean_square) and found.note == "not computed"
    assert row(ds, "b").preactivation_log10_mean_square == near(log10_mean_square(h @ P["b"]))


def test_a_linear_solve_with_a_parameter_is_a_site() -> None:
    """y = A^-1 (x b)', whose gradient in sum y^2 is 2 y; the products of its gradient rule are not the model's."""
    ds = vp.probe(lambda p, x: jnp.square(jnp.linalg.solve(p["a"], (x @ p["b"]).T)).sum(), P, X)
    y = np.linalg.solve(P["a"], (X @ P["b"]).T)
    assert [*zip(ds.site.values, ds.kind.values, strict=True)][1:] == [("b", "linear"), ("a", "call")]
    assert row(ds, "a").activation_log10_mean_square == near(log10_mean_square(y))
    assert row(ds, "a").gradient_log10_mean_square == near(log10_mean_square(2 * y))
    assert ds.attrs["coverage"] == "1 of 1 matrix product probed"


def test_the_steps_of_a_solver_are_entered() -> None:
    def loss(p: Any, x: Any) -> Any:
        solve = lambda product, b: b - product(b)  # noqa: E731
        y = jax.lax.custom_linear_solve(lambda v: v + v @ p["a"] / 9, x @ p["b"], solve, solve)
        return jnp.square(y).sum()

    ds, b = vp.probe(loss, P, X), X @ P["b"]
    assert row(ds, "a").preactivation_log10_mean_square == near(log10_mean_square(b @ P["a"]))
    assert row(ds, "a").note == "gradient not computed" and ds.attrs["coverage"] == "2 of 2 matrix products probed"


def test_a_kernel_that_a_parameter_feeds_is_a_site() -> None:
    def kernel(x: Any, w: Any) -> Any:
        def multiply(x: Any, w: Any, out: Any) -> None:
            out[...] = x[...] @ w[...]

        return pallas_call(multiply, jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True)(x, w)

    product = jax.custom_vjp(kernel)
    product.defvjp(lambda x, w: (kernel(x, w), (x, w)), lambda kept, c: (c @ kept[1].T, kept[0].T @ c))
    ds = vp.probe(lambda p, x: jnp.square(product(x @ p["a"], p["b"])).sum(), P, X)
    assert row(ds, "b").kind == "call" and row(ds, "b").activation_log10_mean_square == near(
        log10_mean_square(X @ P["a"] @ P["b"])
    )
    assert row(ds, "b").gradient_log10_mean_square == near(log10_mean_square(2 * X @ P["a"] @ P["b"]))
    assert ds.attrs["coverage"].startswith("1 of 2 matrix products probed; 1 opaque: pallas_call at test_probe_entered")


def test_what_stays_opaque_has_the_line_and_function_of_the_user() -> None:
    library: dict[str, Any] = {"jax": jax}
    code = "def solve(x, w):\n jax.debug.print('{}', x)\n return x @ w\n"
    exec(compile(code, "/lib/site-packages/solver/core.py", "exec"), library)  # noqa: S102
    solve = jax.custom_jvp(library["solve"])
    solve.defjvp(lambda at, by: (at[0] @ at[1], by[0] @ at[1] + at[0] @ by[1]))

    def objective(p: Any, x: Any) -> Any:
        return solve(x @ p["a"], p["b"]).sum()

    (found,) = layout(objective, P, X).opaque
    assert found.startswith("custom_jvp_call at test_probe_entered.py:") and found.endswith(" in objective")


EXPERTS = jnp.asarray(RNG.normal(size=(3, D, 4)), jnp.float32)


def test_products_with_the_matrices_of_experts() -> None:
    """Rows of x sorted by expert, or the matrix of its expert for each row."""
    sizes, which = jnp.array([2, 0, 3]), np.array([0, 0, 2, 2, 2])
    out = np.stack([x @ w for x, w in zip(X, np.asarray(EXPERTS)[which], strict=True)])
    grouped = vp.probe(lambda p, x: jnp.square(jax.lax.ragged_dot(x, p["w"], sizes)).sum(), {"w": EXPERTS}, X)
    taken = vp.probe(lambda p, x, i: jnp.square(jnp.einsum("ij,ijk->ik", x, p["w"][i])).sum(), {"w": EXPERTS}, X, which)
    for ds in (grouped, taken):
        found = row(ds, "w")
        assert (found.kind, found.fan_in, found.rows, found.fan_out) == ("linear", D, 5, 4)
        assert found.preactivation_log10_mean_square == near(
            log10_mean_square(out)
        ) and found.gradient_log10_mean_square == near(log10_mean_square(2 * out))
        assert found.weight_log10_mean_square == near(log10_mean_square(EXPERTS))


@pytest.mark.parametrize("kind", [sparse.BCOO, sparse.BCSR])
def test_products_with_sparse_weights(kind: Any) -> None:
    dense = np.where(RNG.random((4, D)) < 0.5, RNG.normal(size=(4, D)), 0).astype(np.float32)
    matrix = kind.fromdense(dense)
    values, indices = jax.tree.flatten(matrix)[0][0], jax.tree.structure(matrix)
    others = jax.tree.leaves(matrix)[1:]
    ds = vp.probe(lambda p, x: jnp.square(jax.tree.unflatten(indices, [p["w"], *others]) @ x.T).sum(), {"w": values}, X)
    found, out = row(ds, "w"), dense @ X.T
    assert (found.kind, found.fan_in, found.rows, found.fan_out) == ("linear", D, 5, 4)
    assert found.terms == pytest.approx((dense != 0).sum() / 4)
    assert found.preactivation_log10_mean_square == near(
        log10_mean_square(out)
    ) and found.gradient_log10_mean_square == near(log10_mean_square(2 * out))


def test_a_sparse_matrix_of_a_batch_mixes_signals() -> None:
    matrix = sparse.BCOO.fromdense(jnp.eye(5)[::-1])
    ds = vp.probe(lambda p, x, m: jnp.square(m @ (x @ p["a"])).sum(), P, X, matrix, data="m")
    assert ds.kind.values.tolist() == ["input", "linear", "mixing"]
    assert ds.activation_log10_mean_square[0, 0, 2].item() == near(log10_mean_square(X @ P["a"]))


def test_the_products_of_an_associative_scan() -> None:
    def loss(p: Any, x: Any) -> Any:
        steps = jnp.stack([x[i] * p["a"] for i in range(3)])
        return jnp.square(jax.lax.associative_scan(jnp.matmul, steps)).sum()

    ds = vp.probe(loss, P, X)
    first, second, third = (X[i] * P["a"] for i in range(3))
    levels = [log10_mean_square(first @ second), log10_mean_square(first @ second @ third)]
    assert ds.activation_log10_mean_square[0, 0, 1:].values.tolist() == pytest.approx(levels, abs=1e-4)
    assert json.loads(ds.attrs["follows"])["mixed#2"] == ["mixed"]


def test_a_rule_in_a_coarse_format_agrees_up_to_its_rounding() -> None:
    """The rule multiplies in float32, and the function in bfloat16."""

    def coarse(x: Any, a: Any, b: Any) -> Any:
        x, a, b = (v.astype(jnp.bfloat16) for v in (x, a, b))
        return (jnp.tanh(x @ a) @ b).astype(jnp.float32)

    fine = lambda x, a, b: jnp.tanh(x @ a) @ b  # noqa: E731
    f = jax.custom_vjp(coarse)
    f.defvjp(lambda *given: (coarse(*given), given), lambda given, c: jax.vjp(fine, *given)[1](c))
    ds = vp.probe(loss_of(f), P, X)
    assert set(ds.note.values) == {""} and np.isfinite(row(ds, "a").gradient_log10_mean_square)


def test_inputs_that_are_not_differentiated_stay_so() -> None:
    """The rule of equinox refuses a gradient of what it was told has none."""

    @eqx.filter_custom_vjp
    def f(w: Any, x: Any) -> Any:
        return jnp.tanh(x @ w["a"]) @ w["b"]

    def forward(perturbed: Any, w: Any, x: Any) -> Any:
        assert all(jax.tree.leaves(perturbed))
        return f.fn(w, x), w

    @f.def_bwd
    def backward(kept: Any, c: Any, perturbed: Any, w: Any, x: Any) -> Any:
        return jax.vjp(lambda w: jnp.tanh(x @ w["a"]) @ w["b"], w)[1](c)[0]

    f.def_fwd(forward)
    ds = vp.probe(lambda p, x: jnp.square(f({"a": p["a"], "b": p["b"]}, x)).sum(), P, X)
    assert set(ds.note.values) == {""} and row(ds, "a").gradient_log10_mean_square == near(
        log10_mean_square(jax.grad(lambda z: jnp.square(jnp.tanh(z) @ P["b"]).sum())(X @ P["a"]))
    )


def test_a_loop_of_several_samples_ends_for_each_of_them() -> None:
    """Each row is doubled until it is long enough; what the product is fed in the last iteration has some rows ended."""

    def loss(p: Any, x: Any) -> Any:
        a = jax.lax.stop_gradient(p["a"])
        grown = jax.vmap(lambda v: jax.lax.while_loop(lambda v: jnp.abs(v).max() < 40, lambda v: v @ a * 4, v))(x)
        return jnp.square(grown @ p["b"]).sum()

    rows, last, a = [X[i] for i in range(5)], [], np.asarray(P["a"])
    while any(np.abs(v).max() < 40 for v in rows):
        last = [v @ a for v in rows]
        rows = [v @ a * 4 if np.abs(v).max() < 40 else v for v in rows]
    ds = vp.probe(loss, P, X)
    assert row(ds, "a").preactivation_log10_mean_square == near(log10_mean_square(np.stack(last)))
    assert row(ds, "b").preactivation_log10_mean_square == near(log10_mean_square(np.stack(rows) @ np.asarray(P["b"])))


def test_a_product_in_the_condition_of_a_loop_is_named() -> None:
    def loss(p: Any, x: Any) -> Any:
        a, x = jax.lax.stop_gradient((p["a"], x))
        body = lambda v: jnp.tanh(v @ a) / 2  # noqa: E731
        return jnp.square(jax.lax.while_loop(lambda v: jnp.abs(v @ a).max() > 0.5, body, x) @ p["b"]).sum()

    found = vp.probe(loss, P, X)
    assert found.attrs["coverage"].startswith(
        "2 of 3 matrix products probed; 1 opaque: the condition of while at test_"
    )
