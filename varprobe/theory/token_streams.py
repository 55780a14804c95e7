"""The residual stream of an infinitely wide transformer whose attention is uniform, token by token.

At the start of training queries and keys are random and their logits small beside what a softmax needs to choose, so
that a token receives the mean of the values that it sees (Xiong et al. 2020, arXiv 2002.04745; Noci et al. 2022,
arXiv 2206.03126), and no gradient passes through the logits. With G the tokens' covariance, P the matrix of means and
N what a norm divides by, attention adds s^2 so2 sv2 P (G / N) P' and the perceptron s^2 sd2 E[phi phi']; each token's
part has rank one over T in the first, which pulls the tokens together. The hidden width has no effect.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from varprobe.nets.activations import Activation
from varprobe.theory.token_kernels import slopes_of, token_kernels

__all__ = ["Matrices", "TokenPath", "TokenShape", "pass_tokens"]

Layers = Float[np.ndarray, " depth"]
Stream = Float[np.ndarray, " depth_and_1"]
Square = Float[np.ndarray, "tokens tokens"]
FARTHEST = 300.0
"""ln q far beyond what averages are taken at, and within float64's range."""


class Matrices(NamedTuple):
    """ln of fan_in Var of each matrix and the scale of the branches: arrays (depth,), or numbers of one block."""

    log_v: Any
    log_o: Any
    log_up: Any
    log_down: Any
    log_gate: Any
    scale: Any


class TokenShape(NamedTuple):
    """What does not change from block to block; the arguments of `transformer`."""

    tokens: int
    norm: str
    causal: bool
    gated: bool
    eps: float


class TokenPath(NamedTuple):
    """What `pass_tokens` finds, natural logs of means over tokens; `cosine` over pairs of them."""

    stream: Stream
    cosine: Stream
    attention: Layers
    perceptron: Layers
    gradient: Layers


class Scaled(NamedTuple):
    """A covariance over the tokens, exp(log_scale) matrix."""

    log_scale: float
    matrix: Square

    def times(self, log_factor: float) -> "Scaled":
        """This times a number."""
        return Scaled(self.log_scale + log_factor, self.matrix)

    def plus(self, other: "Scaled") -> "Scaled":
        """The sum of two."""
        top = max(self.log_scale, other.log_scale)
        if top == -np.inf:
            return self
        return Scaled(
            top, np.exp(self.log_scale - top) * self.matrix + np.exp(other.log_scale - top) * other.matrix
        ).leveled()

    def leveled(self) -> "Scaled":
        """The same with a largest variance of 1."""
        top = float(self.matrix.diagonal().max())
        if top <= 0:
            return Scaled(-np.inf, self.matrix)
        return Scaled(self.log_scale + float(np.log(top)), self.matrix / top)

    def log_mean(self) -> float:
        """ln of the mean variance."""
        with np.errstate(divide="ignore"):
            return self.log_scale + float(np.log(self.matrix.diagonal().mean()))

    def cosine(self) -> float:
        """Mean over pairs of different tokens; NaN for a single one."""
        count = len(self.matrix)
        if count == 1:
            return float("nan")
        root = np.sqrt(self.matrix.diagonal())
        with np.errstate(divide="ignore", invalid="ignore"):
            cosines = self.matrix / root[:, None] / root
        return float((cosines.sum() - count) / (count * (count - 1)))


class Step(NamedTuple):
    """What a branch needs to send a gradient back.

    divided, summed: the inverse of what norms divide by, before the branch and after the sum; None without one.
    weight: elementwise factor of the perceptron's gradient.
    """

    divided: Scaled | None
    summed: Scaled | None
    weight: Scaled | None


def pass_tokens(act: Activation, matrices: Matrices, shape: TokenShape, log_q0: float, cosine: float) -> TokenPath:
    """One net, forward and back.

    Raises:
        InvalidArgumentError: the activation has no finite averages where the signal leads.
    """
    count = shape.tokens
    means = np.tri(count) / np.arange(1, count + 1)[:, None] if shape.causal else np.full((count, count), 1 / count)
    stream = Scaled(log_q0, (1 - cosine) * np.eye(count) + cosine)
    streams, branches, steps = [stream], list[Scaled](), list[Step]()
    layers = [Matrices(*(float(part) for part in layer)) for layer in zip(*matrices, strict=True)]
    with np.errstate(divide="ignore"):
        log_s2 = 2 * np.log(np.abs(matrices.scale))
    for layer, log_s in zip(layers, log_s2, strict=True):
        for attending in (True, False):
            seen, divided = normed(stream, shape) if shape.norm == "pre" else (stream, None)
            if attending:
                branch, weight = Scaled(seen.log_scale, means @ seen.matrix @ means.T).leveled(), None
                branch = branch.times(layer.log_v + layer.log_o)
            else:
                branch, weight = perceptron(act, layer, shape, seen)
            stream, summed = stream.plus(branch.times(log_s)), None
            if shape.norm == "post":
                stream, summed = normed(stream, shape)
            branches.append(branch)
            steps.append(Step(divided, summed, weight))
        streams.append(stream)
    gradient, found = Scaled(0.0, np.eye(count)), np.empty(len(layers))
    for at in reversed(range(len(layers))):
        found[at] = gradient.log_mean()
        for _ in range(2):
            divided, summed, weight = steps.pop()
            if summed is not None:
                gradient = hadamard(gradient, summed)
            passed = gradient.times(log_s2[at])
            if weight is None:
                passed = Scaled(passed.log_scale, means.T @ passed.matrix @ means)
                passed = passed.times(layers[at].log_v + layers[at].log_o)
            else:
                passed = hadamard(passed, weight)
            if divided is not None:
                passed = hadamard(passed, divided)
            gradient = gradient.plus(passed)
    return TokenPath(
        np.array([one.log_mean() for one in streams]),
        np.array([one.cosine() for one in streams]),
        np.array([one.log_mean() for one in branches[::2]]),
        np.array([one.log_mean() for one in branches[1::2]]),
        found,
    )


def hadamard(a: Scaled, b: Scaled) -> Scaled:
    """The product, element by element."""
    return Scaled(a.log_scale + b.log_scale, a.matrix * b.matrix).leveled()


def normed(stream: Scaled, shape: TokenShape) -> tuple[Scaled, Scaled]:
    """(after a norm, the inverse of what it divided by for each pair of tokens)."""
    variance = stream.matrix.diagonal()
    with np.errstate(over="ignore", divide="ignore"):
        inverse = 1 / np.sqrt(variance + np.exp(np.log(shape.eps) - stream.log_scale))
    inverse = np.where(np.isfinite(inverse), inverse, 0.0)
    pairs = Scaled(-stream.log_scale, inverse[:, None] * inverse)
    return hadamard(stream, pairs), pairs.leveled()


def perceptron(act: Activation, layer: Matrices, shape: TokenShape, seen: Scaled) -> tuple[Scaled, Scaled]:
    """(branch, factor of its gradient for each pair of tokens)."""
    log_z = (layer.log_gate if shape.gated else layer.log_up) + seen.log_scale
    variance = seen.matrix.diagonal()
    root = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        c = np.clip(np.nan_to_num(seen.matrix / root[:, None] / root), -1, 1)
    np.fill_diagonal(c, 1.0)
    level, scale = (log_z, 0.0) if slopes_of(act) else (0.0, log_z)  # a piecewise linear phi takes any scale
    kernels = token_kernels(act, variance * np.exp(min(scale, FARTHEST)), c)
    hidden, slopes = Scaled(level, kernels.phi).leveled(), Scaled(0.0, kernels.derivative).leveled()
    if not shape.gated:
        return hidden.times(layer.log_down), slopes.times(layer.log_down + layer.log_up)
    own = seen.times(layer.log_up)
    weight = hadamard(slopes.times(layer.log_gate), own).plus(hidden.times(layer.log_up))
    return hadamard(hidden, own).times(layer.log_down), weight.times(layer.log_down)
