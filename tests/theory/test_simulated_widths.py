"""Simulated networks without matrices have the law of networks with matrices, and of the closed forms that there are."""

from typing import Any

import numpy as np
import pytest

from varprobe.nets.activations import resolve_activation
from varprobe.spec.calls import Call
from varprobe.theory import finite_width
from varprobe.theory.simulated_widths import FEWEST, MOST, Stack, draws_for, has_intervals, simulated


def stack_of(act: str, depth: int, width: int, batch: int, **more: Any) -> Stack:
    """A stack of Gaussian weights with fan_in Var W = 2."""
    named = Stack(
        act=resolve_activation(Call(act)),
        law="normal",
        sigma_w2=(2.0,) * depth,
        sigma_b2=(0.0,) * depth,
        widths=(width,) * (depth + 1),
        batch=batch,
        mean_square=1.0,
        cosine=0.0,
    )
    return named._replace(**more)


def drawn(stack: Stack, draws: int) -> dict[str, np.ndarray]:
    """The same with matrices, by plain NumPy: tanh alone."""
    random, logs = np.random.default_rng(1), {"activation": [], "gradient": []}
    for _ in range(draws):
        n = int(stack.widths[0])
        h, kept, signal = random.standard_normal((stack.batch, n)), [], []
        for w2, b2 in zip(stack.sigma_w2, stack.sigma_b2, strict=True):
            if stack.law == "orthogonal":
                q, r = np.linalg.qr(random.standard_normal((n, n)))
                w = np.sqrt(w2) * q * np.sign(np.diag(r))
            else:
                w = np.sqrt(w2 / n) * random.standard_normal((n, n))
            h = np.tanh(h @ w + np.sqrt(b2) * random.standard_normal(n))
            kept.append((w, 1 - h**2))
            signal.append(np.log(np.mean(h**2)))
        g, gradient = random.standard_normal(h.shape), []
        for w, slope in reversed(kept):
            delta = g * slope
            gradient.append(np.log(np.mean(delta**2)))
            g = delta @ w.T
        logs["activation"].append(signal)
        logs["gradient"].append(gradient[::-1])
    return {name: np.array(rows) for name, rows in logs.items()}


@pytest.mark.parametrize("law, biases", [("normal", 0.0), ("normal", 0.3), ("orthogonal", 0.0), ("orthogonal", 0.3)])
def test_tanh_as_with_matrices(law: str, biases: float) -> None:
    """Means within 4 standard errors, standard deviations within 15%, at every layer of 6 at width 12 and batch 4."""
    stack = stack_of("tanh", 6, 12, 4, law=law, sigma_b2=(biases,) * 6)
    ours, theirs = simulated(stack, 2000), drawn(stack, 2000)
    for name, logs in ours.items():
        error = np.sqrt(logs.var(axis=0) / len(logs) + theirs[name].var(axis=0) / 2000)
        assert (np.abs(logs.mean(axis=0) - theirs[name].mean(axis=0)) < 4 * error).all(), name
        np.testing.assert_allclose(logs.std(axis=0), theirs[name].std(axis=0), rtol=0.15)
        pairs = [np.corrcoef(each[:, 0], each[:, -1])[0, 1] for each in (logs, theirs[name])]
        assert abs(pairs[0] - pairs[1]) < 0.1


def test_relu_at_batch_1_as_the_closed_form() -> None:
    """Hanin & Nica 2020: the factors of layers are independent, with a known mean and variance."""
    logs = simulated(stack_of("relu", 8, 16, 1), 4000)
    for name in logs:
        exact = finite_width("relu", width=16, depth=8, quantity=name, sigma_w2=2.0)
        centered = logs[name] - np.log(1 / 2 if name == "gradient" else 1)
        error = np.sqrt(exact.variance / 4000)
        start = centered[:, -1].mean() - exact.drift[-1] if name == "gradient" else 0.0
        assert (np.abs(centered.mean(axis=0) - start - exact.drift) < 4 * error + 0.02).all()
        steps = np.diff(exact.variance), np.diff(centered.var(axis=0))
        np.testing.assert_allclose(steps[1].mean(), steps[0].mean(), rtol=0.1)


def test_scales_are_added_and_orthogonal_lines_keep_everything() -> None:
    one, other = stack_of("relu", 5, 8, 3), stack_of("relu", 5, 8, 3, sigma_w2=(1.0,) * 5, mean_square=4.0)
    a, b = simulated(one, 64), simulated(other, 64)
    np.testing.assert_allclose(
        a["activation"] - b["activation"], np.log(2) * np.arange(1, 6) - np.log(4) + 0 * a["activation"]
    )
    np.testing.assert_allclose(a["gradient"] - b["gradient"], np.log(2) * np.arange(4, -1, -1) + 0 * a["gradient"])
    line = simulated(stack_of("identity", 5, 8, 3, law="orthogonal", sigma_w2=(1.0,) * 5), 64)
    assert all(np.ptp(logs, axis=1).max() < 1e-9 for logs in line.values())


def test_what_takes_too_long_or_does_not_fit_is_not_simulated() -> None:
    assert draws_for(stack_of("tanh", 20, 64, 8)) == MOST
    assert draws_for(stack_of("tanh", 1000, 512, 16)) == 0
    assert draws_for(stack_of("tanh", 20, 64, 40, law="orthogonal")) == 0
    assert FEWEST <= draws_for(stack_of("tanh", 50, 150, 16)) < MOST


def test_slopes_that_students_t_does_not_fit() -> None:
    random = np.random.default_rng(0)
    normal, skewed = random.standard_normal((2000, 1)), np.exp(3 * random.standard_normal((2000, 1)))
    flat = np.zeros((2000, 1))
    assert has_intervals(np.hstack([flat, normal])) and not has_intervals(np.hstack([flat, skewed]))
