"""The correlation map: arc-cosine and arc-sine kernels, an independent double integral, and its shape in c."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.theory.closed import arc_cosine, arc_sine, closed_form
from varprobe.theory.elementwise import activation
from varprobe.theory.gaussian import pair

CORRELATIONS = [-1.0, -0.999999, -0.7, -1e-9, 0.0, 1e-9, 0.3, 0.9, 1 - 1e-6, 1 - 1e-12, 1.0]


@pytest.mark.parametrize("c", CORRELATIONS)
@pytest.mark.parametrize("q", [1e-8, 1.0, 300.0])
def test_relu_is_the_arc_cosine_kernel(c: float, q: float) -> None:
    """(sin t + (pi - t) cos t) / 2 pi and (pi - t) / 2 pi (Cho & Saul 2009), by the closed form and by quadrature."""
    theta = 2 * np.arcsin(np.sqrt((1 - c) / 2))
    phi = q * (np.sqrt((1 - c) * (1 + c)) + (np.pi - theta) * c) / (2 * np.pi)
    slope = (np.pi - theta) / (2 * np.pi)
    for found in (vp.theory.correlation_map("relu", c, q), pair(activation("relu"), q, c)):
        assert found.phi == pytest.approx(phi, abs=1e-11 * q)
        assert found.derivative == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("name", ["leaky_relu(0.3)", "identity", "sin(omega=2)"])
@pytest.mark.parametrize("c", CORRELATIONS)
def test_other_closed_forms_agree_with_quadrature(name: str, c: float) -> None:
    act = activation(name)
    form = closed_form(act)
    assert form is not None and form.pair is not None
    for q in (0.1, 4.0):
        exact, found = form.pair(q, c), pair(act, q, c)
        np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-10 * q)


@pytest.mark.parametrize("c", CORRELATIONS)
def test_erf_is_the_arc_sine_kernel(c: float) -> None:
    for q in (1e-4, 1.0, 1e4):
        found = vp.theory.correlation_map("erf", c, q)
        assert found.phi == pytest.approx(arc_sine(q, c), abs=1e-7 * arc_sine(q, 1) * (q > 100) + 1e-12)
        slope = 4 / np.pi / np.sqrt((1 + 2 * q * (1 - c)) * (1 + 2 * q * (1 + c)))
        assert found.derivative == pytest.approx(slope, rel=1e-9)


def test_relu_squared_is_the_second_arc_cosine_kernel() -> None:
    for c in CORRELATIONS:
        assert vp.theory.correlation_map("relu_squared", c, 2.0).phi == pytest.approx(4 * arc_cosine(2, c), abs=1e-10)


@pytest.mark.parametrize("name", ["tanh", "gelu", "silu"])
@pytest.mark.parametrize("c", [-0.8, 0.4, 0.95])
def test_smooth_ones_against_a_double_hermite_rule(name: str, c: float) -> None:
    """150 x 150 Gauss-Hermite nodes on independent variables."""
    x, w = np.polynomial.hermite_e.hermegauss(150)
    w = w / w.sum()
    functions = {
        "tanh": np.tanh,
        "silu": lambda u: u / (1 + np.exp(-u)),
        "gelu": lambda u: u / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3))),
    }
    f = functions[name]
    exact = (w[:, None] * w * f(x)[:, None] * f(c * x[:, None] + np.sqrt(1 - c * c) * x)).sum()
    assert vp.theory.correlation_map(name, c).phi == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("name", ["tanh", "selu", "hard_tanh", "softplus"])
def test_ends_of_the_map(name: str) -> None:
    m = vp.theory.moments(name, 2.0)
    at_0, at_1, almost = (vp.theory.correlation_map(name, c, 2.0) for c in (0.0, 1.0, 1 - 1e-13))
    assert at_0.phi == pytest.approx(m.mean**2, abs=1e-14)
    assert at_1.phi == pytest.approx(m.mean_square, rel=1e-13) and at_1.cosine == pytest.approx(1)
    assert almost.phi == pytest.approx(m.mean_square, rel=1e-11)
    assert at_1.derivative == pytest.approx(m.derivative_mean_square, rel=1e-13)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(["relu", "tanh", "gelu", "elu", "hard_silu"]))
def test_monotone_and_convex_above_zero(a: float, b: float, name: str) -> None:
    """A power series with coefficients that are not negative."""
    low, high = sorted((a, b))
    middle = (low + high) / 2
    at = [vp.theory.correlation_map(name, c).phi for c in (low, middle, high)]
    assert at[0] <= at[2] + 1e-12
    assert at[1] <= (at[0] + at[2]) / 2 + 1e-12


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.9, 0.9), st.floats(-2, 2), st.sampled_from(["tanh", "selu", "mish"]))
def test_slope_in_c_is_the_derivatives_map(c: float, log10_q: float, name: str) -> None:
    """d/dc E phi phi = q E phi' phi' (Price 1958)."""
    q, step = 10.0**log10_q, 1e-4
    up, down = (vp.theory.correlation_map(name, c + side * step, q).phi for side in (1, -1))
    exact = vp.theory.correlation_map(name, c, q).derivative
    assert (up - down) / (2 * step * q) == pytest.approx(exact, rel=1e-5, abs=1e-7)


def test_a_kink_off_zero() -> None:
    """max(x - 1, 0) at c = 0 is E[.]^2, at c = -1 nothing overlaps."""
    act = activation(lambda x: jnp.maximum(x - 1.0, 0.0))
    mean = vp.theory.moments(act).mean
    assert vp.theory.correlation_map(act, 0.0).phi == pytest.approx(mean**2, rel=1e-11)
    assert vp.theory.correlation_map(act, -1.0).phi == 0


@pytest.mark.parametrize("c", [1.0000001, -2, np.nan, "0.5", None, True])
def test_correlations_out_of_range(c: object) -> None:
    with pytest.raises(InvalidArgumentError, match="^c: .* is not a number from -1 to 1$"):
        vp.theory.correlation_map("relu", c)
