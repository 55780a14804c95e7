"""A net's bits depend on nothing but the net: not on its company, the chunk, the memory, the workers or the run."""

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe import cells, engine

INITS = ["normal(std=0.3)", "normal(std=0.2)", "normal(mean=0.02,std=0.3)", "orthogonal", "he_uniform", "glorot_normal"]
SHAPE = {"depth": 6, "seeds": 2, "batch": 5, "width": 33}


def assert_same_bits(a: xr.Dataset, b: xr.Dataset) -> None:
    for name in a.data_vars:
        np.testing.assert_array_equal(a[name].values, b[name].values, err_msg=name)


@pytest.fixture(scope="module")
def together() -> xr.Dataset:
    return vp.sweep(act="tanh,gelu,relu", init=INITS, **SHAPE)


@pytest.mark.parametrize(("act", "init"), [("tanh", "normal(std=0.3)"), ("gelu", "orthogonal"), ("relu", "he_uniform")])
def test_a_net_alone_has_the_bits_that_it_has_in_company(together, act, init):
    assert_same_bits(vp.sweep(act=act, init=init, **SHAPE), vp.select(together, act=act, init=init))


def test_chunks_do_not_change_bits(together, monkeypatch):
    monkeypatch.setattr(engine, "CELL_BYTES", 4 * 33 * 5 * 6)
    split = vp.sweep(act="tanh", init=INITS[:2], **SHAPE)  # one block of two nets, one net a chunk
    assert_same_bits(split, vp.select(together, act="tanh", init=INITS[:2]))


def test_weights_drawn_again_are_the_weights_kept(together, monkeypatch):
    monkeypatch.setattr(engine, "WEIGHT_BYTES", 0)
    assert_same_bits(vp.sweep(act="tanh,gelu,relu", init=INITS, **SHAPE), together)


def test_one_worker_gives_the_bits_of_several(together, monkeypatch):
    monkeypatch.setattr(cells, "workers", lambda: cells.jax.local_devices()[:1])
    assert_same_bits(vp.sweep(act="tanh,gelu,relu", init=INITS, **SHAPE), together)


def test_two_devices_give_the_bits_of_one(together, tmp_path):
    script = f"""
import jax
jax.config.update("jax_num_cpu_devices", 2)
import varprobe as vp
ds = vp.sweep(act="tanh", init="normal(std=0.3)", **{SHAPE!r})
assert len(jax.local_devices()) == 2
ds.to_netcdf({str(tmp_path / "two.nc")!r}, engine="h5netcdf")
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
    with xr.open_dataset(tmp_path / "two.nc", engine="h5netcdf") as two:
        assert_same_bits(two.load(), vp.select(together, act="tanh", init="normal(std=0.3)"))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("float64", 1e-11)])
def test_homogeneous_nets_equal_the_full_computation(monkeypatch, dtype, tolerance):
    # 20 layers of float32 rounding, 1e-7 each at worst in the same direction, are 2e-6 of log10; factor 10 in reserve.
    arguments = {"act": "relu,leaky_relu(negative_slope=0.2),identity", "init": ["he_normal", "normal(std=3)"]}
    arguments |= {"depth": 20, "width": 24, "batch": 4, "seeds": 2, "dtype": dtype}
    short = vp.sweep(**arguments)
    found = engine.behavior
    monkeypatch.setattr(
        engine, "behavior", lambda act: found(act).__class__(found(act).near, found(act).far, False, False)
    )
    full = vp.sweep(**arguments)
    for name in ("activation_log10_ms", "gradient_log10_ms", "weight_gradient_log10_ms", "activation_log10_absmax"):
        np.testing.assert_allclose(short[name].values, full[name].values, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("act", ["gelu", "elu", "silu", "softplus", "tanh"])
@pytest.mark.parametrize("std", [0.01, 3.0])
def test_float32_mantissas_follow_float64_far_outside_its_range(act, std):
    # Both dtypes draw the same bases; float64 differs by rounding only, which chaotic nets (tanh, std 3) amplify to 0.2% and more.
    arguments = {"act": act, "init": f"normal(std={std})", "depth": 12, "width": 32, "batch": 4, "seeds": 1}
    single, double = (vp.sweep(dtype=d, **arguments) for d in ("float32", "float64"))
    tolerance = 1e-2 if (act, std) == ("tanh", 3.0) else 1e-4
    for name in ("activation_log10_ms", "gradient_log10_ms"):
        np.testing.assert_allclose(single[name].values, double[name].values, atol=tolerance, err_msg=name)


def test_values_beyond_every_float_are_measured():
    ds = vp.sweep(act="gelu", init="normal(std=1e-30),normal(std=1e30)", depth=30, width=16, batch=4, seeds=1)
    log_ms = ds["activation_log10_ms"].values[:, 0, -1]
    assert log_ms[0] < -1500 and log_ms[1] > 1500  # 30 layers of 1e-60 and 1e60, where float32 ends at 1e-45 and 1e38
    assert np.isfinite(ds["gradient_log10_ms"].values[:, :, 1:]).all()


def test_real_half_precision_overflows_where_plain_half_precision_does():
    arguments = {"act": "relu", "init": "normal(std=1)", "depth": 12, "width": 64, "batch": 4}
    arguments |= {"dtype": "float16", "range": "dtype"}
    ds = vp.sweep(seeds=1, **arguments)
    measured = np.flatnonzero(~np.isfinite(ds["preactivation_log10_absmax"].values[0, 0, 1:]))[0] + 1
    net = vp.build(arguments, 0)
    h, plain = net.x, None
    for layer, p in enumerate(net.params, start=1):
        z = h @ p["w"] + p["b"]
        if plain is None and not np.isfinite(np.asarray(z, np.float32)).all():
            plain = layer
        h = np.maximum(z, 0)
    assert measured == plain


def test_the_same_request_gives_the_same_bits_and_another_root_seed_does_not():
    arguments = {"init": "he_normal", "depth": 3, "width": 16, "batch": 4, "seeds": 2}
    one, again, other = (vp.sweep(root_seed=s, **arguments) for s in (1, 1, 2))
    assert_same_bits(one, again)
    assert (one["activation_log10_ms"].values != other["activation_log10_ms"].values).all()
    assert (one["activation_log10_ms"].values[:, 0] != one["activation_log10_ms"].values[:, 1]).all()
