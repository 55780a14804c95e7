"""What a prediction for plain stacks depends on, and the finite-width law of stacks that are narrow for their depth.

First order in 1 / width is enough for stacks that are wide for their depth; the others are simulated by theory.
"""

from typing import NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation, behavior
from varprobe.theory.simulated_widths import Stack, draws_for, has_intervals, simulated

__all__ = ["Kind", "Moments", "Problem", "resimulate"]

Moments = tuple[float, float, float, float]
LN10 = float(np.log(10))
WIDE = 0.1
"""Depth over width up to which first order in 1 / width is enough: z-scores of 4 seeds then have a mean within 0.3."""

NARROW = 64
"""Width from which entries that are not Gaussian count as if they were."""


class Problem(NamedTuple):
    """What a prediction depends on, beside what its group shares: arrays over layers 1 to L, and the input's numbers.

    log_w, log_b: ln of fan_in Var(W) and of Var(b). inputs: the fields of `Inputs`.
    """

    log_w: np.ndarray
    log_b: np.ndarray
    mean_w: np.ndarray
    mean_b: np.ndarray
    widths: np.ndarray
    inputs: Moments

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for nets of one prediction."""
        return self.inputs, *(a.tobytes() for a in self[:5])


class Kind(NamedTuple):
    """What nets that are predicted together share.

    samples: positions count, each for itself. law: "normal", "independent" (other entries of mean 0), "orthogonal" or
    "mixed"; None where the finite-width law is not known. biased: whether there are biases.
    """

    act: Activation
    depth: int
    samples: int
    law: str | None
    biased: bool


def resimulate(kind: Kind, problem: Problem, row: dict[str, np.ndarray]) -> None:
    """Replace, in the predictions of a net, the first order in 1 / width by a simulation where it is not enough.

    Where a simulation takes too long, or the law of the weights is not the simulated one, no drift is left.
    """
    deep = kind.depth > WIDE * problem.widths[1:].min()
    if not deep and (kind.law != "orthogonal" or behavior(kind.act).homogeneous):
        return
    stack = Stack(
        act=kind.act,
        law="orthogonal" if kind.law == "orthogonal" else "normal",
        sigma_w2=tuple(np.exp(problem.log_w)),
        sigma_b2=tuple(np.exp(problem.log_b)),
        widths=tuple(map(int, problem.widths)),
        batch=kind.samples,
        mean_square=float(np.exp(problem.inputs[0])),
        cosine=problem.inputs[1],
    )
    known = kind.law in ("normal", "orthogonal") or (kind.law == "independent" and min(stack.widths) >= NARROW)
    draws, logs = draws_for(stack) if known else 0, dict[str, np.ndarray]()
    if draws:
        try:
            logs = simulated(stack, draws)
        except InvalidArgumentError:
            draws = 0
    for name in ("activation", "gradient"):
        if f"{name}_drift" in row:
            row[f"{name}_drift"][:] = np.nan
            if draws and has_intervals(logs[name]):
                row[f"{name}_drift"][:] = logs[name].mean(axis=0) / LN10 - row[f"{name}_log10_mean_square"]
                row[f"{name}_std"][:] = logs[name].std(axis=0, ddof=1) / LN10
    row["draws"][:] = draws
