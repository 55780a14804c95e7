"""Unit gains, dead networks, angles and the gradient at the input, against closed forms, quadrature and drawn networks."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erf

import varprobe as vp
from varprobe.errors import InvalidArgumentError


@pytest.mark.parametrize(("act", "phi", "expected"), [
    ("relu", lambda x: max(x, 0), np.sqrt(2)), ("identity", lambda x: x, 1.0), ("gelu(approximate=false)", lambda x: x * (1 + erf(x / np.sqrt(2))) / 2, None),
    ("relu_squared", lambda x: max(x, 0) ** 2, 1.5**-0.25), ("selu", None, 1.0),
])  # fmt: skip
def test_unit_gain(act: str, phi: object, expected: float | None) -> None:
    """E phi(g z)^2 = 1, by an integral of scipy's; relu_squared: 1.5 g^4 = 1."""
    gain = vp.theory.unit_gain(act)
    assert gain is not None
    if expected:
        assert gain == pytest.approx(expected, rel=1e-9)
    if phi:
        density = lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi)  # noqa: E731
        assert quad(lambda z: phi(gain * z) ** 2 * density(z), -12, 12, points=[0])[0] == pytest.approx(1, rel=1e-9)  # type: ignore[operator]


def test_bounded_activations_have_no_unit_gain() -> None:
    assert vp.theory.unit_gain("tanh") is None and vp.theory.unit_gain("sigmoid") is None
    assert vp.theory.unit_gain(lambda x: 2 * jnp.tanh(x)) == pytest.approx(0.71, abs=0.1)


def test_dead_networks_are_as_likely_as_drawn() -> None:
    """20000 networks of widths 3, 2, 3, 2: one input is exact, 30 inputs are between the bounds."""
    rng, draws, widths = np.random.default_rng(0), 20_000, (3, 2, 3, 2)
    h = np.broadcast_to(rng.standard_normal((30, 4)), (draws, 30, 4))
    for width in widths:
        w = rng.standard_normal((draws, h.shape[2], width))
        h = np.maximum(h @ w, 0)
    one, every = (h[:, 0] == 0).all(1).mean(), (h == 0).all((1, 2)).mean()
    found = vp.theory.dead_probability(widths)
    error = 5 / np.sqrt(4 * draws)
    assert found.upper == pytest.approx(1 - (7 / 8 * 3 / 4) ** 2, rel=1e-12) == pytest.approx(one, abs=error)
    assert found.lower == pytest.approx(1 - (1 - 2**-6) ** 3, rel=1e-12)
    assert found.lower - error < every < found.upper - error
    assert vp.theory.dead_probability(512, 50).upper == pytest.approx(50 * 2.0**-512, rel=1e-12)
    assert vp.theory.dead_probability(1, 4) == (pytest.approx(1 - 0.5**3), pytest.approx(1 - 0.5**4))
    for arguments in ((3,), ([3, 2], 3), (0, 2)):
        with pytest.raises(InvalidArgumentError, match="depth|widths"):
            vp.theory.dead_probability(*arguments)


@pytest.mark.parametrize("theta", [1e-3, 0.3, 1.5, 3.0])
def test_angle_of_relu(theta: float) -> None:
    """cos' = (sin t + (pi - t) cos t) / pi; at small angles the drift is -t^2 / (3 pi)."""
    found = vp.theory.angle_drift("relu", theta, q=2.0)
    expected = np.arccos((np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi)
    assert found.angle == pytest.approx(expected, rel=1e-6) and found.drift == pytest.approx(expected - theta, rel=1e-3)
    if theta < 1e-2:
        assert found.drift == pytest.approx(-(theta**2) / (3 * np.pi), rel=1e-2)
        assert found.log_drift == pytest.approx(-2 * theta / (3 * np.pi), rel=1e-2)


def test_angle_against_a_wide_layer() -> None:
    rng, theta = np.random.default_rng(0), 0.7
    z = rng.standard_normal((2, 1_000_000))
    h = np.tanh(1.5 * np.stack([z[0], np.cos(theta) * z[0] + np.sin(theta) * z[1]]))
    cosine = h[0] @ h[1] / np.linalg.norm(h[0]) / np.linalg.norm(h[1])
    assert vp.theory.angle_drift("tanh", theta, q=2.25).angle == pytest.approx(np.arccos(cosine), abs=3e-3)
    assert vp.theory.angle_drift("identity", theta).drift == pytest.approx(0, abs=1e-12)
    with pytest.raises(InvalidArgumentError, match="theta: 0 is not"):
        vp.theory.angle_drift("tanh", 0)


def test_gradient_at_the_input() -> None:
    """E (dLoss/dh_0)^2 = sigma_w2 n_1 / n_0 E delta_1^2; with one layer of identity it is sigma_w2 n_1 / n_0."""
    path = vp.theory.trajectory("tanh", 1.7, 0.1, depth=3, widths=[6, 3, 4, 5])
    expected = path.gradient_log10_mean_square[0] + np.log10(1.7 * 3 / 6)
    assert path.input_gradient_log10_mean_square == pytest.approx(expected, abs=1e-12)
    one = vp.theory.trajectory("identity", 1.7, depth=1, widths=[6, 3])
    assert one.input_gradient_log10_mean_square == pytest.approx(np.log10(1.7 * 3 / 6), abs=1e-12)
    mean = vp.theory.trajectory("identity", 1.0, depth=1, fan_in=8, mean_w=0.5)  # E W^2 = 1/8 + 1/4
    assert mean.input_gradient_log10_mean_square == pytest.approx(np.log10(8 * (1 / 8 + 1 / 4)), abs=1e-12)


@pytest.mark.parametrize("batch", [4, 5, 8])
def test_batch_norm_of_relu_is_exact(batch: int) -> None:
    """relu of two samples of correlation c = -1 / (B - 1): the arc-cosine kernel; a user's relu is no other."""
    c = -1 / (batch - 1)
    theta = np.arccos(c)
    cosine = (np.sin(theta) + (np.pi - theta) * c) / np.pi
    for act in ("relu", lambda x: jnp.where(x > 0, x, 0)):
        found = vp.theory.batch_norm(act, batch)
        assert found.activation_ms == pytest.approx(0.5, rel=1e-12)
        assert found.activation_cosine == pytest.approx(cosine, abs=1e-10)
        slopes, slope_pairs = 1 / 2, (np.pi - theta) / (2 * np.pi)
        bent, bent_pairs = 1 / 2, cosine / 2
        back = (1 - 1 / batch) * slopes + slope_pairs / batch - (bent - bent_pairs) / batch
        spread = 0.5 * (1 - cosine)
        factor = back * batch / (batch - 3) / spread
        assert found.gradient_factor == pytest.approx(factor, rel=1e-9)
