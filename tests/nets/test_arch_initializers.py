"""Initializers that look at the batch, at residual branches or at the parametrization: their laws, and brute force."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.nets.initializers import Initializer, LayerContext, resolve_initializer
from varprobe.spec.calls import parse_calls
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

ROUNDING = 1e-9
"""Of a log10 in float64, in nets as small and shallow as these."""

PLACE = LayerContext(fan_in=50, fan_out=80, width=80, depth=9, layer=4)
LSUV = {"act": "tanh", "init": "lsuv", "bias": "normal(var=0.1)", "depth": 3, "width": 12, "batch": 6, "loss": "mse"}
RESIDUAL = {"arch": "residual(branch_scale=0.5)", "act": "gelu", "depth": 3, "width": 12, "batch": 6}
IN_BRANCHES = ["lsuv", "fixup", "skipinit", "skipinit(alpha=1/sqrt(depth))", "mup", "ntk(scale=2,gain=1.5)"]


def named(text: str) -> Initializer:
    return resolve_initializer(parse_calls(text)[0])


def log10_mean_square(a: Any) -> float:
    with np.errstate(divide="ignore"):
        return float(np.log10(np.mean(np.square(np.asarray(a, np.float64)))))


def assert_close(found: float, expected: float, what: Any) -> None:
    assert found == expected or abs(found - expected) < ROUNDING, (what, found, expected)


def assert_weights_as_by_jax(row: xr.Dataset) -> Any:
    """Weights, their gradients and the last activation of one configuration, against jax.grad on `build`'s net."""
    net = vp.build(row)
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(net.cotangent * net.apply(params, net.x))))(net.params)
    for layer in range(1, int(row.depth) + 1):
        for name, w in net.params[layer - 1].items():
            if name.startswith("b"):
                continue
            start, at = "" if name == "w" else f"{name}_", {"seed": 0, "layer": layer}
            assert_close(float(row[f"{start}weight_log10_mean_square"][at]), log10_mean_square(w), (name, layer))
            g = np.asarray(gradient[layer - 1][name], np.float64)
            largest = np.log10(np.abs(g).max()) if g.any() else -np.inf
            for statistic, wanted in (
                ("mean_square", log10_mean_square(g)),
                ("var", log10_mean_square(g - g.mean())),
                ("absmax", largest),
            ):
                found = float(row[f"{start}weight_gradient_log10_{statistic}"][at])
                if statistic != "absmax" or not np.isnan(found):  # NaN where the matrix is never formed
                    assert_close(found, wanted, (name, layer, statistic))
    return net


# Of the batch


@pytest.fixture(scope="module")
def lsuv() -> xr.Dataset:
    return vp.sweep(**LSUV, seeds=1, dtype="float64")


def test_lsuv_has_unit_variance_on_the_batch(lsuv: xr.Dataset, x64: None) -> None:
    """Recomputed from `build`'s matrices: every product, the read-out's too, has variance 1; W is orthogonal but for scale."""
    net = vp.build({**LSUV, "dtype": "float64"})
    params, h = jax.tree.map(np.asarray, (net.params, net.x))
    inits = [p["w"] for p in params]
    for layer, p in enumerate(params, 1):
        z = h @ p["w"]
        assert float(np.var(z)) == pytest.approx(1, abs=1e-12)
        h = np.tanh(z + p["b"])
        if layer <= 3:
            assert float(lsuv.activation_log10_mean_square[0, 0, layer]) == pytest.approx(
                log10_mean_square(h), abs=ROUNDING
            )
    for w in inits[:3]:
        gram = w.T @ w
        np.testing.assert_allclose(gram, gram[0, 0] * np.eye(12), atol=1e-12 * gram[0, 0])
    assert len({round(float(w[0] @ w[0]), 6) for w in inits[:3]}) == 3  # a scale a layer


def test_lsuv_by_brute_force(lsuv: xr.Dataset, x64: None) -> None:
    """The scale is a constant: jax.grad on the built net, which does not know where it comes from, has the same numbers."""
    assert_weights_as_by_jax(lsuv.isel(config=0))
    other = vp.build({**LSUV, "dtype": "float64"}, seed=1)
    assert abs(log10_mean_square(other.params[0]["w"]) - float(lsuv.weight_log10_mean_square[0, 0, 1])) > 1e-4


def test_lsuv_is_not_predicted(lsuv: xr.Dataset) -> None:
    assert np.isnan(lsuv.theory_activation_log10_mean_square).all()
    assert np.isfinite(vp.diagnose(lsuv).rows[0]["activation_factor"])


# Residual branches


@pytest.fixture(scope="module")
def branches() -> xr.Dataset:
    return vp.sweep(**RESIDUAL, init=IN_BRANCHES, seeds=1, dtype="float64")


@pytest.mark.parametrize(
    "init", [pytest.param(i, marks=pytest.mark.exhaustive if i == "lsuv" else ()) for i in IN_BRANCHES]
)
def test_in_branches_by_brute_force(branches: xr.Dataset, init: str, x64: None) -> None:
    net = assert_weights_as_by_jax(vp.select(branches, init=init).isel(config=0))
    assert {"w", "v"} <= net.params[0].keys()


def test_stream_and_branch_gradients_equal_jax_grad(branches: xr.Dataset, x64: None) -> None:
    """Of N(0, 1 / width), mup's."""
    row = vp.select(branches, init="mup").isel(config=0)
    net, found = vp.build(row), row.isel(seed=0)

    def loss(shifts: Any) -> Any:
        x = net.x
        for p, (at_z, at_branch, at_stream) in zip(net.params, shifts, strict=True):
            x = x + 0.5 * (jax.nn.gelu(x @ p["w"] + at_z) @ p["v"] + at_branch) + at_stream
        return (x * net.cotangent).sum()

    every = jax.jit(jax.grad(loss))([(np.zeros(net.x.shape),) * 3] * 3)
    for layer, gradients in enumerate(every, start=1):
        for name, gradient in zip(("preactivation_gradient", "branch_gradient", "gradient"), gradients, strict=True):
            assert_close(float(found[f"{name}_log10_mean_square"][layer]), log10_mean_square(gradient), (name, layer))
            largest = float(np.log10(np.abs(np.asarray(gradient)).max()))
            assert_close(float(found[f"{name}_log10_absmax"][layer]), largest, (name, layer))


def test_lsuv_in_branches(branches: xr.Dataset) -> None:
    """Both matrices of a branch."""
    found = vp.select(branches, init="lsuv").isel(config=0, seed=0, layer=slice(1, None))
    np.testing.assert_allclose(found.preactivation_log10_var, 0, atol=1e-12)
    np.testing.assert_allclose(found.branch_log10_mean_square, 0, atol=0.2)  # about the mean: gelu's outputs have one
    np.testing.assert_allclose(found.branch_log10_var, 0, atol=1e-12)


def test_fixup_starts_as_the_identity(branches: xr.Dataset) -> None:
    """The stream stays what it was; the last matrices are zero, their gradients are not."""
    found = vp.select(branches, init="fixup").isel(config=0, seed=0)
    stream = found.activation_log10_mean_square.values
    np.testing.assert_allclose(stream, stream[0], atol=1e-12)
    np.testing.assert_allclose(found.gradient_log10_mean_square[1:], found.gradient_log10_mean_square[3], atol=1e-12)
    assert (
        np.isneginf(found.v_weight_log10_mean_square[1:]).all()
        and np.isneginf(found.branch_log10_mean_square[1:]).all()
    )
    assert np.isfinite(found.v_weight_gradient_log10_mean_square[1:]).all()
    assert np.isneginf(found.weight_gradient_log10_mean_square[1:]).all()


def test_skipinit_starts_as_the_identity(branches: xr.Dataset) -> None:
    """Branches are those of he_normal, times 0; another alpha multiplies the branch_scale."""
    found = vp.select(branches, init="skipinit").isel(config=0, seed=0)
    stream = found.activation_log10_mean_square.values
    np.testing.assert_allclose(stream, stream[0], atol=1e-12)
    assert (
        np.isfinite(found.branch_log10_mean_square[1:]).all()
        and np.isneginf(found.branch_gradient_log10_mean_square[1:]).all()
    )
    assert np.isneginf(found.weight_gradient_log10_mean_square[1:]).all()
    other = vp.select(branches, init="skipinit(alpha=1/sqrt(depth))").isel(config=0, seed=0)
    share = other.branch_log10_mean_square + math.log10(0.5**2 / 3) - other.activation_log10_mean_square
    np.testing.assert_allclose(10 ** share[1:], other.branch_share[1:], rtol=1e-9)


def test_numbers_of_fixup() -> None:
    """Zhang et al. 2019: He L^(-1/(2m-2)); a branch of one matrix is zero."""
    fixup, branch = named("fixup"), PLACE._replace(branch=2, branches=9)
    assert fixup.at(branch) == pytest.approx((0, math.sqrt(2 / 50) * 9**-0.5))
    assert fixup.at(branch._replace(branch=3)) == pytest.approx((0, math.sqrt(2 / 50) * 9**-0.25))
    assert fixup.at(branch._replace(last=True)) == fixup.at(branch._replace(branch=1, last=True)) == (0, 0)
    assert fixup.at(PLACE) == pytest.approx((0, math.sqrt(2 / 50)))


def test_the_configuration_knows_its_branches() -> None:
    """Depth 6, m = 2: the first matrix is that of He times 6^(-1/2)."""
    (config,) = read_request(arch="residual", init="fixup", depth=6, width=8).configs
    assert config.initializer(3, 0).at(config.place(3, slot=0)) == pytest.approx((0, math.sqrt(2 / 8 / 6)))
    assert config.initializer(3, 1).at(config.place(3, slot=1)) == (0, 0)
    (alone,) = read_request(arch="residual(branch_layers=1)", init="fixup", depth=6, width=8).configs
    assert alone.initializer(3, 0).at(alone.place(3, slot=0)) == (0, 0)


# Parametrizations


def test_mup_reads_out_by_width() -> None:
    """Yang et al. 2021, table 3."""
    assert named("mup").at(PLACE) == pytest.approx((0, 50**-0.5))
    assert named("mup").at(PLACE._replace(layer=10)) == pytest.approx((0, 1 / 50))


def test_ntk_is_a_parametrization() -> None:
    """Next to N(0, 1 / fan_in) the signal is the same; weights and their gradients, measured and predicted, are shifted."""
    inits = ["ntk", "normal(var=1/fan_in)"]
    both = vp.sweep(act="relu,tanh", init=inits, depth=3, width=16, batch=4, seeds=2)
    for act in ("relu", "tanh"):  # with homogeneous activations both are one net
        ds = vp.select(both, act=act)
        ntk, plain = (vp.select(ds, init=init).isel(config=0, layer=slice(1, None)) for init in inits)
        for name in ("preactivation", "activation", "gradient"):
            np.testing.assert_allclose(ntk[f"{name}_log10_mean_square"], plain[f"{name}_log10_mean_square"], atol=1e-6)
        for name in (
            "weight_gradient_log10_mean_square",
            "weight_gradient_log10_var",
            "theory_weight_gradient_log10_mean_square",
        ):
            np.testing.assert_allclose(ntk[name] - plain[name], -math.log10(16), atol=1e-6)
        np.testing.assert_allclose(
            ntk.weight_log10_mean_square - plain.weight_log10_mean_square, math.log10(16), atol=1e-6
        )
        np.testing.assert_allclose(
            ntk.theory_activation_log10_mean_square, plain.theory_activation_log10_mean_square, atol=1e-12
        )
        one, other = vp.diagnose(ds).rows
        assert (one["reason"], one["advice"]) == (other["reason"], other["advice"])


def test_ntk_is_built_as_its_parameter() -> None:
    net = vp.build({"init": "ntk(scale=2)", "act": "relu", "depth": 1, "width": 64, "batch": 4})
    w = np.asarray(net.params[0]["w"])
    assert np.var(w) == pytest.approx(1, rel=6 * math.sqrt(2 / w.size))
    np.testing.assert_allclose(
        net.apply(net.params, net.x), np.maximum(net.x @ w * math.sqrt(2 / 64), 0), rtol=1e-4, atol=1e-5
    )


# torch's layers


@pytest.mark.parametrize(
    "kind, bias, limit",
    [
        ("dense", False, 50**-0.5),
        ("dense", True, 50**-0.5),
        ("conv", False, 50**-0.5),
        ("recurrent", False, 80**-0.5),
        ("recurrent", True, 80**-0.5),
        ("attention", False, math.sqrt(6 / (50 + 150))),
        ("attention", True, 0),
        ("attention_out", False, 50**-0.5),
        ("attention_out", True, 0),
    ],
)
def test_torch_default_by_kind(kind: str, bias: bool, limit: float) -> None:
    """torch.nn.Linear and ConvNd; RNN, LSTM, GRU; MultiheadAttention (in_proj, out_proj)."""
    assert named("torch_default").at(PLACE._replace(kind=kind, bias=bias)) == pytest.approx((0, limit))


@pytest.mark.parametrize(
    "kind, bias, largest",
    [
        ("dense", False, 0.141399),  # Linear(50, 80).weight
        ("recurrent", False, 0.111791),  # LSTM(50, 80).weight_ih_l0
        ("attention", False, 0.173184),  # MultiheadAttention(50, 5).in_proj_weight
        ("attention_out", False, 0.141413),  # its out_proj.weight
        ("attention", True, 0.0),  # its in_proj_bias
        ("conv", False, 0.141375),  # Conv1d(10, 80, 5).weight
    ],
)
def test_torch_default_is_that_of_torch(kind: str, bias: bool, largest: float) -> None:
    """The largest of some thousand weights of torch.nn 2.13.0, made one after the other from manual_seed(0)."""
    limit = named("torch_default").at(PLACE._replace(kind=kind, bias=bias))[1]
    assert largest <= limit and largest == pytest.approx(limit, rel=0.01)


# What makes no sense


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"init": "fixup"}, "init: fixup is for residual branches, and plain has none (try --arch residual)"),
        (
            {"init": "he_normal", "init_last": "skipinit"},
            "init_last: skipinit is for residual branches, and plain has none",
        ),
        ({"init": "lsuv(gain=2)"}, "init: lsuv(gain=2): unknown parameter 'gain' (lsuv takes no parameters)"),
        ({"init": "lsuv(2)"}, "init: lsuv(2): lsuv takes no parameters"),
        ({"bias": "lsuv"}, "bias: lsuv has no meaning for a bias vector"),
        ({"init": "ntk(scale=0)"}, "init: ntk(scale=0): scale must be above 0, got 0"),
        ({"init": "skipinit(alpha=1/(layer-1))", "arch": "residual"}, "init: '1/(layer-1)' divides by zero at layer=1"),
    ],
)
def test_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError) as error:
        read_request(**{"depth": 3, "width": 8, **arguments})
    assert str(error.value).startswith(message)


@pytest.mark.exhaustive
def test_lsuv_of_some_matrices_of_a_transformer() -> None:
    net = {"arch": "transformer(heads=2,tokens=2)", "init_qk": "zeros", "init_mlp": "lsuv", "depth": 1, "width": 8}
    ds = vp.sweep(**net, init="he_normal", batch=3, seeds=1, forward_only=True)
    built = vp.build(ds.isel(config=0), 0)
    for slot, name in (
        ("w", "weight_log10_mean_square"),
        ("down", "down_weight_log10_mean_square"),
        ("v", "v_weight_log10_mean_square"),
    ):
        assert float(ds[name][0, 0, 1]) == pytest.approx(log10_mean_square(built.params[0][slot]), abs=1e-5)


def test_lsuv_beside_others_and_at_the_edges() -> None:
    """Only layer 1 is scaled by the batch; the other configuration is the plain engine's."""
    request = read_request(init="he_normal", init_first="lsuv", act="tanh", depth=3, width=12, batch=6, seeds=1)
    ds = run(dataclasses.replace(request, setting=dataclasses.replace(request.setting, forward_only=True)))
    variance = ds.preactivation_log10_var.values[0, 0]
    assert abs(variance[1]) < 1e-5 < abs(variance[2])
