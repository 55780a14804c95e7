"""Residual stacks, norms and dropout: every number against jax.grad on the very net, and the laws of growth."""

import functools
from typing import Any

import jax
import numpy as np
import pytest

import varprobe as vp

DEPTH, SEEDS = 3, 2
SMALL = {"depth": DEPTH, "width": 24, "batch": 6, "seeds": SEEDS, "dtype": "float64", "bias": "normal(var=0.1)"}
INITS = ["normal(mean=0.05,std=0.2)", "orthogonal"]
exhaustive = pytest.mark.exhaustive


def log10_mean_square(x: Any) -> float:
    return float(np.log10(np.square(np.asarray(x, np.float64)).mean()))


def check_against_grad(of: Any, net: Any, loss: str) -> None:
    """The output, the weights and their gradients, of every matrix of every layer."""

    def value(params: Any) -> Any:
        out = net.apply(params, net.x)
        return (out * net.cotangent).sum(), out

    gradient, out = jax.jit(jax.grad(value, has_aux=True))(net.params)
    for layer in range(1, DEPTH + 1):
        for name in (k for k in net.params[0] if not k.startswith("b")):
            prefix, at = "" if name == "w" else f"{name}_", of.isel(layer=layer)
            w, found = (np.asarray(p[layer - 1][name]) for p in (net.params, gradient))
            expected = {
                "weight_log10_mean_square": log10_mean_square(w),
                "weight_gradient_log10_mean_square": log10_mean_square(found),
                "weight_gradient_mean_over_rms": found.mean() / np.sqrt(np.square(found).mean()),
            }
            for variable, value in expected.items():
                assert float(at[f"{prefix}{variable}"]) == pytest.approx(float(value), abs=1e-9)
    if loss == "cotangent":
        assert float(of.activation_log10_mean_square[-1]) == pytest.approx(log10_mean_square(out), abs=1e-9)


@pytest.mark.parametrize(
    "network",
    [
        {"arch": "plain(order=pre)", "norm": "layer"},
        {"arch": "residual", "norm": "batch", "dropout": 0.3},
        {"arch": "residual(branch_layers=1,branch_scale=1/layer)", "norm": "rms(position=post)", "loss": "mse"},
        {"arch": "residual(branch_layers=1,order=pre)", "norm": "group(groups=4)"},
        pytest.param(
            {
                "arch": "residual(order=pre)",
                "norm": "group(groups=4)",
                "data": "digits",
                "loss": "cross_entropy",
                "init": INITS,
            },
            marks=exhaustive,
        ),
        pytest.param({"arch": "residual(branch_layers=1,order=pre)", "init": INITS}, marks=exhaustive),
    ],
    ids=lambda network: network["arch"],
)
def test_equals_jax_grad(network: dict[str, Any]) -> None:
    request = {"loss": "cotangent", "act": "tanh", "init": INITS[:1]} | SMALL | network
    with jax.enable_x64(True):
        ds = vp.sweep(**request)
        built = {k: v for k, v in request.items() if k != "seeds"}
        for config, init in enumerate(request["init"]):
            net, again = vp.build(built | {"init": init}, 1), vp.build(ds.isel(config=config), 1)
            check_against_grad(ds.isel(config=config, seed=1), net, request["loss"])
            jax.tree.map(np.testing.assert_array_equal, again.params, net.params)


def growth(ds: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(factor, standard error of its log10) forward, and backward, of every configuration; from layer to layer."""
    h, g = (ds[f"{name}_log10_mean_square"].values[:, :, 1:] for name in ("activation", "gradient"))
    steps = (h[:, :, -1] - h[:, :, 0], g[:, :, 0] - g[:, :, -1])
    layers = h.shape[2] - 1
    return tuple(
        part for s in steps for part in (10 ** (s.mean(1) / layers), s.std(1, ddof=1) / np.sqrt(s.shape[1]) / layers)
    )


WIDTH = 256
SIGMA_W2 = [0.5, 1.0, 1e60, 1e-60]


@functools.cache
def of_relu(arch: str) -> Any:
    return vp.sweep(arch=arch, act="relu", sigma_w2=SIGMA_W2, depth=6, width=WIDTH, batch=16, seeds=8)


@pytest.mark.parametrize(
    "arch, share",
    [
        ("residual", 0.5),
        pytest.param("residual(branch_scale=0.5)", 0.125, marks=exhaustive),
        pytest.param("residual(order=pre)", 0.25, marks=exhaustive),
        pytest.param("residual(branch_layers=1,order=pre)", 0.5, marks=exhaustive),
    ],
)
def test_relu_branches_grow_by_their_law(arch: str, share: float) -> None:
    """Per block 1 + share sigma_w^2 (sigma_v^2 = sigma_w^2 in two layers); the drift is of order 1 / width."""
    power = 1 if "branch_layers=1" in arch else 2
    expected = 1 + share * np.array(SIGMA_W2[:2]) ** power
    for factor, error in np.array(growth(of_relu(arch).isel(config=slice(2)))).reshape(2, 2, -1):
        drift = 5 / (2 * WIDTH) / np.log(10)
        assert np.all(np.abs(np.log10(factor / expected)) < 4 * error + drift), (factor, expected)


def test_scales_far_from_any_float() -> None:
    """The stream's logarithm grows by log10 of sigma^2 share a block where the branch is all of it."""
    ds = of_relu("residual").isel(config=slice(2, None))
    factor, _, back, _ = growth(ds)
    assert np.log10(factor[0]) == pytest.approx(120 + np.log10(0.5), abs=0.5)
    assert np.log10(back[0]) == pytest.approx(120 + np.log10(0.5), abs=0.5)
    assert factor[1] == back[1] == 1
    assert ds.branch_log10_mean_square.values[1, :, 1:] == pytest.approx(-120 + np.log10(0.5), abs=0.5)
    assert ds.branch_share.values[1, :, 1:] == pytest.approx(0, abs=1e-30)
    assert ds.branch_gradient_log10_mean_square.values[1] == pytest.approx(
        ds.gradient_log10_mean_square.values[1], abs=1e-6, nan_ok=True
    )
    for name in ("v_weight_gradient", "weight_gradient"):  # of order V g x, V being 1e-30, and phi(W x) g
        assert ds[f"{name}_log10_mean_square"].values[1, :, 1:] == pytest.approx(-60 + np.log10(4 / 2), abs=1)


@pytest.mark.parametrize(
    "norm",
    ["batch(eps=0)", *(pytest.param(f"{n}eps=0)", marks=exhaustive) for n in ("layer(", "rms(", "group(groups=8,"))],
)
def test_norms_hold_the_signal_and_ignore_the_scale_of_the_weights(norm: str) -> None:
    """What the weights' scale does to z the norm undoes; the gradient of z is larger by as much as z is smaller."""
    ds = vp.sweep(norm=norm, act="relu", depth=3, width=32, batch=8, seeds=2, sigma_w2=[1e-30, 1.0, 1e30])
    h, z, g = (ds[f"{name}_log10_mean_square"].values[:, :, 1:] for name in ("activation", "preactivation", "gradient"))
    assert np.ptp(h, axis=0) == pytest.approx(0, abs=1e-5)
    assert np.diff(z, axis=0) == pytest.approx(30, abs=1e-4)
    assert np.diff(g, axis=0) == pytest.approx(-30, abs=1e-4)


def test_eps_outweighs_a_small_signal() -> None:
    """Far below sqrt(eps) a norm divides by sqrt(eps): the signal stays what it was, times 1 / sqrt(eps)."""
    ds = vp.sweep(norm="layer(eps=1e-5)", act="identity", depth=1, width=64, batch=4, seeds=1, sigma_w2=[1e-40, 1e-200])
    z, h = (ds[f"{name}_log10_mean_square"].values[:, 0, 1] for name in ("preactivation", "activation"))
    centered = ds.preactivation_log10_var.values[:, 0, 1]
    assert h - z == pytest.approx([5, 5], abs=0.05)
    assert h - centered == pytest.approx([5, 5], abs=0.05)


@pytest.mark.parametrize("dropout", [0.5, pytest.param([0, 0.9], marks=exhaustive)])
def test_dropout_keeps_the_mean_square_of_what_it_keeps(dropout: Any) -> None:
    """Inverted dropout multiplies E h^2 by 1 / (1 - p), for z the next layer's 1 / (1 - p) is the law."""
    ds = vp.sweep(act="identity", dropout=dropout, init="orthogonal", depth=5, width=128, batch=16, seeds=8)
    factor, error, *_ = growth(ds)
    assert np.all(np.abs(np.log10(factor * (1 - np.array(dropout)))) < 4 * error + 1e-3)
    assert ds.dropout.values.tolist() == np.atleast_1d(dropout).tolist()


@exhaustive
def test_a_batch_normalized_branch_adds_one_a_block() -> None:
    """Identity branches of variance 1: E x_l^2 = 1 + l (De & Smith 2020)."""
    ds = vp.sweep(
        arch="residual(branch_layers=1)",
        norm="batch(eps=0)",
        act="identity",
        init="he_normal",
        depth=8,
        width=512,
        batch=32,
        seeds=4,
    )
    grown = 10 ** ds.activation_log10_mean_square.values[0].mean(0)
    assert grown == pytest.approx(grown[0] + np.arange(9), rel=0.02)


@pytest.mark.parametrize("forward_only", [True, pytest.param(False, marks=exhaustive)])
def test_mixed_runs_are_resumed_and_rebuilt(forward_only: bool, tmp_path: Any) -> None:
    """Cells of architectures with other variables share a folder."""
    request = {"arch": "plain,residual", "init": "he_normal", "depth": 2, "width": 8, "batch": 4, "seeds": 2}
    ds = vp.sweep(**request, forward_only=forward_only, out=tmp_path / "run")
    (tmp_path / "run" / "results.nc").unlink()
    with pytest.warns(UserWarning, match="its cells are read instead"):
        again = vp.open_run(tmp_path / "run")
    measured = [name for name in again.data_vars if not str(name).startswith("theory_")]
    assert "branch_log10_mean_square" in measured
    for name, where in (("gradient", ...), ("branch_gradient", 1), ("v_weight_gradient", 1)):
        assert np.isfinite(ds[f"{name}_log10_mean_square"].values[where][..., 1:]).all() != forward_only
    for name in measured:
        np.testing.assert_array_equal(again[name].values, ds[name].values)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"arch": "residul"}, "unknown architecture 'residul'; did you mean 'residual'?"),
        ({"arch": "residual(branch_layers=3)"}, "branch_layers=3 is not allowed (allowed: 2, 1)"),
        ({"arch": "residual(branch_scale=1/(layer-1))"}, "divides by zero at layer=1"),
        ({"arch": "residual", "width": "8-4"}, "every block of residual keeps the width of its input"),
        ({"norm": "bach"}, "unknown norm 'bach'; did you mean 'batch'?"),
        ({"norm": "batch", "batch": 1}, "a batch of one sample has no variance"),
        ({"norm": "group(groups=3)", "width": 8}, "3 groups do not divide 8 units"),
        ({"norm": "layer(eps=-1)"}, "eps=-1 is not allowed (allowed: numbers from 0 to 1e+30)"),
        ({"norm": "layer(position=mid)"}, "unknown position 'mid' (allowed: pre, post)"),
        ({"dropout": 1}, "1 is out of range (allowed: numbers from 0 to 0.999)"),
        ({"dropout": [0.1, 2]}, "2 is out of range"),
        ({"arch": len}, "is not a name"),
        ({"arch": "own.py"}, "'own.py' is not of the form FILE.py:NAME"),
        ({"arch": "plain(post,pre)"}, "arch: plain(post,pre): 'order' is given twice"),
        ({"arch": "conv(size=1e200)"}, "size=1e+200 is not allowed (allowed: whole numbers from 1 to 1048576)"),
        ({"arch": "residual(branch_scale=1e39)"}, "branch_scale is 1e+39 in layer 1 (allowed: 0 and magnitudes"),
        ({"arch": "residual", "init": "skipinit(alpha=1e300)"}, "init: branch_scale is 1e+300 in layer 1"),
        ({"arch": "residual", "input_width": 5}, "input_width: the data of residual have the width of its blocks"),
        ({"arch": "transformer(heads=2)", "width": 8, "init_mlp": "skipinit"}, "init_mlp: skipinit sets the branch_"),
        ({"arch": "transformer", "init_qk": "delta_orthogonal"}, "init_qk: delta_orthogonal is for the kernels"),
        ({"norm": "layer(eps=1e39)"}, "eps=1e+39 is not allowed (allowed: numbers from 0 to 1e+30)"),
        ({"data": "tokens(3,4)"}, "data: tokens(3,4): 'vocab' is given twice"),
        ({"init": "lsuv", "correlation": 0.5}, "correlation: lsuv scales weights by the batch"),
        ({"arch": "rnn", "jacobian": True}, "jacobian: rnn is a recurrent net, whose layers are steps of one"),
    ],
)
def test_refused_with_a_reason(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(vp.InvalidArgumentError) as caught:
        vp.sweep(**{"depth": 2, "width": 8, "seeds": 1} | arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)
