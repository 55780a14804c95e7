"""One site of a family that changes signal or gradient far more than the others do."""

import math

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.families import Family
from varprobe.model.findings import Finding
from varprobe.numerals import rounded
from varprobe.rates import power
from varprobe.verdicts import threshold

__all__ = ["jump_of"]

ALONE = 0.5
"""The others change by less than this part of the jump, in decades about the median."""

EXPLAINED = 0.3
"""Decades: weights are the cause where they are off by the jump to this."""


def jump_of(seen: Evidence, family: Family, values: np.ndarray, layers: np.ndarray, quantity: str) -> Finding | None:
    """The site at which signal or gradient jumps, if one does and the others do not.

    Args:
        seen: of the model.
        family: of the sites.
        values: log10 of mean squares, (seeds, sites), the near end first.
        layers: the rows of these sites.
        quantity: "signal" or "gradient".
    """
    if values.shape[1] < 4 or not np.isfinite(values).all():
        return None
    steps = np.diff(values.mean(axis=0)) / 2
    off = steps - np.median(steps)
    at = int(np.argmax(np.abs(off)))
    rest = np.abs(np.delete(off, at)).max()
    if abs(off[at]) <= math.log10(threshold("jump")) or rest > ALONE * abs(off[at]):
        return None
    row = int(
        layers[at + 1] if quantity == "signal" else layers[at]
    )  # a gradient goes back through weights of the later
    label = seen.labels[row]
    text = (
        f"{label} multiplies the RMS of the {quantity} by {rounded(power(steps[at]))}, "
        f"the other sites of {family.name} by {rounded(power(float(np.median(steps))))}"
    )
    weights = seen.weights().mean(axis=0)
    others = np.array([i for i in family.layers if i != row])
    apart = float(weights[row] - np.median(weights[others])) / 2
    found, usual = power(float(steps[at])), power(float(np.median(steps)))
    if not math.isfinite(apart) or abs(apart - off[at]) > EXPLAINED + 0.1 * abs(off[at]):
        return Finding("jump", label, f"{text}.", found, usual)
    product = [rounded(power(float(w))) for w in (weights[row], np.median(weights[others]))]
    text = f"{text}: its fan_in E W^2 is {product[0]}, and that of the others {product[1]}."
    advice = f"{'Divide' if apart > 0 else 'Multiply'} the weights of {label} by {rounded(power(abs(apart)))}."
    return Finding("jump", label, text, found, usual, advice)
