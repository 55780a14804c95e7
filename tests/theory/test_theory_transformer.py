"""Transformers with uniform attention against closed forms and nets written out in float64."""

import numpy as np
import pytest
from float64_blocks import agree, normalize, phi

import varprobe as vp
from varprobe.errors import InvalidArgumentError
from varprobe.theory.elementwise import activation
from varprobe.theory.laws import pair_of
from varprobe.theory.token_kernels import token_kernels

LN10 = np.log(10)


def arc_cosine(c: float) -> float:
    """2 E relu relu at correlation c."""
    angle = np.arccos(c)
    return (np.sin(angle) + (np.pi - angle) * c) / np.pi


def test_tokens_are_pulled_together() -> None:
    """relu, pre: attention adds (1 + (T - 1) c) / T to all tokens alike, the perceptron 1 and its cosine map."""
    count, q, covariance = 8, 1.0, 0.0
    streams, cosines = [], []
    for _ in range(20):
        mean = (1 + (count - 1) * covariance / q) / count
        q, covariance = q + mean, covariance + mean
        added = arc_cosine(covariance / q)
        q, covariance = q + 1, covariance + added
        streams.append(q)
        cosines.append(covariance / q)
    found = vp.theory.transformer("relu", 20, count, sigma_up2=2.0, eps=0.0)
    np.testing.assert_allclose(10 ** found.stream[1:], streams, rtol=1e-9)
    np.testing.assert_allclose(found.stream_cosine[1:], cosines, rtol=1e-9)
    np.testing.assert_allclose(found.perceptron, 0, atol=1e-10)


def test_gradient_of_uniform_attention() -> None:
    """Post norm without a perceptron: each token's gradient gets the mean of all, of variance 1 / T at first."""
    count = 16
    none = vp.theory.transformer("relu", 1, count, norm="none", sigma_down2=0.0)
    two = vp.theory.transformer("relu", 2, count, norm="none", sigma_down2=0.0)
    assert none.gradient[0] == 0 and 10 ** two.gradient[0] == pytest.approx(1 + 1 / count, rel=1e-12)
    three = vp.theory.transformer("relu", 3, count, norm="none", sigma_down2=0.0)
    # the mean of all tokens has the variance 1 / T, and doubles with every block
    assert 10 ** three.gradient[0] == pytest.approx(1 + 1 / count + 2 / count, rel=1e-12)
    np.testing.assert_allclose(10**three.stream, [1, 1 + 1 / count, 1 + 3 / count, 1 + 7 / count], rtol=1e-12)


def test_a_causal_token_sees_those_before_it() -> None:
    """Independent tokens: token t gets 1 / t; on average the harmonic number over T."""
    found = vp.theory.transformer("relu", 1, 10, causal=True, norm="none", sigma_down2=0.0)
    assert 10 ** found.attention[0] == pytest.approx(np.mean(1 / np.arange(1, 11)), rel=1e-12)
    alike = vp.theory.transformer("gelu", 5, 10, causal=True, c0=1.0)
    uniform = vp.theory.transformer("gelu", 5, 10, c0=1.0)
    np.testing.assert_allclose(alike.stream, uniform.stream, atol=1e-9)
    np.testing.assert_allclose(alike.stream_cosine, 1, atol=1e-9)


@pytest.mark.parametrize("norm", ["pre", "none"])
def test_one_token_is_a_residual_stack(norm: str) -> None:
    found = vp.theory.transformer(
        "gelu", 6, 1, norm=norm, sigma_o2=0.0, sigma_up2=1.5, sigma_down2=0.8, branch_scale=0.5
    )
    if norm == "none":
        same = vp.theory.residual("gelu", 6, 1.5, 0.8, branch_scale=0.5)
        np.testing.assert_allclose(found.stream, same.stream, atol=1e-8)
        np.testing.assert_allclose(found.gradient, same.gradient, atol=1e-8)
    else:
        m = vp.theory.moments("gelu", 1.5)
        q = 1 + 0.25 * 0.8 * m.mean_square * np.arange(7)
        np.testing.assert_allclose(10**found.stream, q, rtol=1e-4)  # eps = 1e-5
        steps = 1 + 0.25 * 0.8 * 1.5 * m.derivative_mean_square / q[1:-1]
        np.testing.assert_allclose(10**found.gradient, np.append(np.cumprod(steps[::-1])[::-1], 1), rtol=1e-4)
    assert np.isnan(found.stream_cosine).all()


def test_post_norm_keeps_the_stream() -> None:
    found = vp.theory.transformer("gelu", 8, 5, norm="post", branch_scale=2.0, eps=0.0)
    np.testing.assert_allclose(found.stream, 0, atol=1e-12)
    far = vp.theory.transformer("relu", 30, 4, norm="none", sigma_down2=1e30, sigma_v2=1e-20)
    assert far.stream[-1] > 800 and np.isfinite(far.gradient).all()
    for sigma_up2 in (0.0, 1e-200):
        none = vp.theory.transformer("gelu", 3, 4, norm="none", sigma_up2=sigma_up2, sigma_o2=0.0)
        assert not none.stream.any() and not none.gradient.any()


@pytest.mark.parametrize("name", ["relu", "leaky_relu(0.3)", "gelu", "tanh"])
def test_kernels(name: str) -> None:
    """Against the closed form or the nested integral of a pair."""
    act, c = activation(name), np.array([[1, 0.3, -0.5], [0.3, 1, 0.9], [-0.5, 0.9, 1]])
    found = token_kernels(act, np.full(3, 1.7), c)
    for i in range(3):
        for j in range(i, 3):
            one = pair_of(act, 1.7, float(c[i, j]))
            np.testing.assert_allclose([found.phi[i, j], found.derivative[i, j]], one[:2], atol=1e-6)
    several = token_kernels(act, np.linspace(0.5, 3, 40), np.eye(40))
    squares = [vp.theory.moments(name, q).mean_square for q in np.linspace(0.5, 3, 40)]
    np.testing.assert_allclose(several.phi.diagonal(), squares, rtol=1e-8)


def test_kernels_of_tokens_near_zero_are_those_of_a_line() -> None:
    """tanh x = x, whatever the two sizes: below 2^-100, where no average is taken any more, too."""
    q, c = 2.0 ** np.array([-90, -104, -130]), np.array([[1, 0.5, -0.3], [0.5, 1, 0.2], [-0.3, 0.2, 1]])
    found = token_kernels(activation("tanh"), q, c)
    np.testing.assert_allclose(found.phi, np.sqrt(np.outer(q, q)) * c, rtol=1e-6)
    np.testing.assert_allclose(found.derivative, 1, rtol=1e-6)


VARIANCES = 1.0, 1.6, 1.5, 2.0, 0.7
"""Of the matrices v, o, up, down and gate, times fan_in."""


def matrix(rng: np.random.Generator, rows: int, columns: int, variance: float) -> np.ndarray:
    return rng.standard_normal((rows, columns)) * np.sqrt(variance / rows)


def attention(rng: np.random.Generator, u: np.ndarray, act: str, gated: bool, causal: bool) -> tuple:
    """(branch, its pullback)."""
    tokens, width = u.shape
    means = np.tri(tokens) / np.arange(1, tokens + 1)[:, None] if causal else np.full((tokens, tokens), 1 / tokens)
    v, o = (matrix(rng, width, width, variance) for variance in VARIANCES[:2])
    return means @ u @ v @ o, lambda g: means.T @ (g @ o.T @ v.T)


def perceptron(rng: np.random.Generator, u: np.ndarray, act: str, gated: bool, causal: bool) -> tuple:
    """(branch, its pullback)."""
    width = u.shape[1]
    up, gate = (matrix(rng, width, 2 * width, VARIANCES[at]) for at in (2, 4))
    down = matrix(rng, 2 * width, width, VARIANCES[3])
    h, slope = phi(act, u @ (gate if gated else up))
    if not gated:
        return h @ down, lambda g: ((g @ down.T) * slope) @ up.T
    linear = u @ up
    return (h * linear) @ down, lambda g: ((g @ down.T) * h) @ up.T + ((g @ down.T) * linear * slope) @ gate.T


@pytest.mark.parametrize(("act", "norm", "causal", "gated"), [
    ("relu", "pre", False, False), ("tanh", "post", True, False), ("silu", "pre", True, True),
    ("relu", "none", False, False), ("silu", "none", True, True),
])  # fmt: skip
def test_against_nets(act: str, norm: str, causal: bool, gated: bool) -> None:
    depth, tokens, width, scale, rows = 2, 5, 160, 0.8, []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        x, tape, seen = (
            rng.standard_normal((tokens, width)),
            [],
            {"stream": [], "cosine": [], "branch": [], "gradient": []},
        )

        for _ in range(depth):
            for branch in (attention, perceptron):
                inner = outer = None
                u = x
                if norm == "pre":
                    u, inner = normalize("layer", x, 1e-5, None)
                y, through = branch(rng, u, act, gated, causal)
                seen["branch"].append(np.log((y**2).mean()))
                x = x + scale * y
                if norm == "post":
                    x, outer = normalize("layer", x, 1e-5, None)
                tape.append((inner, through, outer))
            unit = x / np.linalg.norm(x, axis=1, keepdims=True)
            seen["stream"].append(np.log((x**2).mean()))
            seen["cosine"].append(((unit @ unit.T).sum() - tokens) / (tokens * (tokens - 1)))
        g = rng.standard_normal((tokens, width))
        for at, (inner, through, outer) in enumerate(tape[::-1]):
            if at % 2 == 0:
                seen["gradient"].append(np.log((g**2).mean()))
            g = outer(g) if outer else g
            p = through(g)
            g = g + scale * (inner(p) if inner else p)
        seen["gradient"].reverse()
        rows.append(seen)
    found = vp.theory.transformer(act, depth, tokens, norm, causal, gated, *VARIANCES, scale)
    allowance = 10 * depth / width
    branch = np.stack([found.attention, found.perceptron], axis=1).ravel() * LN10
    for name, predicted in (
        ("stream", found.stream[1:] * LN10), ("cosine", found.stream_cosine[1:]), ("branch", branch),
        ("gradient", found.gradient * LN10),
    ):  # fmt: skip
        agree(np.array([row[name] for row in rows]), predicted, allowance)


@pytest.mark.parametrize(("arguments", "says"), [
    ({"norm": "before"}, "norm: unknown norm 'before'"),
    ({"tokens": 10**6}, "tokens: 1000000 tokens are more than 2048"),
    ({"tokens": 4, "c0": -0.5}, "c0: -0.5 is not a number from -0.333333 to 1"),
    ({"sigma_o2": [1, 2]}, "sigma_o2: 2 values for 12 layers"),
    ({"sigma_gate2": -1}, "sigma_gate2: -1 is not a finite number of at least 0"),
    ({"branch_scale": float("inf")}, "branch_scale: inf is not a finite number"),
])  # fmt: skip
def test_refused(arguments: dict, says: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        vp.theory.transformer("gelu", **arguments)
    assert says in str(caught.value)
