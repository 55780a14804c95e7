"""Convolutions: every number against jax.grad on a sum over the kernel's entries, isometry, and what is refused."""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from check_all_pairs import correlation, quantity

import varprobe as vp
from varprobe.engine.random_bits import keys_of
from varprobe.engine.reference_network import Net, plain_of
from varprobe.engine.wired.convolutions import adjoint, convolve, kernel_gradient
from varprobe.errors import InvalidArgumentError
from varprobe.nets.architectures.conv import Conv
from varprobe.nets.architectures.plain import activated
from varprobe.nets.config import Config
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run

SEED = 1
DIFFERENCE = 1e-9
"""Of a log10 in float64, as rounding leaves 1e-14 of it."""


def entries(arch: Conv) -> np.ndarray:
    """(entry, position, position): 1 where an entry of the kernel takes a position of the output from one of the input."""
    axis = np.zeros((arch.kernel, arch.size, arch.size))
    for at, out in itertools.product(range(arch.kernel), range(arch.size)):
        place = out + at - (arch.kernel - 1) // 2
        if arch.padding == "circular" or 0 <= place < arch.size:
            axis[at, out, place % arch.size] = 1
    return functools.reduce(np.kron, [axis] * arch.dims)


def linear(arch: Conv, x: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    """z, a sum over the entries of the kernel; transposed, with output and input in each other's place."""
    flat, kernel = x.reshape(len(x), -1, x.shape[-1]), p["w"].reshape(-1, *p["w"].shape[-2:])
    indices = "eop,boc,eic->bpi" if arch.transpose else "eop,bpi,eic->boc"
    z = jnp.einsum(indices, entries(arch), flat, kernel, precision="highest")
    return z.reshape(*x.shape[:-1], -1) + p["b"]


def brute_force(nets: list[Net], config: Config, loss: str) -> list[dict[str, np.ndarray]]:
    """Variables of nets that differ in their numbers only, layers 1 to L, from jax.grad in float64."""
    arch, depth = config.arch, config.depth
    assert isinstance(arch, Conv)
    key = keys_of(0, SEED)["dropout"]
    plains = [plain_of(config, layer, jax.random.fold_in(key, layer)) for layer in range(1, depth + 1)]

    def value(params: Any, added: list[jax.Array], x: jax.Array, cotangent: jax.Array) -> Any:
        seen = []
        for plain, p, zero in zip(plains, params, added, strict=False):
            z = linear(arch, x, p) + zero
            x = activated(plain, z)
            seen.append((z, x))
        if loss != "cotangent":
            x = jnp.matmul(x.mean(axis=tuple(range(1, x.ndim - 1))), params[-1]["w"], precision="highest")
        return jnp.sum(cotangent * x), (seen, x)

    zeros = [jnp.zeros((config.batch, *arch.sample_shape(w))) for w in config.widths[1:]]
    differentiated = jax.jit(lambda *a: (jax.grad(value, (0, 1), has_aux=True)(*a), nets[0].apply(a[0], a[2])))
    every = [differentiated(net.params, zeros, net.x, net.cotangent) for net in nets]
    (_, (_, own)), output = every[0]
    np.testing.assert_allclose(output, own, rtol=1e-9, atol=1e-12)
    return [variables(config, net, *found) for net, (found, _) in zip(nets, every, strict=True)]


def variables(config: Config, net: Net, gradients: Any, outputs: Any) -> dict[str, np.ndarray]:
    """The variables of a net from its arrays."""
    depth, (own, delta), (seen, _) = config.depth, gradients, outputs
    host = lambda arrays: [np.asarray(a) for a in arrays]  # noqa: E731
    z, h, delta = host(s[0] for s in seen), host(s[1] for s in seen), host(delta)
    dw, w = host(g["w"] for g in own[:depth]), host(p["w"] for p in net.params[:depth])
    found = quantity("preactivation", z) | quantity("activation", h) | quantity("gradient", delta)
    found |= quantity("weight_gradient", dw)
    with np.errstate(divide="ignore"):
        found["weight_log10_mean_square"] = np.array([np.log10(np.mean(a * a)) for a in w])
    found["activation_correlation"] = np.array([correlation(a.reshape(len(a), -1)) for a in h])
    found["gradient_correlation"] = np.array([correlation(a.reshape(len(a), -1)) for a in delta])
    if not config.norm and not config.dropout:
        found["dead_unit_fraction"] = np.array([np.all(a == 0, axis=tuple(range(a.ndim - 1))).mean() for a in h])
    return found


SOME = ["he_normal", "delta_orthogonal", "constant(0.1)"]
OTHERS = [
    "orthogonal",
    "identity",
    "normal(mean=0.05,std=0.2)",
    "torch_default",
    "glorot_uniform",
    "sparse(density=0.3,std=0.4)",
]
CASES: dict[str, dict[str, Any]] = {
    "square, circular, biases": {
        "arch": "conv(size=4)",
        "act": "relu",
        "depth": 3,
        "width": 4,
        "bias": "normal(std=0.3)",
    },
    "line, an even kernel, zeros, transposed, channels that change": {
        "arch": "conv(size=5,dims=1,kernel=4,padding=zero,transpose=true)",
        "act": "tanh",
        "width": "3-5-6",
        "input_width": 2,
    },
    "norm, dropout and a loss": {
        "arch": "conv(size=3,kernel=2,padding=zero)",
        "act": "tanh",
        "depth": 2,
        "width": 3,
        "norm": "batch",
        "dropout": 0.2,
        "loss": "mse",
    },
}
SQUARE, LINE, FURTHER = CASES


@pytest.mark.parametrize(
    "case, inits",
    [
        (SQUARE, SOME),
        (LINE, ["he_normal"]),
        (FURTHER, ["he_normal"]),
        pytest.param(SQUARE, OTHERS, marks=pytest.mark.exhaustive),
        pytest.param(LINE, SOME[1:] + OTHERS, marks=pytest.mark.exhaustive),
    ],
)
def test_equals_brute_force(case: str, inits: list[str], x64: None) -> None:
    arguments = {"seeds": 2, "batch": 3, "dtype": "float64", **CASES[case]}
    request = read_request(init=inits, **arguments)
    ds = run(request)
    nets = [vp.build(arguments | {"init": c.init.name}, SEED) for c in request.configs]
    wanted = brute_force(nets, request.configs[0], arguments.get("loss", "cotangent"))
    assert ds.sizes["config"] == len(inits)
    for i, found in enumerate(wanted):
        for name, expected in found.items():
            measured = ds[name].values[i, SEED, 1:]
            with np.errstate(invalid="ignore"):
                same = (measured == expected) | (np.abs(measured - expected) <= DIFFERENCE)
            assert np.all(same | (np.isnan(measured) & np.isnan(expected))), (inits[i], name)
    other = ds.gradient_log10_mean_square.values[0, 1 - SEED, 1:]
    assert np.abs(other - wanted[0]["gradient_log10_mean_square"]).max() > 1e-4


@pytest.mark.parametrize("circular", [True, False])
@pytest.mark.parametrize("sides", [(3,), (4,), (3, 2)])
def test_products_are_the_derivatives(circular: bool, sides: tuple[int, ...], x64: None) -> None:
    """`adjoint` and `kernel_gradient` are the vector-Jacobian products of `convolve`: 1e-12 is rounding."""
    rng, places = np.random.default_rng(0), (5, 4)[: len(sides)]
    u, c, kernel = (rng.standard_normal(shape) for shape in ((3, *places, 2), (3, *places, 6), (*sides, 2, 6)))

    @jax.jit
    def both_ways(u: jax.Array, c: jax.Array, kernel: jax.Array) -> Any:
        by_jax = jax.vjp(lambda u, k: convolve(u, k, circular), u, kernel)[1](c)
        return by_jax, (adjoint(c, kernel, circular), kernel_gradient(u, c, sides, circular))

    for expected, found in zip(*both_ways(u, c, kernel), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


# What is known of convolutions


@pytest.fixture(scope="module")
def deep() -> xr.Dataset:
    """Linear stacks of 12 channels and depth 4, far outside float32 in the last two."""
    inits = ["delta_orthogonal", "lecun_normal", "identity", "delta_orthogonal(1e9)", "lecun_normal(gain=1e-9)"]
    return vp.sweep(arch="conv(size=6)", act="identity", init=inits, depth=4, width=12, batch=2, seeds=2)


def test_delta_orthogonal_is_an_isometry(deep: xr.Dataset) -> None:
    """Xiao et al. 2018, section 2.4: circular, linear, so that lengths are kept to float32's rounding of each layer."""
    for name in ("activation_log10_mean_square", "gradient_log10_mean_square"):
        levels = vp.select(deep, init="delta_orthogonal")[name].values[0, :, 1:]
        assert np.ptp(levels, axis=-1).max() < 1e-5
    cosines = vp.select(deep, init="delta_orthogonal").activation_correlation.values[0]
    assert np.ptp(cosines, axis=-1).max() < 1e-5
    gaussian = vp.select(deep, init="lecun_normal").activation_log10_mean_square.values[0, :, 1:]
    assert np.ptp(gaussian, axis=-1).min() > 1e-3


def test_identity_passes_the_signal_on(deep: xr.Dataset) -> None:
    """To the rounding of float32's mean squares, a few 1e-7."""
    levels = vp.select(deep, init="identity").activation_log10_mean_square.values[0]
    assert np.ptp(levels, axis=-1).max() < 1e-6


def test_variance_is_over_all_entries(deep: xr.Dataset) -> None:
    """A share 1/9 of a delta-orthogonal kernel's entries has the mean square 1/12, the others are 0."""
    level = vp.select(deep, init="delta_orthogonal").weight_log10_mean_square.values[0, :, 1:]
    np.testing.assert_allclose(level, -math.log10(9 * 12), atol=1e-6)


def test_levels_beyond_floats(deep: xr.Dataset) -> None:
    """Scaling every kernel by s shifts levels by 2 log10 s a layer forward, and backward, whatever their size."""
    layers = np.arange(5)
    for i, plain, power in ((3, 0, 18), (4, 1, -18)):
        scaled, unscaled = deep.isel(config=[i]), deep.isel(config=[plain])
        forward = scaled.activation_log10_mean_square.values[0] - unscaled.activation_log10_mean_square.values[0]
        backward = (
            scaled.gradient_log10_mean_square.values[0, :, 1:] - unscaled.gradient_log10_mean_square.values[0, :, 1:]
        )
        np.testing.assert_allclose(forward, np.broadcast_to(power * layers, forward.shape), atol=1e-4)
        np.testing.assert_allclose(backward, np.broadcast_to(power * (4 - layers[1:]), backward.shape), atol=1e-4)


@pytest.mark.parametrize("transpose", ["false", "true"])
def test_torch_default_and_fans(transpose: str) -> None:
    """U(+-1/sqrt(fan_in)); fans are swapped in the transposed convolution, whose kernel is that of the way back."""
    arguments = {"arch": f"conv(size=4,transpose={transpose})", "width": 20, "input_width": 5, "depth": 1, "batch": 1}
    net = vp.build(arguments | {"init": "torch_default", "bias": "torch_default"})
    w, b = (np.asarray(net.params[0][k]) for k in ("w", "b"))
    inputs, outputs = (20, 5) if transpose == "true" else (5, 20)
    assert w.shape == (3, 3, inputs, outputs) and b.shape == (20,)
    limit = 1 / math.sqrt(9 * inputs)
    assert 0.98 * limit < np.abs(w).max() <= limit and np.abs(b).max() <= limit
    (config,) = read_request(**arguments, init="glorot_normal").configs
    place = config.place(1)
    assert (place.fan_in, place.fan_out) == (9 * inputs, 9 * outputs)


def test_the_very_kernels_of_jax() -> None:
    """A kernel of jax.nn.initializers with the layer's key, to one rounding of the scale."""
    arguments = {"arch": "conv(size=3)", "width": 6, "input_width": 4, "depth": 1, "batch": 1}
    key = jax.random.fold_in(keys_of(0, 0)["weights"], 1)
    own = jax.nn.initializers.glorot_uniform()
    expected = own(key, (3, 3, 4, 6))
    for init in ("glorot_uniform", own):
        net = vp.build(arguments | {"init": init})
        np.testing.assert_allclose(net.params[0]["w"], expected, rtol=1e-6)


def test_delta_orthogonal_kernels() -> None:
    arguments = {"width": 6, "input_width": 4, "depth": 1, "batch": 1, "init": "delta_orthogonal(2)"}
    forward = np.array(vp.build(arguments | {"arch": "conv(size=4)"}).params[0]["w"])
    back = np.array(vp.build(arguments | {"arch": "conv(size=4,kernel=4,transpose=true)"}).params[0]["w"])
    for w, tall in ((forward, forward[1, 1].T), (back, back[1, 1])):
        np.testing.assert_allclose(tall.T @ tall, 4 * np.eye(4), atol=1e-5)
        w[1, 1] = 0
        assert not w.any()


# Requests


def test_digits_fill_eight_by_eight() -> None:
    net = vp.build({"arch": "conv(size=8,padding=zero)", "data": "digits", "width": 4, "depth": 1, "init": "he_normal"})
    assert net.x.shape == (16, 8, 8, 1) and net.params[0]["w"].shape == (3, 3, 1, 4)


GRID: dict[str, Any] = {"depth": 2, "width": 4, "batch": 2, "seeds": 1, "init": "he_normal"}


@pytest.mark.parametrize(
    "arguments, option, message",
    [
        (
            {"arch": "conv", "data": np.ones((4, 64))},
            "arch",
            "conv: 64 values do not fill 16 x 16 positions with channels; they fit size=8 with 1 channel, size=4 with "
            "4 channels",
        ),
        ({"arch": "conv(dims=1,size=4)", "data": np.ones((4, 7))}, "arch", "7 values do not fill 4 positions"),
        ({"arch": "conv(size=2)"}, "arch", "a kernel of 3 is larger than the 2 positions of a side"),
        ({"arch": "conv(dims=3)"}, "arch", "dims=3 is not allowed (allowed: 2, 1)"),
        ({"arch": "conv(padding=same)"}, "arch", "unknown padding 'same'"),
        ({"arch": "conv(kernel=0)"}, "arch", "kernel=0 is not allowed"),
        ({"init": "delta_orthogonal"}, "init", "delta_orthogonal is for the kernels of conv; use orthogonal"),
        ({"arch": "residual", "init_last": "delta_orthogonal"}, "init_last", "use orthogonal"),
        (
            {"arch": "conv(size=4)", "init": "delta_orthogonal", "width": "8-4"} | {"depth": None},
            "init",
            "keeps no lengths from 8 channels to 4",
        ),
        ({"arch": "conv(size=100000)"}, "arch", "10000000000 positions needs about"),
        ({"arch": "conv", "norm": "group(groups=3)"}, "norm", "3 groups do not divide 4 units"),
        (
            {"arch": "conv", "init": lambda key, shape, dtype: jnp.ones(shape[-2:], dtype)},
            "init",
            "returns shape (4, 4)",
        ),
    ],
)
def test_refused(arguments: dict[str, Any], option: str, message: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        read_request(**GRID | arguments)
    assert caught.value.option == option
    assert message in str(caught.value)


def test_what_norms_see_in_positions() -> None:
    """One sample has a variance over positions; groups of one channel are an instance norm."""
    for norm in ("batch", "group(groups=4)"):
        read_request(**GRID | {"arch": "conv", "batch": 1, "norm": norm})
    with pytest.raises(InvalidArgumentError, match="no variance"):
        read_request(**GRID | {"norm": "group(groups=4)"})
