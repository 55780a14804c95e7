"""sigma_w2 = fan_in Var(W) and sigma_b2 = Var(b) of initializers by name."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.nets.activations import Activation
from varprobe.nets.initializers import TRUNCATED_STD, Initializer, LayerContext, Values, resolve_initializer
from varprobe.spec.calls import parse_calls
from varprobe.theory.critical_lines import critical

__all__ = ["Critical", "critical_sigma_w2", "given", "resolved_initializer", "sigma_b2_of", "variance_of"]

VARIANCES = {"normal": 1.0, "truncated_normal": TRUNCATED_STD**2, "uniform": 1 / 3, "orthogonal": np.nan}
DIGITS = 12
"""Significant digits of a critical sigma_w2, few enough that any machine draws the same weights."""


def given(init: str | Initializer, option: str = "init") -> Initializer:
    """The initializer that a call form means."""
    if isinstance(init, Initializer):
        return init
    try:
        calls = parse_calls(init) if isinstance(init, str) else []
        if len(calls) != 1:
            raise InvalidArgumentError(f"{init!r} is not the name of one initializer")
        return resolve_initializer(calls[0])
    except InvalidArgumentError as error:
        raise error.at(option) from None


@dataclass(frozen=True)
class Critical:
    """The numbers of `critical`: N(0, sigma_w2 / fan_in), sigma_w2 that of `act` where chi_1 = 1 with these biases.

    bias: their initializer, or sigma_b2.
    """

    act: Activation
    bias: Initializer | float

    def __call__(self, values: Values, place: LayerContext) -> tuple[float, float]:
        """(mean, scale) at a place."""
        sigma_b2 = bias_variance(self.bias, place) if isinstance(self.bias, Initializer) else self.bias
        return 0.0, math.sqrt(critical_sigma_w2(self.act, sigma_b2) / place.fan_in)


def resolved_initializer(init: Initializer, act: Activation, bias: Initializer | float) -> Initializer:
    """`init`, and where its variance depends on them, for this activation and these biases."""
    return init if init.resolved else replace(init, numbers=Critical(act, bias))


@lru_cache(maxsize=4096)
def critical_sigma_w2(act: Activation, sigma_b2: float) -> float:
    """sigma_w2 of `critical(act, sigma_b2=sigma_b2).point`.

    Raises:
        InvalidArgumentError: there is none; it says what there is.
    """
    point = critical(act, sigma_b2=sigma_b2).point
    if point is not None:
        return float(f"{point.sigma_w2:.{DIGITS}g}")
    line = critical(act).sigma_b2
    there = "nor with any other"
    if line.size:
        low, high = f"{line.min():.3g}", f"{line.max():.3g}"
        there = f"but with {f'sigma_b2 from {low} to {high}' if low != high else f'sigma_b2 = {low}'}"
    raise InvalidArgumentError(
        f"{act.name} has no critical point with sigma_b2 = {sigma_b2:g}, {there}; "
        f"`varprobe advise --act {act.name}` says what comes nearest",
        "init",
    )


def variance_of(init: Initializer, widths: np.ndarray, layer: int) -> float:
    """fan_in Var(W) of an initializer at a layer of a stack of these widths, the input's first.

    Raises:
        InvalidArgumentError: it has a mean, or entries of no known variance.
    """
    fan_in, fan_out = int(widths[layer - 1]), int(widths[layer])
    mean, scale = init.at(LayerContext(fan_in, fan_out, int(widths[1]), widths.size - 1, layer))
    if mean != 0:
        raise InvalidArgumentError(f"{init.name} has the mean {mean:g}; this theory is for mean 0 only", "init")
    if init.law[0] not in VARIANCES or scale == 0:
        raise InvalidArgumentError(
            f"{init.name} has no law that theory knows (allowed: {', '.join(VARIANCES)})", "init"
        )
    entry = 1 / max(fan_in, fan_out) if init.law[0] == "orthogonal" else VARIANCES[init.law[0]]
    return float(fan_in * squared(scale) * entry)


def sigma_b2_of(bias: str | Initializer, width: int, depth: int) -> float:
    """Var(b) of biases of mean 0.

    Raises:
        InvalidArgumentError: they have a mean, or entries of no known variance.
    """
    return bias_variance(given(bias, "bias"), LayerContext(width, width, width, depth, 1))


def bias_variance(init: Initializer, place: LayerContext) -> float:
    """`sigma_b2_of` at a place."""
    mean, std = bias_numbers(init, place)
    if mean != 0:
        raise InvalidArgumentError(f"{init.name} has the mean {mean:g}; fixed points are for mean 0 only", "bias")
    return squared(std)


def bias_numbers(init: Initializer, place: LayerContext) -> tuple[float, float]:
    """(mean, standard deviation) of the biases of a layer.

    Raises:
        InvalidArgumentError: their entries have no known variance.
    """
    mean, scale = init.at(place)
    if scale == 0 or init.law[0] == "nothing":
        return mean, 0.0
    if init.law[0] not in VARIANCES or init.law[0] == "orthogonal":
        raise InvalidArgumentError(f"{init.name} has no variance that theory knows", "bias")
    return mean, scale * math.sqrt(VARIANCES[init.law[0]])


def squared(value: float) -> float:
    """The square, infinity where that overflows."""
    return value * value
