"""What a probe says of the rows of a value: entropy of attention, cosine between samples."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import varprobe as vp
from varprobe.model import whole
from varprobe.model.stats import ALIKE, ENTROPY

WIDTH, TOKENS = 8, 6
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(TOKENS, WIDTH)).astype(np.float32)
W = [RANDOM.normal(size=(WIDTH, WIDTH)).astype(np.float32) / WIDTH**0.5 for _ in range(4)]


def cosine_of(x: np.ndarray) -> float:
    """Mean over all pairs of distinct rows, one by one."""
    pairs = [(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    return float(np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


@pytest.mark.parametrize("size", [1.0, 1e30])
def test_cosine_and_entropy_are_those_of_all_pairs_and_rows(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(whole, "BLOCK", 20)  # two rows at a time
    p = np.exp(3 * X) / np.exp(3 * X).sum(-1, keepdims=True)
    assert whole.statistics(size * X, told=ALIKE).rows == pytest.approx(cosine_of(X.astype(np.float64)), abs=1e-7)
    entropy = -(p * np.log(p)).sum(-1).mean() / np.log(WIDTH)
    assert whole.statistics(p, told=ENTROPY).rows == pytest.approx(entropy, abs=1e-6)
    assert whole.statistics(np.eye(5, dtype=np.float32), told=ENTROPY).rows == 0
    assert whole.statistics(np.full((3, 5), 0.2, np.float32), told=ENTROPY).rows == pytest.approx(1, abs=1e-6)
    assert np.isnan(whole.statistics(X).rows)


def test_entropy_of_causal_attention_is_that_of_the_positions_in_sight() -> None:
    """Equal probabilities of 1, 2, ... keys have the largest entropy that they can have."""
    seen = np.tril(np.ones((TOKENS, TOKENS), np.float32))
    assert whole.statistics(seen / seen.sum(-1, keepdims=True), told=ENTROPY).rows == pytest.approx(1, abs=1e-6)
    p = np.tril(np.exp(X @ X.T))
    p /= p.sum(-1, keepdims=True)
    rows = [-(row[: i + 1] * np.log(row[: i + 1])).sum() / np.log(i + 1) for i, row in enumerate(p) if i]
    assert whole.statistics(p, told=ENTROPY).rows == pytest.approx(np.mean(rows), abs=1e-6)


def attention(scale: float, p: Any, x: Any) -> Any:
    q, k, v = (x @ p[name] for name in "qkv")
    return (jax.nn.softmax(scale * q @ k.T) @ v @ p["out"]).sum()


@pytest.mark.parametrize("scale", [0.3, 100.0])
def test_attention_at_one_key_is_no_all_clear(scale: float) -> None:
    p = dict(zip(("q", "k", "v", "out"), W, strict=True))
    ds = vp.probe(lambda p, x: attention(scale, p, x), p, X)
    logits = scale * (X @ W[0]) @ (X @ W[1]).T
    probabilities = np.asarray(jax.nn.softmax(logits), np.float64)
    entropies = -(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum(-1)
    count = np.count_nonzero(probabilities, axis=-1)  # those far below the largest are 0 in float32
    expected = np.mean([e / np.log(n) for e, n in zip(entropies, count, strict=True) if n > 1])
    (row,) = np.flatnonzero(ds.kind.values == "probabilities")
    assert ds["attention_entropy"].values[0, 0, row] == pytest.approx(expected, abs=1e-6)
    assert vp.diagnose(ds).rows[0]["flags"] == (["one_hot_attention"] if scale > 1 else [])


def test_samples_that_become_alike_are_told() -> None:
    """A large bias makes all samples one; the cosine is above 0.999 from the first layer on."""

    def loss(p: Any, x: Any) -> Any:
        for w in p:
            x = jnp.tanh(0.01 * x @ w + 1)
        return jnp.square(x).mean()

    ds = vp.probe(loss, W, X)
    assert ds["activation_correlation"].values[0, 0, 0] == pytest.approx(cosine_of(X), abs=1e-6)
    assert ds["activation_correlation"].values[0, 0, 1] == pytest.approx(
        cosine_of(np.tanh(0.01 * X @ W[0] + 1)), abs=1e-6
    )
    diagnosis = vp.diagnose(ds)
    assert diagnosis.rows[0]["notes"] == ["correlation_collapse"]
    assert "0: the mean cosine between samples or positions is above 0.999." in " ".join(str(diagnosis).split())
