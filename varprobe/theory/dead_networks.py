"""The probability that a ReLU network of finite width computes zero at initialization (Lu et al. 2019, 1903.06733)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.spec.argument_types import checks_types
from varprobe.theory.checks import MOST_LAYERS, numbers, whole

__all__ = ["DeadProbability", "dead_probability"]


class DeadProbability(NamedTuple):
    """Bounds on the probability that the output is zero for every input.

    lower: some layer after the first has no weight above 0, so that it is zero for every input. upper: one given input
    is zero at the output, which is exact for one input (Lu et al. 2019).
    """

    lower: float
    upper: float


@checks_types
def dead_probability(widths: int | Sequence[int], depth: int | None = None) -> DeadProbability:
    """How likely a ReLU stack of finite width is dead at initialization, with symmetric weights and zero biases.

    An input that is not zero leaves all n units of a layer at zero with probability 2^-n, whatever came before: its
    signal is lost with probability 1 - prod(1 - 2^-n). All n m weights of a layer with n inputs are negative with
    probability 2^-(n m), and its inputs are not negative from the second layer on.

    Args:
        widths: units of layers 1 to L, or of every layer, each at least 1.
        depth: L, if `widths` is one number.

    Raises:
        InvalidArgumentError: a value is out of range, or `depth` is missing or does not fit `widths`.
    """
    units = np.array([whole("widths", width, 1) for width in numbers("widths", widths, 1.0)], float)
    if np.ndim(widths) == 0:
        if depth is None:
            raise InvalidArgumentError("one width for all layers needs the depth", "depth")
        units = np.repeat(units, whole("depth", depth, 1, MOST_LAYERS))
    elif depth is not None and depth != units.size:
        raise InvalidArgumentError(f"{depth} does not fit the {units.size} widths", "depth")
    return DeadProbability(lower=some_of(2.0 ** -(units[1:] * units[:-1])), upper=some_of(2.0**-units))


def some_of(chances: np.ndarray) -> float:
    """The probability that at least one of independent events happens: 1 - prod(1 - p), exact for small p."""
    with np.errstate(divide="ignore"):
        return float(-np.expm1(np.log1p(-chances).sum()))
