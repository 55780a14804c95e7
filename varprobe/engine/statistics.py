"""From what a plain cell returns to the variables of the results, each (configurations, layers 0 to L), float64."""

import jax
import numpy as np
from jaxtyping import Array

from varprobe.engine.moments import Moments
from varprobe.engine.plain_cell import CellStatistics
from varprobe.engine.plain_groups import PlainGroup
from varprobe.engine.program import Block, Program

__all__ = ["LOG10_2", "CellTable", "log10", "quantity", "statistics_of", "weight_log10_mean_square"]

LOG10_2 = np.log10(2.0)
CellTable = dict[str, np.ndarray]


def log10(values: Array | np.ndarray) -> np.ndarray:
    """log10 in float64; exactly zero is -inf."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(np.asarray(values, np.float64))


def quantity(name: str, moments: Moments, log10_scale: np.ndarray) -> CellTable:
    """The four variables of a quantity whose values are 10^log10_scale times those measured."""
    shift = moments.e * LOG10_2 + log10_scale
    ms = np.asarray(moments.ms, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_over_rms = np.asarray(moments.mean, np.float64) / np.sqrt(ms)
    return {
        f"{name}_log10_mean_square": log10(ms) + 2 * shift,
        f"{name}_log10_var": log10(moments.var) + 2 * shift,
        f"{name}_mean_over_rms": np.clip(mean_over_rms, -1, 1),
        f"{name}_log10_absmax": log10(moments.absmax) + shift,
    }


def statistics_of(group: PlainGroup, statistics: CellStatistics) -> CellTable:
    """Every variable of the results, each (members, depth + 1), members in configuration order.

    Layer 0 is the input and has an activation only. Homogeneous nets are shifted to each configuration's scales.
    """
    program, rows = group.program, []
    bases = joined_base_moments(program, statistics)
    for b, column, member in group.members:
        scales = np.array(member.log10_scales)
        up = np.cumsum(scales)
        down = up[-1] - up
        pick = lambda tree, c=column: jax.tree.map(lambda a: a[:, c], tree)  # noqa: E731
        forward = pick(statistics.forward[b])
        row = quantity("preactivation", forward.preactivation, up) | quantity("activation", forward.activation, up)
        row["activation_correlation"] = np.asarray(forward.activation_correlation, np.float64)
        row |= {name: np.asarray(values, np.float64) for name, values in forward.fractions.items()}
        if not program.blocks[b].phi.bounded:
            row["saturated_nonzero_fraction"] = np.full(program.depth, np.nan)
        multipliers = np.array(member.log10_multipliers)
        row["weight_log10_mean_square"] = (
            weight_log10_mean_square(np.array(member.weights), bases[b][column]) - 2 * multipliers
        )
        if statistics.backward is not None:
            backward = pick(statistics.backward[b])
            row |= quantity("gradient", backward.gradient, down)
            shift = np.concatenate([[0.0], up[:-1]]) + down + multipliers
            row |= quantity("weight_gradient", backward.weight_gradient, shift)
            row["gradient_correlation"] = np.asarray(backward.gradient_correlation, np.float64)
        inputs = quantity("activation", jax.tree.map(lambda a: a[0], statistics.input), np.zeros(()))
        inputs["activation_correlation"] = np.asarray(statistics.input_correlation, np.float64)[0]
        rows.append({k: np.concatenate([[inputs.get(k, np.nan)], v]) for k, v in row.items()})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def joined_base_moments(program: Program, statistics: CellStatistics) -> list[list[np.ndarray]]:
    """(layers, 2) array of the mean and mean square of the bases of each block and net."""

    def of_net(block: Block, net: int) -> np.ndarray:
        places = [program.bases(i).index(bases[net]) for i, bases in enumerate(block.weights)]
        parts = [np.stack(statistics.bases[i][place], axis=-1) for i, place in enumerate(places)]
        return np.concatenate(parts).astype(np.float64)

    return [[of_net(block, net) for net in range(block.nets)] for block in program.blocks]


def weight_log10_mean_square(pairs: np.ndarray, base: np.ndarray) -> np.ndarray:
    """log10 of E[(mean + scale * base)^2], for values that may be far outside float64's squares."""
    mean, scale = pairs[:, 0], pairs[:, 1]
    unit = np.maximum(np.abs(mean), np.abs(scale))
    safe = np.where(unit > 0, unit, 1)
    m, s = mean / safe, scale / safe
    return log10(np.maximum(m * m + 2 * m * s * base[:, 0] + s * s * base[:, 1], 0)) + 2 * log10(unit)
