"""Numbers do not depend on company, chunks, memory, workers or devices, to the bit; and exponents have no end.

What is compared to the bit are float64 datasets, NaN equal to NaN. What is compared with another computation has a
tolerance that is stated beside it.
"""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy import special

import varprobe as vp
from varprobe import cells, engine, sweep
from varprobe.activations import Activation, Behavior, behavior
from varprobe.configs import Request, read_request
from varprobe.sweeping import run

SCALES = [f"normal(std={s})" for s in (0.3, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8)]
COMPANY = {
    "tanh": SCALES,
    "gelu": ["orthogonal"],
    "relu": ["normal(mean=0.02,std=0.3)"],
    "softplus": ["sparse(density=0.3,std=0.2)"],
}
SHARED: dict[str, Any] = {"depth": 5, "seeds": 2, "bias": "normal(std=0.1)"}


def request_of(nets: dict[str, list[str]], **arguments: Any) -> Request:
    """Just these nets: no product of activations and initializers."""
    requests = [read_request(act=act, init=inits, **arguments) for act, inits in nets.items()]
    return dataclasses.replace(requests[0], configs=tuple(c for r in requests for c in r.configs))


def assert_same(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=str(name))


def assert_differ(a: xr.Dataset, b: xr.Dataset) -> None:
    """The known wrong input beside the right one: what is compared are numbers, not constants."""
    for name in ("activation_log10_ms", "gradient_log10_var", "weight_gradient_log10_ms"):
        assert not np.array_equal(a[name].values, b[name].values, equal_nan=True)


@pytest.mark.parametrize(
    "width, batch, alone, more",
    [
        (7, 1, ("tanh",), {}),
        (10, 16, ("gelu",), {}),
        (33, 3, ("relu",), {"dtype": "bfloat16"}),
        (100, 32, ("tanh",), {}),
        (33, 32, ("tanh",), {"loss": "mse"}),
        (5, 2, ("softplus",), {"loss": "cross_entropy"}),
        ("3-20", 5, ("tanh",), {"depth": None, "input_width": 1}),
        (9, 4, ("tanh",), {"dtype": "float16", "range": "dtype"}),
    ],
)
def test_alone_as_in_company(width: Any, batch: int, alone: tuple[str, ...], more: dict[str, Any]) -> None:
    """Sixteen nets of four activations and bases in one program, and one net in its own."""
    arguments = SHARED | more | {"width": width, "batch": batch}
    together = run(request_of(COMPANY, **arguments))
    for act in alone:
        init = COMPANY[act][0]
        one = run(request_of({act: [init]}, **arguments))
        assert_same(one, vp.select(together, act=act, init=init))
    assert_differ(vp.select(together, act="tanh", init=SCALES[0]), vp.select(together, act="tanh", init=SCALES[1]))


def test_alone_as_in_company_on_an_older_processor() -> None:
    """With vectors half as long, sums of the same shape run in another order; this once told one net from forty."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "company[7-1- or company[100-32-"]
    flags = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
    done = subprocess.run([*command, __file__], env=os.environ | flags, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout


WIDE: dict[str, Any] = {"width": 10, "batch": 16, **SHARED}


@pytest.fixture(scope="module")
def whole() -> xr.Dataset:
    return run(request_of(COMPANY, **WIDE))


def chunk_sizes(request: Request) -> list[int]:
    return [sum(len(nets) for nets in c.nets) for c in engine.chunks_of(list(request.configs), request.setting)]


def test_chunks_as_whole(whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nets split over cells of at most five."""
    request = request_of(COMPANY, **WIDE)
    assert chunk_sizes(request) == [16]
    monkeypatch.setattr(engine, "CELL_BYTES", 5 * 4 * 5 * 16 * 10)
    assert chunk_sizes(request) == [5, 5, 5, 1, 1, 1]  # thirteen tanh nets, in pieces of one size
    assert_same(run(request), whole)


def test_weights_drawn_again_as_kept(whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_of(COMPANY, **WIDE)
    kept = engine.chunks_of(list(request.configs), request.setting)
    assert all(chunk.program.keep_weights for chunk in kept)
    monkeypatch.setattr(engine, "WEIGHT_BYTES", 0)
    again = engine.chunks_of(list(request.configs), request.setting)
    assert not any(chunk.program.keep_weights for chunk in again)
    assert_same(run(request), whole)


def test_one_worker_as_two(whole: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (1, 2):
        monkeypatch.setattr(cells, "workers", lambda count=count: jax.local_devices()[:1] * count)
        assert_same(run(request_of(COMPANY, **WIDE)), whole)


TWO_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
import varprobe as vp
from varprobe import cells
assert len(jax.local_devices()) == int(sys.argv[1])
assert len({d.id for d in cells.workers()}) == int(sys.argv[1])
ds = vp.sweep(act="tanh", init="normal(std=0.3),orthogonal", width=33, depth=12, batch=3, seeds=4)
assert {device for _, device in cells.programs} == set(range(int(sys.argv[1])))
ds.to_netcdf(sys.argv[2], engine="h5netcdf")
"""


def test_two_devices_as_one(tmp_path: Path) -> None:
    """In processes of their own, of which each compiles anew; and chaotic nets, in which a bit would grow."""
    one = sweep(act="tanh", init="normal(std=0.3),orthogonal", width=33, depth=12, batch=3, seeds=4)
    command = [sys.executable, "-c", TWO_DEVICES, "2", str(tmp_path / "two.nc")]
    subprocess.run(command, check=True, timeout=300)
    with xr.open_dataset(tmp_path / "two.nc", engine="h5netcdf") as two:
        assert_same(two, one)
        assert json.loads(two.attrs["spec"]) == json.loads(one.attrs["spec"])


def test_same_again(whole: xr.Dataset) -> None:
    again = run(request_of(COMPANY, **WIDE))
    assert_same(again, whole)
    xr.testing.assert_identical(again, whole)
    assert_differ(whole.isel(seed=0), whole.isel(seed=1))
    assert_same(run(request_of(COMPANY, **WIDE | {"seeds": 1})), whole.isel(seed=[0]))  # more seeds change none


# Homogeneous activations: one net stands for many

HOMOGENEOUS = ["relu", "leaky_relu(0.3)", "identity"]
SHARING = ["he_normal", "glorot_normal", "normal(mean=0.02,std=0.05)", "uniform(limit=1)", "orthogonal(scale=1.4)"]


@pytest.mark.parametrize(
    "dtype, acts, inits, tolerance",
    [
        ("float32", HOMOGENEOUS, SHARING, 1e-5),  # some fifty roundings of float32 in twelve layers
        ("float64", ["relu"], SHARING[:3], 1e-12),
    ],
)
def test_homogeneity_as_full_computation(
    dtype: str, acts: list[str], inits: list[str], tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"depth": 12, "width": 32, "batch": 4, "seeds": 1, "dtype": dtype}
    request = request_of(dict.fromkeys(acts, inits), **arguments)
    fewer = sum(chunk_sizes(request))
    short = run(request)

    def without(act: Activation) -> Behavior:
        return dataclasses.replace(behavior(act), homogeneous=False)

    monkeypatch.setattr(engine, "behavior", without)
    assert (fewer, sum(chunk_sizes(request))) == (len(acts) * (len(inits) - 1), len(acts) * len(inits))
    full = run(request)
    for name in short.data_vars:
        np.testing.assert_allclose(short[name], full[name], rtol=0, atol=tolerance, err_msg=str(name))
    slope = short.activation_log10_ms.isel(layer=12) - short.activation_log10_ms.isel(layer=1)
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
    """(log10_ms, log10_absmax) of each quantity from layer 1 on."""
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


@pytest.fixture(scope="module")
def extreme() -> xr.Dataset:
    nets = {act: [FALLING] if act == "tanh" else [FALLING, GROWING] for act in FUNCTIONS}
    return run(request_of(nets, seeds=1, **EXTREME))


def test_functions_of_the_reference() -> None:
    """They are jax's, and their derivatives, to 1e-13."""
    x = np.concatenate([np.linspace(-30, 30, 121) + 0.01, [-1e-9, 1e-9, 200.0]])
    with jax.enable_x64(True):
        for name, (phi, slope, _, _) in FUNCTIONS.items():
            act = getattr(jax.nn, name)
            np.testing.assert_allclose(phi(x), act(jnp.asarray(x)), rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(slope(x), jax.vmap(jax.grad(act))(jnp.asarray(x)), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("act", FUNCTIONS)
def test_exponents_without_end(act: str, extreme: xr.Dataset) -> None:
    """float32 with an exponent against float64 with one: 1e-5 in log10 over 90 layers of up to 5 decades each."""
    for init in vp.select(extreme, act=act).init.values:
        row = vp.select(extreme, act=act, init=init).isel(config=0, seed=0)
        wanted = reference(act, str(init), EXTREME)
        for quantity, pairs in wanted.items():
            ms, absmax = np.array(pairs).T
            np.testing.assert_allclose(row[f"{quantity}_log10_ms"][1:], ms, rtol=0, atol=1e-5, err_msg=quantity)
            if quantity != "weight_gradient":
                np.testing.assert_allclose(row[f"{quantity}_log10_absmax"][1:], absmax, rtol=0, atol=1e-5)
        decades = np.ptp(np.array(wanted["gradient"])[:, 0])  # of the mean square
        assert decades > 400
        if act != "softplus" or init == GROWING:
            assert np.ptp(np.array(wanted["activation"])[:, 0]) > 400  # float64 itself has 616
        assert np.isfinite(row.activation_log10_var.values).all()


def test_reference_in_the_range_of_float64() -> None:
    """The reference against plain jax.grad in float64, where that does not overflow: 1e-9."""
    from check_all_pairs import brute_force

    mild = {"depth": 6, "width": 8, "batch": 3, "seeds": 1}
    for act, init in (("gelu", "normal(std=100)"), ("elu", "normal(std=0.01)"), ("silu", "he_normal")):
        plain, found = brute_force({"act": act, "init": init, **mild}), reference(act, init, mild)
        for quantity, pairs in found.items():
            np.testing.assert_allclose(plain[f"{quantity}_log10_ms"][1:], np.array(pairs)[:, 0], rtol=0, atol=1e-9)


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
    measured = row.activation_log10_ms.values[1:]
    finite = np.isfinite(measured)
    assert finite.argmin() == np.argmax(np.array(logs) > 2 * 38)  # RMS above 1e38
    np.testing.assert_allclose(measured[finite], np.array(logs)[finite], atol=1e-4)
    assert not np.isfinite(measured[finite.argmin() :]).any()


# Other formats


@pytest.fixture(scope="module")
def formats() -> dict[str, xr.Dataset]:
    nets = {"relu": ["he_normal"], "tanh": ["glorot_normal"]}
    arguments: dict[str, Any] = {"depth": 10, "width": 64, "batch": 8, "seeds": 4, "bias": "normal(std=0.01)"}
    return {dtype: run(request_of(nets, dtype=dtype, **arguments)) for dtype in ("float32", "bfloat16", "float16")}


@pytest.mark.parametrize("dtype, bits", [("bfloat16", 8), ("float16", 11)])
def test_half_precision(dtype: str, bits: int, formats: dict[str, xr.Dataset]) -> None:
    """Near float32, and not equal to it.

    Each layer rounds signal and weights to a relative 2^-bits, independently in each of 512 entries; in ten layers and
    back, log10 of a mean square then shifts by less than 2 * 2^-bits. The gradient of relu is left out: where rounding
    turns the sign of a preactivation near 0, it changes at once.
    """
    exact, found = formats["float32"], formats[dtype]
    for act in ("relu", "tanh"):
        a, b = vp.select(exact, act=act), vp.select(found, act=act)
        for name in ("preactivation", "activation", *(["gradient", "weight_gradient"] if act == "tanh" else [])):
            for statistic in ("log10_ms", "log10_var"):
                difference = np.abs(b[f"{name}_{statistic}"] - a[f"{name}_{statistic}"]).max()
                assert 2.0**-bits / 100 < difference < 2 * 2.0**-bits, (act, name)
    assert found.dtype.values.tolist() == [dtype] * 2


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
    ms, absmax = real.activation_log10_ms.values[1:], real.activation_log10_absmax.values[1:]
    assert np.argmax(~np.isfinite(absmax)) == np.argmax(lost)
    before = slice(0, int(np.argmax(lost)) - (2 if "0.02" in init else 0))  # subnormal numbers have fewer bits
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(ms[before], [np.log10(np.mean(a * a)) for a in plain[before]], atol=0.01)
    assert np.isneginf(absmax).any() == ("0.02" in init)
    free = sweep(seeds=1, **arguments).isel(config=0, seed=0)
    assert np.isfinite(free.activation_log10_ms.values).all()
    np.testing.assert_allclose(free.activation_log10_ms.values[1:][before], ms[before], atol=0.01)


def test_correlation_of_one_sample_left_is_not_a_number() -> None:
    """With weights of one sign ReLU zeroes whole samples; where fewer than two are left there is no pair."""
    ds = sweep(act="relu", init="ones,constant(value=0.1)", depth=5, width=6, batch=3, seeds=24)
    for name in ("activation_correlation", "gradient_correlation"):
        values = ds[name].values[..., 1:]
        assert np.isnan(values).any() and not np.isinf(values).any()
        assert (np.abs(values[~np.isnan(values)]) <= 1 + 1e-5).all()
