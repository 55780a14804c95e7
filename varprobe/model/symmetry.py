"""Layers whose units are all equal, and stay so."""

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding

__all__ = ["symmetric"]

EQUAL = 1e-10
"""Variance over mean square, below which all weights are one number."""
ADVICE = "Draw the weights at random."


def symmetric(seen: Evidence) -> list[Finding]:
    """Weights that are all one number, with more of the like behind: the units get equal gradients.

    A constant last layer is none of these, since its units get the gradients of other classes.
    """
    direct, fan_out = seen.lineage.direct or {}, seen.ds["fan_out"].values if "fan_out" in seen.ds.coords else None
    if fan_out is None:
        return []
    spread, size = seen.mean("weight_log10_var"), seen.mean("weight_log10_ms")
    with np.errstate(invalid="ignore"):
        zero = np.isneginf(size)
        constant = zero | (spread - size < np.log10(EQUAL))
    products = [row for row, kind in enumerate(seen.kinds) if kind in ("linear", "conv")]
    for row in products:
        site = seen.sites[row]
        after = [i for i in products if site in direct.get(seen.sites[i], ())]
        if constant[row] and not zero[row] and fan_out[row] > 1 and after and constant[after].all():
            label = seen.labels[row]
            text = f"{label}: all weights are equal, and those behind, too, so that its units learn the same."
            return [Finding("symmetric", label, text, 0.0, None, ADVICE)]
    return []
