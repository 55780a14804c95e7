"""Squared singular values against Fuss-Catalan numbers and drawn products."""

import numpy as np
import pytest
from scipy.stats import norm

import varprobe as vp
from varprobe.errors import InvalidArgumentError


@pytest.mark.parametrize("depth", [1, 2, 10, 1000])
def test_gaussian_products(depth: int) -> None:
    """Moments 1 and L + 1 (Fuss-Catalan), the end of the support (L + 1)^(L + 1) / L^L."""
    found = vp.theory.singular_values(depth)
    assert (found.mean_log10, found.relative_variance) == (pytest.approx(0, abs=1e-12), pytest.approx(depth, rel=1e-12))
    expected = (depth + 1) * np.log10(depth + 1) - depth * np.log10(depth)
    assert found.largest_log10 == pytest.approx(expected, rel=1e-11)
    scaled = vp.theory.singular_values(depth, sigma_w2=1.1)
    assert scaled.mean_log10 == pytest.approx(depth * np.log10(1.1), rel=1e-12)
    assert scaled.largest_log10 - scaled.mean_log10 == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(("act", "orthogonal", "depth"), [
    ("identity", False, 3), ("relu", False, 1), ("relu", False, 3), ("relu", True, 4),
])  # fmt: skip
def test_against_drawn_products(act: str, orthogonal: bool, depth: int) -> None:
    """n = 400: the edge fluctuates by n^(-2/3) = 2%, moments by 1/n times a few; relu's masks by n^(-1/2) a layer."""
    rng, n = np.random.default_rng(depth), 400
    product = np.eye(n)
    for _ in range(depth):
        w = rng.standard_normal((n, n)) / np.sqrt(n)
        product = (np.linalg.qr(w)[0] if orthogonal else w) @ product
        if act == "relu":
            product[rng.permutation(n) < n // 2] = 0  # exactly half, which takes that fluctuation away
            product *= np.sqrt(2)
    squares = np.linalg.svd(product, compute_uv=False) ** 2
    found = vp.theory.singular_values(depth, act, orthogonal=orthogonal)
    assert squares.mean() == pytest.approx(1, abs=0.08)
    assert squares.var() / squares.mean() ** 2 == pytest.approx(found.relative_variance, rel=0.12)
    assert squares.max() == pytest.approx(10**found.largest_log10, rel=0.08)


@pytest.mark.parametrize(
    "act, q, share",
    [
        ("hard_tanh", 0.5, 2 * norm.cdf(np.sqrt(2)) - 1),
        ("relu6", 30.0, norm.cdf(6 / np.sqrt(30)) - 0.5),
        ("relu", 2, 0.5),
    ],
)
def test_largest_of_slopes_zero_and_one(act: str, q: float, share: float) -> None:
    """The minimum of (1 + m) / m (sigma_w2 (p + m))^L, and the norm of a drawn product, some n^(-2/3) of the n share live units off."""
    depth, n, rng = 3, 600, np.random.default_rng(1)
    m = np.geomspace(1e-4, 10, 200001)
    found = vp.theory.singular_values(depth, act, q=q)
    assert found.largest_log10 == pytest.approx(np.log10((1 + m) / m * (1 + m / share) ** depth).min(), abs=1e-8)
    product = np.eye(n)
    for _ in range(depth):
        product = rng.standard_normal((n, n)) / np.sqrt(n * share) @ product
        product[rng.permutation(n) < round(n * (1 - share))] = 0
    assert np.linalg.norm(product, 2) ** 2 == pytest.approx(10**found.largest_log10, rel=0.12)
    assert np.isnan(vp.theory.singular_values(depth, "leaky_relu", q=q).largest_log10)


def test_orthogonal() -> None:
    linear = vp.theory.singular_values(50, orthogonal=True)
    assert linear.relative_variance == pytest.approx(0, abs=1e-12) and linear.largest_log10 == pytest.approx(
        0, abs=1e-12
    )
    relu = vp.theory.singular_values(50, "relu", orthogonal=True)
    assert (
        relu.relative_variance == pytest.approx(50)
        and 0 < relu.largest_log10 < vp.theory.singular_values(50, "relu").largest_log10
    )
    # tanh at small q is nearly linear (Pennington et al. 2017): its orthogonal variance falls as q^2
    ratios = [
        vp.theory.singular_values(10, "tanh", q=q, orthogonal=True).relative_variance / q**2 for q in (1e-2, 1e-3)
    ]
    np.testing.assert_allclose(ratios, 80, rtol=0.15)  # phi'^2 = 1 - 2 z^2: Var = 4 Var z^2 = 8 q^2 a layer


def test_one_matrix_used_again() -> None:
    """E |W^t v|^2 = sigma_w2^t, to leading order in t / n."""
    assert vp.theory.repeated(1000, 0.9) == pytest.approx(1000 * np.log10(0.9))
    rng, n, logs = np.random.default_rng(0), 300, []
    for _ in range(20):
        w, v = rng.standard_normal((n, n)) * np.sqrt(0.8 / n), rng.standard_normal(n)
        for _ in range(6):
            v = w @ v
        logs.append(np.log10((v**2).mean()))
    assert np.mean(logs) == pytest.approx(vp.theory.repeated(6, 0.8), abs=5 * np.std(logs) / np.sqrt(20) + 6 / n)


def test_refused() -> None:
    for arguments, says in (
        ({"depth": 0}, "depth: 0 is not an integer"),
        ({"depth": 3, "sigma_w2": 0}, "sigma_w2: 0 is not a finite number above 0"),
        ({"depth": 3, "q": -1}, "q: -1 is not a number from"),
        ({"depth": 3, "act": lambda x: 0 * x}, "is constant over"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            vp.theory.singular_values(**arguments)
        assert says in str(caught.value)
    assert np.isnan(vp.theory.singular_values(3, "tanh").largest_log10)
