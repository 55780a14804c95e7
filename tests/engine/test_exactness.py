"""One net that stands for many as each of them computed in full, and exponents without end."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from check_all_pairs import brute_force, value_and_slope
from chosen_nets import group_sizes, request_of
from scipy import special

import varprobe as vp
from varprobe import sweep
from varprobe.engine import groups
from varprobe.nets.activations import Activation, Asymptotics, behavior
from varprobe.sweeps.probes import running
from varprobe.sweeps.sweep import run

HOMOGENEOUS = ["relu", "leaky_relu(0.3)", "identity"]
SHARING = ["he_normal", "glorot_normal", "normal(mean=0.02,std=0.05)", "uniform(limit=1)", "orthogonal(scale=1.4)"]
CONV = "conv(dims=1,size=4,padding=zero)"


@pytest.mark.parametrize(
    "arch, dtype, acts, inits, tolerance",
    [
        ("plain", "float64", ["leaky_relu(0.3)"], SHARING[:2], 1e-12),
        # float32: some fifty roundings in twelve layers
        pytest.param("plain", "float32", HOMOGENEOUS, SHARING, 1e-5, marks=pytest.mark.exhaustive),
        pytest.param("plain", "float64", ["relu"], SHARING[:3], 1e-12, marks=pytest.mark.exhaustive),
        pytest.param("plain(order=pre)", "float64", ["relu"], SHARING[:3], 1e-12, marks=pytest.mark.exhaustive),
        pytest.param(CONV, "float64", ["leaky_relu(0.3)"], SHARING[:3], 1e-12, marks=pytest.mark.exhaustive),
    ],
)
def test_homogeneity_as_full_computation(
    arch: str, dtype: str, acts: list[str], inits: list[str], tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"depth": 12, "width": 32, "batch": 4, "seeds": 1, "dtype": dtype, "arch": arch}
    request = request_of(dict.fromkeys(acts, inits), **arguments, jacobian="conv" not in arch and dtype == "float64")
    fewer = sum(group_sizes(request))
    short = run(request)

    def without(act: Activation) -> Asymptotics:
        return dataclasses.replace(behavior(act), homogeneous=False)

    monkeypatch.setattr(groups, "behavior", without)
    monkeypatch.setattr(running, "behavior", without)
    assert (fewer, sum(group_sizes(request))) == (len(acts) * (len(inits) - 1), len(acts) * len(inits))
    full = run(request)
    for name in short.data_vars:
        np.testing.assert_allclose(short[name], full[name], rtol=0, atol=tolerance, err_msg=str(name))
    slope = short.activation_log10_mean_square.isel(layer=12) - short.activation_log10_mean_square.isel(layer=1)
    assert slope.max() - slope.min() > 3  # the nets that share a computation are not alike


# Exponents without end, against NumPy in float64 with exponents that are Python integers

Array = np.ndarray
Slopes = tuple[float, float]


def gelu_slope(x: Array) -> Array:
    x = np.clip(x, -50, 50)
    t = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x**2)


def gelu(x: Array) -> Array:
    inner = np.clip(x, -50, 50)
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))


FUNCTIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array], Slopes | None, Slopes | None]] = {
    # phi, phi', slopes near 0 if phi(0) = 0, slopes far out
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0), (0, 1), (0, 1)),
    "leaky_relu": (lambda x: np.maximum(x, 0.01 * x), lambda x: np.where(x > 0, 1, 0.01), (0.01, 1), (0.01, 1)),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.exp(np.minimum(x, 0)),
        (1, 1),
        (0, 1),
    ),
    "gelu": (gelu, gelu_slope, (0.5, 0.5), (0, 1)),
    "silu": (
        lambda x: x * special.expit(x),
        lambda x: special.expit(x) * (1 + np.clip(x, -800, 800) * special.expit(-x)),
        (0.5, 0.5),
        (0, 1),
    ),
    "softplus": (lambda x: np.logaddexp(0, x), special.expit, None, (0, 1)),
    "tanh": (np.tanh, lambda x: np.cosh(np.clip(x, -300, 300)) ** -2.0, (1, 1), None),
}
GROWING, FALLING = "normal(std=10000)", "normal(std=0.0001)"
EXTREME: dict[str, Any] = {"depth": 90, "width": 32, "batch": 4}


def normalized(m: Array, e: int) -> tuple[Array, int]:
    k = int(np.floor(np.log2(np.abs(m).max())))
    return np.ldexp(m, -k), e + k


def log10_of(m: Array, e: int) -> tuple[float, float]:
    """log10 of the mean square and of the largest magnitude."""
    shift = e * np.log10(2)
    return np.log10(np.mean(m * m)) + 2 * shift, np.log10(np.abs(m).max()) + shift


def phi_and_slope(name: str, m: Array, e: int) -> tuple[Array, int, Array]:
    """phi(m 2^e) as an array and an exponent, and phi'."""
    phi, slope, near, far = FUNCTIONS[name]
    if abs(e) <= 500 or (e < 0 and near is None):
        x = np.ldexp(m, e)  # where it underflows, phi(0) is what there is
        return phi(x), 0, slope(x)
    lines = near if e < 0 else far
    assert lines is not None
    d = np.where(m > 0, lines[1], lines[0])
    return d * m, e, d


def reference(name: str, init: str, arguments: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """(log10_mean_square, log10_absmax) of each quantity from layer 1 on."""
    with jax.enable_x64(True):
        net = vp.build({"act": name, "init": init, "dtype": "float64", **arguments})
    weights = [normalized(np.asarray(p["w"]), 0) for p in net.params]
    (h, h_e), found = normalized(np.asarray(net.x), 0), {"preactivation": [], "activation": []}
    hs, slopes = [], []
    for w, w_e in weights:
        hs.append((h, h_e))
        z, z_e = normalized(h @ w, h_e + w_e)
        y, y_e, d = phi_and_slope(name, z, z_e)
        h, h_e = normalized(y, y_e)
        slopes.append(d)
        found["preactivation"].append(log10_of(z, z_e))
        found["activation"].append(log10_of(h, h_e))
    g, g_e = normalized(np.asarray(net.cotangent), 0)
    found |= {"gradient": [], "weight_gradient": []}
    for (w, w_e), (h, h_e), d in reversed(list(zip(weights, hs, slopes, strict=True))):
        delta, e = normalized(d * g, g_e)
        found["gradient"].insert(0, log10_of(delta, e))
        found["weight_gradient"].insert(0, log10_of(h.T @ delta, e + h_e))
        g, g_e = normalized(delta @ w.T, e + w_e)
    return found


KINDS = ("gelu", "softplus", "tanh")
"""One of each kind of ends: slopes that differ, none near 0, none far out."""


@cache
def extreme(acts: tuple[str, ...]) -> xr.Dataset:
    nets = {act: [FALLING] if act == "tanh" else [FALLING, GROWING] for act in acts}
    return run(request_of(nets, seeds=1, **EXTREME))


def test_functions_of_the_reference() -> None:
    """They are jax's, and their derivatives, to 1e-13."""
    x = np.concatenate([np.linspace(-30, 30, 121) + 0.01, [-1e-9, 1e-9, 200.0]])
    with jax.enable_x64(True):
        for name, (phi, slope, _, _) in FUNCTIONS.items():
            for ours, theirs in zip((phi, slope), value_and_slope(getattr(jax.nn, name), x), strict=True):
                np.testing.assert_allclose(ours(x), theirs, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "act", [act if act in KINDS else pytest.param(act, marks=pytest.mark.exhaustive) for act in FUNCTIONS]
)
def test_exponents_without_end(act: str) -> None:
    """float32 with an exponent against float64 with one: 1e-5 in log10 over 90 layers of up to 5 decades each."""
    ds = vp.select(extreme(KINDS if act in KINDS else tuple(act for act in FUNCTIONS if act not in KINDS)), act=act)
    for init in ds.init.values:
        row = vp.select(ds, act=act, init=init).isel(config=0, seed=0)
        wanted = reference(act, str(init), EXTREME)
        for quantity, pairs in wanted.items():
            ms, absmax = np.array(pairs).T
            np.testing.assert_allclose(
                row[f"{quantity}_log10_mean_square"][1:], ms, rtol=0, atol=1e-5, err_msg=quantity
            )
            if quantity != "weight_gradient":
                np.testing.assert_allclose(row[f"{quantity}_log10_absmax"][1:], absmax, rtol=0, atol=1e-5)
        decades = np.ptp(np.array(wanted["gradient"])[:, 0])  # of the mean square
        assert decades > 400
        if act != "softplus" or init == GROWING:
            assert np.ptp(np.array(wanted["activation"])[:, 0]) > 400  # float64 itself has 616
        assert np.isfinite(row.activation_log10_var.values).all()


def test_reference_in_the_range_of_float64() -> None:
    """The reference against brute force in float64, where that does not overflow: 1e-9."""
    mild = {"depth": 6, "width": 8, "batch": 3, "seeds": 1}
    for act, init in (("gelu", "normal(std=100)"), ("elu", "normal(std=0.01)"), ("silu", "he_normal")):
        plain, found = brute_force({"act": act, "init": init, **mild}), reference(act, init, mild)
        for quantity, pairs in found.items():
            np.testing.assert_allclose(
                plain[f"{quantity}_log10_mean_square"][1:], np.array(pairs)[:, 0], rtol=0, atol=1e-9
            )


def test_another_degree_leaves_the_range() -> None:
    """relu_squared doubles the exponent at each layer: right in range, and then infinite rather than wrong."""
    arguments: dict[str, Any] = {"act": "relu_squared", "depth": 9, "width": 16, "batch": 3, "seeds": 1}
    row = sweep(init="normal(std=1)", **arguments).isel(config=0, seed=0)
    with jax.enable_x64(True):
        net = vp.build({**arguments, "init": "normal(std=1)", "dtype": "float64"})
        h, logs = np.asarray(net.x), []
        for p in net.params:
            h = np.square(np.maximum(h @ np.asarray(p["w"]), 0))
            logs.append(float(np.log10(np.square(h / h.max()).mean()) + 2 * np.log10(h.max())))
    measured = row.activation_log10_mean_square.values[1:]
    finite = np.isfinite(measured)
    assert finite.argmin() == np.argmax(np.array(logs) > 2 * 38)  # RMS above 1e38
    np.testing.assert_allclose(measured[finite], np.array(logs)[finite], atol=1e-4)
    assert not np.isfinite(measured[finite.argmin() :]).any()
