"""From what a cell of any architecture returns to the variables of the results."""

from typing import Any

import jax
import numpy as np

from varprobe.engine.moments import Moments
from varprobe.engine.statistics import LOG10_2, CellTable, log10, quantity, weight_log10_mean_square
from varprobe.engine.wired.cell import WiredStatistics
from varprobe.engine.wired.groups import WiredGroup
from varprobe.engine.wired.layer import unit_names
from varprobe.nets.architectures.architecture import Architecture

__all__ = ["names_of", "wired_statistics"]

STATISTICS = {
    "log10_mean_square": "log10 of the mean square over batch and units",
    "log10_var": "log10 of the variance about the mean over batch and units",
    "mean_over_rms": "mean over root mean square, in [-1, 1]",
    "log10_absmax": "log10 of the largest magnitude",
}


def names_of(arch: Architecture) -> dict[str, str]:
    """The variables that an architecture adds, with what they are."""
    slots = arch.slots(1, 1)[1:]
    quantities = dict(arch.quantities) | {f"{s.name}_weight_gradient": f"weight gradient of {s.name}" for s in slots}
    names = {f"{q}_{s}": f"{what}: {text}" for q, what in quantities.items() for s, text in STATISTICS.items()}
    names |= {f"{s.name}_weight_log10_mean_square": f"log10 of the mean square of the weights {s.name}" for s in slots}
    return names | dict(arch.scalars)


def joined(parts: list[Any], columns: list[int] | slice = slice(None)) -> Any:
    """Statistics of successive segments, in one array along the layers; float64, (layers, columns): those of nets."""
    return jax.tree.map(lambda *a: np.concatenate([np.asarray(x, np.float64)[:, columns] for x in a]), *parts)


def wired_statistics(group: WiredGroup, statistics: WiredStatistics) -> CellTable:
    """Every variable of the results, each (members, depth + 1); layer 0 is the input and has an activation only."""
    program, arch = group.program, group.program.arch
    columns, members = [column for column, _ in group.columns], [member for _, member in group.columns]
    up = np.cumsum(np.array([member.log10_scales for member in members]).T, axis=0)
    down = up[-1] - up
    table: CellTable = {}
    recorded = joined(statistics.recorded, columns)
    for site, moments in recorded.items():
        table |= quantity(site, moments, up)
    scalars = joined(statistics.scalars, columns)
    slots = program.slots(0)
    units = {slot.name: unit_log10(scalars, slot.name) for slot in slots}
    table |= scalars
    if not program.phi.bounded and "saturated_nonzero_fraction" in table:
        table["saturated_nonzero_fraction"] = np.full_like(table["saturated_nonzero_fraction"], np.nan)
    if statistics.backward is not None:
        backward, e = joined(statistics.backward, columns), joined(statistics.exponents, columns)
        of_weights = np.concatenate([np.zeros_like(up[:1]), up[:-1]]) + down
        shifts = {name: (site, down) for site, name in arch.gradients.items()}
        shifts |= {weight_name(s.name, "weight_gradient"): (f"{s.name}_weight", of_weights) for s in slots}
        for name, (site, shift) in shifts.items():
            mean, ms, var, absmax, own, cosine = backward[site]
            table |= quantity(name, Moments(mean, ms, var, absmax, own + e), shift)
            if name == "gradient":
                table["gradient_correlation"] = cosine
    for j, slot in enumerate(slots):
        bases = [base_moments(group, statistics, j, column) for column in columns]
        squares = [
            weight_log10_mean_square(np.array(member.weights[j]), base)
            for member, base in zip(members, bases, strict=True)
        ]
        multipliers = np.array([member.log10_multipliers[j] for member in members]).T
        name = weight_name(slot.name, "weight_log10_mean_square")
        table[name] = np.stack(squares, axis=1) + 2 * (units[slot.name] - multipliers)
        for statistic, times in (("mean_square", 2), ("var", 2), ("absmax", 1)):
            name = weight_name(slot.name, f"weight_gradient_log10_{statistic}")
            if name in table:
                table[name] = table[name] + times * multipliers
    inputs = quantity("activation", jax.tree.map(lambda a: np.asarray(a)[0], statistics.input), np.zeros(()))
    inputs["activation_correlation"] = np.asarray(statistics.input_correlation, np.float64)[0]
    first = lambda name: np.full((1, len(members)), inputs.get(name, np.nan))  # noqa: E731
    whole = {name: np.concatenate([first(name), values]).T for name, values in table.items()}
    if "stream" in arch.quantities:
        whole |= {f"stream_{statistic}": whole[f"activation_{statistic}"] for statistic in STATISTICS}
    return whole


def unit_log10(scalars: dict[str, np.ndarray], slot: str) -> np.ndarray | float:
    """log10 of what the batch has scaled a slot's matrices by, taken out of the scalars; 0 where it has not."""
    factor, exponent = (scalars.pop(name, None) for name in unit_names(slot))
    return 0.0 if factor is None else log10(factor) + exponent * LOG10_2


def weight_name(slot: str, name: str) -> str:
    """The variable of a slot: the block's own matrix is `w`."""
    return name if slot == "w" else f"{slot}_{name}"


def base_moments(group: WiredGroup, statistics: WiredStatistics, slot: int, net: int) -> np.ndarray:
    """(layers, 2) array of the mean and mean square of the base of a net's slot."""
    parts = []
    for i, bases in enumerate(group.program.weights):
        distinct = list(dict.fromkeys(bases[slot]))
        found = statistics.bases[i][slot][distinct.index(bases[slot][net])]
        parts.append(np.stack([np.asarray(a, np.float64) for a in found], axis=-1))
    return np.concatenate(parts)
