"""Layer-by-layer predictions against closed forms and published recursions, far out of any float's range too."""

import numpy as np
import pytest

import varprobe as vp
from varprobe.errors import InvalidArgumentError

# tanh, n Var W = 1/3 (Glorot & Bengio 2010's standard initialization), input variance 1: two quadratures
STANDARD_Z = [0.3333333333333333, 0.07062506808523906, 0.020750185581333888, 0.006645387355178833, 0.0021862296148031073]  # fmt: skip
STANDARD_H = [0.2118752042557172, 0.062250556744001664, 0.0199361620655365, 0.006558688844409323, 0.0021767291600902445]  # fmt: skip
STANDARD_GRADIENT = [0.006919782154913088, 0.031118414039682848, 0.10541932573473867, 0.3290031572383028, 1.0]


def test_glorot_and_bengio_tanh() -> None:
    found = vp.theory.trajectory("tanh", sigma_w2=1 / 3, depth=5)
    np.testing.assert_allclose(10**found.preactivation_log10_mean_square, STANDARD_Z, rtol=1e-10)
    np.testing.assert_allclose(10**found.activation_log10_mean_square, STANDARD_H, rtol=1e-10)
    # their ratio starts from dLoss/dz_L; phi'(z_l)^2 of each layer below stands in it
    np.testing.assert_allclose(
        10 ** (found.gradient_log10_mean_square - found.gradient_log10_mean_square[-1]), STANDARD_GRADIENT, rtol=1e-9
    )


@pytest.mark.parametrize("scale", [1e-30, 1.0, 2.0, 1e25])
def test_relu_is_exact_at_any_scale(scale: float) -> None:
    """(sigma_w2 / 2)^l forward, (sigma_w2 / 2)^(L - l) / 2 backward (He et al. 2015)."""
    depth = 100
    found = vp.theory.trajectory("relu", scale, depth=depth, q0=3.0)
    layer = np.arange(1, depth + 1)
    step = np.log10(scale / 2)
    np.testing.assert_allclose(found.activation_log10_mean_square, np.log10(3) + layer * step, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        found.gradient_log10_mean_square, np.log10(0.5) + (depth - layer) * step, rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(found.activation_log10_var - found.activation_log10_mean_square, np.log10(1 - 1 / np.pi), atol=1e-12)  # fmt: skip
    np.testing.assert_allclose(found.weight_gradient_log10_mean_square, np.log10(1.5) + (depth - 1) * step, rtol=1e-12, atol=1e-11)  # fmt: skip


def test_relu_inputs_align() -> None:
    """cosine_l = (sin t + (pi - t) cos t) / pi at the cosine before (Cho & Saul 2009), whatever the scale."""
    c, cosines = 0.25, []
    for _ in range(50):
        t = np.arccos(c)
        c = (np.sin(t) + (np.pi - t) * c) / np.pi
        cosines.append(c)
    for scale in (1e-20, 2.0):
        found = vp.theory.trajectory("relu", scale, depth=50, c0=0.25)
        np.testing.assert_allclose(found.activation_correlation, cosines, rtol=1e-10)
        assert found.preactivation_correlation[0] == pytest.approx(0.25)


def test_it_settles_at_the_fixed_point() -> None:
    fixed = vp.theory.fixed_point("tanh", 2.0, 0.05)
    found = vp.theory.trajectory("tanh", 2.0, 0.05, depth=400, q0=40.0)
    assert 10 ** found.preactivation_log10_mean_square[-1] == pytest.approx(fixed.q_star, rel=1e-10)
    assert found.preactivation_correlation[-1] == pytest.approx(fixed.c_star, abs=1e-6)
    steps = found.gradient_log10_mean_square[100:300] - found.gradient_log10_mean_square[101:301]
    np.testing.assert_allclose(10**steps, fixed.chi_1, rtol=1e-9)


@pytest.mark.parametrize("name", ["gelu", "silu", "selu", "elu", "softplus", "hard_silu"])
def test_far_out_only_the_right_slope_counts(name: str) -> None:
    """Degree 1 on the right, bounded on the left: sigma_w2 / 2 a layer, times the slope squared."""
    found = vp.theory.trajectory(name, 1e30, depth=60)
    slope = 1.0507009873554805 if name == "selu" else 1.0
    np.testing.assert_allclose(np.diff(found.activation_log10_mean_square)[5:], 30 + np.log10(slope**2 / 2), atol=1e-9)
    assert found.activation_log10_mean_square[-1] > 1500


@pytest.mark.parametrize(("name", "slope"), [("tanh", 1.0), ("gelu", 0.5), ("soft_sign", 1.0)])
def test_near_zero_only_the_slope_counts(name: str, slope: float) -> None:
    found = vp.theory.trajectory(name, 1e-12, depth=80)
    np.testing.assert_allclose(np.diff(found.activation_log10_mean_square)[5:], -12 + 2 * np.log10(slope), atol=1e-6)
    np.testing.assert_allclose(-np.diff(found.gradient_log10_mean_square)[5:], -12 + 2 * np.log10(slope), atol=1e-6)
    assert found.activation_log10_mean_square[-1] < -900


def test_bounded_and_squared_activations_far_out() -> None:
    """tanh: E phi'^2 = (4/3) / sqrt(2 pi q). relu_squared: ln q doubles each layer."""
    found = vp.theory.trajectory("tanh", 1e300, depth=3)
    np.testing.assert_allclose(found.preactivation_log10_mean_square, 300, atol=1e-9)
    assert found.gradient_log10_mean_square[-1] == pytest.approx(
        np.log10(4 / 3) - 0.5 * (np.log10(2 * np.pi) + 300), abs=1e-9
    )
    squared = vp.theory.trajectory("relu_squared", 1.0, depth=30, q0=10.0)
    q = 1.0
    for at in range(30):
        expected = q if at == 0 else 2 * expected + np.log10(1.5)
        assert squared.preactivation_log10_mean_square[at] == pytest.approx(expected, rel=1e-10)


def test_biases_layers_and_widths() -> None:
    found = vp.theory.trajectory("identity", [1.0, 4.0, 0.25], [0.0, 1.0, 0.0], depth=3, widths=[10, 20, 40, 80])
    np.testing.assert_allclose(10**found.preactivation_log10_mean_square, [1, 5, 1.25], rtol=1e-13)
    np.testing.assert_allclose(10**found.preactivation_correlation, 10 ** np.array([0, 0.2, 0.2]), rtol=1e-12)
    # delta_l = delta_{l+1} W^T: fan_out Var W = sigma_w2 * fan_out / fan_in
    np.testing.assert_allclose(10**found.gradient_log10_mean_square, [8 * 0.5, 0.5, 1], rtol=1e-13)


def test_weights_with_a_mean() -> None:
    """relu, W ~ N(mu, s^2): E z = n mu E h; all units follow their mean, which grows by n mu a layer.

    What the units of layer 1 share, of variance n mu^2, is multiplied by (n mu / 2)^2 and then stays in proportion
    to the mean: 0.898 of the RMS is mean in 8 measured nets of 64 inputs.
    """
    n, mu, std = 512, 0.02, 0.05
    found = vp.theory.trajectory("relu", n * std**2, depth=12, mean_w=mu, fan_in=n)
    np.testing.assert_allclose(np.diff(found.preactivation_log10_mean_square)[4:], 2 * np.log10(n * mu), rtol=1e-2)
    assert found.preactivation_mean_over_rms[-1] == pytest.approx(0.898, abs=0.03)
    assert 10 ** found.preactivation_log10_mean_square[0] == pytest.approx(n * (std**2 + mu**2), rel=1e-12)
    none = vp.theory.trajectory("relu", n * std**2, depth=12, fan_in=n)
    assert none.preactivation_mean_over_rms[-1] == 0 and none.preactivation_log10_mean_square[-1] < 0


def test_weights_with_a_mean_against_a_draw() -> None:
    """One draw of 2000 units: what the 64 inputs share leaves a few per cent."""
    rng = np.random.default_rng(7)
    n, mu, std = 2000, 0.003, 0.02
    h, seen = rng.standard_normal((64, n)), []
    for _ in range(4):
        z = h @ (mu + std * rng.standard_normal((n, n)))
        h = np.maximum(z, 0)
        seen.append((np.mean(z**2), np.mean(h**2)))
    found = vp.theory.trajectory("relu", n * std**2, depth=4, mean_w=mu, fan_in=n)
    predicted = np.stack([found.preactivation_log10_mean_square, found.activation_log10_mean_square], axis=1)
    np.testing.assert_allclose(np.log10(seen), predicted, atol=0.06)


def test_no_signal() -> None:
    found = vp.theory.trajectory("gelu", 0.0, depth=3)
    assert (found.activation_log10_mean_square == -np.inf).all() and found.gradient_log10_mean_square[0] == -np.inf
    assert np.isnan(found.activation_correlation).all()
    sigmoid = vp.theory.trajectory("sigmoid", 0.0, depth=3)
    np.testing.assert_allclose(sigmoid.activation_log10_mean_square, np.log10(0.25), atol=1e-12)
    assert (sigmoid.activation_correlation == 1).all() and (sigmoid.activation_log10_var == -np.inf).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"depth": 0}, "depth: 0 is not an integer of at least 1"),
        ({"depth": 2.5}, "depth: 2.5 is not an integer"),
        ({"q0": 0}, "q0: 0 is not a finite number above 0"),
        ({"c0": 1.1}, "c0: 1.1 is not a number from -1 to 1"),
        ({"sigma_w2": [1, 2]}, "sigma_w2: 2 values for 50 layers"),
        ({"sigma_b2": -1e-9}, "sigma_b2: -1e-09 is not a finite number of at least 0"),
        ({"mean_w": 0.1}, "fan_in: weights with a mean need the fan_in"),
        ({"widths": [3, 4]}, "widths: 2 widths for depth 50"),
        ({"act": "geluu"}, "act: unknown activation 'geluu'; did you mean 'gelu'?"),
    ],
)
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.trajectory(**{"act": "tanh", "sigma_w2": 1.0, **arguments})
    assert says in str(caught.value)
