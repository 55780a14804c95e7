"""Plain and residual stacks with norms, forward and back, written out in float64 NumPy: what theory is compared to."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Back = Callable[[np.ndarray], np.ndarray]
BRANCHES = {(1, "post"): "mu", (1, "pre"): "um", (2, "post"): "mum", (2, "pre"): "umum"}


def phi(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(phi, phi')."""
    if name == "relu":
        return np.maximum(z, 0), (z > 0) * 1.0
    if name == "tanh":
        return np.tanh(z), 1 / np.cosh(z) ** 2
    if name == "sigmoid":
        s = 1 / (1 + np.exp(-z))
        return s, s * (1 - s)
    s = 1 / (1 + np.exp(-z))
    return z * s, s + z * s * (1 - s)  # silu


def normalize(kind: str, h: np.ndarray, eps: float, size: int | None) -> tuple[np.ndarray, Back]:
    """Any of the four norms and its gradient."""
    shape = h.shape
    axis = 0 if kind == "batch" else -1
    x = h.reshape(shape[0], -1, size) if size else h
    about = 0.0 if kind == "rms" else 1.0
    x = x - about * x.mean(axis, keepdims=True)
    root = np.sqrt((x**2).mean(axis, keepdims=True) + eps)
    y = x / root

    def back(g: np.ndarray) -> np.ndarray:
        g = g.reshape(y.shape)
        g = g - about * g.mean(axis, keepdims=True) - y * (g * y).mean(axis, keepdims=True)
        return (g / root).reshape(shape)

    return y.reshape(shape), back


class Measured(NamedTuple):
    """Natural logs of mean squares, (seeds, layers); `stream` has the input first, `cosine` and `mean` layer 1 first."""

    stream: np.ndarray
    cosine: np.ndarray
    mean: np.ndarray
    branch: np.ndarray
    preactivation: np.ndarray
    gradient: np.ndarray
    inner_gradient: np.ndarray
    weight_gradient: np.ndarray


def measure(
    act: str,
    depth: int,
    width: int,
    batch: int,
    seeds: int,
    sigma_w2: float = 2.0,
    sigma_v2: float = 1.0,
    sigma_b2: float = 0.0,
    scale: float = 1.0,
    layers: int = 2,
    order: str = "post",
    skip: bool = True,
    norm: str | None = None,
    position: str = "pre",
    eps: float = 1e-5,
    size: int | None = None,
) -> Measured:
    """Draw nets of Gaussian weights, N(0, 1) inputs and cotangents."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, width, batch])

        def unit(z: np.ndarray) -> tuple[np.ndarray, list[Back]]:
            backs: list[Back] = []
            if norm and position == "pre":
                z, back = normalize(norm, z, eps, size)
                backs.append(back)
            h, slope = phi(act, z)
            backs.append(lambda after: after * slope)
            if norm and position == "post":
                h, back = normalize(norm, h, eps, size)
                backs.append(back)
            return h, backs[::-1]

        x = rng.standard_normal((batch, width))
        found: dict[str, list[float]] = {name: [] for name in Measured._fields}
        found["stream"].append(np.log((x**2).mean()))
        tape = []
        for _ in range(depth):
            at, steps, matrices = x, [], 0
            for operation in BRANCHES[layers, order]:
                if operation == "u":
                    at, backs = unit(at)
                    steps.append(backs)
                    continue
                w = rng.standard_normal((width, width)) * np.sqrt((sigma_w2, sigma_v2)[matrices] / width)
                steps.append((w, at))
                at = at @ w + rng.standard_normal(width) * np.sqrt(sigma_b2)
                if matrices == 0:
                    found["preactivation"].append(np.log((at**2).mean()))
                matrices += 1
            tape.append(steps)
            found["branch"].append(np.log((at**2).mean()))
            x = x + scale * at if skip else at
            unit_x = x / np.linalg.norm(x, axis=1, keepdims=True)
            found["stream"].append(np.log((x**2).mean()))
            found["mean"].append(x.mean() / np.sqrt((x**2).mean()))
            found["cosine"].append(((unit_x @ unit_x.T).sum() - batch) / max(batch * (batch - 1), 1))
        g = rng.standard_normal((batch, width))
        for steps in tape[::-1]:
            found["gradient"].append(np.log((g**2).mean()))
            p = scale * g if skip else g
            for step in steps[::-1]:
                if isinstance(step, list):
                    for back in step:
                        p = back(p)
                    continue
                w, entered = step
                last = np.log((p**2).mean()), np.log(((entered.T @ p) ** 2).mean())
                p = p @ w.T
            found["inner_gradient"].append(last[0])
            found["weight_gradient"].append(last[1])
            g = g + p if skip else p
        for name in ("gradient", "inner_gradient", "weight_gradient"):
            found[name].reverse()
        rows.append(found)
    return Measured(*(np.array([row[name] for row in rows]) for name in Measured._fields))


def agree(measured: np.ndarray, predicted: np.ndarray | Sequence[float], allowance: float) -> None:
    """Seed means within five standard errors, and what a finite width adds."""
    error = measured.std(0, ddof=1) / np.sqrt(len(measured))
    gap = np.abs(measured.mean(0) - predicted)
    assert (gap <= 5 * error + allowance).all(), (gap, error)
