"""Draws: jax.random's bit for bit, jax.nn.initializers' for the same key, and the law of every registered initializer.

z-scores are of samples with fixed keys, so they do not flicker; |z| < 4.5 is passed by a right law with a probability
above 0.999 in all tests together.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from check_all_pairs import ELSEWHERE, EVERY_INIT
from scipy import stats

import varprobe as vp
from varprobe.engine import random_bits
from varprobe.engine.weight_bases import Draw, Orthogonal, base_of
from varprobe.nets.initializers import INITIALIZERS

COMPILED_AS_FOR_USERS = True

SHAPES = [(7,), (64, 33), (3, 2, 5)]
KEYS = [0, 1, 2**31 + 5]
Z_MAX = 4.5


def z_of_mean(x: np.ndarray, expected: float) -> float:
    """(sample mean - expected) / its standard error, entries independent."""
    return float((x.mean() - expected) / (x.std() / np.sqrt(x.size)))


# Bit for bit jax.random


DISTRIBUTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "bits": (lambda bits: bits, lambda key, shape: jax.random.bits(key, shape, jnp.uint32)),
    "normal": (random_bits.normal, jax.random.normal),
    "uniform": (random_bits.uniform, lambda key, shape: jax.random.uniform(key, shape, minval=-1, maxval=1)),
    "uniform(0, 3)": (
        lambda bits: random_bits.uniform(bits, 0, 3),
        lambda key, shape: jax.random.uniform(key, shape, minval=0, maxval=3),
    ),
    "truncated_normal": (
        random_bits.truncated_normal,
        lambda key, shape: jax.random.truncated_normal(key, -2, 2, shape),
    ),
}


@pytest.mark.parametrize(
    "name, shape",
    [  # the bits depend on the shape; what is made of them does so number by number
        pytest.param(name, shape, marks=[pytest.mark.exhaustive] if name != "bits" and shape != SHAPES[1] else [])
        for name in DISTRIBUTIONS
        for shape in SHAPES
    ],
)
def test_equal_jax_random(name: str, shape: tuple[int, ...]) -> None:
    ours, theirs = DISTRIBUTIONS[name]
    draw = jax.jit(lambda key: ours(random_bits.random_bits(key, shape)))
    for seed in KEYS:
        key = jax.random.key(seed, impl="threefry2x32")
        np.testing.assert_array_equal(draw(key), theirs(key, shape))
    other = jax.random.key(KEYS[0] + 1, impl="threefry2x32")
    assert not np.array_equal(draw(other), theirs(jax.random.key(KEYS[0], impl="threefry2x32"), shape))


@pytest.mark.parametrize("x64", [True, pytest.param(False, marks=pytest.mark.exhaustive)])
def test_equal_jax_random_as_the_engine_draws_them(x64: bool) -> None:
    """Inside a scan over layers, beside other bases of the same bits, in float32 whatever the dtype."""
    laws = ("normal", "uniform", "truncated_normal")
    bases = [base_of((law,)) for law in laws] + [Orthogonal()]
    stream = jax.random.key(3, impl="threefry2x32")
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32

        def step(carry: None, x: Any) -> tuple[None, Any]:
            draw = Draw(x[0], (9, 14), x[1], 4, dtype)
            return carry, [base.draw(draw) for base in bases]

        layers = jnp.arange(2, 6)
        drawn = jax.jit(lambda key: jax.lax.scan(step, None, (random_bits.layer_keys(key, 2, 4), layers))[1])(stream)
    for law, matrices in zip(laws, drawn, strict=False):
        assert matrices.dtype == dtype
        for layer, matrix in zip(range(2, 6), matrices, strict=True):
            np.testing.assert_array_equal(matrix, DISTRIBUTIONS[law][1](jax.random.fold_in(stream, layer), (9, 14)))


def test_streams() -> None:
    """Keys as the documentation states them; data, cotangent and biases of `build` are jax.random's for these keys."""
    config = {"act": "relu", "init": "he_normal", "bias": "normal(std=0.5)", "depth": 2, "width": 6, "batch": 5}
    net = vp.build({**config, "root_seed": 11}, seed=2)
    key = jax.random.fold_in(jax.random.key(11, impl="threefry2x32"), 2)
    np.testing.assert_array_equal(net.x, jax.random.normal(jax.random.fold_in(key, 2), (5, 6)))
    np.testing.assert_array_equal(net.cotangent, jax.random.normal(jax.random.fold_in(key, 3), (5, 6)))
    for layer in (1, 2):
        of_bias = jax.random.fold_in(jax.random.fold_in(key, 1), layer)
        np.testing.assert_array_equal(net.params[layer - 1]["b"], 0.5 * jax.random.normal(of_bias, (6,)))
    uniform = vp.build({**config, "root_seed": 11, "data": "uniform"}, seed=2)
    np.testing.assert_array_equal(uniform.x, jax.random.uniform(jax.random.fold_in(key, 2), (5, 6), minval=-1.0))
    sphere = vp.build({**config, "root_seed": 11, "data": "sphere"}, seed=2)
    np.testing.assert_allclose(np.square(sphere.x).mean(1), 1, rtol=1e-6)
    np.testing.assert_allclose(sphere.x / net.x, (sphere.x / net.x)[:, :1] * np.ones(6), rtol=1e-5)


# jax.nn.initializers for the same key


JAX = jax.nn.initializers
EQUAL_TO_JAX = {
    **{f"{name}_{law}": getattr(JAX, f"{name}_{law}")()
       for name in ("he", "kaiming", "glorot", "xavier", "lecun") for law in ("normal", "uniform")},
    **{f"variance_scaling(scale=1.7,mode={mode},distribution={law})": JAX.variance_scaling(1.7, mode, law)
       for mode in ("fan_in", "fan_out", "fan_avg", "fan_geo_avg") for law in ("truncated_normal", "normal", "uniform")},
    "normal": JAX.normal(),
    "normal(stddev=0.3)": JAX.normal(0.3),
    "normal(std=0.3)": JAX.normal(0.3),
    "normal(var=0.09)": JAX.normal(0.3),
    "truncated_normal": JAX.truncated_normal(),
    "truncated_normal(stddev=0.3)": JAX.truncated_normal(0.3),
    "truncated_normal(std=0.3)": JAX.truncated_normal(0.3 / 0.87962566103423978),
    "uniform(scale=0.3)": JAX.uniform(0.3),
    "constant(value=0.3)": JAX.constant(0.3),
    "zeros": JAX.zeros,
    "ones": JAX.ones,
}  # fmt: skip


SCALED = [  # every mode and every distribution by default
    f"variance_scaling(scale=1.7,mode={mode},distribution={law})"
    for mode, law in (
        ("fan_in", "normal"),
        ("fan_out", "uniform"),
        ("fan_avg", "truncated_normal"),
        ("fan_geo_avg", "normal"),
    )
]
EXHAUSTIVE = {init for init in EQUAL_TO_JAX if init.startswith(("kaiming", "xavier", "variance"))} - set(SCALED)


@pytest.mark.parametrize(
    "init", [pytest.param(init, marks=[pytest.mark.exhaustive] * (init in EXHAUSTIVE)) for init in EQUAL_TO_JAX]
)
def test_equal_jax_nn_initializers(init: str) -> None:
    """To one rounding of the scale (1e-6), or of the limit where the mean is half of it."""
    arguments = {"act": "relu", "width": "24-40", "input_width": 16, "batch": 1, "root_seed": 7}
    net = vp.build({**arguments, "init": init}, seed=3)
    stream = jax.random.fold_in(jax.random.fold_in(jax.random.key(7, impl="threefry2x32"), 3), 0)
    for layer, shape in ((1, (16, 24)), (2, (24, 40))):
        expected = EQUAL_TO_JAX[init](jax.random.fold_in(stream, layer), shape, jnp.float32)
        assert net.params[layer - 1]["w"].shape == shape
        np.testing.assert_allclose(net.params[layer - 1]["w"], expected, rtol=1e-6, atol=5e-8 * ("scale=0.3" in init))


# The law of every initializer in the registry

N, M = 120, 150
NORMAL, UNIFORM = stats.norm(), stats.uniform(-1, 2)
TRUNCATED = stats.truncnorm(-2, 2)
LAWS: dict[str, tuple[float, Any]] = {
    # mean, and scale times a law; FAN_IN = 120, FAN_OUT = 150
    "normal": (0, stats.norm(0, 0.01)),
    "truncated_normal": (0, stats.truncnorm(-2, 2, 0, 0.01)),
    "uniform(limit=0.3)": (0, stats.uniform(-0.3, 0.6)),
    "glorot_normal": (0, stats.truncnorm(-2, 2, 0, np.sqrt(2 / 270) / TRUNCATED.std())),
    "glorot_uniform": (0, stats.uniform(-np.sqrt(6 / 270), 2 * np.sqrt(6 / 270))),
    "he_normal": (0, stats.truncnorm(-2, 2, 0, np.sqrt(2 / 120) / TRUNCATED.std())),
    "he_uniform": (0, stats.uniform(-np.sqrt(6 / 120), 2 * np.sqrt(6 / 120))),
    "lecun_normal": (0, stats.truncnorm(-2, 2, 0, np.sqrt(1 / 120) / TRUNCATED.std())),
    "lecun_uniform": (0, stats.uniform(-np.sqrt(3 / 120), 2 * np.sqrt(3 / 120))),
    "variance_scaling": (0, stats.truncnorm(-2, 2, 0, np.sqrt(1 / 120) / TRUNCATED.std())),
    "torch_default": (0, stats.uniform(-np.sqrt(1 / 120), 2 * np.sqrt(1 / 120))),
    "critical": (0, stats.norm(0, np.sqrt(2 / 120))),
    "mup": (0, stats.norm(0, np.sqrt(1 / 120))),
    "ntk": (0, stats.norm(0, 1)),
    "keras_random_uniform": (0, stats.uniform(-0.05, 0.1)),
    "keras_random_normal": (0, stats.norm(0, 0.05)),
    "gpt2": (0, stats.norm(0, 0.02)),
    "bert": (0, stats.truncnorm(-2, 2, 0, 0.02)),
    "normal(mean=0.1,std=0.3)": (0.1, stats.norm(0.1, 0.3)),
    "uniform(scale=0.5)": (0.25, stats.uniform(0, 0.5)),
    "truncated_normal(std=0.3)": (0, stats.truncnorm(-2, 2, 0, 0.3 / TRUNCATED.std())),
    "variance_scaling(scale=1.5,mode=fan_geo_avg,distribution=uniform)": (
        0,
        stats.uniform(-np.sqrt(4.5 / np.sqrt(120 * 150)), 2 * np.sqrt(4.5 / np.sqrt(120 * 150))),
    ),
    "variance_scaling(scale=1.5,mode=fan_avg,distribution=normal)": (0, stats.norm(0, np.sqrt(1.5 / 135))),
    "he_normal(gain=0.9,shift=0.05)": (0.05, stats.truncnorm(-2, 2, 0.05, 0.9 * np.sqrt(2 / 120) / TRUNCATED.std())),
}
EXACT = {"constant(value=0.1)": 0.1, "zeros": 0.0, "ones": 1.0}
APART = {"orthogonal", "orthogonal(scale=1.3,shift=-0.05)", "sparse(density=0.4,std=0.5)", "identity"}


def weights(init: str, fan_in: int = N, fan_out: int = M, seed: int = 1) -> np.ndarray:
    arguments = {"act": "relu", "depth": 1, "width": fan_out, "input_width": fan_in, "batch": 1}
    return np.asarray(vp.build({**arguments, "init": init}, seed).params[0]["w"], np.float64)


def test_laws_cover_the_registry() -> None:
    assert LAWS.keys() | EXACT.keys() | APART == set(EVERY_INIT)
    assert {name.partition("(")[0] for name in EVERY_INIT} == set(INITIALIZERS) - ELSEWHERE


@pytest.mark.parametrize("init", LAWS)
def test_law(init: str) -> None:
    """18000 independent entries: mean, variance, and the whole distribution (Kolmogorov-Smirnov)."""
    w, (mean, law) = weights(init).ravel(), LAWS[init]
    assert law.mean() == pytest.approx(mean, abs=1e-12)
    assert abs(z_of_mean(w, mean)) < Z_MAX
    assert abs(z_of_mean(np.square(w - mean), law.var())) < Z_MAX
    assert stats.ks_1samp(w, law.cdf).pvalue > 1e-4
    # A variance 10% off, or a mean off by a tenth of a standard deviation, is seen: the standard errors are 1% at most.
    assert abs(z_of_mean(np.square(w - mean), 1.1 * law.var())) > Z_MAX
    assert abs(z_of_mean(w, mean + 0.1 * law.std())) > Z_MAX


@pytest.mark.parametrize("init", EXACT)
def test_constants(init: str) -> None:
    assert np.all(weights(init) == np.float32(EXACT[init]))


@pytest.mark.parametrize("fan_in, fan_out", [(5, 5), (5, 8), (8, 5)])
def test_identity(fan_in: int, fan_out: int) -> None:
    np.testing.assert_array_equal(weights("identity", fan_in, fan_out), np.eye(fan_in, fan_out))


@pytest.mark.parametrize("density, fan_in, kept", [(0.4, 120, 48), (0.1, 15, 2), (0.01, 10, 1)])
def test_sparse_keeps_a_share_of_each_column(density: float, fan_in: int, kept: int) -> None:
    w = weights(f"sparse(density={density},std=0.5)", fan_in)
    assert np.all((w != 0).sum(0) == kept)
    entries = w[w != 0]
    assert abs(z_of_mean(entries, 0)) < Z_MAX
    assert abs(z_of_mean(np.square(entries), 0.25)) < Z_MAX
    if kept < fan_in:  # each row is as likely as any other: binomial counts
        counts = (w != 0).sum(1)
        share = kept / fan_in
        assert abs(counts - M * share).max() < 5 * np.sqrt(M * share * (1 - share))


# Orthogonal: Haar measure


def orthogonals(shape: tuple[int, int], count: int) -> np.ndarray:
    """`count` independent draws."""

    def one(key: jax.Array) -> jax.Array:
        base = Orthogonal()
        return base.matrix(base.draw(Draw(key, shape, 1, 1, jnp.float32)), shape)

    keys = jax.random.split(jax.random.key(0, impl="threefry2x32"), count)
    return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)


def assert_orthonormal(q: np.ndarray, shape: tuple[int, int]) -> None:
    """Q^T Q = 1 or Q Q^T = 1 to 1e-5, some 100 roundings of float32."""
    assert q.shape == shape
    gram = q.T @ q if shape[0] >= shape[1] else q @ q.T
    np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-5)


LARGER = [pytest.param(shape, marks=pytest.mark.exhaustive) for shape in ((40, 40), (70, 33))]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), *LARGER])
def test_orthonormal(shape: tuple[int, int]) -> None:
    for q in orthogonals(shape, 3):
        assert_orthonormal(q, shape)


@pytest.mark.parametrize("shape", [(33, 70), (70, 66), *LARGER])  # 66: more than one block of 64 reflections
def test_orthogonal_products_are_those_of_its_matrix(shape: tuple[int, int]) -> None:
    base = Orthogonal()

    @jax.jit
    def products(rows: jax.Array, back: jax.Array) -> tuple[Any, ...]:
        drawn = base.draw(Draw(jax.random.key(1, impl="threefry2x32"), shape, 1, 1, jnp.float32))
        moments = base.moments(drawn, shape, True)
        return base.matrix(drawn, shape), base.forward(drawn, rows), base.backward(drawn, back), moments

    rows = np.random.default_rng(0).normal(size=(5, shape[0])).astype(np.float32)
    back = np.random.default_rng(1).normal(size=(5, shape[1])).astype(np.float32)
    q, forward, backward, (mean, ms) = products(rows, back)
    assert_orthonormal(np.asarray(q, np.float64), shape)
    np.testing.assert_allclose(forward, rows @ q, atol=2e-5)
    np.testing.assert_allclose(backward, back @ q.T, atol=2e-5)
    np.testing.assert_allclose(mean, np.mean(q), atol=1e-6)
    np.testing.assert_allclose(ms, np.mean(np.square(q)), rtol=1e-5)


def trace_moments(q: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Samples, and their expectations over the orthogonal group O(n), n >= 4 (Diaconis & Evans 2001)."""
    n = q.shape[1]
    trace = np.trace(q, axis1=1, axis2=2)
    return {
        "tr Q": (trace, 0),
        "(tr Q)^2": (trace**2, 1),
        "tr Q^2": (np.trace(q @ q, axis1=1, axis2=2), 1),
        "tr Q^3": (np.trace(q @ q @ q, axis1=1, axis2=2), 0),
        "det Q": (np.linalg.det(q), 0),
        "first entry": (q[:, 0, 0], 0),
        "first entry^4": (q[:, 0, 0] ** 4, 3 / (n * (n + 2))),
        "last entry^4": (q[:, -1, -1] ** 4, 3 / (n * (n + 2))),
    }


def test_haar() -> None:
    right = trace_moments(orthogonals((6, 6), 6000))
    for name, (sample, expected) in right.items():
        assert abs(z_of_mean(sample, expected)) < Z_MAX, name
    # LAPACK's QR without correction of the signs is orthogonal, but not Haar (Mezzadri 2007).
    gaussian = np.random.default_rng(0).normal(size=(6000, 6, 6))
    wrong = trace_moments(np.linalg.qr(gaussian)[0])
    assert abs(z_of_mean(*wrong["tr Q"])) > 2 * Z_MAX


@pytest.mark.parametrize("shape", [(4, 7), pytest.param((7, 4), marks=pytest.mark.exhaustive)])
def test_haar_of_rectangles(shape: tuple[int, int]) -> None:
    """Every entry is one coordinate of a uniform unit vector in 7 dimensions, and rows and columns are as they come."""
    q = orthogonals(shape, 6000)
    for entry in (q[:, 0, 0], q[:, -1, -1], q[:, 0, -1], q[:, -1, 0]):
        assert abs(z_of_mean(entry, 0)) < Z_MAX
        assert abs(z_of_mean(entry**2, 1 / 7)) < Z_MAX
        assert abs(z_of_mean(entry**4, 3 / 63)) < Z_MAX
    assert abs(z_of_mean(q[:, 0, 0] * q[:, 1, 1], 0)) < Z_MAX
    # E[q11^2 q22^2] = (n + 1) / (n (n - 1) (n + 2)) where both lie in an orthonormal frame of R^n
    assert abs(z_of_mean(np.square(q[:, 0, 0] * q[:, 1, 1]), 8 / (7 * 6 * 9))) < Z_MAX


def test_scaled_orthogonal() -> None:
    w = weights("orthogonal(scale=1.3,shift=-0.05)", 30, 30)
    q = (w + 0.05) / 1.3
    np.testing.assert_allclose(q.T @ q, np.eye(30), atol=1e-5)
