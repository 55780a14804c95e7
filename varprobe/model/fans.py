"""What the shape of a matrix product or convolution says: inputs, rows, and the terms that an output sums."""

from math import prod
from typing import Any

import numpy as np

from varprobe.model.operations import SPARSE

__all__ = ["fan_in_of", "rows_of", "summed_axes", "terms_of"]


def fan_in_of(equation: Any, side: int) -> int:
    """How many inputs a unit has whose weights are this side of a product; 0 where that is not known."""
    shape, params = equation.invars[side].aval.shape, equation.params
    if equation.primitive.name == "dot_general":
        return prod(shape[axis] for axis in params["dimension_numbers"][0][side])
    if equation.primitive.name == "conv_general_dilated" and side == 1:
        return prod(shape) // shape[params["dimension_numbers"].rhs_spec[0]]
    if equation.primitive.name == "ragged_dot_general":
        return prod(shape[axis] for axis in params["ragged_dot_dimension_numbers"].dot_dimension_numbers[0][side])
    if equation.primitive.name in SPARSE:
        shape = params["lhs_spinfo"].shape if side == 0 else shape
        return prod(shape[axis] for axis in params["dimension_numbers"][0][side > 0])
    return 0


def rows_of(equation: Any, side: int) -> int:
    """How many entries of a product a unit has whose weights are this side: samples times positions."""
    shape, params = equation.invars[side].aval.shape, equation.params
    if equation.primitive.name == "dot_general":
        shared = {axis for axes in params["dimension_numbers"] for axis in axes[side]}
        units = prod(size for axis, size in enumerate(shape) if axis not in shared)
    elif equation.primitive.name == "conv_general_dilated":
        units = shape[params["dimension_numbers"][side][0]]
    elif equation.primitive.name in SPARSE:
        shape = params["lhs_spinfo"].shape if side == 0 else shape
        shared = {axis for axes in params["dimension_numbers"] for axis in axes[side > 0]}
        units = prod(size for axis, size in enumerate(shape) if axis not in shared)
    else:
        units = shape[-1]
    return equation.outvars[0].aval.size // max(units, 1)


def summed_axes(equation: Any, side: int) -> tuple[Any, ...]:
    """The axes of this side of a product that it sums over; of a kernel of a convolution, which axis is what."""
    if equation.primitive.name == "dot_general":
        return tuple(equation.params["dimension_numbers"][0][side])
    if equation.primitive.name == "conv_general_dilated":
        return tuple(equation.params["dimension_numbers"][side])
    return ()


def terms_of(equation: Any, side: int) -> float:
    """How many products of an input and a weight an output sums, the mean over outputs; 0 where that is not known.

    It is the fan-in for a matrix, less for a sparse one. A convolution sums fewer where a kernel lies on padding, or on
    the zeros that a transposed convolution puts between its inputs.
    """
    fan_in = float(fan_in_of(equation, side))
    if equation.primitive.name in SPARSE and side == 0:
        return fan_in * equation.invars[0].aval.size / max(prod(equation.params["lhs_spinfo"].shape), 1)
    if equation.primitive.name != "conv_general_dilated" or side != 1:
        return fan_in
    params, (data, kernel) = equation.params, (atom.aval.shape for atom in equation.invars)
    numbers = params["dimension_numbers"]
    for axis, padding in enumerate(params["padding"]):
        inputs, taps, outputs = (
            shape[spec[2 + axis]]
            for shape, spec in (
                (data, numbers.lhs_spec),
                (kernel, numbers.rhs_spec),
                (equation.outvars[0].aval.shape, numbers.out_spec),
            )
        )
        apart, holes = params["lhs_dilation"][axis], params["rhs_dilation"][axis]
        at = np.arange(outputs)[:, None] * params["window_strides"][axis] + np.arange(taps) * holes - padding[0]
        met = (at >= 0) & (at <= (inputs - 1) * apart) & (at % apart == 0)
        fan_in *= met.mean() if met.size else 0.0
    return fan_in
