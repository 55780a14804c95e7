"""One site of a family that is unlike the others: its weights are off, or signal or gradient jump there."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.families import Family
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["jump_of", "odd_weights", "without_ends"]

LEAST = 4
"""Sites of which one may be unlike the others."""

ODD = 4
"""Weights that are more times off explain a jump."""

ALONE = 0.5
"""The others change by less than this part of a jump, in decades about the median."""


def odd_weights(seen: Evidence, families: list[Family]) -> list[Finding]:
    """Sites whose weights are far larger, or smaller, than those of the same family."""
    found = []
    weights = seen.weights().mean(axis=0)
    for family in families:
        rows = np.array([row for row in family.layers if np.isfinite(weights[row])], int)
        if not family.fitted or family.kind not in ("linear", "conv") or rows.size < LEAST:
            continue
        usual = float(np.median(weights[rows]))
        off = (weights[rows] - usual) / 2
        if np.count_nonzero(np.abs(off) > math.log10(threshold("outlier"))) * 2 >= rows.size:
            continue
        for row, decades in zip(rows, off, strict=True):
            if abs(decades) > math.log10(threshold("outlier")):
                label, own, others = seen.labels[row], power(float(weights[row])), power(usual)
                text = f"{label}: fan_in E W^2 is {rounded(own)}, and {rounded(others)} at the others of {family.name}."
                what = "Divide" if decades > 0 else "Multiply"
                advice = f"{what} the weights of {label} by {rounded(power(abs(decades)))}."
                found.append(Finding("outlier", label, text, own, others, advice))
    return sorted(found, key=lambda one: seen.labels.index(one.site))


def without_ends(seen: Evidence, family: Family) -> Family:
    """The family without a first site that signal or gradient jump behind, if its weights are as large as the others'.

    What enters the first site is not what enters the others, as where it is before the first norm. The last site of a
    kind without weights, as a norm, is left out for the like: it may be behind a stream, and the others in branches.
    """
    layers = family.layers
    if not family.fitted:
        return family
    for quantity in ("signal", "gradient"):
        if len(layers) < LEAST - 1:
            break
        normed = family.kind not in ("linear", "conv") or has_norm_between(seen, *layers[:2])
        layers = layers[1:] if normed and is_apart(seen, layers, quantity) else layers
        if family.kind not in ("linear", "conv"):
            layers = layers[:-1] if is_apart(seen, layers[::-1], quantity) else layers
    return replace(family, layers=layers, fitted=len(layers) > 2)


def has_norm_between(seen: Evidence, first: int, second: int) -> bool:
    """Whether the signal goes through a norm on the way from one row to another."""
    between = (seen.sites[row] for row in range(first + 1, second) if seen.kinds[row] == "norm")
    one, other = seen.sites[first], seen.sites[second]
    return any(seen.lineage.leads_to(one, norm) and seen.lineage.leads_to(norm, other) for norm in between)


def is_apart(seen: Evidence, layers: Sequence[int], quantity: str) -> bool:
    """Whether signal or gradient jump from the first of some sites to the second, and nowhere else."""
    rows = list(layers)
    if len(rows) < LEAST - 1:
        return False
    values = seen.value() if quantity == "signal" else seen.mean("gradient_log10_mean_square")
    with np.errstate(invalid="ignore"):
        first, *others = np.diff(values[rows]) / 2
        weights = np.abs(np.diff(seen.weights().mean(axis=0)[rows[:2]])) / 2
    if not np.isfinite([first, *others]).all():
        return False
    limit, off = math.log10(threshold("outlier")), first - np.median(others)
    odd = bool(np.isfinite(weights).all() and weights.max() > limit)
    return not odd and abs(off) > limit and float(np.ptp(others)) <= ALONE * abs(off)


def jump_of(seen: Evidence, family: Family, values: np.ndarray, layers: np.ndarray, quantity: str) -> Finding | None:
    """The site at which signal or gradient jumps, if one does and the others do not.

    Args:
        seen: of the model.
        family: of the sites.
        values: log10 of mean squares, (seeds, sites), the near end first.
        layers: the rows of these sites.
        quantity: "signal" or "gradient".
    """
    if values.shape[1] < LEAST or not np.isfinite(values).all():
        return None
    steps = np.diff(values.mean(axis=0)) / 2
    usual = float(np.median(steps))
    off = steps - usual
    at = int(np.argmax(np.abs(off)))
    if abs(off[at]) <= math.log10(threshold("outlier")) or np.abs(np.delete(off, at)).max() > ALONE * abs(off[at]):
        return None
    label = seen.labels[int(layers[at + 1])]
    found, others = power(float(steps[at])), power(usual)
    text = (
        f"{label}: the RMS of the {quantity} is {rounded(found)} of that at {seen.labels[int(layers[at])]}, "
        f"and {rounded(others)} from each other site of {family.name} to the next."
    )
    row = odd_between(seen, sorted(layers[at : at + 2].tolist()), float(off[at]))
    if row is None:
        return Finding("outlier", label, text, found, others)
    cause, times = seen.labels[row[0]], rounded(power(abs(row[1])))
    what, verb = ("larger", "Divide") if row[1] > 0 else ("smaller", "Multiply")
    text += f" The weights of {cause} are {times} times {what} than those of sites like it."
    return Finding("outlier", cause, text, found, others, f"{verb} the weights of {cause} by {times}.")


def odd_between(seen: Evidence, ends: list[int], jump: float) -> tuple[int, float] | None:
    """The row between two, these included, whose weights are off those of sites with like names, and by how many
    decades; None if none is off in the direction of the jump, by more than `ODD` times and a third of its decades.
    """
    weights = seen.weights().mean(axis=0)
    patterns = [re.sub(r"\d+", "*", site) for site in seen.sites]
    found = {}
    for row in range(ends[0], ends[1] + 1):
        alike = [i for i, pattern in enumerate(patterns) if pattern == patterns[row] and np.isfinite(weights[i])]
        if np.isfinite(weights[row]) and len(alike) >= LEAST:
            found[row] = float(weights[row] - np.median(weights[alike])) / 2
    least = max(math.log10(ODD), abs(jump) / 3)
    worst = max(found, key=lambda row: found[row] * np.sign(jump), default=None)
    return None if worst is None or found[worst] * np.sign(jump) < least else (worst, found[worst])
