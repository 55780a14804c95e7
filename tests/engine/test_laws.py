"""Known laws of signal propagation, with tolerances from the finite-width law."""

import numpy as np
import pytest

import varprobe as vp
from varprobe.runs.diagnose import diagnose

RELU_LAW = {16: (-0.17639732440705033, 0.419593394106779), 256: (-0.009828659363802311, 0.019818708909798564)}
"""Width -> drift and variance of ln ||h_l||^2/||h_{l-1}||^2 of a He ReLU layer for one input: exact moments of
(2/n) chi^2_K, K ~ Binomial(n, 1/2) (Hanin & Nica 2020, arXiv 1812.05994)."""

LINEAR_LAW = {16: (-0.06380006372422597, 0.13313701469403144), 256: (-0.003911336231977813, 0.007843097050014616)}
"""The same of a linear layer with variance 1/n: chi^2_n / n, psi(n/2) + ln(2/n) and psi'(n/2)."""


@pytest.mark.parametrize(
    ("act", "scale", "law"),
    [
        pytest.param("relu", 2, RELU_LAW, id="relu"),
        pytest.param("identity", 1, LINEAR_LAW, id="identity", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize("width", [16, pytest.param(256, marks=pytest.mark.exhaustive)])
def test_one_input_follows_the_exact_finite_width_law(act, scale, law, width):
    seeds, depth = (400, 4) if width == 16 else (60, 20)
    init = f"variance_scaling(scale={scale},mode=fan_in,distribution=normal)"
    ds = vp.sweep(act=act, init=init, depth=depth, width=width, batch=1, seeds=seeds, forward_only=True)
    steps = np.diff(ds["activation_log10_mean_square"].values[0], axis=1).ravel() * np.log(10)
    drift, variance = law[width]
    assert abs(steps.mean() - drift) < 4 * np.sqrt(variance / steps.size)
    # the variance of a sample variance is (kurtosis - 1) s^4 / n, kurtosis below 6 for these skewed logs
    assert abs(steps.var() / variance - 1) < 4 * np.sqrt(5 / steps.size)
    if width == 16:  # narrow enough for a law without the drift to be seen as wrong
        assert abs(steps.mean()) > 4 * np.sqrt(variance / steps.size)


WIDTH = 256
RELU_FACTORS = {
    "glorot_normal": lambda width: 1 / 2,
    "normal(std=0.01)": lambda width: width * 1e-4 / 2,
    "uniform(limit=1)": lambda width: width / 6,
    "torch_default": lambda width: 1 / 6,
}


def limit_of_slopes(width, layers, variance=5):
    """Of a mean log10 per layer: drift at most -variance/(2n), sd below sqrt(variance/n/layers), as for one input."""
    return (variance / (2 * width) + 4 * np.sqrt(variance / width / layers)) / np.log(10)


def sizes(usual, *larger):
    """Sizes of a fixture's nets, the larger ones exhaustive."""
    return [usual, *(pytest.param(size, marks=pytest.mark.exhaustive) for size in larger)]


@pytest.fixture(scope="module")
def relu_nets(request):
    """Those of the size that the test asks for: (width, batch); of large batches he_normal alone."""
    width, batch = request.param
    inits = ["he_normal", *RELU_FACTORS] if batch == 16 else "he_normal"
    return vp.sweep(init=inits, seeds=3, batch=batch, width=width, depth=[10, 100])


@pytest.mark.parametrize("relu_nets", sizes((WIDTH, 16), (512, 16), (512, 256)), indirect=True, ids=str)
def test_he_relu_is_healthy(relu_nets):
    for depth in (10, 100):
        row = diagnose(vp.select(relu_nets, init="he_normal", depth=depth)).rows[0]
        assert row["healthy"] and row["forward"] == "stable" and row["backward"] == "stable"
        limit = limit_of_slopes(int(row["width"]), depth * 3)
        assert abs(np.log10(row["activation_factor"])) < limit
        assert abs(np.log10(row["gradient_factor"])) < limit


@pytest.mark.parametrize("init", RELU_FACTORS)
@pytest.mark.parametrize("relu_nets", sizes((WIDTH, 16), (512, 16)), indirect=True, ids=str)
def test_relu_factors_of_common_initializers(init, relu_nets):
    ds = vp.select(relu_nets, init=init, depth=100)
    row, width = diagnose(ds).rows[0], int(ds.width[0])
    factor, limit = RELU_FACTORS[init](width), limit_of_slopes(width, 300)
    assert abs(np.log10(row["activation_factor"] / factor)) < limit
    assert abs(np.log10(row["gradient_factor"] / factor)) < limit
    end = float(ds["activation_log10_mean_square"].mean("seed")[0, 100])
    assert abs(end - 100 * np.log10(factor)) < 100 * limit


@pytest.fixture(scope="module")
def linear_nets():
    inits = "orthogonal,lecun_normal,torch_default"
    return vp.sweep(act="identity", init=inits, depth=40, width=100, batch=4, seeds=3)


def test_orthogonal_linear_stacks_keep_every_value(linear_nets):
    log_ms = linear_nets["activation_log10_mean_square"].values
    np.testing.assert_allclose(log_ms[0], log_ms[0, :, :1] * np.ones(41), atol=1e-5)
    gradient = linear_nets["gradient_log10_mean_square"].values[0, :, 1:]
    np.testing.assert_allclose(gradient, gradient[:, -1:] * np.ones(40), atol=1e-5)
    assert np.abs(log_ms[1] - log_ms[1, :, :1]).max() > 1e-3  # Gaussian weights do not


@pytest.mark.parametrize("width", sizes(100, 512))
def test_torch_default_shrinks_linear_nets_by_a_third_per_layer(width, linear_nets):
    large = {"act": "identity", "init": "torch_default", "depth": 40, "width": width, "batch": 16, "seeds": 3}
    row = diagnose(vp.select(linear_nets, init="torch_default") if width == 100 else vp.sweep(**large)).rows[0]
    limit = limit_of_slopes(width, 40 * 3, variance=2)
    assert abs(np.log10(row["activation_factor"] * 3)) < limit
    assert abs(np.log10(row["gradient_factor"] * 3)) < limit


GLOROT_TANH = {
    "uniform(limit=1/sqrt(fan_in))": (
        [0.2118752042557172, 0.062250556744001664, 0.0199361620655365, 0.006558688844409323, 0.0021767291600902445],
        [0.22236937094830211, 0.295186995579772, 0.3204204075718993, 0.3290031572383028],
    ),
    "glorot_uniform": (
        [0.39429449039784087, 0.23645041049929577, 0.16665635380193866, 0.12790473529941487, 0.10344060805238567],
        [0.4644029024482692, 0.6365445624738777, 0.7267286831303131, 0.7818194467406929],
    ),
}
"""Mean square of tanh activations at layers 1 to 5 and ratios of the gradient's mean square at successive layers, by
mean-field theory, for the standard and the normalized initialization of Glorot & Bengio (2010)."""


@pytest.fixture(scope="module", params=sizes((WIDTH, 16, 12), (512, 64, 6)), ids=str)
def tanh_nets(request):
    width, batch, seeds = request.param
    return vp.sweep(act="tanh", init=list(GLOROT_TANH), depth=5, width=width, batch=batch, seeds=seeds)


@pytest.mark.parametrize("init", GLOROT_TANH)
def test_glorot_and_bengio_tanh_tables(init, tanh_nets):
    ds = vp.select(tanh_nets, init=init)
    width, seeds = int(ds.width[0]), ds.sizes["seed"]
    squares, ratios = GLOROT_TANH[init]
    measured = ds["activation_log10_mean_square"].values[0, :, 1:].mean(0)
    # one input's variance 2/n a layer, added over layers, is more than a batch's
    limit = 4 * np.sqrt(2 / width * np.arange(1, 6) / seeds) / np.log(10)
    assert (np.abs(measured - np.log10(squares)) < limit).all()
    gradient = ds["gradient_log10_mean_square"].values[0, :, 1:].mean(0)
    assert (np.abs(gradient[:-1] - gradient[1:] - np.log10(ratios)) < limit[0] * 2).all()
