"""Moments under a Gaussian: reference values, closed forms and two independent integrations; what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import ACTIVATIONS
from varprobe.theory.closed import closed_form
from varprobe.theory.elementwise import activation, evaluate
from varprobe.theory.gaussian import averages
from varprobe.theory.panels import panels

# E phi, E phi^2, E phi', E phi'^2, E phi'^4, E z phi phi', Var phi at q = 1: two independent quadratures that agree to 1e-15
REFERENCE = {
    "identity": (0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "relu": (0.3989422804014327, 0.5, 0.5, 0.5, 0.5, 0.5, 0.3408450569081047),
    "leaky_relu(0.01)": (0.3949528575974183, 0.50005, 0.505, 0.50005, 0.500000005, 0.50005, 0.34406224027563337),
    "elu": (0.16052057226655606, 0.6449454174929239, 0.7615782918651234, 0.6681020012231706, 0.594410641301969, 0.5746257105812178, 0.6191785633721412),
    "gelu": (0.28203858807878873, 0.42519371103309944, 0.5, 0.4558178459629506, 0.4339013381253018, 0.4865484263153861, 0.3456479458676228),
    "silu": (0.20662096414190703, 0.35577551981735217, 0.5, 0.3794823516328293, 0.2865805768796148, 0.4171802591317189, 0.31308329699442095),
    "tanh": (0.0, 0.39429449039784115, 0.6057055096021589, 0.46440290244826826, 0.34150920731666357, 0.18179768814048708, 0.3942944903978412),
    "sigmoid": (0.5, 0.29337903585809294, 0.20662096414190703, 0.04483624135019437, 0.002285651286678948, 0.031198241979629598, 0.04337903585809296),
    "softplus": (0.8060591833474398, 0.9212459088593002, 0.5, 0.29337903585809294, 0.1315943130663803, 0.4533019724796301, 0.27151450180055875),
    "hard_tanh": (0.0, 0.5160585509617133, 0.6826894921370859, 0.6826894921370859, 0.6826894921370859, 0.1987480430987992, 0.5160585509617133),
}  # fmt: skip
KINKS = {"relu6": [0, 6], "hard_sigmoid": [-3, 3], "hard_silu": [-3, 3], "hard_tanh": [-1, 1], "sparse_plus": [-1, 1], "sparse_sigmoid": [-1, 1]}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_values(name: str) -> None:
    m = vp.theory.moments(name)
    found = (m.mean, m.mean_square, m.derivative_mean, m.derivative_mean_square, m.derivative_fourth, m.z_phi_dphi, m.variance)  # fmt: skip
    np.testing.assert_allclose(found, REFERENCE[name], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
@pytest.mark.parametrize("q", [1e-3, 1.0, 50.0])
def test_every_activation_against_adaptive_integration(name: str, q: float) -> None:
    """1640 Gauss nodes in z on even panels between kinks that are listed here by hand."""
    act = activation(name)
    cuts = sorted(k / np.sqrt(q) for k in [0, *KINKS.get(name, [])] if abs(k) / np.sqrt(q) < 12)
    table = {power: [] for power in ("phi", "dphi")}
    for low, high in zip([-12.0, *cuts], [*cuts, 12.0], strict=True):
        edges = np.linspace(low, high, 42)
        x, w = special.roots_legendre(40)
        nodes = (edges[:-1, None] + np.diff(edges)[:, None] * (1 + x) / 2).ravel()
        weights = (np.diff(edges)[:, None] * w / 2).ravel() * stats.norm.pdf(nodes)
        phi, slope = evaluate(act, np.sqrt(q) * nodes)
        table["phi"].append(weights @ phi**2)
        table["dphi"].append(weights @ slope**2)
    found = averages(act, np.array([q]))
    np.testing.assert_allclose(found.mean_square[0], sum(table["phi"]), rtol=1e-10)
    np.testing.assert_allclose(found.derivative_mean_square[0], sum(table["dphi"]), rtol=1e-10)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.3)", "leaky_relu(negative_slope=-1)", "identity", "relu_squared", "sin(omega=2)"])  # fmt: skip
def test_closed_forms_agree_with_quadrature(name: str) -> None:
    act = activation(name)
    form = closed_form(act)
    assert form is not None
    q = np.array([1e-12, 1e-4, 0.3, 1.0, 7.0, 90.0])
    exact, found = form.averages(q), averages(act, q)
    for field in exact._fields:
        a, b = getattr(exact, field), getattr(found, field)
        size = {"mean": exact.mean_square, "derivative_mean": exact.derivative_mean_square}.get(field, 0.0)
        size = exact.mean_square * exact.derivative_mean_square if field == "z_phi_dphi" else size
        assert (np.abs(a - b) <= 2e-10 * np.abs(a) + 1e-14 * np.sqrt(size)).all(), field


@pytest.mark.parametrize("q", [1e-12, 1e-6, 1.0, 1e3, 1e6])
def test_sharp_transitions_are_resolved(q: float) -> None:
    """erf: E erf(u)^2 = 2/pi arcsin(2q / (1 + 2q)), E erf'^2 = 4/pi / sqrt(1 + 4q) (Williams 1997); steps 1e-3 wide."""
    m = vp.theory.moments("erf", q)
    exact = 2 / np.pi * np.arctan2(2 * q, np.sqrt(1 + 4 * q))
    assert m.mean_square == pytest.approx(exact, rel=1e-10)
    assert m.derivative_mean_square == pytest.approx(4 / np.pi / np.sqrt(1 + 4 * q), rel=1e-10)
    assert m.z_phi_dphi == pytest.approx(4 / np.pi * np.sqrt(q) / ((1 + 2 * q) * np.sqrt(1 + 4 * q)), rel=1e-10)


@pytest.mark.parametrize("place", [1 / 3, -np.pi, 17.1])
def test_a_kink_anywhere_is_found(place: float) -> None:
    """max(x - a, 0): E = s (pdf(h) - h sf(h)), E phi' = sf(h) with h = a / s."""
    act = activation(lambda x: jnp.maximum(x - place, 0.0))
    assert panels(act, 6).kinks == pytest.approx([place], rel=1e-13)
    s = 5.0
    h = place / s
    m = vp.theory.moments(act, s * s)
    assert m.derivative_mean == pytest.approx(stats.norm.sf(h), rel=1e-11)
    assert m.mean == pytest.approx(s * (stats.norm.pdf(h) - h * stats.norm.sf(h)), rel=1e-10)


def test_smooth_activations_have_no_kinks() -> None:
    assert all(panels(activation(name), 6).kinks.size == 0 for name in ("tanh", "gelu", "softplus", "erf", "identity"))


def test_a_step_is_integrated_to_its_place() -> None:
    m = vp.theory.moments(lambda x: jnp.where(x > 0.3, 1.0, 0.0) + 0 * x)
    assert m.mean == pytest.approx(stats.norm.sf(0.3), rel=1e-12)
    assert m.derivative_mean_square == 0


def test_exponential_growth_is_integrated() -> None:
    """E exp(2u) = exp(2q)."""
    assert vp.theory.moments(jnp.exp, 3.0).mean_square == pytest.approx(np.exp(6.0), rel=1e-11)


@settings(max_examples=40, deadline=None)
@given(st.floats(-12, 6), st.sampled_from(["tanh", "gelu", "selu", "softplus", "hard_silu"]))
def test_slope_of_the_mean_square_is_z_phi_dphi(log10_q: float, name: str) -> None:
    """d E phi^2 / d ln q = sqrt(q) E[z phi phi'], whatever kinks there are."""
    q, step = 10.0**log10_q, 1e-3
    up, down = (vp.theory.moments(name, q * np.exp(side * step)).mean_square for side in (1, -1))
    m = vp.theory.moments(name, q)
    assert np.sqrt(q) * m.z_phi_dphi == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-10 * m.mean_square)
    assert m.variance == pytest.approx(m.mean_square - m.mean**2, abs=1e-13 * m.mean_square)


def test_variance_does_not_cancel() -> None:
    """softplus of N(0, 1e-20): Var = q / 4 beside a mean of ln 2."""
    assert vp.theory.moments("softplus", 1e-20).variance == pytest.approx(0.25e-20, rel=1e-6)


def test_float64_whatever_the_settings(x64: None) -> None:
    in_x64 = vp.theory.moments("mish", 2.0)
    with jax.enable_x64(False):
        assert vp.theory.moments("mish", 2.0) == in_x64
        assert jnp.zeros(1).dtype == jnp.float32  # the caller's setting is as it was


def test_a_second_opinion_on_mish() -> None:
    mish = lambda x: x * np.tanh(np.logaddexp(0, x))  # noqa: E731
    exact = integrate.quad(lambda z: mish(1.3 * z) ** 2 * stats.norm.pdf(z), -12, 12, epsabs=1e-14, limit=400)[0]
    assert vp.theory.moments("mish", 1.69).mean_square == pytest.approx(exact, rel=1e-11)


@pytest.mark.parametrize(
    ("name", "second", "variance", "backward"),
    [
        ("relu", 1.4142135623730951, 1.7128585504496627, 1.4142135623730951),
        ("tanh", 1.5925374197228315, 1.5925374197228315, 1.467413591630795),
        ("gelu", 1.533580521666147, 1.7009165616954505, 1.4811680580933506),
        ("softplus", 1.0418668355353018, 1.9191259801076563, 1.8462285453386054),
    ],
)
def test_gains(name: str, second: float, variance: float, backward: float) -> None:
    found = vp.theory.gain(name)
    np.testing.assert_allclose(found, (second, variance, backward, second**2), rtol=1e-11)


def test_a_file_of_the_user_is_an_activation(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import jax.numpy as jnp\ndef twice(x, slope=2.0):\n    return slope * x\n")
    monkeypatch.chdir(tmp_path)
    assert vp.theory.moments("mine.py:twice(slope=3)").mean_square == pytest.approx(9)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: vp.theory.moments("rleu"), "act: unknown activation 'rleu'; did you mean 'relu'?"),
        (lambda: vp.theory.moments("relu", 0), "q: 0 is not a number from"),
        (lambda: vp.theory.moments("relu", "1"), "q: '1' is not a number"),
        (lambda: vp.theory.moments("relu", np.nan), "q: nan is not"),
        (lambda: vp.theory.moments("elu(alpha=1:2:3)"), "3 activations where one is expected"),
        (lambda: vp.theory.moments(3), "act: 3 is neither"),
        (lambda: vp.theory.moments(lambda x: jnp.exp(x * x / 4)), "grows faster than the Gaussian falls"),
        (lambda: vp.theory.moments(lambda x: jnp.exp(x * x)), "is not finite at x ="),
        (lambda: vp.theory.moments(lambda x: jnp.log(x + 3.0)), "is not finite at x = -"),
        (lambda: vp.theory.moments(lambda x: jnp.sin(1e4 * x)), "oscillates too fast"),
        (lambda: vp.theory.gain(lambda x: 0 * x + 1), "is constant"),
    ],
)
def test_refused(call, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    assert says in str(caught.value) and "\n" not in str(caught.value)
