"""float16 and bfloat16: near float32, with their own range where it is asked for, and correlations of lost samples."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from chosen_nets import request_of

import varprobe as vp
from varprobe import sweep
from varprobe.nets.scaled_float import scale
from varprobe.sweeps.sweep import run


@cache
def measured_in(dtype: str, act: str) -> xr.Dataset:
    nets = {act: [{"relu": "he_normal", "tanh": "glorot_normal"}[act]]}
    arguments: dict[str, Any] = {"depth": 10, "width": 64, "batch": 8, "seeds": 4, "bias": "normal(std=0.01)"}
    return run(request_of(nets, dtype=dtype, **arguments))


@pytest.mark.parametrize("act", ["tanh", pytest.param("relu", marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("dtype, bits", [("bfloat16", 8), pytest.param("float16", 11, marks=pytest.mark.exhaustive)])
def test_half_precision(dtype: str, bits: int, act: str) -> None:
    """Near float32, and not equal to it.

    Each layer rounds signal and weights to a relative 2^-bits, independently in each of 512 entries; in ten layers and
    back, log10 of a mean square then shifts by less than 2 * 2^-bits. The gradient of relu is left out: where rounding
    turns the sign of a preactivation near 0, it changes at once.
    """
    exact, found = measured_in("float32", act), measured_in(dtype, act)
    for name in ("preactivation", "activation", *(["gradient", "weight_gradient"] if act == "tanh" else [])):
        for statistic in ("log10_mean_square", "log10_var"):
            difference = np.abs(found[f"{name}_{statistic}"] - exact[f"{name}_{statistic}"]).max()
            assert 2.0**-bits / 100 < difference < 2 * 2.0**-bits, (act, name)
    assert found.dtype.values.tolist() == [dtype]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_powers_of_two_that_the_dtype_does_not_have(dtype: str) -> None:
    """0 times 2^80 is 0, and 2^-10 times 2^20 or 2^5 times 2^-26 is a float16, although neither power is."""
    with jax.enable_x64(True):
        m = jnp.array([[[0.0, -0.0]], [[2.0**-10, -1.0]], [[32.0, 3.0]]], dtype)
        found = scale(m, jnp.array([80, 10, -23], jnp.int32))
        assert found.dtype == m.dtype
        np.testing.assert_array_equal(
            np.asarray(found, np.float64), [[[0, 0]], [[1, -1024]], [[2.0**-18, 3 * 2.0**-23]]]
        )


def test_float16_far_outside_its_range() -> None:
    """Weights of size 10^6 make scores of 2^80: the attention is one-hot, and the gradient of the scores is 0."""
    arguments: dict[str, Any] = {"arch": "transformer(heads=2,tokens=4)", "sigma_w2": 1e12, "act": "relu", "seeds": 1}
    exact, found = (sweep(**arguments, depth=3, width=32, batch=4, dtype=dtype) for dtype in ("float32", "float16"))
    for name in ("gradient", "v_weight_gradient", "mlp_branch_gradient"):
        size = f"{name}_log10_mean_square"
        np.testing.assert_allclose(found[size][..., 1:], exact[size][..., 1:], atol=0.02)
    assert np.isneginf(found.q_weight_gradient_log10_mean_square[..., 1:]).all()


@pytest.mark.parametrize("init", ["normal(std=1)", "normal(std=0.02)"])
def test_the_range_of_float16(init: str) -> None:
    """`range="dtype"` finds the layer at which a plain float16 net overflows, or is zero; the default leaves no range."""
    arguments: dict[str, Any] = {"act": "relu", "init": init, "depth": 14, "width": 32, "batch": 4, "dtype": "float16"}
    net = vp.build({**arguments, "seeds": 1})
    h, plain = net.x, []
    for p in net.params:
        h = jax.nn.relu(jnp.matmul(h, p["w"], precision="highest") + p["b"][None])
        assert h.dtype == jnp.float16
        plain.append(np.asarray(h, np.float64))
    lost = [not np.isfinite(a).all() or not a.any() for a in plain]
    assert 4 < np.argmax(lost) < 12 and lost[-1]
    real = sweep(range="dtype", seeds=1, **arguments).isel(config=0, seed=0)
    ms, absmax = real.activation_log10_mean_square.values[1:], real.activation_log10_absmax.values[1:]
    assert np.argmax(~np.isfinite(absmax)) == np.argmax(lost)
    before = slice(0, int(np.argmax(lost)) - (2 if "0.02" in init else 0))  # subnormal numbers have fewer bits
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(ms[before], [np.log10(np.mean(a * a)) for a in plain[before]], atol=0.01)
    assert np.isneginf(absmax).any() == ("0.02" in init)
    free = sweep(seeds=1, **arguments).isel(config=0, seed=0)
    assert np.isfinite(free.activation_log10_mean_square.values).all()
    np.testing.assert_allclose(free.activation_log10_mean_square.values[1:][before], ms[before], atol=0.01)


def test_correlation_of_one_sample_left_is_not_a_number() -> None:
    """With weights of one sign ReLU zeroes whole samples; where fewer than two are left there is no pair."""
    ds = sweep(act="relu", init="ones,constant(value=0.1)", depth=5, width=6, batch=3, seeds=24)
    for name in ("activation_correlation", "gradient_correlation"):
        values = ds[name].values[..., 1:]
        assert np.isnan(values).any() and not np.isinf(values).any()
        assert (np.abs(values[~np.isnan(values)]) <= 1 + 1e-5).all()
