"""Levels that are off: weights for another number of terms, what a branch adds to its stream."""

import math

import numpy as np

from varprobe.model.evidence import Evidence
from varprobe.model.findings import Finding
from varprobe.spec.number_format import rounded
from varprobe.verdict.rates import power
from varprobe.verdict.thresholds import threshold

__all__ = ["branches", "other_terms", "sums"]


def other_terms(seen: Evidence) -> list[Finding]:
    """Weights that are right for the fan-in of the kernel's shape, where outputs sum another number of terms."""
    weights, terms, fan_in = seen.weights().mean(axis=0), seen.terms(), seen.ds["fan_in"].values
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = seen.mean("activation_log10_mean_square") - seen.mean("preactivation_log10_mean_square")
        apart = np.log10(terms / fan_in)
        by_shape = weights - apart + np.nan_to_num(kept)
    limit = math.log10(threshold("terms"))
    wrong = np.isfinite(by_shape) & (np.abs(apart) > limit) & (np.abs(by_shape) < limit / 2)
    for row in np.flatnonzero(wrong)[:1]:
        label, ratio = seen.labels[row], rounded(power(float(-apart[row]) / 2))
        text = f"{label}: the kernel's shape says {fan_in[row]} terms, and an output sums {terms[row]:.4g}."
        return [
            Finding("terms", label, text, float(terms[row]), float(fan_in[row]), f"Multiply its weights by {ratio}.")
        ]
    return []


def branches(seen: Evidence) -> list[Finding]:
    """A sum whose branch is far larger than the stream that enters it."""
    value = seen.value()
    for row, (stream, branch) in sums(seen).items():
        if value[row] - value[stream] > 2 * math.log10(threshold("large_branch")):
            one, other = (rounded(power(float(value[i]) / 2)) for i in (stream, row))
            label, before = seen.labels[row], seen.labels[stream]
            text = f"{label}: the stream enters with RMS {one} ({before}) and leaves with {other}."
            advice = f"Make {before} larger, or {seen.labels[branch]} smaller."
            near = power(float(value[stream]) / 2)
            return [Finding("large_branch", label, text, power(float(value[row]) / 2), near, advice)]
    return []


def sums(seen: Evidence) -> dict[int, tuple[int, int]]:
    """Rows of residual sums -> (row of the stream that enters, row of the branch that is added), finite ones."""
    direct, value = seen.lineage.direct or {}, seen.value()
    latest: dict[str, int] = {}
    found = {}
    for row, site in enumerate(seen.sites):
        if seen.kinds[row] == "residual":
            behind = sorted((latest[s] for s in direct.get(site, ()) if s in latest), reverse=True)
            branch = next((i for i in behind if seen.kinds[i] not in ("residual", "embedding")), None)
            stream = next((i for i in behind if i != branch), None)
            if branch is not None and stream is not None and np.isfinite(value[[row, stream, branch]]).all():
                found[row] = stream, branch
        latest[site] = row
    return found
