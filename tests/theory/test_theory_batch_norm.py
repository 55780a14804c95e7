"""Batch norm at a finite batch against closed forms, sampled Jacobians and nets written out in float64."""

import numpy as np
import pytest
from float64_blocks import measure, phi
from scipy.integrate import quad

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.theory.closed import arc_cosine
from varprobe.theory.elementwise import activation
from varprobe.theory.spheres import sphere_averages

BATCHES = (4, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize("batch", [4, 5, 16, 255, 4096])
def test_linear(batch: int) -> None:
    found = vp.theory.batch_norm("identity", batch)
    assert found.gradient_factor == pytest.approx((batch - 2) / (batch - 3), rel=1e-10)
    assert found.activation_ms == pytest.approx(1, rel=1e-10)
    assert found.activation_cosine == pytest.approx(-1 / (batch - 1), rel=1e-9)


@pytest.mark.parametrize("batch", BATCHES)
def test_relu_in_closed_form(batch: int) -> None:
    """With c = -1 / (B - 1) and J_0, J_1 the arc-cosine kernels: variance 1/2 - J_1, slopes 1/2 and J_0."""
    c = -1 / (batch - 1)
    step, ramp = arc_cosine(0, c), arc_cosine(1, c)
    trace = (1 - 1 / batch) / 2 + step / batch - (0.5 - ramp) / batch
    expected = batch / (batch - 3) * trace / (0.5 - ramp)
    assert vp.theory.batch_norm("relu", batch).gradient_factor == pytest.approx(expected, rel=1e-6)


def test_a_large_batch_of_relu() -> None:
    """pi / (pi - 1) (Yang et al. 2019), from above, the distance falling as 1 / B."""
    limit = np.pi / (np.pi - 1)
    gaps = [vp.theory.batch_norm("relu", batch).gradient_factor - limit for batch in (1000, 10000, 100000)]
    assert gaps[2] == pytest.approx(0, abs=2e-5) and (np.array(gaps) > 0).all()
    np.testing.assert_allclose([gaps[0] / gaps[1], gaps[1] / gaps[2]], 10, rtol=0.02)


@pytest.mark.parametrize("batch", [4, 8, 32, 256])
@pytest.mark.parametrize("act", ["relu", "tanh", "silu"])
def test_against_sampled_jacobians(act: str, batch: int) -> None:
    """E tr[(G - uu') D G D (G - uu')] over drawn directions, times E[B / chi2_{B-1}] = B / (B - 3)."""
    rng = np.random.default_rng(batch)
    count = max(2**19 // batch, 4000)
    g = rng.standard_normal((count, batch))
    g -= g.mean(1, keepdims=True)
    u = g / np.linalg.norm(g, axis=1, keepdims=True)
    h, slope = phi(act, np.sqrt(batch) * u)
    squares, sums = (slope**2).sum(1), slope.sum(1)
    through = (1 - 2 / batch) * squares + sums**2 / batch**2  # tr G D G D
    along = ((u * slope) ** 2).sum(1) - (u * slope).sum(1) ** 2 / batch
    trace, spread = (through - along) / (batch - 1), h.var(1, ddof=1)
    measured = trace.mean() / spread.mean() * batch / (batch - 3)
    error = (trace / trace.mean() - spread / spread.mean()).std() * measured / np.sqrt(count)
    assert error < 3e-3 * measured
    assert vp.theory.batch_norm(act, batch).gradient_factor == pytest.approx(measured, abs=4.5 * error)


@pytest.mark.parametrize(("act", "batch", "seeds"), [("relu", 8, 3), ("tanh", 64, 2)])
def test_against_nets(act: str, batch: int, seeds: int) -> None:
    """Factors of single layers, the first apart, whose input has no fixed point's covariance."""
    seen = measure(act, 6, 768, batch, seeds, layers=1, skip=False, norm="batch", eps=0.0)
    factors = np.exp(-np.diff(seen.inner_gradient, axis=1))[:, 1:]
    error = factors.std(ddof=1) / np.sqrt(factors.size)
    found = vp.theory.batch_norm(act, batch)
    assert error < 0.03 and factors.mean() == pytest.approx(found.gradient_factor, abs=4.5 * error)
    assert np.exp(seen.stream[:, -1]).mean() == pytest.approx(found.activation_ms, rel=0.02)
    stack = vp.theory.normalized(act, "batch", depth=6, batch=batch, eps=0.0)
    assert 10 ** -np.diff(stack.gradient_log10_mean_square)[2] == pytest.approx(found.gradient_factor, rel=1e-9)


@pytest.mark.parametrize("act", ["tanh", "relu"])
def test_averages_over_a_sphere(act: str) -> None:
    """Of 4 samples one is uniform on [-sqrt 3, sqrt 3] (Archimedes)."""
    found = sphere_averages(activation(act), 4)
    for power, value in ((1, found.mean), (2, found.square)):
        expected = quad(lambda x, power=power: phi(act, np.array(x))[0] ** power, -np.sqrt(3), np.sqrt(3), points=[0])[
            0
        ]
        assert value == pytest.approx(expected / (2 * np.sqrt(3)), rel=1e-10, abs=1e-14)


def test_eps_counts_where_samples_are_few() -> None:
    """relu, B = 4: v = lambda chi2_3 / 4 is often small. eps enters by v / (v + eps), integrated here on its own."""
    batch, eps, sigma_w2 = 4, 1e-3, 2.0
    c = -1 / (batch - 1)
    step, ramp = arc_cosine(0, c), arc_cosine(1, c)

    def over_v(f: object, spread: float) -> float:
        return quad(
            lambda r: np.sqrt(2 / np.pi) * r**2 * np.exp(-(r**2) / 2) * f(spread * r**2 / batch),
            0,
            40,
            limit=500,
            points=[0.01, 0.1, 1],
        )[0]  # type: ignore[operator]

    share = 1.0
    for _ in range(100):
        spread = sigma_w2 * (0.5 - ramp) * share
        share = over_v(lambda v: v / (v + eps), spread)

    def back(v: float) -> float:
        excess = 1 - (eps / (v + eps)) ** 2
        return ((1 - 1 / batch) / 2 + step / batch - excess * (0.5 - ramp) / batch) / (v + eps)

    found = vp.theory.batch_norm("relu", batch, eps, sigma_w2)
    assert found.gradient_factor == pytest.approx(sigma_w2 * over_v(back, spread), rel=1e-5)
    assert found.activation_ms == pytest.approx(share / 2, rel=1e-6)
    bare = vp.theory.batch_norm("relu", batch)
    assert found.gradient_factor < 0.95 * bare.gradient_factor
    assert vp.theory.batch_norm("relu", batch, 1e-14).gradient_factor == pytest.approx(bare.gradient_factor, rel=1e-5)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"batch": 3}, "batch: 3 is not an integer of at least 4"),
    ({"batch": float("inf")}, "batch: inf is not an integer"),
    ({"eps": -1e-5}, "eps: -1e-05 is not a finite number of at least 0"),
    ({"sigma_w2": 0}, "sigma_w2: 0 is not a finite number above 0"),
    ({"act": "rleu"}, "act: unknown activation 'rleu'; did you mean 'relu'?"),
    ({"act": lambda x: 0 * x}, "constant over a normalized batch"),
])  # fmt: skip
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.batch_norm(**{"act": "relu", **arguments})
    assert says in str(caught.value)
