"""Singular values of Jacobians: exact products, the very net's Jacobian, theory, refusals, and the figure."""

import functools
import itertools
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
import xarray as xr
from jaxtyping import Float

import varprobe as vp
from varprobe.engine.random_bits import keys_of
from varprobe.engine.reference_network import plain_of
from varprobe.errors import InvalidArgumentError
from varprobe.sweeps.probes.jacobians import summary
from varprobe.sweeps.probes.products import extended, identity, log10_values, reduced
from varprobe.sweeps.request import read_request
from varprobe.sweeps.sweep import run
from varprobe.theory.spectra import jacobian_spectrum

Matrix = Float[np.ndarray, "n n"]


def spectrum(factors: list[Matrix]) -> np.ndarray:
    product = identity(factors[0].shape[1])
    for factor in factors:
        product = extended(product, reduced(factor), 0)
    return product.log10


def largest(factors: list[Matrix]) -> float:
    """log10 of the largest singular value: the plain product, brought back into range."""
    product, log = np.eye(factors[0].shape[1]), 0.0
    for factor in factors:
        product = factor @ product
        size = np.abs(product).max()
        product, log = product / size, log + np.log10(size)
    return log + float(np.log10(np.linalg.norm(product, 2)))


def compound(a: Matrix, k: int) -> Matrix:
    """All minors of order k, whose largest singular value is the product of the k largest of a (Binet-Cauchy)."""
    rows = list(itertools.combinations(range(len(a)), k))
    return np.array([[np.linalg.det(a[np.ix_(i, j)]) for j in rows] for i in rows])


def gaussians(n: int, count: int) -> list[Matrix]:
    rng = np.random.default_rng(n)
    return [rng.normal(size=(n, n)) / np.sqrt(n) for _ in range(count)]


def test_product_of_many_gaussian_matrices_to_the_smallest_value() -> None:
    """The largest from the product, the smallest from the inverses' product, their sum from determinants."""
    factors = gaussians(64, 50)
    found = spectrum(factors)
    assert found[0] - found[-1] > 30
    np.testing.assert_allclose(found[0], largest(factors), atol=1e-11)
    np.testing.assert_allclose(found[-1], -largest([np.linalg.inv(f) for f in factors[::-1]]), atol=1e-9)
    total = sum(np.linalg.slogdet(f)[1] for f in factors) / np.log(10)
    np.testing.assert_allclose(found.sum(), total, atol=1e-8)


def test_every_singular_value_beyond_the_range_of_floats() -> None:
    factors = gaussians(4, 700)
    found = spectrum(factors)
    assert found[0] - found[-1] > 330
    expected = np.diff([0.0, *(largest([compound(f, k) for f in factors]) for k in range(1, 5))])
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_orthogonal_times_known_scales() -> None:
    rng = np.random.default_rng(0)
    q = [np.linalg.qr(rng.normal(size=(20, 20)))[0] for _ in range(41)]
    scales = np.linspace(3, -3, 20)
    found = spectrum([1e7 * q[i + 1] @ np.diag(10.0**scales) @ q[i].T for i in range(40)])
    np.testing.assert_allclose(found, 40 * (7 + scales), atol=1e-7)  # 40 roundings of 1e6 (condition) x 1e-16


def test_tiny_rows_are_sound() -> None:
    """Saturated units: rows of 1e-40 beside rows of 1."""
    rng = np.random.default_rng(1)
    factors = [10.0 ** -rng.uniform(0, 40, (12, 1)) * rng.normal(size=(12, 12)) for _ in range(4)]
    total = sum(
        np.linalg.slogdet(f / np.abs(f).max(1, keepdims=True))[1] + np.log(np.abs(f).max(1)).sum() for f in factors
    )
    np.testing.assert_allclose(spectrum(factors).sum(), total / np.log(10), atol=1e-9)


def test_ranks_fall() -> None:
    """Rows of zeros, and projections that are singular but for rounding."""
    rng = np.random.default_rng(2)
    dead = rng.normal(size=(12, 12)) * (np.arange(12) < 7)[:, None]
    unit = rng.normal(size=12)
    unit /= np.linalg.norm(unit)
    projected = (np.eye(12) - np.outer(unit, unit) - 1 / 12) @ rng.normal(size=(12, 12))
    assert np.isneginf(spectrum([dead])).sum() == 5
    assert np.isneginf(spectrum([projected - (projected @ unit)[:, None] * unit])).sum() >= 1
    assert np.isneginf(spectrum([dead, *gaussians(12, 3)])).sum() == 5
    assert np.isneginf(spectrum([np.zeros((4, 4))])).all()


def test_values_of_one_matrix() -> None:
    a = gaussians(9, 1)[0]
    np.testing.assert_allclose(
        log10_values(reduced(a), 3, 9), np.log10(8 * np.linalg.svd(a, compute_uv=False)), atol=1e-12
    )


def test_summary() -> None:
    np.testing.assert_allclose(summary(np.array([2.0, 1.0, 0.0])), [2, 0, 1, np.log10((1e4 + 1e2 + 1) / 3), 2])
    np.testing.assert_array_equal(summary(np.array([0.0, -np.inf]))[[0, 1, 4]], [0, -np.inf, np.inf])


# The very net

SMALL: dict[str, Any] = {"depth": 3, "width": 6, "batch": 3, "seeds": 1, "dtype": "float64", "jacobian": True}


def brute(config: dict[str, Any] | xr.Dataset) -> np.ndarray:
    """log10 of the singular values of dh_L/dh_0 of the first sample by jax.jacobian of the plain net."""
    with jax.enable_x64(True):
        net = vp.build(config, 0)
        j = jax.jit(jax.jacobian(lambda row: net.apply(net.params, net.x.at[0].set(row))[0]))(net.x[0])
        with np.errstate(divide="ignore"):
            return np.log10(np.linalg.svd(np.asarray(j).reshape(-1, net.x[0].size), compute_uv=False))


@pytest.fixture(scope="module")
def plain() -> xr.Dataset:
    return vp.sweep(act="tanh", init="normal(std=0.5),normal(std=1e-60)", **SMALL)


def assert_as_brute(row: xr.Dataset) -> None:
    expected = brute(row)
    np.testing.assert_allclose(row.jacobian_log10_singular_values[0, 0], expected, atol=1e-9)
    np.testing.assert_allclose(row.jacobian_log10_max[0, 0, 3], expected[0], atol=1e-9)
    np.testing.assert_allclose(row.jacobian_log10_median[0, 0, 3], expected[2:4].mean(), atol=1e-9)


@pytest.mark.exhaustive
def test_other_inits() -> None:
    """With lsuv the weights are those that the whole batch has scaled."""
    ds = vp.sweep(act="tanh", init="he_normal,orthogonal,lsuv", **SMALL)
    for i in range(3):
        assert_as_brute(ds.isel(config=[i]))


def test_plain_net(plain: xr.Dataset) -> None:
    assert_as_brute(plain.isel(config=[0]))
    parts, whole = plain.partial_jacobian_log10_max[0, 0], plain.jacobian_log10_max[0, 0]
    assert whole[1] == pytest.approx(float(parts[1])) and np.isnan(whole[0])
    assert whole[3] < float(parts[1:].sum())
    assert -200 < plain.jacobian_log10_max[1, 0, 3] < -170  # 10^-60 a layer


def test_blocks_whose_samples_depend_on_each_other() -> None:
    """Batch norm and dropout: the signals of the other samples are held fixed at every layer."""
    config = {**SMALL, "arch": "residual", "act": "tanh", "init": "he_normal", "norm": "batch", "dropout": 0.2}
    request = read_request(**config)
    ds, one = run(request), request.configs[0]
    with jax.enable_x64(True):
        net = vp.build(config, 0)
        key = keys_of(0, 0)["dropout"]

        @jax.jit
        def jacobians(h: jax.Array) -> list[jax.Array]:
            found = []
            for layer, p in enumerate(net.params, 1):
                plain = plain_of(one, one.numbers(layer), jax.random.fold_in(key, layer))
                block = partial(one.arch.reference, plain, p)
                found.append(jax.jacobian(lambda row, rest=h, block=block: block(rest.at[0].set(row))[0])(h[0]))
                h = block(h)
            return found

        product = functools.reduce(lambda product, j: np.asarray(j) @ product, jacobians(net.x), np.eye(6))
    expected = np.log10(np.linalg.svd(product, compute_uv=False))
    np.testing.assert_allclose(ds.jacobian_log10_singular_values[0, 0], expected, atol=1e-8)


@pytest.mark.exhaustive
def test_orthogonal_linear_nets_are_isometric_and_gaussian_ones_are_not() -> None:
    """Equal variances, told apart (Saxe et al. 2014); the Gaussian ends near (L + 1)^(L + 1) / L^L."""
    ds = vp.sweep(act="identity", init="orthogonal,lecun_normal", depth=6, width=96, batch=1, seeds=1, jacobian=True)
    isometric, gaussian = (ds.jacobian_log10_singular_values.values[i] for i in (0, 1))
    assert np.abs(isometric).max() < 1e-5
    edge = np.log10(7**7 / 6**6) / 2
    assert np.abs(gaussian[:, 0] - edge).max() < 0.06  # edges move by n^(-2/3), 5% of the value
    assert gaussian[:, -1].max() < -5
    predicted = jacobian_spectrum(6, 1.0)
    share = np.concatenate(
        [[0], np.cumsum(np.diff(predicted.log10_s) * (predicted.density[1:] + predicted.density[:-1]) / 2)]
    )
    here = np.sort(gaussian, axis=None)
    distance = np.abs((np.arange(here.size) + 0.5) / here.size - np.interp(here, predicted.log10_s, share)).max()
    assert distance < 0.05  # Kolmogorov distance; eigenvalues are rigid: a few of 96
    rows = vp.diagnose(ds).rows
    assert abs(rows[0]["jacobian"]["log10_condition"]) < 1e-5 < 5 < rows[1]["jacobian"]["log10_condition"]
    assert "Singular values of dh_L/dh_0" in str(vp.diagnose(ds))
    ax = vp.plot_spectrum(ds)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["orthogonal", "lecun_normal", "infinite width"]


@pytest.mark.parametrize(("depth", "active"), [(1, 1.0), (10, 1.0), (1, 0.5), (10, 0.5)])
def test_theory_keeps_mass_and_mean_square(depth: int, active: float) -> None:
    """p is not zero; E lambda = (p sigma_w2)^L; the linear edge is (L + 1)^(L + 1) / L^L."""
    found = jacobian_spectrum(depth, 1 / active, active)
    assert (np.diff(found.log10_s) > 0).all()
    np.testing.assert_allclose(np.trapezoid(found.density, found.log10_s), active, atol=1e-3)
    np.testing.assert_allclose(np.trapezoid(found.density * 100**found.log10_s, found.log10_s), 1, atol=1e-3)
    if active == 1:
        edge = (depth + 1) * np.log10(depth + 1) - depth * np.log10(depth)
        np.testing.assert_allclose(2 * found.log10_s[-1], edge, atol=1e-6)


def test_refusals(plain: xr.Dataset) -> None:
    with pytest.raises(InvalidArgumentError, match="2048 values is more than the 1024"):
        vp.sweep(depth=2, width=2048, jacobian=True)
    with pytest.raises(InvalidArgumentError, match="neither True nor False"):
        vp.sweep(depth=2, width=4, jacobian="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="no Jacobians"):
        vp.plot_spectrum(plain.drop_vars("jacobian_log10_singular_values"))
