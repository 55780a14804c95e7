"""What theory needs of the weights of a configuration: their law, mean and variance, matrix by matrix."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from varprobe.errors import InvalidArgumentError
from varprobe.theory.sigmas import VARIANCES

if TYPE_CHECKING:
    from varprobe.nets.architectures.architecture import WeightSpec
    from varprobe.nets.config import Config

__all__ = ["Measured", "WeightLaw", "weights_of"]

LN10 = float(np.log(10))
LIKE_NORMAL = ("normal", "truncated_normal", "uniform")
"""Laws of independent entries of mean 0 around the initializer's mean."""


class Measured(NamedTuple):
    """Of a matrix of the user's: log10 of its mean square, and whether all of its units are equal."""

    log10_mean_square: float
    alike: bool


class WeightLaw(NamedTuple):
    """law: "normal", "independent" (other entries of mean 0) or "orthogonal"; None where finite-width laws are unknown.

    log_w: ln of fan_in Var(W), fan_in counting what adds up in a unit. mean: of the entries.
    """

    law: str | None
    log_w: float
    mean: float


def weights_of(config: "Config", layer: int, slot: int = 0, measured: Measured | None = None) -> WeightLaw:
    """The law of the matrix of a layer and slot.

    Raises:
        InvalidArgumentError: it is not random, or of no known variance.
    """
    init, place, matrix = config.initializer(layer, slot), config.place(layer, slot=slot), config.slots(layer)[slot]
    mean, scale = init.at(place)
    kind, fan_in = init.law[0], fan_in_of(matrix)
    law: str | None = None
    if kind in LIKE_NORMAL:
        law, per_entry = "normal" if kind == "normal" else "independent", VARIANCES[kind]
    elif kind == "orthogonal":
        per_entry = 1 / max(matrix.fan_in, matrix.fan_out)
        law = None if matrix.kernel else kind  # of a kernel the matrix is orthogonal, not what it does to a position
    elif kind == "delta_orthogonal":
        law, fan_in, per_entry = "orthogonal", fan_in // matrix.taps, 1 / max(place.fan_in, place.fan_out) * matrix.taps
    elif kind == "sparse":
        per_entry = init.law[1]
    elif kind == "custom" and not mean and measured and not measured.alike and np.isfinite(measured.log10_mean_square):
        return WeightLaw(None, float(np.log(fan_in) + LN10 * measured.log10_mean_square), 0.0)
    else:
        raise InvalidArgumentError(f"the weights of layer {layer} are not random")
    if not scale:
        raise InvalidArgumentError(f"the weights of layer {layer} are not random")
    return WeightLaw(law, float(np.log(fan_in * per_entry) + 2 * np.log(abs(scale))), mean)


def fan_in_of(matrix: "WeightSpec") -> int:
    """How many products add up in a unit: of a matrix that is multiplied by its transpose not its rows."""
    return matrix.fan_out * matrix.taps if matrix.adjoint else matrix.fan_in
