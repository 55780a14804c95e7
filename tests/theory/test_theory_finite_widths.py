"""Drift and variance at finite width: the exact laws, Hanin & Nica's first order, and draws of small nets."""

from collections.abc import Callable

import numpy as np
import pytest

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.theory.finite_widths import chi2_log, relu_log

# n: E and Var of ln chi2_n / n, then of ln (2/n) chi2_K, K ~ Binomial(n, 1/2) given K > 0
EXACT = {
    16: (-0.06380006372422597, 0.13313701469403144, -0.17639732440705033, 0.419593394106779),
    256: (-0.003911336231977813, 0.007843097050014616, -0.009828659363802311, 0.019818708909798564),
}


@pytest.mark.parametrize("n", EXACT)
def test_one_layer(n: int) -> None:
    np.testing.assert_allclose((*chi2_log(n), *relu_log(n)), EXACT[n], rtol=1e-10)
    for name, start in (("identity", 0), ("relu", 2)):
        found = vp.theory.finite_width(name, width=n, depth=3)
        assert found.kind == "exact"
        np.testing.assert_allclose(found.drift, np.arange(1, 4) * EXACT[n][start], rtol=1e-10)
        np.testing.assert_allclose(found.variance, np.arange(1, 4) * EXACT[n][start + 1], rtol=1e-10)


def test_first_order_of_hanin_and_nica() -> None:
    """beta = 5 sum 1/n_l for relu, 2 sum 1/n_l for linear: ln ||h||^2 ~ N(-beta/2, beta); the same backward."""
    widths = [100, 400, 200, 800]
    total = sum(1 / n for n in widths[1:])
    for name, factor in (("relu", 5), ("identity", 2)):
        forward = vp.theory.finite_width(name, "he_normal", widths, depth=3)
        backward = vp.theory.finite_width(name, "he_normal", widths, depth=3, quantity="gradient")
        assert forward.kind == backward.kind == "first order"
        for value, drift in ((forward.variance[-1], forward.drift[-1]), (backward.variance[0], backward.drift[0])):
            assert value == pytest.approx(factor * total, rel=1e-9) and drift == pytest.approx(-value / 2)
    assert relu_log(100_000)[1] == pytest.approx(5e-5, rel=1e-3)
    assert vp.theory.finite_width("relu").std_log10[-1] == pytest.approx(np.sqrt(250 / 512) / np.log(10), rel=1e-2)


def test_leaky_relu_lies_between() -> None:
    """6 (1 + a^4) / (1 + a^2)^2 - 1 per unit of 1/n."""
    for slope in (0.01, 0.5):
        found = vp.theory.finite_width(f"leaky_relu({slope})", width=1000, depth=10)
        each = 6 * (1 + slope**4) / (1 + slope**2) ** 2 - 1
        assert found.kind == "first order" and found.variance[-1] == pytest.approx(each / 100, rel=1e-9)


def test_a_batch_varies_less_most_so_backward() -> None:
    """50 layers of 512, 64 inputs: measured 0.45 forward and 0.09 backward, one input 0.48."""
    one, forward = (vp.theory.finite_width("relu", "he_normal", batch=b) for b in (1, 64))
    backward = vp.theory.finite_width("relu", "he_normal", batch=64, quantity="gradient")
    assert one.variance[-1] == pytest.approx(0.488, abs=1e-3)
    assert 0.39 < forward.variance[-1] < 0.45
    assert 0.08 < backward.variance[0] < 0.095
    aligned = vp.theory.finite_width("relu", "he_normal", batch=64, c0=1.0)
    np.testing.assert_allclose(aligned.variance, one.variance, rtol=1e-9)


ActivationSpec = Callable[[np.ndarray], np.ndarray]
FUNCTIONS: dict[str, tuple[ActivationSpec, ActivationSpec]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def draw(name: str, n: int, depth: int, batch: int, sigma_w2: float, orthogonal: bool, nets: int) -> np.ndarray:
    """(ln mean square of h_L, of delta_1) of small nets drawn with NumPy; shape (nets, 2)."""
    rng = np.random.default_rng(1)
    phi, slope = FUNCTIONS[name]
    x = np.linalg.qr(rng.standard_normal((n, batch)))[0].T * np.sqrt(n)
    found = np.empty((nets, 2))
    for net in range(nets):
        matrices, signals, h = [], [], x
        for _ in range(depth):
            w = rng.standard_normal((n, n)) / np.sqrt(n)
            if orthogonal:
                q, r = np.linalg.qr(w)
                w = q * np.sign(np.diag(r))
            matrices.append(w * np.sqrt(sigma_w2))
            signals.append(h @ matrices[-1])
            h = phi(signals[-1])
        delta = rng.standard_normal((batch, n)) * slope(signals[-1])
        for w, z in zip(matrices[:0:-1], signals[-2::-1], strict=True):
            delta = delta @ w.T * slope(z)
        found[net] = np.log((h**2).mean()), np.log((delta**2).mean())
    return found


@pytest.mark.parametrize(
    ("name", "n", "batch", "sigma_w2", "orthogonal", "tolerance"),
    [
        ("relu", 16, 1, 2.0, False, (0.12, 0.12)),  # exact: 2000 draws leave 3% of a variance, times 4
        ("relu", 64, 8, 2.0, False, (0.2, 0.25)),
        ("relu", 64, 1, 2.0, True, (0.2, 0.2)),
        ("tanh", 64, 1, 1.5, False, (0.2, 0.35)),  # backward: what the forward signal adds is left out
    ],
)
def test_against_drawn_nets(
    name: str, n: int, batch: int, sigma_w2: float, orthogonal: bool, tolerance: tuple[float, float]
) -> None:
    depth = 5
    drawn = draw(name, n, depth, batch, sigma_w2, orthogonal, nets=2000)
    init = f"orthogonal(scale={float(np.sqrt(sigma_w2))!r})" if orthogonal else None
    weights = None if orthogonal else sigma_w2
    curve = vp.theory.trajectory(name, sigma_w2, depth=depth)
    levels = np.log(10) * np.array([curve.activation_log10_mean_square[-1], curve.gradient_log10_mean_square[0]])
    for column, (quantity, end) in enumerate((("activation", -1), ("gradient", 0))):
        law = vp.theory.finite_width(name, init, n, depth, batch, quantity, weights)
        assert drawn[:, column].var() == pytest.approx(law.variance[end], rel=tolerance[column])
        error = 4 * np.sqrt(law.variance[end] / 2000) + 0.02  # the drift's second order
        assert drawn[:, column].mean() - levels[column] == pytest.approx(law.drift[end], abs=error)
    if orthogonal:
        plain = vp.theory.finite_width(name, None, n, depth, batch, "activation", sigma_w2)
        assert drawn[:, 0].var() < 0.8 * plain.variance[-1]


def test_linear_nets_with_biases_against_their_law() -> None:
    """z_l is Gaussian given |h_{l-1}|, so that q_l = (w q_{l-1} + b) chi2_n / n; q settles at 1."""
    n, depth, weights, biases = 100, 6, 0.6, 0.4
    generator, q, mean, variance = np.random.default_rng(0), np.ones(200_000), [], []
    for _ in range(depth):
        q = (weights * q + biases) * generator.chisquare(n, q.size) / n
        mean.append(np.log(q).mean())
        variance.append(np.log(q).var())
    found = vp.theory.finite_width("identity", None, n, depth, sigma_w2=weights, sigma_b2=biases)
    np.testing.assert_allclose(found.variance, variance, rtol=0.03)
    np.testing.assert_allclose(found.drift, mean, atol=1e-3)


@pytest.mark.parametrize(("weights", "biases"), [(2.5, 0.5), (1.4, 0.0)])
def test_tanh_against_draws_of_its_law(weights: float, biases: float) -> None:
    """Layers of Gaussians given the mean square before. The gradient has the average of phi'^2 there, and its own draws,
    of variance (3 E phi'^4 / (E phi'^2)^2 - 1) / n a layer.
    """
    n, depth, draws = 100, 4, 20_000
    rng, z = np.random.default_rng(0), np.linspace(-10, 10, 801)
    gauss = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()

    def slope(q: float, power: int) -> float:
        return float(gauss @ np.cosh(np.sqrt(q) * z) ** (-2 * power))

    grid = np.linspace(-2, 3, 101)  # ln q
    logs_of = [np.log(slope(np.exp(log_q), 2)) for log_q in grid]
    q, level, signal, back, own = np.full(draws, weights + biases), weights + biases, [], [], []
    for _ in range(depth):
        mean_square = np.mean(np.tanh(rng.standard_normal((draws, n), np.float32) * np.sqrt(q)[:, None]) ** 2, axis=1)
        back.append(np.interp(np.log(q), grid, logs_of) - np.log(slope(level, 2)))
        own.append((3 * slope(level, 4) / slope(level, 2) ** 2 - 1) / n)
        infinite = gauss @ np.tanh(np.sqrt(level) * z) ** 2
        signal.append(np.log(mean_square / infinite))
        q, level = weights * mean_square + biases, weights * infinite + biases
    passed, own_part = (np.cumsum(part[::-1], axis=0)[::-1] for part in (back, own))
    for quantity, drawn, rest in (("activation", np.array(signal), np.zeros(depth)), ("gradient", passed, own_part)):
        found = vp.theory.finite_width("tanh", None, n, depth, 1, quantity, weights, biases)
        np.testing.assert_allclose(found.variance - rest, drawn.var(axis=1), rtol=0.06, atol=1e-9)
        error = 3 * drawn.std(axis=1) / np.sqrt(draws) + 0.05 * np.abs(drawn.mean(axis=1))
        assert (np.abs(drawn.mean(axis=1) - found.drift - rest / 2) <= error + 1e-9).all()


def test_orthogonal_linear_nets_do_not_vary() -> None:
    assert (vp.theory.finite_width("identity", "orthogonal", 64, 20).variance < 1e-12).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"init": "ones"}, "init: ones has the mean 1"),
        ({"init": "sparse(density=0.1)"}, "has no law that theory knows (allowed: normal, truncated_normal, uniform"),
        ({"init": "he_normall"}, "did you mean 'he_normal'?"),
        ({"init": "he_normal", "sigma_w2": 2}, "sigma_w2: give init or sigma_w2, not both"),
        ({"quantity": "gradients"}, "quantity: unknown quantity 'gradients'; did you mean 'gradient'?"),
        ({"width": [3, 4]}, "width: 2 widths for depth 50"),
        ({"width": 0}, "width: 0 is not a finite number of at least 1"),
        ({"width": 2.5}, "width: 2.5 is not whole"),
        ({"batch": 0}, "batch: 0 is not"),
    ],
)
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.finite_width("relu", **arguments)
    assert says in str(caught.value)
