"""What a stack can be asked for beside activation and initializer, and the dataset that comes back."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.nets.data import load_source

QUANTITIES = ("preactivation", "activation", "gradient", "weight_gradient")
STATISTICS = ("log10_mean_square", "log10_var", "mean_over_rms", "log10_absmax")
OTHERS = {
    "weight_log10_mean_square",
    "activation_zero_fraction",
    "dead_unit_fraction",
    "saturated_fraction",
    "activation_correlation",
    "gradient_correlation",
}
BACKWARD = {f"{q}_{s}" for q in QUANTITIES[2:] for s in STATISTICS} | {"gradient_correlation"}
COORDINATES = ("arch", "act", "init", "bias", "norm", "depth", "width", "batch", "loss", "dtype")
GRID: dict[str, Any] = {"act": "relu,tanh", "init": "he_normal,normal(std=0.10)", "width": 8, "batch": 3}


@pytest.fixture(scope="module")
def grid() -> xr.Dataset:
    return vp.sweep(depth=[2, 4], seeds=3, root_seed=3, **GRID)


# The dataset


def test_dims_and_variables(grid: xr.Dataset) -> None:
    assert dict(grid.sizes) == {"config": 8, "seed": 3, "layer": 5}
    assert {f"{q}_{s}" for q in QUANTITIES for s in STATISTICS} | OTHERS <= set(map(str, grid.data_vars))
    for name, variable in grid.data_vars.items():
        assert variable.dims == ("config", "seed", "layer"), name
        assert variable.dtype == np.float64
        assert variable.attrs["long_name"]


def test_coordinates(grid: xr.Dataset) -> None:
    for name in COORDINATES:
        assert grid[name].dims == ("config",)
    for name, size in (("seed", 3), ("layer", 5)):
        assert grid[name].dtype.kind == "i" and grid.indexes[name].tolist() == list(range(size))
    rows = [tuple(grid[name].values[i] for name in ("act", "depth", "init")) for i in range(8)]
    inits = ["he_normal", "normal(std=0.1)"]
    assert rows == [(a, d, i) for a in ("relu", "tanh") for d in (2, 4) for i in inits]
    expected = {"arch": "plain", "bias": "zeros", "norm": "none", "width": 8, "batch": 3, "loss": "cotangent"}
    for name, value in {**expected, "dtype": "float32"}.items():
        assert set(grid[name].values.tolist()) == {value}
    assert grid.depth.dtype.kind == grid.width.dtype.kind == grid.batch.dtype.kind == "i"


def test_what_does_not_apply_is_nan(grid: xr.Dataset) -> None:
    """Layer 0 is the input and has an activation only; depths that differ are padded."""
    of_input = {f"activation_{s}" for s in STATISTICS} | {"activation_correlation"}
    shallow = vp.select(grid, depth=2)
    for name in grid.data_vars:
        assert np.isnan(grid[name].isel(layer=0)).all() == (name not in of_input), name
        assert np.isnan(shallow[name].isel(layer=slice(3, None))).all()
    deep = vp.select(grid, depth=4).isel(layer=slice(1, None))
    for quantity in QUANTITIES:
        for statistic in STATISTICS:
            missing = quantity == "weight_gradient" and statistic == "log10_absmax"  # its matrix is not formed here
            assert np.isnan(deep[f"{quantity}_{statistic}"]).all() == missing
            assert missing or np.isfinite(deep[f"{quantity}_{statistic}"]).all()


def test_attributes_repeat_the_run(grid: xr.Dataset) -> None:
    assert all(isinstance(value, str | int) for value in grid.attrs.values())
    spec = json.loads(grid.attrs["spec"])
    names = ("act", "init", "bias", "depth", "width", "batch", "seeds", "root_seed", "data", "loss", "dtype", "range")
    again = vp.sweep(**{name: spec[name] for name in names})
    xr.testing.assert_identical(again, grid)


def test_seeds_and_root_seeds(grid: xr.Dataset) -> None:
    values = grid.activation_log10_mean_square.isel(layer=slice(0, 3)).values
    for other in (1, 2):  # weights and data are drawn anew
        assert (values[:, 0] != values[:, other]).all()
    other = vp.sweep(depth=[2, 4], seeds=1, root_seed=4, **GRID).activation_log10_mean_square.values[:, 0, :3]
    assert (other != values[:, 0]).all()


def test_select(grid: xr.Dataset) -> None:
    assert vp.select(grid, init="he_normal").sizes == {"config": 4, "seed": 3, "layer": 5}
    one = vp.select(grid, init="he_normal", depth=4, act="tanh")
    assert one.sizes["config"] == 1
    xr.testing.assert_identical(one, grid.isel(config=[6]))
    assert vp.select(grid, depth=[2, 4], act=["relu"]).sizes["config"] == 4
    with pytest.raises(InvalidArgumentError, match="unknown coordinate 'initt'; did you mean 'init'?"):
        vp.select(grid, initt="he_normal")
    with pytest.raises(InvalidArgumentError, match="no configuration has init=he_norml"):
        vp.select(grid, init="he_norml")
    with pytest.raises(InvalidArgumentError, match="no configuration has depth=3"):
        vp.select(grid, depth=3)
    with pytest.raises(InvalidArgumentError, match="no configuration has depth=2"):
        vp.select(grid, act="tanh", depth=4).pipe(vp.select, depth=2)


def test_build_takes_a_row(grid: xr.Dataset) -> None:
    """The net of `ds.isel(config=i)` is that of the arguments, whose numbers the dataset holds (float32: 1e-5)."""
    row = grid.isel(config=7)
    ours, theirs = vp.build(row, seed=2), vp.build({**GRID, "act": "tanh", "init": "normal(std=0.1)", "depth": 4,
                                                    "root_seed": 3}, seed=2)  # fmt: skip
    assert jax.tree.map(np.shape, ours.params) == jax.tree.map(np.shape, theirs.params)
    for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(theirs.params), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(ours.x, theirs.x)
    np.testing.assert_array_equal(ours.cotangent, theirs.cotangent)
    expected = np.log10(np.mean(np.square(ours.apply(ours.params, ours.x))))
    assert float(row.activation_log10_mean_square[2, 4]) == pytest.approx(float(expected), abs=1e-5)
    assert float(row.activation_log10_mean_square[1, 4]) != pytest.approx(float(expected), abs=1e-3)
    with pytest.raises(InvalidArgumentError, match="this dataset has 8"):
        vp.build(grid)
    with pytest.raises(InvalidArgumentError, match="these arguments describe 4"):
        vp.build({**GRID, "depth": 4})


# Shapes


def shapes(**arguments: Any) -> list[tuple[int, ...]]:
    return [p["w"].shape for p in vp.build({"act": "relu", "init": "ones", "batch": 1, **arguments}).params]


def test_profiles() -> None:
    """The widths of layers 1 to L, which fix the depth; the input is as wide as layer 1 unless it is said."""
    assert shapes(width="784-512-256") == [(784, 784), (784, 512), (512, 256)]
    assert shapes(width="5-3", input_width=7) == [(7, 5), (5, 3)]
    assert shapes(width=4, depth=2, input_width=7) == [(7, 4), (4, 4)]
    assert shapes(width="5-3", depth=2) == [(5, 5), (5, 3)]
    with pytest.raises(InvalidArgumentError, match="^depth: 3 does not fit the profile 5-3"):
        shapes(width="5-3", depth=3)
    with pytest.raises(InvalidArgumentError, match="width"):
        shapes(width="5-0")


@pytest.mark.exhaustive
def test_a_profile_is_measured() -> None:
    """ones: every preactivation is the sum of all inputs, so layer 2 is exactly 5 and layer 3 exactly 15 times layer 1."""
    profile = "5-3-4"
    ds = vp.sweep(
        width=[profile, 6], depth=3, act="identity", init="ones", batch=2, seeds=1, input_width=7, forward_only=True
    )
    assert ds.width.values.tolist() == [profile, "6"] and ds.depth.values.tolist() == [3, 3]
    net = vp.build({"width": profile, "act": "identity", "init": "ones", "batch": 2, "input_width": 7})
    first = np.log10(np.mean(np.square(np.asarray(net.x, np.float64).sum(1))))
    expected = {profile: [0, np.log10(5), np.log10(15)], "6": [0, np.log10(6), np.log10(36)]}
    for width, logs in expected.items():
        row = vp.select(ds, width=width).activation_log10_mean_square.values[0, 0]
        np.testing.assert_allclose(row[1:], first + 2 * np.array(logs), atol=1e-5)  # float32
    assert json.loads(ds.attrs["widths"]) == [[7, 5, 3, 4], [7, 6, 6, 6]]


def test_first_and_last_layers() -> None:
    """Constants show whose initializer is whose; init_last is the read-out's as well."""
    arguments: dict[str, Any] = {"act": "tanh", "depth": 4, "width": 3, "batch": 2, "loss": "mse", "seeds": 1}
    inits = {"init": "constant(value=0.1)", "init_first": "constant(value=10)", "init_last": "constant(value=0.001)"}
    ds = vp.sweep(**arguments, **inits, forward_only=True)
    np.testing.assert_allclose(ds.weight_log10_mean_square.values[0, 0, 1:], [2, -2, -2, -6], atol=1e-6)
    assert ds.init_first.values.tolist() == ["constant(value=10)"]
    assert ds.init_last.values.tolist() == ["constant(value=0.001)"]
    for net in (vp.build({**arguments, **inits}), vp.build(ds)):
        values = [float(p["w"][0, 0]) for p in net.params]
        np.testing.assert_allclose(values, [10, 0.1, 0.1, 0.001, 0.001], rtol=1e-6)
    without = vp.build({**arguments, "init": "constant(value=0.1)"})
    assert all(p["w"][0, 0] == np.float32(0.1) for p in without.params)


def test_layerwise_and_shapewise_numbers() -> None:
    ds = vp.sweep(act="relu", init="constant(value=layer)", depth=3, width=4, batch=2, seeds=1, forward_only=True)
    np.testing.assert_allclose(ds.weight_log10_mean_square.values[0, 0, 1:], np.log10([1, 4, 9]), atol=1e-6)
    net = vp.build({"act": "relu", "init": "constant(fan_in/fan_out)", "width": "6-3-2", "batch": 1, "input_width": 4})
    assert [float(p["w"][0, 0]) for p in net.params] == pytest.approx([4 / 6, 2, 1.5])


@pytest.mark.exhaustive
def test_sigma_grid() -> None:
    """Var W = sigma_w2 / fan_in and Var b = sigma_b2: the mean square of 48^2 normal weights is theirs to 3%, one sd."""
    ds = vp.sweep(
        act="tanh", sigma_w2="1:3:3", sigma_b2=[0, 0.25], depth=2, width=48, batch=2, seeds=1, forward_only=True
    )
    assert ds.sizes["config"] == 6
    inits = [f"variance_scaling(scale={s},mode=fan_in,distribution=normal)" for s in (1, 2, 3)]
    assert list(dict.fromkeys(ds.init.values.tolist())) == inits
    assert list(dict.fromkeys(ds.bias.values.tolist())) == ["normal(var=0)", "normal(var=0.25)"]
    for i, s in enumerate((1, 2, 3)):
        measured = 10 ** vp.select(ds, init=inits[i]).weight_log10_mean_square.values[:, 0, 1:] * 48
        np.testing.assert_allclose(measured, s, rtol=0.12)
    biases = vp.build(ds.isel(config=5)).params[0]["b"]
    assert float(np.mean(np.square(biases))) == pytest.approx(0.25, rel=4 * np.sqrt(2 / 48))


# Data


@pytest.mark.exhaustive
def test_digits() -> None:
    """Rows of scikit-learn's digits, none twice, other ones for another seed; the first layer takes their width."""
    rows = load_source("digits").rows
    assert rows is not None
    ds = vp.sweep(act="relu", init="he_normal", depth=2, width=8, batch=20, seeds=2, data="digits", forward_only=True)
    drawn = []
    for seed in (0, 1):
        net = vp.build(ds.isel(config=0), seed)
        assert net.x.shape == (20, 64) and net.params[0]["w"].shape == (64, 8)
        x = np.asarray(net.x, np.float64)
        where = [int(np.flatnonzero((rows == sample).all(1))[0]) for sample in x]  # sixteenths: exact in float32
        assert len(set(where)) == 20
        drawn.append(set(where))
        expected = np.log10(np.mean(x**2))
        assert float(ds.activation_log10_mean_square[0, seed, 0]) == pytest.approx(expected, abs=1e-6)
    assert len(drawn[0] & drawn[1]) < 5
    assert "digits / 16 (1797 x 64)" in ds.attrs["data_description"]


def test_file_with_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels go with their rows: class = row number, so the cotangent says which class each sample has."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(12.0).reshape(6, 2) / 10)
    np.save("y.npy", np.arange(6))
    config = {"act": "tanh", "init": "he_normal", "depth": 2, "width": 4, "batch": 6, "data": "x.npy"}
    net = vp.build({**config, "labels": "y.npy", "loss": "cross_entropy"})
    p = jax.nn.softmax(net.apply(net.params, net.x))
    hot = np.asarray(p) - 6 * np.asarray(net.cotangent)  # (p - one_hot) / batch
    assert sorted(hot.argmax(1).tolist()) == list(range(6))
    np.testing.assert_allclose(hot, np.eye(6)[hot.argmax(1)], atol=1e-6)
    np.testing.assert_allclose(net.x, np.load("x.npy")[hot.argmax(1)], rtol=1e-6)
    targets = vp.build({**config, "labels": "y.npy", "loss": "mse"})
    output = np.asarray(targets.apply(targets.params, targets.x))[:, 0]
    wanted = output - np.asarray(targets.cotangent)[:, 0] * 6 / 2
    np.testing.assert_allclose(targets.x[:, 0] * 5, wanted, atol=1e-5)  # x = 0.2 y
    with pytest.raises(InvalidArgumentError, match="^batch: 7 samples"):
        vp.build({**config, "batch": 7})
    with pytest.raises(InvalidArgumentError, match="^input_width: 3 does not fit"):
        vp.build({**config, "input_width": 3})


@pytest.mark.parametrize("data, ms", [("normal", 1), ("uniform", 1 / 3), ("sphere", 1)])
def test_random_data(data: str, ms: float) -> None:
    x = np.asarray(vp.build({"act": "relu", "init": "ones", "depth": 1, "width": 64, "batch": 256, "data": data}).x)
    assert np.mean(x**2) == pytest.approx(ms, rel=4 * np.sqrt(2 / x.size) if data != "sphere" else 1e-6)
    assert (np.abs(x).max() <= 1) == (data == "uniform")


# Losses and directions


TANH: dict[str, Any] = {"act": "tanh", "init": "he_normal", "depth": 2, "width": 8, "batch": 6, "seeds": 2}


@pytest.fixture(scope="module")
def both_ways() -> xr.Dataset:
    return vp.sweep(**TANH)


def test_forward_only(both_ways: xr.Dataset) -> None:
    """Without gradients the rest is the same: float32, 1e-6."""
    forward = vp.sweep(forward_only=True, **TANH)
    for name in both_ways.data_vars:
        if name in BACKWARD or name.startswith(("theory_gradient", "theory_weight")):
            assert np.isnan(forward[name]).all()
        else:
            np.testing.assert_allclose(forward[name], both_ways[name], rtol=0, atol=1e-6, err_msg=str(name))
    assert np.isfinite(both_ways.gradient_log10_mean_square.isel(layer=slice(1, None))).all()


def test_losses_differ_in_the_gradient_only(both_ways: xr.Dataset) -> None:
    """Same weights, same forward pass. A mean over 6 samples of gradients below 1 is far below a sum of N(0, 1)."""
    ds = vp.sweep(loss="cross_entropy", **TANH)
    assert (both_ways.loss.values.tolist(), ds.loss.values.tolist()) == (["cotangent"], ["cross_entropy"])
    difference = ds - both_ways
    assert float(np.abs(difference.activation_log10_mean_square).max()) < 1e-6
    assert float(difference.gradient_log10_mean_square.max()) < np.log10(1 / 36)
    outputs = {loss: vp.build({**TANH, "loss": loss}).cotangent.shape for loss in ("cotangent", "mse", "cross_entropy")}
    assert outputs == {"cotangent": (6, 8), "mse": (6, 1), "cross_entropy": (6, 10)}
