"""What leaves a probed program: values that are reduced on the host, or statistics; and what is compiled only once."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.monitoring
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.model import probing
from varprobe.model import programs as compiled
from varprobe.model.adapters import subject_of
from varprobe.model.compat import trace
from varprobe.model.forms import form_of
from varprobe.model.probed import differentiated, plan_of
from varprobe.model.stats import ALL, numbers, seen
from varprobe.model.tapping import tap
from varprobe.model.whole import Whole, statistics

X = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32) / 3
SLOPE = 1.0
TABLE = np.ones(8, np.float32)


def scanned(p: Any, x: Any) -> Any:
    """A scan with a branch that the last step does not take, and a product outside."""

    def body(h: Any, at: Any) -> Any:
        w, i = at
        return jax.lax.cond(i < 2, lambda h: jax.nn.relu(h @ w), lambda h: h * 0.5, h), None

    h, _ = jax.lax.scan(body, x, (p["w"], jnp.arange(3)))
    return jnp.square(jnp.tanh(h @ p["v"]) @ W[2]).mean()


def sloped(p: Any, x: Any) -> Any:
    return jnp.tanh(SLOPE * (x @ p)).sum()


@pytest.fixture
def programs() -> Iterator[list[str]]:
    """What jax lowered and compiled since."""
    found: list[str] = []
    note = lambda event, _, **about: found.append(event) if "compile" in event and "trace" not in event else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(note)
    yield found
    jax.monitoring.unregister_event_duration_listener(note)


def columns(ds: Any) -> dict[str, np.ndarray]:
    return {str(name): v.values for name, v in ds.data_vars.items()}


def test_values_that_leave_whole_say_what_statistics_say(monkeypatch: pytest.MonkeyPatch) -> None:
    p = {"w": jnp.asarray(W), "v": jnp.asarray(W[0])}
    whole = columns(vp.probe(scanned, p, X, step_size=1e-3))
    compiled.kept.clear()
    monkeypatch.setattr(probing, "MOST_BYTES", 0)
    inside = columns(vp.probe(scanned, p, X, step_size=1e-3))
    compiled.kept.clear()
    assert whole.keys() - inside.keys() == {"activation_correlation", "saturated_fraction"}
    for name in inside:
        values = whole[name]
        np.testing.assert_allclose(values, inside[name], rtol=2e-6, atol=2e-6, err_msg=name)
    assert (
        np.isnan(whole["gradient_log10_mean_square"][0, 0]).sum() == 2
    )  # of the input, and of the step that was not taken


SPECIAL = {
    "ordinary": X,
    "zeros": np.zeros((4, 3), np.float32),
    "a dead unit": np.where(np.arange(8) == 2, 0, X),
    "not finite": np.where(X > 2, np.inf, X),
    "a number that is none": np.where(X > 2, np.nan, X),
    "large": X * np.float32(1e37),
    "small": X * np.float32(1e-36),
    "one mean": X * np.float32(1e-3) + 1,
    "complex": X + 1j * X[::-1],
    "half": X.astype(jnp.bfloat16),
    "eighth": X.astype(jnp.float8_e4m3fn),
    "a vector": X[0],
    "a number": X[0, 0],
}


@pytest.mark.parametrize("x", SPECIAL.values(), ids=SPECIAL)
def test_statistics_on_the_host_are_those_of_the_device(x: np.ndarray) -> None:
    found, wanted = statistics(x, 0, ALL), seen(np.asarray(numbers(jnp.asarray(x), 0, ALL)))
    for name in ("zero", "dead", "overflow", "underflow", "computed"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-6, err_msg=name)
    for name, power in {"mean": 1, "ms": 2, "var": 2, "absmax": 1}.items():
        shift = np.exp2(power * (np.float64(wanted.e) - found.e))
        scale = 1e-6 * max(1.0, float(np.nan_to_num(found.ms, posinf=0)))
        np.testing.assert_allclose(
            getattr(found, name), np.float64(getattr(wanted, name)) * shift, 2e-6, scale, True, name
        )


def test_statistics_of_float64_have_the_closed_forms_at_any_size() -> None:
    for size in (1e-300, 1.0, 1e300):
        found = statistics(np.array([[1.0, -3.0], [0.0, 4.0]]) * size)
        moments = (found.mean, found.ms, found.var, found.absmax)
        scales = [2.0 ** -((found.e - np.log2(size)) ** 1)] * 4
        wanted = np.array([0.5, 6.5, 6.25, 4.0]) * np.array([scales[0], scales[0] ** 2, scales[0] ** 2, scales[0]])
        np.testing.assert_allclose(moments, wanted, rtol=1e-12)


def test_blocks_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("varprobe.model.whole.BLOCK", 7)
    x = np.random.default_rng(2).normal(3, 1, (5, 6))
    found = statistics(x)
    scale = 2.0**found.e
    np.testing.assert_allclose(
        [found.mean * scale, found.ms * scale**2, found.var * scale**2], [x.mean(), (x**2).mean(), x.var()]
    )


def test_each_iteration_has_its_own_and_what_was_not_computed_has_none() -> None:
    x = np.arange(12.0).reshape(3, 2, 2)
    found = statistics(Whole(x, np.array([1, 0, 1])), 1, ALL)
    assert found.computed.tolist() == [1, 0, 1] and found.ms[1] == 0 == found.absmax[1]
    np.testing.assert_allclose(found.mean * 2.0**found.e, [1.5, 0, 9.5])
    np.testing.assert_allclose(found.zero, [0.25, 0, 0])


def test_a_second_probe_of_the_same_program_compiles_nothing(programs: list[str]) -> None:
    first = vp.probe(sloped, jnp.asarray(W[0]), X)
    programs.clear()
    second = vp.probe(sloped, 2 * W[0], X[::-1] * 2)
    third = vp.probe(lambda p, x: sloped(p, x), jnp.asarray(W[0]), X)
    assert programs == []
    assert not np.array_equal(first.activation_log10_mean_square, second.activation_log10_mean_square)
    assert columns(third).keys() == columns(first).keys()
    for name, values in columns(third).items():
        np.testing.assert_array_equal(values, columns(first)[name])


def test_a_second_probe_traces_the_function_and_not_its_gradient() -> None:
    calls = []

    def loss(p: Any, x: Any) -> Any:
        calls.append(0)
        return jax.nn.relu(jax.nn.gelu(x @ p) @ p).sum()

    vp.probe(loss, jnp.asarray(W[0]), X)
    assert len(calls) == 2  # with taps, and as it is
    vp.probe(loss, jnp.asarray(W[1]), X)
    assert len(calls) == 3


class Settings:
    scale = 1.0


def scanned_slope(p: Any, x: Any) -> Any:
    return jax.lax.scan(lambda h, _: (jnp.tanh(SLOPE * (h @ p)), None), x, None, length=2)[0].sum()


def of_a_class(p: Any, x: Any) -> Any:
    return jnp.tanh(Settings.scale * (x @ p)).sum()


def straight_through(scale: float) -> Any:
    """tanh whose gradient is this number; the way forward is always the same."""
    f = jax.custom_vjp(jnp.tanh)
    f.defvjp(lambda z: (jnp.tanh(z), None), lambda _, g: (scale * g,))
    return lambda p, x: f(x @ p).sum()


@pytest.mark.parametrize("function", [sloped, scanned_slope, of_a_class])
def test_what_a_function_reads_besides_its_arguments_is_read_anew(
    function: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vp.probe(function, jnp.asarray(W[0]), X)
    monkeypatch.setitem(globals(), "SLOPE", 3.0)
    monkeypatch.setattr(Settings, "scale", 3.0)
    after = vp.probe(function, jnp.asarray(W[0]), X)
    assert (after.activation_log10_mean_square - before.activation_log10_mean_square).isel(layer=1).item() > 0.1


@pytest.mark.parametrize("inside", [lambda f: f, jax.jit])
def test_an_array_that_is_overwritten_is_read_as_jax_reads_it(inside: Any) -> None:
    table = np.ones(8, np.float32)
    scaled = inside(lambda z: table * z)

    def loss(p: Any, x: Any) -> Any:
        return jnp.tanh(scaled(x @ p)).sum()

    before = vp.probe(loss, jnp.asarray(W[0]), X)
    table[:] = 3
    after = vp.probe(loss, jnp.asarray(W[0]), X)
    value = np.log10(np.square(jnp.tanh(scaled(X @ W[0]))).mean())
    assert after.activation_log10_mean_square.values[0, 0, 1] == pytest.approx(value, abs=1e-5)
    assert before.activation_log10_mean_square.values[0, 0, 1] == pytest.approx(
        np.log10(np.square(np.tanh(X @ W[0])).mean()), abs=1e-5
    )


def test_numbers_functions_and_rules_of_gradients_are_read_anew() -> None:
    def level(name: str, *arguments: Any) -> float:
        return float(vp.probe(*arguments)[f"{name}_log10_mean_square"].values[0, 0, 1])

    def scaled(p: Any, x: Any, i: int, j: int, k: int) -> Any:
        return jnp.tanh((i + 2 * j + 4 * k) * (x @ p)).sum()

    w = jnp.asarray(W[0])
    first, second = (level("activation", scaled, w, X, *given) for given in ((1, 1, 2), (1, 2, 2)))
    assert second > first + 1e-3
    slopes = [level("gradient", straight_through(scale), w, X) for scale in (1.0, 10.0)]
    assert slopes[1] == pytest.approx(slopes[0] + 2, abs=1e-5)


@jax.custom_vjp
def sloping(z: Any) -> Any:
    """tanh whose gradient is SLOPE."""
    return jnp.tanh(z)


sloping.defvjp(lambda z: (jnp.tanh(z), None), lambda _, g: (SLOPE * g,))


def test_rules_of_gradients_in_the_body_of_a_scan_are_those_of_jax(
    monkeypatch: pytest.MonkeyPatch, programs: list[str]
) -> None:
    """Some versions of jax keep what the rule did in the traced body of the same function, and others do not."""

    def loss(p: Any, x: Any) -> Any:
        return jax.lax.scan(body, x @ p, None, length=2)[0].sum()

    def body(h: Any, _: Any) -> Any:
        return sloping(h), None

    def slope() -> float:
        return float(np.log10(np.square(jax.grad(loss)(w, X)).mean()))

    w = jnp.asarray(W[0])
    before = vp.probe(loss, w, X).weight_gradient_log10_mean_square.values[0, 0, 1]
    programs.clear()
    assert vp.probe(loss, w, X).weight_gradient_log10_mean_square.values[0, 0, 1] == before and programs == []
    assert before == pytest.approx(slope(), abs=1e-5)
    monkeypatch.setitem(globals(), "SLOPE", 10.0)
    after = vp.probe(loss, w, X).weight_gradient_log10_mean_square.values[0, 0, 1]
    assert after == pytest.approx(slope(), abs=1e-5)


SAME = {
    "relu": jax.nn.relu,
    "softmax": jax.nn.softmax,
    "a constant array": lambda z: z * jnp.asarray(TABLE),
    "a random key": lambda z: z * jax.random.bernoulli(jax.random.key(0), 0.5, z.shape),
    "a branch": lambda z: jax.lax.cond(z.sum() > 0, jnp.tanh, jnp.sin, z),
    "recomputation": jax.checkpoint(jnp.sin, policy=jax.checkpoint_policies.dots_saveable),
    "a loop": lambda z: jax.lax.stop_gradient(jax.lax.fori_loop(0, 3, lambda i, c: c * 2, z)) * z,
}
OTHER = {
    "-0.0": (lambda z: z * 0.0, lambda z: z * -0.0),
    "a number": (lambda z: z * 2.0, lambda z: z * 3.0),
    "an integer": (lambda z: z**2, lambda z: z**3),
    "an array": (lambda z: z * jnp.arange(8.0), lambda z: z * jnp.arange(8.0)[::-1]),
    "an axis": (lambda z: z - z.mean(0), lambda z: z - z.mean(1)[:, None][:8]),
    "which input": (lambda z: z / z[0], lambda z: z[0] / z),
    "a dtype": (lambda z: z.astype(jnp.bfloat16), lambda z: z.astype(jnp.float16)),
    "jitted": (lambda z: jax.jit(lambda z: z + 1)(z), lambda z: jax.jit(lambda z: z + 2)(z)),
    "a loop": (
        lambda z: jax.lax.fori_loop(0, 3, lambda i, c: c, z),
        lambda z: jax.lax.fori_loop(0, 4, lambda i, c: c, z),
    ),
    "a rule": (straight_through(1.0).__closure__[0].cell_contents, straight_through(2.0).__closure__[0].cell_contents),
}


def traced_form(f: Any) -> Any:
    return form_of(trace(lambda z: f(z), jnp.ones((8, 8)))[0])


@pytest.mark.parametrize("f", SAME.values(), ids=SAME)
def test_a_function_traced_twice_has_one_form(f: Any) -> None:
    found = traced_form(f)
    assert found is not None and found == traced_form(f)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_what_computes_something_else_has_another_form(one: Any, other: Any) -> None:
    assert traced_form(one) is not None and traced_form(one) == traced_form(one) != traced_form(other)


def test_what_cannot_be_compared_has_no_form() -> None:
    def called_back(z: Any) -> Any:
        return jax.pure_callback(lambda z: z, jax.ShapeDtypeStruct(z.shape, z.dtype), z)

    assert traced_form(called_back) is None
    policy = jax.checkpoint(jnp.sin, policy=lambda *_, **__: True)
    assert traced_form(policy) is None


def test_a_tap_is_the_value_and_reports_its_gradient() -> None:
    """Of y = sin(x) in sum y^2 the report is of 2 y, also where x is not differentiated."""

    def summed(x: Any, drain: Any) -> Any:
        y = tap(jnp.sin(x), drain, lambda g: (g.sum(), jnp.ones(())))
        return jnp.square(y).sum()

    x, drain = jnp.asarray(X[0]), (jnp.zeros(()), jnp.zeros(()))
    slope = 2 * np.sin(X[0])
    for f in (summed, jax.jit(summed), jax.checkpoint(summed)):
        own, report = jax.grad(f, (0, 1))(x, drain)
        np.testing.assert_allclose(own, slope * np.cos(X[0]), rtol=1e-5)
        np.testing.assert_allclose(report, (slope.sum(), 1), rtol=1e-5)
        np.testing.assert_allclose(jax.grad(f, 1)(x, drain), (slope.sum(), 1), rtol=1e-5)
    with pytest.raises(NotImplementedError):
        jax.vmap(summed, (0, None))(X, drain)


def test_like_parts_of_a_program_are_traced_once() -> None:
    """Four layers whose activations take three operations after the last tap; the last one has another number."""

    def loss(p: Any, x: Any) -> Any:
        for w, scale in zip(p, (2.0, 2.0, 2.0, 3.0), strict=True):
            x = jnp.roll(jnp.sin(jnp.sort(x, 0) * scale), 1) @ w
        return x.sum()

    plan = plan_of(subject_of(loss, ([jnp.asarray(w) for w in (*W, W[0])], jnp.asarray(X)), None))
    differentiated(plan, None, [jnp.asarray(w) for w in (*W, W[0])], jnp.asarray(X))
    assert len(plan.taps.shared) == 2


def test_a_scan_without_steps_and_numbers_below_the_normal_ones_are_no_errors() -> None:
    def empty(p: Any, x: Any) -> Any:
        return (jax.lax.scan(lambda h, _: (jnp.tanh(h @ p), None), x, None, length=0)[0] @ p).sum()

    assert vp.probe(empty, jnp.asarray(W[0]), X).sizes["layer"] == 2
    found = statistics(np.full((16, 8), 1e-310))
    assert np.log10(found.ms) / 2 + found.e * np.log10(2) == pytest.approx(-310, abs=1e-6)
