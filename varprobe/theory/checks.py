"""Numbers that a caller gives, checked once and in the same words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from varprobe.errors import InvalidArgumentError, short_repr

__all__ = ["MOST_LAYERS", "number", "numbers", "per_layer", "whole"]

MOST, MOST_LAYERS = 10**12, 10**7
"""Of an integer, and of a depth, for which every layer is kept."""


def number(option: str, value: Any, low: float = -math.inf, high: float = math.inf, above: bool = False) -> float:
    """A finite number in [low, high]; in (low, high] where `above`.

    Raises:
        InvalidArgumentError: it is something else; the message says what is allowed.
    """
    try:
        found = float(value) if not isinstance(value, bool | str) else math.nan
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found) or not low <= found <= high or (above and found == low):
        raise InvalidArgumentError(f"{short_repr(value)} is not {allowed(low, high, above)}", option)
    return found


def allowed(low: float, high: float, above: bool) -> str:
    """What a number may be, in words."""
    if not math.isfinite(low):
        return "a finite number"
    if math.isfinite(high):
        return f"a number from {low:g} to {high:g}"
    return f"a finite number {'above' if above else 'of at least'} {low:g}"


def whole(option: str, value: Any, low: int, high: int = MOST) -> int:
    """An integer from `low` to `high`."""
    try:
        found = number(option, value, low)
    except InvalidArgumentError:
        found = math.nan
    if math.isnan(found) or found != int(found):
        raise InvalidArgumentError(f"{short_repr(value)} is not an integer of at least {low}", option)
    if found > high:
        raise InvalidArgumentError(f"{short_repr(value)} is not an integer from {low} to {high}", option)
    return int(found)


def numbers(option: str, value: Any, low: float = -math.inf, above: bool = False) -> np.ndarray:
    """A one-dimensional float64 array of such numbers, from one number or a sequence; never empty."""
    several = isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1)
    items = list(value) if several else [value]
    if not items:
        raise InvalidArgumentError("the list is empty", option)
    return np.array([number(option, item, low, above=above) for item in items])


def per_layer(option: str, value: float | Sequence[float], depth: int, low: float = -math.inf) -> np.ndarray:
    """One number for every layer: `value` itself where it is a sequence of `depth`, else repeated."""
    found = numbers(option, value, low)
    if np.ndim(value) and found.size != depth:
        raise InvalidArgumentError(f"{found.size} values for {depth} layers", option)
    return np.broadcast_to(found, depth)
