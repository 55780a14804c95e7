"""Convolutional stacks against plain ones, matrix powers and a net written out in float64."""

import numpy as np
import pytest
from float64_blocks import agree, phi

import varprobe as vp
from varprobe.errors import InvalidArgumentError

LN10 = np.log(10)


@pytest.mark.parametrize("act", ["relu", "tanh"])
def test_circular_padding_is_a_plain_stack(act: str) -> None:
    plain = vp.theory.trajectory(act, 1.8, 0.1, depth=9, q0=2.0)
    found = vp.theory.convolution(act, 9, size=4, kernel=3, padding="circular", sigma_w2=1.8, sigma_b2=0.1, q0=2.0)
    for name in ("preactivation_log10_mean_square", "activation_log10_mean_square", "gradient_log10_mean_square"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), atol=1e-10)
    np.testing.assert_allclose(
        found.weight_gradient_log10_mean_square, plain.weight_gradient_log10_mean_square + np.log10(16), atol=1e-10
    )
    assert np.ptp(found.activation_positions[-1]) < 1e-12 > np.ptp(found.gradient_positions[0])


@pytest.mark.parametrize(
    ("size", "kernel", "dims"), [(7, 3, 1), (32, 5, 1), (6, 2, 2), (5, 3, 2), (4, 3, 3), (1, 1, 2)]
)
def test_zeros_beyond_the_border(size: int, kernel: int, dims: int) -> None:
    """relu: the mean squares over positions are multiplied by sigma_w2 / 2 times a banded matrix; back, its transpose."""
    before = (kernel - 1) // 2
    offsets = np.arange(size) - np.arange(size)[:, None]
    band = ((offsets >= -before) & (offsets < kernel - before)) / kernel
    step = band
    for _ in range(dims - 1):
        step = np.kron(step, band)
    depth, ones = 6, np.ones(size**dims)
    forward = [np.linalg.matrix_power(1.5 * step, at) @ ones for at in range(1, depth + 1)]
    back = [np.linalg.matrix_power(1.5 * step.T, depth - at) @ ones / 2 for at in range(1, depth + 1)]
    found = vp.theory.convolution("relu", depth, size, kernel, dims, sigma_w2=3.0)
    np.testing.assert_allclose(10 ** found.activation_positions.reshape(depth, -1), forward, rtol=1e-10)
    np.testing.assert_allclose(10 ** found.gradient_positions.reshape(depth, -1), back, rtol=1e-10)
    np.testing.assert_allclose(10**found.activation_log10_mean_square, np.mean(forward, axis=1), rtol=1e-10)
    np.testing.assert_allclose(10**found.gradient_log10_mean_square, np.mean(back, axis=1), rtol=1e-10)


def test_deep_down_the_widest_wave_is_left() -> None:
    """One axis, 3 taps: the largest eigenvalue of the band is (1 + 2 cos(pi / (size + 1))) / 3."""
    found = vp.theory.convolution("relu", 200, size=8, kernel=3, dims=1)
    expected = (1 + 2 * np.cos(np.pi / 9)) / 3
    np.testing.assert_allclose(10 ** np.diff(found.activation_log10_mean_square)[-20:], expected, rtol=1e-10)
    np.testing.assert_allclose(10 ** -np.diff(found.gradient_log10_mean_square)[:20], expected, rtol=1e-10)
    far = vp.theory.convolution("relu", 100, size=8, dims=1, sigma_w2=1e30)
    assert far.activation_log10_mean_square[-1] > 2900 and np.isfinite(far.activation_positions).all()


def test_against_nets() -> None:
    """tanh with biases on a line of 5 positions, kernel 2: tap k reaches the position k after."""
    size, kernel, depth, channels, bias, rows = 5, 2, 4, 200, 0.1, []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        h, tape, forward, backward, weights = rng.standard_normal((size, channels)), [], [], [], []

        def shifted(a: np.ndarray, by: int) -> np.ndarray:
            out = np.zeros_like(a)
            out[max(0, -by) : size - max(0, by)] = a[max(0, by) : size - max(0, -by)]
            return out

        for _ in range(depth):
            w = rng.standard_normal((kernel, channels, channels)) * np.sqrt(2 / (kernel * channels))
            z = rng.standard_normal(channels) * np.sqrt(bias) + sum(shifted(h, k) @ w[k] for k in range(kernel))
            tape.append((w, h, z))
            h = phi("tanh", z)[0]
            forward.append((h**2).mean(1))
        g = rng.standard_normal((size, channels))
        for w, before, z in tape[::-1]:
            g = g * phi("tanh", z)[1]
            backward.append((g**2).mean(1))
            weights.append(np.mean([((shifted(before, k).T @ g) ** 2).mean() for k in range(kernel)]))
            g = sum(shifted(g @ w[k].T, -k) for k in range(kernel))
        rows.append((np.log(forward), np.log(backward[::-1]), np.log(weights[::-1])))
    found = vp.theory.convolution("tanh", depth, size, kernel, 1, sigma_w2=2.0, sigma_b2=bias)
    forward, backward, weights = (np.array(part) for part in zip(*rows, strict=True))
    allowance = 5 * depth / channels
    agree(forward, found.activation_positions * LN10, allowance)
    agree(backward, found.gradient_positions * LN10, allowance)
    agree(weights, found.weight_gradient_log10_mean_square * LN10, allowance)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"padding": "zeros"}, "padding: unknown padding 'zeros'; did you mean 'zero'?"),
    ({"size": 3, "kernel": 5}, "kernel: 5 taps are more than 3 positions"),
    ({"size": 300}, "size: 300^2 positions are more than 65536"),
    ({"dims": 0}, "dims: 0 is not an integer of at least 1"),
    ({"dims": 10**9}, "dims: 1000000000 axes are more than 3"),
    ({"q0": float("inf")}, "q0: inf is not a finite number above 0"),
])  # fmt: skip
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.convolution("relu", **arguments)
    assert says in str(caught.value)
