"""Plain stacks with norms against closed forms and nets written out in float64."""

import numpy as np
import pytest
from float64_blocks import agree, measure

import varprobe as vp
from varprobe.errors import InvalidArgumentError

LN10 = np.log(10)


def steady(found: vp.theory.NormalizedStack) -> float:
    """The gradient's factor between layers beyond the first, whose input has a mean square of its own."""
    factors = 10 ** -np.diff(found.gradient_log10_mean_square)[1:]
    np.testing.assert_allclose(factors, factors[0], rtol=1e-9)
    return float(factors[0])


@pytest.mark.parametrize("act", ["relu", "tanh"])
@pytest.mark.parametrize("norm", ["layer", "rms", "group"])
def test_many_units(act: str, norm: str) -> None:
    """Before phi: E phi'^2 / E phi^2 a layer, whatever sigma_w2. After it: E phi'^2 / E phi^2, or / Var phi, at q = sigma_w2."""
    for sigma_w2 in (1e-3, 3.0, 1e4):
        m = vp.theory.moments(act)
        before = vp.theory.normalized(act, norm, sigma_w2=sigma_w2, depth=4, eps=0.0)
        np.testing.assert_allclose(before.activation_log10_mean_square, np.log10(m.mean_square), atol=1e-10)
        assert steady(before) == pytest.approx(m.derivative_mean_square / m.mean_square, rel=1e-8)
        m = vp.theory.moments(act, sigma_w2)
        after = vp.theory.normalized(act, norm, "post", sigma_w2=sigma_w2, depth=4, eps=0.0)
        np.testing.assert_allclose(after.activation_log10_mean_square, 0, atol=1e-10)
        divided = m.mean_square if norm == "rms" else m.variance
        assert steady(after) == pytest.approx(sigma_w2 * m.derivative_mean_square / divided, rel=1e-8)


def test_relu_and_layer_norm_keep_the_gradient() -> None:
    assert steady(vp.theory.normalized("relu", "layer", eps=0.0)) == pytest.approx(1, rel=1e-9)
    plain, none = (
        vp.theory.trajectory("gelu", 1.8, 0.1, 20, c0=0.3),
        vp.theory.normalized("gelu", None, sigma_w2=1.8, sigma_b2=0.1, depth=20, batch=1, c0=0.3),
    )
    for name in ("preactivation_log10_mean_square", "activation_log10_mean_square", "activation_correlation", "gradient_log10_mean_square", "weight_gradient_log10_mean_square"):  # fmt: skip
        np.testing.assert_allclose(getattr(none, name), getattr(plain, name), atol=1e-10)


def test_eps_takes_over_a_small_signal() -> None:
    """v / (v + eps): at sigma_w2 = 1e-8 the first layer gets 1e-8 / (1e-8 + 1e-5), all after that less."""
    found = vp.theory.normalized("identity", "layer", sigma_w2=1e-8, depth=2)
    first = 1e-8 / (1e-8 + 1e-5)
    second = 1e-8 * first / (1e-8 * first + 1e-5)
    np.testing.assert_allclose(10**found.activation_log10_mean_square, [first, second], rtol=1e-10)


@pytest.mark.parametrize("size", [8, 32])
def test_small_groups(size: int) -> None:
    """A linear group of m: the gradient is divided by v = q chi2_{m-1} / m and loses the mean and its part along z.

    E[1/v] (m - 2) / m = (m - 2) / (m - 3) / q.
    """
    found = vp.theory.normalized("identity", "group", group_size=size, eps=0.0, depth=9)
    assert steady(found) == pytest.approx((size - 2) / (size - 3), rel=1e-9)
    large, many = (vp.theory.normalized("relu", "group", group_size=size, depth=9) for size in (10**6, None))
    np.testing.assert_allclose(large.gradient_log10_mean_square, many.gradient_log10_mean_square, atol=1e-4)


@pytest.mark.parametrize("arguments", [
    {"norm": "batch", "sigma_b2": 0.1}, {"norm": "batch", "position": "post", "act": "silu"},
    {"norm": "layer", "position": "post"}, {"norm": "rms", "act": "tanh"},
    {"norm": "group", "size": 16}, {"norm": "group", "size": 16, "position": "post", "act": "silu"},
    {"norm": "batch", "eps": 0.3, "act": "tanh"},
])  # fmt: skip
def test_against_nets(arguments: dict) -> None:
    act, depth, width, batch = arguments.pop("act", "relu"), 3, 128, 12
    seen = measure(act, depth, width, batch, 6, layers=1, skip=False, **arguments)
    found = vp.theory.normalized(
        act, arguments["norm"], arguments.get("position", "pre"), sigma_b2=arguments.get("sigma_b2", 0.0), depth=depth,
        batch=batch, eps=arguments.get("eps", 1e-5), group_size=arguments.get("size"),
    )  # fmt: skip
    arguments["act"] = act
    allowance = 8 * depth / width
    agree(seen.preactivation, found.preactivation_log10_mean_square * LN10, allowance)
    agree(seen.stream[:, 1:], found.activation_log10_mean_square * LN10, allowance)
    agree(seen.inner_gradient, found.gradient_log10_mean_square * LN10, allowance)
    agree(seen.weight_gradient, found.weight_gradient_log10_mean_square * LN10, allowance)
    agree(seen.mean, found.activation_mean_over_rms, allowance)
    if "size" not in arguments:
        agree(seen.cosine, found.activation_correlation, allowance)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"norm": "lyer"}, "norm: unknown norm 'lyer'; did you mean 'layer'?"),
    ({"norm": "batch", "batch": 2}, "batch: 2 is not an integer of at least 4"),
    ({"norm": "group", "group_size": 3}, "group_size: 3 is not an integer of at least 4"),
    ({"eps": float("nan")}, "eps: nan is not a finite number"),
])  # fmt: skip
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.normalized("relu", **arguments)
    assert says in str(caught.value)


def test_a_batch_far_below_eps() -> None:
    """v / (v + eps) is v / eps there: of variance lambda (B - 1) / B, lambda = sigma_w2; the gradient passes as it is."""
    batch, sigma_w2 = 8, 1e-30
    found = vp.theory.normalized("identity", "batch", sigma_w2=sigma_w2, depth=2, batch=batch)
    first = sigma_w2 * (batch - 1) / batch / 1e-5
    np.testing.assert_allclose(10 ** found.activation_log10_mean_square[0], first, rtol=1e-9)
    np.testing.assert_allclose(10**found.gradient_log10_mean_square, [sigma_w2 * 7 / 8 * 1e10, 7 / 8 * 1e5], rtol=1e-9)
