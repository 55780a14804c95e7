"""Theory beside the measurement where a sample has positions: convolutions and transformers."""

import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.sweeps.predict.plain import predicted
from varprobe.sweeps.request import read_request

LINES = [
    f"theory_{name}_log10_mean_square" for name in ("preactivation", "activation", "gradient", "weight_gradient")
] + ["theory_activation_log10_var"]  # fmt: skip
SMALL = {"depth": 3, "width": 32, "batch": 2, "act": "tanh", "init": "lecun_normal"}


def theory_of(**options):
    """The predictions for nets whose own weights need not be measured."""
    request = read_request(**options)
    blank = np.zeros((len(request.configs), 1, 1 + max(config.depth for config in request.configs)))
    names = ("weight_log10_mean_square", "equal_unit_fraction")
    return predicted(request, xr.Dataset({name: (("config", "seed", "layer"), blank) for name in names}))


def lines(ds, names=LINES):
    return np.array([ds[name].values[0, 0, 1:] for name in names])


def test_a_circular_convolution_is_a_plain_stack_of_its_positions():
    conv = theory_of(**SMALL, bias="normal(std=0.3)", arch="conv(size=4)")
    plain = theory_of(**SMALL | {"batch": 2 * 16}, bias="normal(std=0.3)")
    np.testing.assert_allclose(lines(conv), lines(plain), atol=1e-12)
    assert np.isnan(conv.theory_activation_std.values).all() and (plain.theory_activation_std.values[..., 1:] > 0).all()


def test_delta_orthogonal_is_an_orthogonal_stack_of_positions_with_its_finite_width_law():
    names = [*LINES[:3], *(f"theory_{q}_{what}" for q in ("activation", "gradient") for what in ("drift", "std"))]
    conv = theory_of(**SMALL | {"init": "delta_orthogonal"}, arch="conv(size=4,padding=zero)")
    plain = theory_of(**SMALL | {"batch": 2 * 16, "init": "orthogonal"})
    np.testing.assert_allclose(lines(conv, names), lines(plain, names), atol=1e-12)
    share = ((3 + 4 + 3) / 12) ** 2  # of the kernel's entries that meet a position, in each direction
    np.testing.assert_allclose(lines(conv)[3] - lines(plain)[3], np.log10(share), atol=1e-12)


def test_borders_of_zeros_are_those_of_theory():
    """Each layer strays by sqrt((E phi^4 / (E phi^2)^2 - 1) / 128), 0.05 decades at most, of tanh."""
    ds = vp.sweep(
        **SMALL | {"width": 128, "init": "he_normal"}, arch="conv(size=4,padding=zero)", bias="normal(std=0.2)"
    )
    want = vp.theory.convolution("tanh", 3, 4, padding="zero", sigma_w2=2.0, sigma_b2=0.04)
    for name, line in zip(LINES[:4], lines(ds), strict=False):
        alone = getattr(want, name.removeprefix("theory_")) + np.log10(2) * ("weight" in name)
        np.testing.assert_allclose(line, alone, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(ds[name.removeprefix("theory_")].values[0, 0, 1:], line, atol=0.15)


@pytest.mark.parametrize("norm_position", ["pre", "post", "none"])
def test_transformers_are_those_of_theory(norm_position):
    net = {"depth": 3, "width": 64, "batch": 4, "act": "relu", "init": "lecun_normal", "init_o": "normal(std=0.06)"}
    ds = theory_of(**net, init_qk="zeros", arch=f"transformer(tokens=8,norm_position={norm_position})")
    want = vp.theory.transformer("relu", 3, 8, norm_position, sigma_o2=64 * 0.06**2)
    np.testing.assert_allclose(lines(ds, LINES[1:3]), [want.stream[1:], want.gradient], atol=1e-12)


@pytest.mark.exhaustive
def test_a_transformer_is_measured_as_predicted():
    """A block strays from infinite width by about sqrt(2 / 64), 0.08 decades."""
    net = {"depth": 2, "width": 64, "batch": 4, "act": "relu", "init": "lecun_normal", "init_qk": "zeros"}
    ds = vp.sweep(**net, arch="transformer(tokens=8)")
    for name in ("activation_log10_mean_square", "gradient_log10_mean_square"):
        np.testing.assert_allclose(ds[name].values[0, 0, 1:], ds[f"theory_{name}"].values[0, 0, 1:], atol=0.24)


def test_attention_that_chooses_has_no_prediction():
    """Variances 2 of queries and of keys give logits of variance 4; 0.19 of both 0.04."""
    net = {"depth": 2, "width": 32, "batch": 2, "act": "relu", "init": "lecun_normal", "arch": "transformer(tokens=4)"}
    ds = theory_of(**net, init_qk=["lecun_normal(gain=1.4142135)", "lecun_normal(gain=0.44)"])
    missing = np.isnan(ds.theory_activation_log10_mean_square.values[:, 0, 1:])
    assert missing[0].all() and not missing[1].any()


def test_gradients_of_many_samples_stray_as_predicted():
    """Cotangents are drawn one by one, so that nothing ties the samples together in layer L."""
    seeds = 40
    ds = vp.sweep(act="tanh", init="orthogonal", depth=3, width=32, batch=256, seeds=seeds)
    measured = ds.gradient_log10_mean_square.values[0, :, 1:].std(0, ddof=1)
    np.testing.assert_allclose(measured, ds.theory_gradient_std.values[0, 0, 1:], rtol=3 / np.sqrt(2 * (seeds - 1)))
